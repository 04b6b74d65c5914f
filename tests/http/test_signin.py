"""Sign-in, setup, account and users, as a browser without JavaScript sees them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from brique.http import Accounts, Site

from .conftest import PASSWORD, Browser, SetClock, World, build

pytestmark = pytest.mark.anyio


@pytest.fixture
async def awa(world: World) -> AsyncIterator[Browser]:
    async with Browser(world.app) as browser:
        await browser.sign_in("awa")
        yield browser


def cookie(browser: Browser, world: World) -> str:
    value = browser.cookies.get(f"brique_{world.accounts.instance}")
    assert value
    return value


async def test_a_right_password_signs_in(world: World, browser: Browser) -> None:
    answer = await browser.sign_in("rita")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    header = answer.headers["set-cookie"]
    assert "HttpOnly" in header and "SameSite=lax" in header and "Path=/" in header and "Secure" not in header
    assert (await browser.get("/")).json()["user"] == "rita"


async def test_a_wrong_password_says_so_and_keeps_the_name(world: World, browser: Browser) -> None:
    answer = await browser.sign_in('"><script>rita', "wrong password", next="/tables/a/1")
    assert answer.status_code == 422 and "set-cookie" not in answer.headers
    assert "The name or the password is wrong." in answer.text
    assert "<script>" not in answer.text and "&lt;script&gt;rita" in answer.text
    assert 'value="/tables/a/1"' in answer.text and "wrong password" not in answer.text


async def test_too_many_wrong_passwords_have_to_wait(world: World, browser: Browser) -> None:
    for _ in range(5):
        await browser.sign_in("rita", "wrong password")
    answer = await browser.sign_in("rita")
    assert answer.status_code == 429 and answer.headers["retry-after"] == "1"
    assert "Try again in 1 seconds" in answer.text
    world.clock.pass_time(seconds=2)
    assert (await browser.sign_in("rita")).status_code == 303


async def test_sign_in_gives_a_new_id_and_ends_the_one_that_came(world: World, browser: Browser) -> None:
    await browser.sign_in("rita")
    first = cookie(browser, world)
    await browser.sign_in("awa")
    second = cookie(browser, world)
    assert first != second and world.accounts.session(first) is None
    browser.cookies.clear()
    browser.cookies.set(f"brique_{world.accounts.instance}", "chosen-by-an-attacker")
    await browser.sign_in("rita")
    values = {found.value for found in browser.cookies.jar}
    assert world.accounts.session("chosen-by-an-attacker") is None and len(values - {"chosen-by-an-attacker"}) == 1


async def test_on_https_the_cookie_is_bound_to_this_host(people: Accounts, clock: SetClock) -> None:
    world = build(people, clock)
    async with Browser(world.app, "https://intranet.test") as browser:
        answer = await browser.sign_in("rita")
        header = answer.headers["set-cookie"]
        assert header.startswith(f"__Host-brique_{people.instance}=") and "Secure" in header and "Path=/" in header
        assert (await browser.get("/")).status_code == 200
        value = next(iter(browser.cookies.jar)).value
        browser.cookies.clear()
        browser.cookies.set(f"brique_{people.instance}", value or "")
        assert (await browser.get("/")).status_code == 303


async def test_behind_a_proxy_of_the_public_url_the_cookie_is_secure(people: Accounts, clock: SetClock) -> None:
    world = build(people, clock, site=Site("127.0.0.1", public_url="https://intranet.example"))
    async with Browser(world.app, "http://intranet.example") as browser:
        browser.origin = "https://intranet.example"
        answer = await browser.sign_in("rita")
        assert answer.status_code == 303 and answer.headers["set-cookie"].startswith("__Host-")


async def test_sign_out_ends_the_session_for_good(world: World, browser: Browser) -> None:
    await browser.sign_in("rita")
    value = cookie(browser, world)
    assert (await browser.send_form("/-/sign-out")).status_code == 403
    answer = await browser.send_form("/-/sign-out", _csrf=await browser.csrf())
    assert answer.headers["location"] == "/-/sign-in"
    assert world.accounts.session(value) is None and not list(browser.cookies.jar)


async def test_the_first_visit_creates_the_administrator(accounts: Accounts, clock: SetClock) -> None:
    world = build(accounts, clock)
    token = accounts.new_setup_token()
    assert token
    async with Browser(world.app) as browser:
        assert "one-time link" in (await browser.get("/-/sign-in")).text
        page = await browser.get(f"/-/setup?token={token}")
        assert page.status_code == 200 and f'value="{token}"' in page.text
        fields = {"token": token, "name": "awa", "password": PASSWORD, "repeat": PASSWORD, "language": "fr"}
        assert (await browser.send_form("/-/setup", **{**fields, "repeat": "other"})).status_code == 422
        weak = await browser.send_form("/-/setup", **{**fields, "password": "short", "repeat": "short"})
        assert weak.status_code == 422 and "at least 10 characters" in weak.text
        assert (await browser.send_form("/-/setup", **{**fields, "token": "wrong"})).status_code == 403
        answer = await browser.send_form("/-/setup", **fields)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert (await browser.get("/")).json() | {"csrf": ""} == {
            "user": "awa", "role": "admin", "via": "session", "csrf": ""
        }  # fmt: skip
        assert "Mon compte" in (await browser.get("/-/account")).text
        assert (await browser.get(f"/-/setup?token={token}")).headers["location"] == "/-/sign-in"
        assert (await browser.send_form("/-/setup", **{**fields, "name": "eve"})).status_code == 403
    assert [person.name for person in accounts.list_users()] == ["awa"]


async def test_a_wrong_setup_link_shows_no_form(accounts: Accounts, clock: SetClock) -> None:
    world = build(accounts, clock)
    accounts.new_setup_token()
    async with Browser(world.app) as browser:
        for path in ("/-/setup", "/-/setup?token=wrong"):
            page = await browser.get(path)
            assert page.status_code == 403 and "no longer valid" in page.text and "<input" not in page.text


async def test_the_password_is_changed_with_the_old_one_only(world: World, awa: Browser) -> None:
    other = world.accounts.open_session("awa")
    before, secret = cookie(awa, world), await awa.csrf()
    new = {"new": "nouveau mot secret", "repeat": "nouveau mot secret", "_csrf": secret}
    assert (await awa.send_form("/-/account/password", current="wrong password", **new)).status_code == 422
    weak = {**new, "new": "short", "repeat": "short"}
    assert (await awa.send_form("/-/account/password", current=PASSWORD, **weak)).status_code == 422
    answer = await awa.send_form("/-/account/password", current=PASSWORD, **new)
    assert answer.headers["location"] == "/-/account?done=password"
    assert cookie(awa, world) != before and world.accounts.session(before) is None
    assert world.accounts.session(other.id) is None
    assert "The password is changed" in (await awa.get(answer.headers["location"])).text


async def test_sessions_are_listed_and_ended(world: World, awa: Browser) -> None:
    other = world.accounts.open_session("awa", agent="Old phone", address="10.0.0.8")
    page = (await awa.get("/-/account")).text
    assert "Old phone" in page and "this one" in page
    handle = re.search(r'name="handle" value="([0-9a-f]+)"', page)
    assert handle
    await awa.send_form("/-/account/sessions", handle=handle[1], _csrf=await awa.csrf())
    assert world.accounts.session(other.id) is None and (await awa.get("/")).status_code == 200
    await awa.send_form("/-/account/everywhere", _csrf=await awa.csrf())
    assert (await awa.get("/")).status_code == 303


async def test_an_api_token_is_shown_once_used_and_revoked(world: World, browser: Browser) -> None:
    await browser.sign_in("walid")
    secret = await browser.csrf()
    page = await browser.send_form("/-/account/tokens", name="nightly", role="admin", days="7", _csrf=secret)
    value = re.search(r"<code>(brq_[\w-]+)</code>", page.text)
    assert page.status_code == 200 and value and page.headers["cache-control"] == "private, no-store"
    user = world.accounts.token(value[1])
    assert user and (user.name, user.role) == ("walid", "write")
    page = await browser.get("/-/account")
    assert value[1] not in page.text and "nightly" in page.text
    number = str(world.accounts.tokens("walid")[0].id)
    await browser.send_form("/-/account/tokens/revoke", id=number, _csrf=secret)
    assert world.accounts.token(value[1]) is None


async def test_a_token_cannot_manage_accounts(world: World) -> None:
    value = world.accounts.grant_token("script", "admin").value
    async with Browser(world.app, Authorization=f"Bearer {value}", Accept="application/json") as program:
        for path in ("/-/account", "/-/users"):
            assert (await program.get(path)).status_code == 403
        answer = await program.post("/-/users", data={"name": "eve", "password": PASSWORD, "role": "admin"})
        assert answer.status_code == 403
    assert len(world.accounts.list_users()) == 3


async def test_an_administrator_manages_users(world: World, awa: Browser) -> None:
    secret = await awa.csrf()
    made = await awa.send_form("/-/users", name="zoé", password=PASSWORD, role="write", _csrf=secret)
    assert made.headers["location"] == "/-/users?done=created"
    taken = await awa.send_form("/-/users", name="ZOÉ", password=PASSWORD, role="read", _csrf=secret)
    assert taken.status_code == 409 and "already a user" in taken.text
    await awa.send_form("/-/users/role", name="zoé", role="read", _csrf=secret)
    assert world.accounts.user("zoé").role == "read"
    await awa.send_form("/-/users/password", name="zoé", password="encore un secret", _csrf=secret)
    assert world.accounts.verify("zoé", "encore un secret", address="::1")
    await awa.send_form("/-/users/disable", name="zoé", _csrf=secret)
    assert "account closed" in (await awa.get("/-/users")).text
    await awa.send_form("/-/users/enable", name="zoé", _csrf=secret)
    assert world.accounts.user("zoé").disabled is None
    last = await awa.send_form("/-/users/disable", name="awa", _csrf=secret)
    assert last.status_code == 409 and "last administrator" in last.text


async def test_others_do_not_manage_users(world: World, browser: Browser) -> None:
    await browser.sign_in("walid")
    assert (await browser.get("/-/users")).status_code == 403
    answer = await browser.send_form("/-/users/role", name="walid", role="admin", _csrf=await browser.csrf())
    assert answer.status_code == 403 and world.accounts.user("walid").role == "write"


async def test_the_account_page_speaks_french(world: World, awa: Browser) -> None:
    await awa.send_form("/-/account/language", language="fr", _csrf=await awa.csrf())
    page = (await awa.get("/-/account?done=language")).text
    assert "La langue est changée." in page and "Se déconnecter partout" in page and '<html lang="fr">' in page
    assert "Utilisateurs" in (await awa.get("/-/users")).text


async def test_one_form_too_many_fields_is_refused(world: World, browser: Browser) -> None:
    fields = {f"field{number}": "x" for number in range(50)}
    assert (await browser.send_form("/-/sign-in", **fields)).status_code == 400
