"""Who gets in, and who is turned away where to."""

from __future__ import annotations

import base64
import json

import httpx
import pytest

from brique.http import ROLES, Site, allows, safe_next

from .conftest import PASSWORD, Browser, SetClock, World, build

pytestmark = pytest.mark.anyio

PUBLIC = {"/-/sign-in", "/-/setup", "/-/language", "/-/health", "/-/assets/{digest}/{name:path}"}


def client(world: World, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(world.app), base_url="http://intranet.test", headers=headers)


def test_only_sign_in_setup_language_assets_and_health_are_public(world: World) -> None:
    assert {route.path for route in world.routes if route.role is None} == PUBLIC


async def test_every_route_and_method_turns_strangers_away(world: World) -> None:
    methods = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    walked = 0
    async with client(world, Accept="application/json") as program, Browser(world.app) as browser:
        for route in world.routes:
            path = route.path.replace("{table}", "orders").replace("{key}", "1").replace("{code}", "stale")
            if route.role is None:
                continue
            for method in methods:
                answer = await program.request(method, path)
                assert answer.status_code == 401, (method, path)
                assert answer.headers["www-authenticate"].startswith("Bearer"), (method, path)
                answer = await browser.request(method, path)
                expected = 401 if path.startswith("/api") else 303
                assert answer.status_code == expected, (method, path)
                walked += 1
    assert walked > 100


async def test_an_unknown_address_does_not_say_so_to_strangers(world: World, browser: Browser) -> None:
    assert (await browser.get("/nothing/here")).status_code == 303
    await browser.sign_in("rita")
    assert (await browser.get("/nothing/here")).status_code == 404


async def test_every_route_asks_for_its_role(world: World) -> None:
    tokens = {role: world.accounts.grant_token(role, role).value for role in ROLES}
    async with client(world) as program:
        for route in world.routes:
            if route.role is None or route.path in ("/slow", "/broken", "/strict"):
                continue
            path = route.path.replace("{table}", "orders").replace("{key}", "1").replace("{code}", "stale")
            for role, value in tokens.items():
                if allows(role, route.role):
                    continue
                answer = await program.request(
                    route.methods[0], path, headers={"Authorization": f"Bearer {value}", "Accept": "application/json"}
                )
                assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (route, role)


async def test_requires_asks_again_at_the_handler(world: World) -> None:
    tokens = {str(role): world.accounts.grant_token(role, role).value for role in ROLES}
    async with client(world) as program:
        for role, status in (("read", 403), ("write", 403), ("admin", 200)):
            answer = await program.get("/strict", headers={"Authorization": f"Bearer {tokens[role]}"})
            assert answer.status_code == status


async def test_a_reader_is_sent_to_sign_in_and_back(world: World, browser: Browser) -> None:
    answer = await browser.get("/tables/order_details/1,2?sort=-date&q=a%26b")
    location = answer.headers["location"]
    assert answer.status_code == 303 and location.startswith("/-/sign-in?next=%2Ftables%2F")
    page = await browser.get(location)
    assert 'name="next" value="/tables/order_details/1%2C2?sort=-date&amp;q=a%26b"' in page.text
    answer = await browser.sign_in("rita", next="/tables/order_details/1%2C2?sort=-date&q=a%26b")
    assert answer.status_code == 303
    assert (await browser.get(answer.headers["location"])).status_code == 200


async def test_htmx_is_told_to_change_the_page(world: World, browser: Browser) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://intranet.test/tables/a/1?x=2"}
    answer = await browser.get("/tables/a/1?part=rows", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["hx-redirect"] == "/-/sign-in?next=%2Ftables%2Fa%2F1%3Fx%3D2"


async def test_an_event_stream_gets_401_and_no_page(world: World, browser: Browser) -> None:
    answer = await browser.get("/", headers={"Accept": "text/event-stream"})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "wished",
    [
        "https://evil.test/", "//evil.test", "/\\evil.test", "\\\\evil.test", "/\t/evil.test", "/%0a\n",
        "javascript:alert(1)",
        "evil.test", "",
        "/ x", "///evil.test", "/-/sign-in?next=/", "/-/sign-out", "/-/setup?token=x", "/" + "x" * 3000,
        "http:/evil.test", "/\x7f", "?x", "\u2028/", "//[", "/\r\nSet-Cookie: a=b",
    ],
)  # fmt: skip
def test_no_next_leads_elsewhere(wished: str) -> None:
    assert safe_next(wished) == "/"


@pytest.mark.parametrize("wished", ["/", "/tables/a?x=1&y=//b", "/tables/caf%C3%A9", "/a#b"])
def test_addresses_within_the_intranet_are_kept(wished: str) -> None:
    assert safe_next(wished) == wished


async def test_a_forged_next_is_not_followed(world: World, browser: Browser) -> None:
    page = await browser.get("/-/sign-in?next=https://evil.test/")
    assert "evil.test" not in page.text
    answer = await browser.sign_in("rita", next="//evil.test/")
    assert answer.headers["location"] == "/"
    answer = await browser.get("/-/sign-in?next=//evil.test/")
    assert answer.headers["location"] == "/"


