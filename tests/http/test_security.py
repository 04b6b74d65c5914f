"""Headers, host names, origins, CSRF, sizes, times, the access log."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest

from brique.errors import BadConfiguration
from brique.http import Accounts, Site

from .conftest import Browser, SetClock, World

pytestmark = pytest.mark.anyio

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; font-src 'self'"
)


@pytest.fixture
async def walid(world: World) -> AsyncIterator[Browser]:
    async with Browser(world.app) as browser:
        await browser.sign_in("walid")
        yield browser


async def test_every_answer_has_the_security_headers(world: World, walid: Browser) -> None:
    paths = ("/", "/-/sign-in", "/-/health", "/nothing", "/broken", "/stream", "/-/account", "/unfit", "/slow")
    for path in paths:
        answer = await walid.get(path)
        assert answer.headers["content-security-policy"] == CSP, path
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert "camera=()" in answer.headers["permissions-policy"]
        assert answer.headers["cache-control"] == "private, no-store"
        assert len(answer.headers["x-request-id"]) == 16
        assert "strict-transport-security" not in answer.headers


@pytest.mark.parametrize(
    "host", ["evil.test", "evil.test:80", "intranet.test.evil.test", "", "a b", "intranet.test@evil.test"]
)
async def test_a_name_that_is_not_ours_is_refused(world: World, host: str) -> None:
    async with Browser(world.app) as browser:
        answer = await browser.get("/", headers={"Host": host})
        assert answer.status_code == 421 and "public_url" in answer.text


async def test_our_names_are_served_with_any_port(world: World) -> None:
    async with Browser(world.app) as browser:
        for host in ("intranet.test", "INTRANET.test:8000", "localhost:1", "127.0.0.1", "[::1]:80", "intranet.test."):
            assert (await browser.get("/-/sign-in", headers={"Host": host})).status_code == 200, host
        assert (await browser.get("/-/health", headers={"Host": "10.1.2.3"})).status_code == 200


async def test_two_host_headers_are_refused(world: World) -> None:
    async with Browser(world.app) as browser:
        headers = [("Host", "intranet.test"), ("Host", "evil.test")]
        assert (await browser.get("/", headers=headers)).status_code == 421


def test_listening_everywhere_takes_numbers_but_no_foreign_name() -> None:
    site = Site("0.0.0.0", hosts=(".example.org", "erp"))
    for host in ("192.168.1.5:8000", "[fd00::1]", "erp", "a.example.org", "localhost"):
        assert site.answers_to(host), host
    for host in ("example.org.evil.test", "evil.test", "erp.evil.test", "192.168.1.5.evil.test"):
        assert not site.answers_to(host), host
    assert not Site("127.0.0.1").answers_to("192.168.1.5")
    assert Site("127.0.0.1", hosts=("*",)).answers_to("anything")


@pytest.mark.parametrize("wrong", ["intranet.example", "ftp://x", "https://"])
def test_a_public_url_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(BadConfiguration):
        Site("127.0.0.1", public_url=wrong)


async def test_a_form_needs_the_secret_of_its_session(world: World, walid: Browser) -> None:
    other = world.accounts.open_session("walid")
    assert (await walid.send_form("/save", a="1")).status_code == 403
    assert (await walid.send_form("/save", a="1", _csrf="")).status_code == 403
    assert (await walid.send_form("/save", a="1", _csrf=other.csrf)).status_code == 403
    secret = await walid.csrf()
    answer = await walid.send_form("/save", a="1", _csrf=secret)
    assert answer.json() == {"saved": {"a": "1", "_csrf": secret}}


async def test_the_secret_comes_in_a_header_or_a_multipart_form_too(world: World, walid: Browser) -> None:
    secret = await walid.csrf()
    assert (await walid.put("/upload", content=b"x" * 10)).status_code == 403
    answer = await walid.put("/upload", content=b"x" * 10, headers={"X-CSRF-Token": secret})
    assert (answer.status_code, answer.text) == (200, "10")
    files = {"file": ("a.csv", b"1;2\n" * 100)}
    assert (await walid.post("/save", data={"a": "1"}, files=files)).status_code == 403
    answer = await walid.post("/save", data={"a": "1", "_csrf": secret}, files=files)
    assert answer.json()["saved"]["a"] == "1"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://intranet.test:8000"},
        {"Origin": "http://intranet.test.evil.test"},
        {"Origin": "http://[oops"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.test"},
    ],
)
async def test_another_sites_page_cannot_send_forms_even_with_the_secret(
    world: World, walid: Browser, headers: dict[str, str]
) -> None:
    secret = await walid.csrf()
    answer = await walid.post("/save", data={"_csrf": secret}, headers=headers)
    assert answer.status_code == 403
    sign_in = await walid.post("/-/sign-in", data={"name": "rita", "password": "x"}, headers=headers)
    assert sign_in.status_code == 403
    value = world.accounts.grant_token("script", "write").value
    answer = await walid.post("/api/things", content=b"x", headers={**headers, "Authorization": f"Bearer {value}"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin"},
        {"Origin": "http://intranet.test"},
        {"Origin": "http://intranet.test:80"},
        {"Sec-Fetch-Site": "none"},
        {},
    ],
)
async def test_our_own_pages_and_programs_can_send_forms(world: World, walid: Browser, headers: dict[str, str]) -> None:
    answer = await walid.post("/save", data={"_csrf": await walid.csrf()}, headers=headers)
    assert answer.status_code == 200


async def test_the_public_url_is_an_origin_of_ours(people: Accounts, clock: SetClock) -> None:
    site = Site("127.0.0.1", public_url="https://intranet.example/")
    scope = {"type": "http", "headers": [(b"host", b"127.0.0.1:8000")]}
    assert site.is_own_origin("https://intranet.example", scope)
    assert site.is_own_origin("http://127.0.0.1:8000", scope)
    assert not site.is_own_origin("http://intranet.example", scope)
    assert not site.is_own_origin("https://intranet.example:8443", scope)


async def test_a_body_over_the_limit_is_refused_by_its_length_or_at_the_byte_too_many(world: World) -> None:
    value = world.accounts.grant_token("script", "write").value

    async def drip() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 1000

    async with Browser(world.app, Authorization=f"Bearer {value}", Accept="application/json") as program:
        for content in (b"x" * 10_001, drip()):
            answer = await program.put("/upload", content=content)
            assert (answer.status_code, answer.json()["code"]) == (413, "limit")
            assert answer.headers["connection"] == "close"
        assert (await program.put("/upload", content=b"x" * 10_000)).text == "10000"
        assert (await program.post("/big", content=b"x" * 50_000)).text == "50000"
        assert (await program.post("/big", content=b"x" * 50_001)).status_code == 413


async def test_a_request_that_takes_too_long_is_ended(world: World, walid: Browser) -> None:
    answer = await walid.get("/slow", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (503, "too-slow")
    assert answer.headers["retry-after"] == "2"


async def test_the_access_log_and_metrics_hold_no_secret(
    world: World, walid: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "brique.access")
    await walid.get("/-/setup?token=very-secret")
    await walid.get("/tables/a/1?q=private%20search")
    await walid.get("/nothing%0aforged-line")
    lines = [record.getMessage() for record in caplog.records if record.name == "brique.access"]
    assert "very-secret" not in caplog.text and "private" not in caplog.text
    assert lines[1].startswith("GET /tables/a/1 200 ") and " walid 10.0.0.7" in lines[1]
    assert "\n" not in lines[2]
    cookie = next(iter(walid.cookies.jar)).value
    assert cookie and cookie not in caplog.text
    last = world.exchanges[-2]
    assert (last.method, last.route, last.status) == ("GET", "/tables/{table}/{key}", 200)


async def test_text_is_compressed_and_streams_pass_untouched(world: World, walid: Browser) -> None:
    answer = await walid.get("/thread")
    assert answer.headers["content-encoding"] == "gzip" and answer.text == "threaded " * 300
    assert int(answer.headers["content-length"]) < 200 and "accept-encoding" in answer.headers["vary"].lower()
    plain = await walid.get("/thread", headers={"Accept-Encoding": "gzip;q=0, identity"})
    assert "content-encoding" not in plain.headers and plain.text == answer.text
    assert "content-encoding" not in (await walid.get("/")).headers
    stream = await walid.get("/stream")
    assert "content-encoding" not in stream.headers and len(stream.content) > 1000


async def test_a_stream_is_sent_part_by_part(world: World, walid: Browser) -> None:
    parts: list[bytes] = []

    async def receive() -> dict[str, object]:
        import asyncio

        await asyncio.Event().wait()
        return {}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.body":
            parts.append(bytes(message.get("body", b"")))  # type: ignore[call-overload]

    cookie = "; ".join(f"{found.name}={found.value}" for found in walid.cookies.jar).encode()
    headers = [(b"host", b"intranet.test"), (b"cookie", cookie), (b"accept-encoding", b"gzip")]
    scope = {"type": "http", "method": "GET", "path": "/stream", "query_string": b"", "headers": headers}
    await world.app({**scope, "asgi": {"spec_version": "2.3"}}, receive, send)  # type: ignore[arg-type]
    assert [part[:6] for part in parts if part] == [b"part 0", b"part 1", b"part 2"]


async def test_assets_last_for_ever_under_their_hash_only(world: World) -> None:
    from brique.http import Assets

    css = b"body { color: black }\n" * 100
    address = Assets({"app.css": css}).url("app.css")
    async with Browser(world.app) as browser:
        answer = await browser.get(address)
        assert answer.status_code == 200 and answer.content == css
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-encoding"] == "gzip" and answer.headers["content-type"].startswith("text/css")
        again = await browser.get(address, headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304 and not again.content
        plain = await browser.get(address, headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers and plain.content == css
        old = await browser.get("/-/assets/0123456789abcdef/app.css")
        assert old.content == css and old.headers["cache-control"] == "no-cache"
        image = await browser.get("/-/assets/x/mark.png")
        assert image.headers["content-type"] == "image/png" and "content-encoding" not in image.headers
        assert (await browser.get("/-/assets/x/../../etc/passwd")).status_code in (303, 404)
        assert (await browser.get("/-/assets/x/none.css")).status_code == 404
    with pytest.raises(BadConfiguration):
        Assets({"../x": b""})
    with pytest.raises(BadConfiguration):
        Assets({}).url("none.css")
