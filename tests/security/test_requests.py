"""What another site, a forged header or a stolen address could make of a request; redirects, cookies, headers."""

from __future__ import annotations

from pathlib import Path

import pytest

from brique.http import allows
from tests.security.test_who import ask, asked
from tests.security.world import PASSWORD, World, running

ELSEWHERE = (
    "//evil.example",
    "https://evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "javascript:x()",
    "/%0d%0aSet-Cookie:x=1",
    "http:evil.example",
    "///evil.example",
    " //evil.example",
    "/\r\nX-Evil: 1",
    "data:text/html,x",
    "@evil.example",
    ".evil.example",
    "/.//evil.example/..//",
    "/%2f%2fevil.example",
)


def test_every_unsafe_route_refuses_a_session_without_its_own_secret(world: World) -> None:
    stranger = world.session("reader", "read").csrf
    checked = 0
    for route, method, path in asked(world):
        if method == "GET" or route.role is None or not allows("admin", route.role):
            continue
        for secret in ("", "wrong", stranger, world.callers["session-write"].csrf, "é" * 10):
            headers = {"X-CSRF-Token": secret.encode()} if secret else {}
            rest = {"json": {}} if path.startswith("/api") else {"data": {"_csrf": secret}}
            answer = world.request("session-admin", method, path, headers=headers, **rest)  # type: ignore[arg-type]
            assert answer.status_code == 403, (method, path, secret)
            assert "another site" in answer.text or "no longer valid" in answer.text
            checked += 1
    assert checked > 60


def test_every_unsafe_route_refuses_another_origin_even_with_the_secret(world: World) -> None:
    for _route, method, path in asked(world):
        if method == "GET":
            continue
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "http://127.0.0.1:9999"},
            {"Origin": "http://127.0.0.1:8000.evil"},
            {"Origin": "http://[::1"},
            {"Origin": "https://127.0.0.1:8000@evil.example"},
        ):
            caller = world.callers["session-admin"]
            answer = world.request(caller, method, path, headers={"X-CSRF-Token": caller.csrf, **headers})
            assert answer.status_code == 403, (method, path, headers)


def test_nothing_is_written_by_looking(world: World) -> None:
    """GET, HEAD and OPTIONS of every route leave the outbox as it was."""
    before = world.api("/api/outbox?limit=1").json()["position"], world.api("/api/outbox").json()["counts"]
    for route, method, path in asked(world):
        if method == "GET" and route.path != "/-/live":
            for form in ("HEAD", "OPTIONS", "GET"):
                ask(world, "session-admin", form, path)
    assert (world.api("/api/outbox?limit=1").json()["position"], world.api("/api/outbox").json()["counts"]) == before


