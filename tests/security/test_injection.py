"""What is typed is a value, never a statement, a path, a log line or a template; what is tampered with is a 4xx."""

from __future__ import annotations

import base64
import logging
import random
import unicodedata
from urllib.parse import quote

import pytest

from tests.security.nasty import COLUMNS, MARKUP, STRANGE, VALUES, WIDE
from tests.security.world import World

OPS = (
    "",
    "__ne",
    "__lt",
    "__le",
    "__gt",
    "__ge",
    "__prefix",
    "__contains",
    "__in",
    "__null",
    "__like",
    "__regex",
    "__",
)
SHORT = tuple(value for value in VALUES if len(value) < 200)


def fine(status: int) -> bool:
    """Answered, or refused with a name for the fault."""
    return status in (200, 204, 303, 304, 400, 404, 405, 406, 409, 413, 414, 415, 421, 422, 431)


def test_every_column_is_sorted_filtered_and_chosen_whatever_its_name(world: World) -> None:
    spec = world.specs[WIDE]
    assert len(spec.columns) == len(COLUMNS)
    for column in spec.columns:
        for sort in (column.name, f"-{column.name}"):
            answer = world.api(f"/api/tables/{WIDE}", params={"sort": sort, "limit": "5"})
            assert answer.status_code == 200, sort
        name = f"{column.name}__eq"
        found = world.api(f"/api/tables/{WIDE}", params={name: MARKUP[0]}).json()
        assert found["count"] == 1, column.name
        assert found["rows"][0][column.name] == MARKUP[0]
        chosen = world.api(f"/api/tables/{WIDE}", params={"columns": column.name, "limit": "1"}).json()["rows"][0]
        assert column.name in chosen
        assert world.get(f"/tables/{WIDE}", params={"sort": column.name, name: MARKUP[1]}).status_code == 200


def test_values_find_their_own_row_and_no_other(world: World) -> None:
    for value in SHORT:
        if not value or "\x00" in value:
            continue
        found = world.api("/api/tables/constructor", params={"name__eq": value}).json()
        assert found["count"] >= 1, value
        assert {row["name"] for row in found["rows"]} == {unicodedata.normalize("NFC", value)}
    for value in ("' OR '1'='1", '" OR 1=1 --', "x' UNION SELECT password FROM account --", "%", "_", "*", "?"):
        assert world.api("/api/tables/constructor", params={"name": value}).json()["count"] in (0, 1)
    like = world.api("/api/tables/constructor", params={"name__contains": "%"}).json()
    assert like["count"] == sum("%" in value for value in VALUES)


@pytest.mark.parametrize("op", OPS)
def test_every_comparison_takes_every_value_or_says_why_not(world: World, op: str) -> None:
    for column in ("label", "amount", "at", "status", "note", "extra", "id"):
        for value in SHORT:
            for path in ("/api/tables/sale", "/tables/sale"):
                answer = world.api(path, params={f"{column}{op}": value})
                assert fine(answer.status_code), (column, op, value, answer.text[:300])


def test_searches_for_anything_are_answered(world: World) -> None:
    for value in (
        *SHORT,
        "AND",
        "OR",
        "NOT",
        "NEAR(a b)",
        'a"b',
        "a*",
        "^a",
        "name:x",
        "{a b}:c",
        "(",
        '"',
        "-",
        "+",
        "a AND",
        "x" * 200,
        "\U0001f600",
        "ß",
        "İ",
        "\u0130\u0307",
        "a" * 3 + "\u0301" * 50,
    ):
        for path in ("/api/tables/wide", "/tables/sale", "/api/lookup/wide", "/lookup/wide", "/api/lookup/constructor"):
            assert fine(world.api(path, params={"q": value}).status_code), (path, value)