async def test_tokens_come_as_bearer_or_basic(world: World) -> None:
    value = world.accounts.grant_token("script", "write", owner="walid").value
    async with client(world) as program:
        for sent in (
            f"Bearer {value}",
            f"bearer  {value}",
            "Basic " + base64.b64encode(f"token:{value}".encode()).decode(),
            "Basic " + base64.b64encode(f"walid:{value}".encode()).decode(),
            "Basic " + base64.b64encode(f"{value}:".encode()).decode(),
        ):
            answer = await program.get("/api/things", headers={"Authorization": sent})
            assert answer.status_code == 200, sent
            assert answer.json() == {"user": "walid", "role": "write", "via": "token", "csrf": ""}


@pytest.mark.parametrize(
    "sent",
    [
        "Bearer nonsense",
        "Bearer ",
        "Bearer",
        "Basic !!!",
        "Basic " + base64.b64encode(b"awa:" + PASSWORD.encode()).decode(),
    ],
)
async def test_wrong_credentials_are_told_so(world: World, sent: str) -> None:
    async with client(world, Authorization=sent) as program:
        answer = await program.get("/api/things")
        assert (answer.status_code, answer.json()["code"]) == (401, "sign-in-needed")


async def test_an_unknown_scheme_is_nobody(world: World) -> None:
    async with client(world, Authorization="Digest x") as program:
        assert (await program.get("/api/things")).status_code == 401


async def test_guessing_tokens_is_slowed_down_for_that_address(world: World) -> None:
    value = world.accounts.grant_token("script", "read").value
    async with client(world) as program:
        for number in range(30):
            answer = await program.get("/api/things", headers={"Authorization": f"Bearer {number}"})
            assert answer.status_code == 401
        answer = await program.get("/api/things", headers={"Authorization": f"Bearer {value}"})
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) > 0
    other = httpx.ASGITransport(world.app, client=("10.0.0.99", 1))
    async with httpx.AsyncClient(transport=other, base_url="http://intranet.test") as program:
        answer = await program.get("/api/things", headers={"Authorization": f"Bearer {value}"})
        assert answer.status_code == 200


async def test_a_proxys_own_basic_header_does_not_hide_the_session(world: World, browser: Browser) -> None:
    await browser.sign_in("rita")
    header = "Basic " + base64.b64encode(b"proxy:password").decode()
    answer = await browser.get("/", headers={"Authorization": header})
    assert answer.status_code == 200 and answer.json()["via"] == "session"
    answer = await browser.get("/", headers={"Authorization": "Bearer nonsense"})
    assert answer.status_code == 401


async def test_problems_of_the_gate_are_problem_json(world: World) -> None:
    async with client(world, **{"Accept-Language": "fr"}) as program:
        answer = await program.get("/api/things")
    assert answer.headers["content-type"] == "application/problem+json"
    body = json.loads(answer.content)
    assert body["status"] == 401 and body["type"] == "/-/problems/sign-in-needed"
    assert body["title"] == "Connectez-vous d’abord" and "VOTRE_JETON" in body["try_this"]


async def test_the_language_is_the_accounts_then_the_cookies_then_the_browsers(world: World, browser: Browser) -> None:
    french = {"Accept-Language": "fr-SN,fr;q=0.9,en;q=0.1"}
    assert "Se connecter" in (await browser.get("/-/sign-in", headers=french)).text
    assert "Sign in" in (await browser.get("/-/sign-in")).text
    await browser.send_form("/-/language", language="fr")
    assert "Se connecter" in (await browser.get("/-/sign-in")).text
    world.accounts.set_language("rita", "en")
    await browser.sign_in("rita")
    assert "My account" in (await browser.get("/-/account", headers=french)).text


async def test_the_last_use_of_sessions_and_tokens_is_noted(world: World, browser: Browser, clock: SetClock) -> None:
    grant = world.accounts.grant_token("script", "read", owner="rita")
    await browser.sign_in("rita")
    clock.pass_time(minutes=10)
    await browser.get("/")
    async with client(world, Authorization=f"Bearer {grant.value}") as program:
        await program.get("/api/things")
    await drained(world)
    assert world.accounts.sessions("rita")[0].seen == clock.now()
    assert world.accounts.tokens("rita")[0].seen == clock.now()


async def drained(world: World) -> None:
    """Wait for the notes that the gate writes in the background."""
    import asyncio

    tasks = [task for task in asyncio.all_tasks() if "_note" in repr(task.get_coro())]
    await asyncio.gather(*tasks)


async def test_under_a_prefix_redirects_keep_it(world: World, clock: SetClock) -> None:
    async def mounted(scope, receive, send):  # type: ignore[no-untyped-def]
        await world.app({**scope, "root_path": "/intranet"}, receive, send)

    async with Browser(mounted) as browser:
        answer = await browser.get("/intranet/tables/a/1")
        assert answer.headers["location"] == "/intranet/-/sign-in?next=%2Fintranet%2Ftables%2Fa%2F1"
        page = await browser.get(answer.headers["location"])
        assert 'action="/intranet/-/sign-in"' in page.text
        answer = await browser.send_form("/intranet/-/sign-in", name="rita", password=PASSWORD)
        assert answer.headers["location"] == "/intranet/"
        assert (await browser.get("/intranet/")).status_code == 200


async def test_websockets_are_closed(world: World) -> None:
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/", "headers": [(b"host", b"intranet.test")], "query_string": b""}
    await build(world.accounts, world.clock, site=Site("intranet.test")).app(scope, receive, send)  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008}]
