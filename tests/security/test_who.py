"""Every row of the application's table, asked by everybody: who is answered, who is sent away, who may not."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from brique.http import Route, allows
from tests.security.world import ROLES, World

PUBLIC = {
    ("GET", "/-/sign-in"),
    ("POST", "/-/sign-in"),
    ("GET", "/-/setup"),
    ("POST", "/-/setup"),
    ("POST", "/-/language"),
    ("GET", "/-/assets/{digest}/{name:path}"),
    ("GET", "/favicon.ico"),
    ("GET", "/-/health"),
}
"""What is open to all, and nothing else."""
ENDLESS = "/-/live"
"""An event stream: it is asked over a real socket elsewhere."""
PLACES = {
    "table": "sale",
    "key": "30",
    "column": "label",
    "format": "csv",
    "receipt": "nothing",
    "name": "remark",
    "command": "remark",
    "view": "labels",
    "label": "x",
    "code": "not-found",
    "digest": "0",
}


def filled(route: Route) -> str:
    path = route.path.replace("{name:path}", "brique.css")
    for name, value in PLACES.items():
        path = path.replace("{" + name + "}", value)
    assert "{" not in path, path
    return path


def asked(world: World) -> Iterator[tuple[Route, str, str]]:
    for route in world.routes:
        for method in route.methods:
            yield route, method, filled(route)


def ask(world: World, who: str, method: str, path: str, **rest: object) -> httpx.Response:
    """As a program would ask below /api, else as a browser; a session repeats its secret."""
    caller = world.callers[who]
    headers = {"X-CSRF-Token": caller.csrf} if caller.csrf else {}
    if path.startswith("/api"):
        headers |= {"Accept": "application/json"}
        rest = {"json": {}, **rest} if method in ("POST", "PATCH") else rest
    return world.request(caller, method, path, headers=headers, **rest)


def test_only_sign_in_setup_language_assets_and_health_are_open(world: World) -> None:
    found = {(method, route.path) for route in world.routes for method in route.methods if route.role is None}
    assert found == PUBLIC


def test_nobody_is_sent_away_from_every_other_route(world: World) -> None:
    for route, method, path in asked(world):
        if route.role is None:
            continue
        answer = ask(world, "nobody", method, path)
        assert answer.status_code in (303, 401), (method, path)
        if answer.status_code == 303:
            assert answer.headers["location"].startswith("/-/sign-in")
        assert "Aminata" not in answer.text
        program = world.request("nobody", method, path, headers={"Accept": "application/json"})
        assert program.status_code == 401, (method, path)


def test_nobody_does_not_learn_what_exists(world: World) -> None:
    for path in ("/tables/sale", "/tables/nothing", "/nowhere", "/api/nowhere", "/tables/sale/1", "/tables/sale/99999"):
        answer = world.api(path, who="nobody")
        assert answer.status_code == 401
        assert answer.json()["code"] == "sign-in-needed"


@pytest.mark.parametrize("kind", ["session", "token"])
def test_a_role_too_small_is_refused_and_one_large_enough_is_not(world: World, kind: str) -> None:
    checked = 0
    for route, method, path in asked(world):
        if route.role is None or route.path == ENDLESS or path in ("/-/sign-out", "/-/account/everywhere"):
            continue
        needed = "write" if "/commands/" in path else route.role  # which asks for the role of the command itself
        for role in ROLES:
            refused = not allows(role, needed)
            if not refused and (method != "GET" or path.startswith("/-/users")) and kind == "session":
                continue  # forms that change accounts have their own tests
            answer = ask(world, f"{kind}-{role}", method, path)
            by_token = kind == "token" and path.startswith(("/-/account", "/-/users"))
            if refused:
                assert answer.status_code == 403, (role, method, path, answer.status_code)
            elif not by_token:
                assert answer.status_code not in (401, 403), (role, method, path, answer.status_code)
            else:
                assert answer.status_code == 403, (role, method, path)
            checked += 1
    assert checked > 120


def test_the_application_has_one_route_that_is_the_table(world: World) -> None:
    """`World.routes` asserts it; and what is not in the table is not there, for an administrator either."""
    assert len(world.routes) > 50
    for path in (
        "/docs",
        "/redoc",
        "/metrics",
        "/-/",
        "/-/debug",
        "/-/settings",
        "/static/x",
        "/admin",
        "/.git/config",
        "/-/assets",
        "/-/assets/x",
        "/api/",
        "/tables/",
        "/tables/sale/",
        "/-/status/",
        "/%2e%2e/etc/passwd",
    ):
        assert world.get(path).status_code in (404, 422), path


def test_methods_that_no_row_names_are_refused_and_cannot_be_smuggled(world: World) -> None:
    for method in ("TRACE", "CONNECT", "PUT", "PROPFIND", "QUERY", "FOO"):
        answer = ask(world, "session-admin", method, "/tables/sale/1")
        assert answer.status_code == 405, method
    before = world.api("/api/tables/sale/2").json()
    for headers in ({"X-HTTP-Method-Override": "DELETE"}, {"X-Method-Override": "DELETE"}, {"X-HTTP-Method": "PATCH"}):
        assert world.request("token-admin", "GET", "/api/tables/sale/2", headers=headers).status_code == 200
        world.post("/tables/sale/2", {"_method": "DELETE"}, headers=headers)
    assert world.get("/tables/sale/2?_method=DELETE").status_code == 200
    assert world.api("/api/tables/sale/2").json() == before


def test_options_and_head_say_nothing_to_nobody(world: World) -> None:
    for method in ("OPTIONS", "HEAD"):
        for path in ("/tables/sale", "/api/tables/sale/1", "/-/status", "/tables/nothing"):
            answer = world.request("nobody", method, path, headers={"Accept": "application/json"})
            assert answer.status_code == 401, (method, path)
            assert "allow" not in answer.headers


# -- what a reader is shown -------------------------------------------------------------------------------------------


def test_a_reader_sees_nothing_to_write_with(world: World) -> None:
    for path in ("/", "/tables", "/tables/sale", "/tables/sale/1", "/tables/wide", "/outbox", "/-/status"):
        page = world.get(path, who="session-read").text
        for sign in (
            "/new",
            "/edit",
            "/delete",
            "/withdraw",
            "/dismiss",
            "/-/users",
            'action="/commands',
            "/-/status/demo",
        ):
            assert f'{sign}"' not in page, (path, sign)
        writer = world.get(path, who="session-write").text
        assert len(writer) >= len(page)
    assert '/tables/sale/new"' in world.get("/tables/sale", who="session-write").text
    assert '/tables/sale/1/edit"' in world.get("/tables/sale/1", who="session-write").text


def test_a_reader_cannot_run_a_command_that_asks_for_more(world: World) -> None:
    for who, name in (("read", "remark"), ("read", "reign"), ("write", "reign")):
        assert world.get(f"/commands/{name}", who=f"session-{who}").status_code == 403
        assert world.post(f"/commands/{name}", {"sale": "1"}, who=f"session-{who}").status_code == 403
        told = world.request(f"token-{who}", "POST", f"/api/commands/{name}", json={"sale": 1})
        assert told.status_code == 403
    assert world.get("/commands/remark", who="session-write").status_code == 200


def test_a_view_for_administrators_is_theirs_everywhere(world: World) -> None:
    for who in ("read", "write"):
        assert world.get("/for-admins", who=f"session-{who}").status_code == 403
        assert world.api("/api/views/secrets", who=f"token-{who}").status_code in (403, 404)
        for path in ("/", "/tables", "/api", "/openapi.json", "/api/docs"):
            answer = world.get(path, who=f"session-{who}")
            assert "for administrators only" not in answer.text
            assert "/for-admins" not in answer.text, path
    assert "for administrators only" in world.get("/for-admins").text
    assert "for administrators only" in world.api("/api/views/secrets").text


def test_the_receipts_of_others_are_hidden(world: World) -> None:
    given = world.request("token-write", "PATCH", "/api/tables/sale/3", json={"note": "mine alone"})
    receipt = given.json()["receipt"]
    world.site.accounts.create_user("other", "cheval agrafe pile", "write")
    other = world.session("other", "write")
    for path in (f"/outbox/{receipt}", f"/api/outbox/{receipt}"):
        assert world.get(path, who=other).status_code == 404
        assert world.get(path, who="session-read").status_code == 404
        assert world.get(path, who="session-write").status_code == 200
        assert world.get(path).status_code == 200
        for act in ("withdraw", "dismiss", "decide", "resend", "abandon"):
            answer = world.request(
                other, "POST", f"{path}/{act}", headers={"X-CSRF-Token": other.csrf}, json={"arrived": True}
            )
            assert answer.status_code in (404, 422), (path, act)
    for path in ("/outbox", "/outbox?whose=all&state=all", "/api/outbox?user=writeer", "/api/outbox"):
        shown = world.get(path, who=other)
        assert receipt not in shown.text
        assert "mine alone" not in shown.text


def test_errors_processes_and_reasons_are_for_administrators(world: World) -> None:
    for who in ("read", "write"):
        told = world.api("/-/status", who=f"token-{who}").json()
        assert not {"errors", "processes", "node", "version", "disk_free_bytes"} & told.keys()
        assert all("note" not in backend for backend in told["backends"])
    assert {"errors", "processes", "node"} <= world.api("/-/status").json().keys()