def test_every_answer_forbids_frames_sniffing_and_foreign_scripts(world: World) -> None:
    for route, method, path in asked(world):
        if route.path == "/-/live" or method != "GET":
            continue
        for who in ("nobody", "session-admin"):
            headers = ask(world, who, method, path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-frame-options"] == "DENY"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
            assert "access-control-allow-origin" not in headers
            if not path.startswith("/-/assets") and path != "/favicon.ico":
                assert "public" not in headers["cache-control"], path


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
def test_no_redirect_leads_to_another_site(world: World, elsewhere: str) -> None:
    paths = ("/-/sign-in", "/-/language", "/-/account/language")
    for path in paths:
        form = {"name": "writeer", "password": PASSWORD, "next": elsewhere, "language": "fr"}
        who = "session-write" if "account" in path else "nobody"
        answer = world.post(path, form, who=who)
        _stays(answer.headers.get("location", "/"))
        assert "x-evil" not in answer.headers
    for who in ("session-read", "nobody"):
        _stays(world.get("/-/sign-in", who=who, params={"next": elsewhere}).headers.get("location", "/"))
    for form in ({"next": elsewhere, "_next": elsewhere, "back": elsewhere}, {"action": elsewhere}):
        answer = world.post("/tables/sale/7/edit", {"note": "x", **form})
        _stays(answer.headers.get("location", "/"))
    for header in ("X-Forwarded-Host", "X-Original-URL", "X-Rewrite-URL", "Forwarded", "Referer", "X-Forwarded-Prefix"):
        ascii_only = elsewhere.encode("ascii", "ignore").decode().replace("\r\n", "").replace("\t", "").strip() or "x"
        answer = world.get("/tables/sale", who="nobody", headers={header: ascii_only})
        _stays(answer.headers.get("location", "/"))
        assert "evil" not in answer.headers.get("location", "")
        assert "evil.example" not in world.get("/tables/sale", headers={header: ascii_only}).text


def _stays(location: str) -> None:
    assert location.startswith("/"), location
    assert not location.startswith(("//", "/\\")), location
    assert not set("\r\n\t\\") & set(location), location


def test_the_host_header_cannot_be_forged(world: World) -> None:
    for host in (
        "evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "evil.example:8000",
        "",
        "127.0.0.1 x",
        "127.0.0.1:8000/evil",
        "[::1",
        "127.0.0.1:99999",
        "localhost:0",
    ):
        answer = world.get("/tables", headers={"Host": host})
        assert answer.status_code == 421, host
        assert "evil" not in answer.text
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"):
        assert world.get("/tables", headers={"Host": host}).status_code == 200, host


def test_the_setup_link_is_dead_once_there_is_a_user(world: World) -> None:
    assert world.site.accounts.new_setup_token() is None
    for token in ("", "x", "0" * 43):
        assert world.get(f"/-/setup?token={token}", who="nobody").status_code in (303, 403)
        form = {"token": token, "name": "thief", "password": PASSWORD, "repeat": PASSWORD}
        assert world.post("/-/setup", form, who="nobody").status_code == 403
    assert "thief" not in world.get("/-/users").text


def test_signing_in_gives_a_new_session_that_scripts_cannot_read(world: World) -> None:
    planted = {"Cookie": f"brique_{world.site.accounts.instance}=planted"}
    answer = world.request(
        "nobody", "POST", "/-/sign-in", data={"name": "reader", "password": PASSWORD}, headers=planted
    )
    assert answer.status_code == 303
    [cookie] = [text for text in answer.headers.get_list("set-cookie") if "brique_" in text]
    assert "planted" not in cookie
    flags = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/"} <= flags
    assert not any(flag.startswith("domain") for flag in flags)
    told = world.post("/-/language", {"language": "fr"}, who="nobody").headers["set-cookie"].lower()
    assert "httponly" in told
    assert "samesite=lax" in told


def test_behind_https_every_cookie_is_secure(tmp_path: Path) -> None:
    with running(tmp_path, declared=False, public_url="https://intranet.example") as world:
        for host in ("intranet.example", "intranet.example:443"):
            form = {"name": "writeer", "password": PASSWORD}
            answer = world.request("nobody", "POST", "/-/sign-in", data=form, headers={"Host": host})
            assert answer.status_code == 303
            [cookie] = answer.headers.get_list("set-cookie")
            assert cookie.startswith("__Host-brique_")
            assert "secure" in cookie.lower()
            name, _, value = cookie.split(";")[0].partition("=")
            there = {"Host": host, "Cookie": f"{name}={value}"}
            page = world.request("nobody", "GET", "/tables/sale", headers=there)
            assert page.status_code == 200
            for flashed in (
                world.request("nobody", "POST", "/-/language", data={"language": "fr"}, headers=there),
                world.request("nobody", "POST", "/-/sign-out", headers=there),
            ):
                for text in flashed.headers.get_list("set-cookie"):
                    assert "secure" in text.lower()


def test_every_cookie_of_every_form_is_closed_to_scripts(world: World) -> None:
    edited = world.post("/tables/sale/8/edit", {"note": "flash", "label": "x"})
    created = world.post("/tables/sale/new", {"label": "made", "amount": "1"})
    found = [text for answer in (edited, created) for text in answer.headers.get_list("set-cookie")]
    assert found
    for text in found:
        assert "httponly" in text.lower()
        assert "samesite" in text.lower()


@pytest.mark.parametrize("cookie", ["brique_flash", "brique_language", "brique_theme", "theme", "flash"])
def test_forged_cookies_are_passed_over(world: World, cookie: str) -> None:
    session = world.callers["session-admin"].headers["Cookie"]
    names = {part.split("=")[0] for part in _cookies(world)} | {cookie}
    for name in names:
        for value in (
            "<script>zqx(1)</script>",
            "%00",
            "x" * 3000,
            '"',
            "eyJ4Ijo=",
            "..",
            "{}",
            "[]",
            "null",
            "a.b.c",
            "é",
        ):
            headers = {"Cookie": f"{session}; {name}={value}".encode()}
            for path in ("/tables/sale", "/-/account", "/-/sign-in"):
                answer = world.request("nobody", "GET", path, headers=headers)  # type: ignore[arg-type]
                assert answer.status_code in (200, 303)
                assert "<script>zqx" not in answer.text


def _cookies(world: World) -> list[str]:
    answer = world.post("/tables/sale/9/edit", {"note": "flash"})
    return [
        text for text in answer.headers.get_list("set-cookie") if "brique_" + world.site.accounts.instance not in text
    ]