def test_cursors_with_flipped_bits_are_refused_and_never_a_mistake_of_ours(world: World) -> None:
    chance = random.Random(7)
    for sort in ("", "-name", "amount", "at"):
        table = "sale" if sort in ("amount", "at") else "constructor"
        page = world.api(f"/api/tables/{table}", params={"limit": "3", **({"sort": sort} if sort else {})}).json()
        cursor = page["next"].split("after=")[1].split("&")[0]
        raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        for _ in range(60):
            changed = bytearray(raw)
            changed[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
            if chance.random() < 0.3:
                changed = changed[: chance.randrange(len(changed))]
            if chance.random() < 0.2:
                changed += bytes([chance.randrange(256)]) * 20
            text = base64.urlsafe_b64encode(bytes(changed)).decode().rstrip("=")
            answer = world.api(f"/api/tables/{table}", params={"after": text, "limit": "3", "sort": sort})
            assert answer.status_code in (200, 422), text
        for text in ("x", "=", "!!", "A" * 3000, "\x00", "é", "null", "e30", "W10", "gaFh", "3wAAAA", "2////w"):
            for side in ("after", "before"):
                for path in ("/api/tables/", "/tables/"):
                    answer = world.api(f"{path}{table}", params={side: text, "sort": sort})
                    expected = (
                        (422,) if path.startswith("/api") else (200, 303, 422)
                    )  # a page starts again at its first
                    assert answer.status_code in expected, (path, side, text)
        other = world.api("/api/tables/wide", params={"after": cursor})
        assert other.status_code in (200, 422)
        assert world.api("/api/outbox", params={"after": "1; DROP TABLE command"}).status_code == 422
    assert world.get("/outbox", params={"after": "-1"}).status_code == 422


KEYS = (
    "~",
    "~Z",
    "~ZZ",
    "~C3",
    "~C3~28",
    "~FF~FE",
    "~00",
    "~n",
    "~e",
    "~n,~n",
    "1,2,3",
    ",",
    ",,,,",
    "-",
    "--1",
    "1e999",
    "NaN",
    "9" * 30,
    "-9223372036854775809",
    "9223372036854775808",
    "1.0",
    "0x1",
    " 1",
    "1 ",
    "%00",
    "%2e%2e",
    "..",
    "%252e",
    "new-0",
    "new-" + "f" * 64,
    "é",
    "%ff%fe",
    "%ed%a0%80",
    "1%0d%0aX: 1",
    "1;1",
    "1'--",
    "{{7*7}}",
    "__class__",
    "constructor",
)


@pytest.mark.parametrize(
    "table", ["sale", "wide", "constructor", "nothing", "__class__", "sqlite_master", "t_sale", "command"]
)
def test_keys_of_any_form_find_a_row_or_nothing(world: World, table: str) -> None:
    for key in (*KEYS, *(quote(value, safe="") for value in STRANGE[:-1])):
        for path in (
            f"/tables/{table}/{key}",
            f"/tables/{table}/{key}/edit",
            f"/api/tables/{table}/{key}",
            f"/tables/{table}/{key}/label.bin",
            f"/api/tables/{table}/{key}/content.bin",
        ):
            answer = world.api(path)
            assert fine(answer.status_code), (path, answer.text[:300])
        for method in ("PATCH", "DELETE"):
            if key in ("1.0", " 1", "1 ", "~n", "~e", "", " "):
                continue
            answer = world.request("token-write", method, f"/api/tables/{table}/{key}", json={"note": 5})
            assert answer.status_code in (400, 404, 405, 409, 415, 422), (method, key, answer.status_code)


def test_every_key_of_the_hostile_table_leads_back_to_its_row(world: World) -> None:
    found = world.api("/api/tables/wide", params={"limit": "100", "columns": "code"}).json()["rows"]
    assert len(found) == len(VALUES)
    for row in found:
        if len(row["_key"]) < 2000:
            assert world.api(f"/api/tables/wide/{row['_key']}").json()["code"] == row["code"]


def test_assets_and_files_stay_in_their_folder(world: World) -> None:
    for name in (
        "../../../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/etc/passwd",
        "....//etc/passwd",
        "/etc/passwd",
        "brique.css%00.png",
        "..\\..\\etc\\passwd",
        "__init__.py",
        "~root",
        "file:///etc/passwd",
    ):
        for path in (
            f"/-/assets/0/{name}",
            f"/-/assets/{name}",
            f"/tables/{name}.csv",
            f"/tables/sale.{name}",
            f"/-/problems/{name}",
            f"/api/docs/{name}",
            f"/commands/{name}",
            f"/api/views/{name}",
        ):
            answer = world.get(path)
            assert answer.status_code in (404, 422, 405), (path, answer.status_code)
            assert "root:" not in answer.text


def test_a_log_line_cannot_be_forged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for path in ("/tables/a%0d%0aFORGED%20line", "/tables/a%1b[31m", "/%0aFORGED", "/outbox/%e2%80%a8FORGED"):
        world.get(path, headers={"User-Agent": "a\tFORGED", "X-Request-ID": "FORGED", "X-Forwarded-For": "FORGED"})
    world.get("/tables/sale?q=secret-search&name=secret", headers={"Referer": "secret-referer"})
    for name in ("x\r\nFORGED", "x\nFORGED", "x\u2028FORGED"):
        world.post("/-/sign-in", {"name": name, "password": "secret-password"}, who="nobody")
        world.post("/-/users", {"name": name, "password": "secret-password", "role": "read"})
    for record in caplog.records:
        if record.name == "httpx":
            continue
        line = record.getMessage()
        assert not {"\r", "\n", "\x1b", "\u2028"} & set(line) or record.exc_info, repr(line)
        assert not line.startswith("FORGED")
        assert "secret" not in line


def test_names_of_users_and_tokens_cannot_hold_line_breaks_or_markup(world: World) -> None:
    for name in (*MARKUP, "a\r\nb", "a\x00b", "a\u202eb", "a:b", "a/b", "", " ", "x" * 65, "\ud83d\ude00", "..", "-"):
        answer = world.post(
            "/-/users", {"name": name.encode("utf-8", "replace").decode(), "password": "x" * 16, "role": "read"}
        )
        assert answer.status_code in (303, 409, 422), name
        if any(letter in name for letter in '<>"\r\n\x00\u202e:/'):
            assert answer.status_code == 422, name


def test_fields_of_accounts_cannot_raise_a_role(world: World) -> None:
    world.site.accounts.create_user("climber", "cheval agrafe pile", "read")
    climber = world.session("climber", "read")
    world.post("/-/account/language", {"language": "fr", "role": "admin", "name": "climber"}, who=climber)
    made = world.post("/-/account/tokens", {"name": "up", "role": "admin", "days": "9"}, who=climber)
    assert made.status_code == 200
    assert world.site.accounts.user("climber").role == "read"
    assert {token.role for token in world.site.accounts.tokens("climber")} == {"read"}
    assert world.post("/-/users/role", {"name": "climber", "role": "admin"}, who=climber).status_code == 403
    [token] = world.site.accounts.tokens("writeer")
    assert world.post("/-/account/tokens/revoke", {"id": str(token.id)}, who=climber).status_code == 404
    handle = world.site.accounts.sessions("writeer")[0].user.handle
    world.post("/-/account/sessions", {"handle": handle}, who=climber)
    assert any(session.user.handle == handle for session in world.site.accounts.sessions("writeer"))


def test_bodies_of_any_form_are_refused_with_a_name(world: World) -> None:
    bodies: tuple[bytes, ...] = (
        b"",
        b"null",
        b"[]",
        b"1",
        b'"x"',
        b"{",
        b"{}",
        b'{"__proto__": {"x": 1}}',
        b'{"constructor": 1}',
        b'{"note": {}}',
        b'{"amount": 1e999}',
        b'{"amount": NaN}',
        b'{"amount": Infinity}',
        b'{"amount": ' + b"9" * 5000 + b"}",
        b'{"id": 1e400}',
        b'{"note": "\\ud800"}',
        b'{"note": "\\u0000"}',
        b"[" * 100_000,
        b'{"a":' * 5000,
        b"\xff\xfe",
        b'{"note": 1, "note": 2}',
        b'{"at": "9999-99-99"}',
        b'{"at": "0000-00-00"}',
        b'{"at": "-1-01-01"}',
        b'{"extra": ' + b"[" * 2000 + b"]" * 2000 + b"}",
    )
    for body in bodies:
        for kind in (
            "application/json",
            "application/merge-patch+json",
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "multipart/form-data; boundary=x",
            "",
            "application/json; charset=utf-16",
        ):
            for method, path in (
                ("PATCH", "/api/tables/sale/10"),
                ("POST", "/api/tables/sale"),
                ("POST", "/api/commands/remark"),
            ):
                headers = {"Content-Type": kind} if kind else {}
                answer = world.request("token-write", method, path, content=body, headers=headers)
                assert answer.status_code in (200, 201, 202, 400, 409, 413, 415, 422), (
                    body[:30],
                    kind,
                    answer.status_code,
                )
                if answer.status_code >= 400:
                    assert (
                        answer.headers["content-type"].startswith("application/problem+json")
                        or kind != "application/json"
                    )
            caller = world.callers["session-write"]
            answer = world.request(
                caller,
                "POST",
                "/tables/sale/10/edit",
                content=body,
                headers={"Content-Type": kind, "X-CSRF-Token": caller.csrf},
            )
            assert answer.status_code in (200, 303, 400, 403, 409, 413, 415, 422), (body[:30], kind, answer.status_code)


@pytest.mark.parametrize(
    "header",
    [
        "If-Match",
        "If-None-Match",
        "Idempotency-Key",
        "Prefer",
        "Accept",
        "Accept-Language",
        "Range",
        "If-Modified-Since",
        "Last-Event-ID",
        "HX-Current-URL",
        "HX-Request",
        "Cookie",
        "Authorization",
        "Content-Length",
        "Accept-Encoding",
        "X-CSRF-Token",
    ],
)
def test_headers_of_any_form_are_answered(world: World, header: str) -> None:
    for value in (
        b"",
        b"*",
        b"\xff\xfe",
        b"x" * 5000,
        b'W/"',
        b'"',
        b",,,,",
        b";q=;q=NaN;",
        b"bytes=0-0,-1,9-1",
        b"Basic !!!",
        b"Bearer ",
        b"Bearer \xe9",
        b"Basic " + base64.b64encode(b"\xff:\xff"),
        b"0",
        b"-1",
        b"=",
        b"a=b; a=b" * 100,
        b"respond-async, wait=99999999999999999999",
        b"wait=-1",
        b"wait=NaN",
        b"'; DROP TABLE x; --",
    ):
        for method, path in (
            ("GET", "/tables/sale"),
            ("GET", "/api/tables/sale/11"),
            ("PATCH", "/api/tables/sale/11"),
            ("GET", "/tables/sale.csv"),
            ("GET", "/lookup/sale?q=x"),
        ):
            rest = {"json": {"note": "h"}} if method == "PATCH" and header != "Content-Length" else {}
            answer = world.request("token-write", method, path, headers={header: value}, **rest)  # type: ignore[dict-item]
            assert answer.status_code in (200, 202, 206, 303, 304, 400, 401, 406, 409, 412, 413, 415, 416, 422, 429), (
                header,
                value,
            )
    world.site.asgi.middleware_stack = None  # a new gate: this one counts the wrong tokens above
