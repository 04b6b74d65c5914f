"""The same answers either way: what the connection gives from the shelf is what the application would have given."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from datetime import timedelta

import pytest

from brique.http import Exchange
from tests.app.both_ways import PASSWORD, TOKEN, Both, Line, both_ways
from tests.servers import wait_until

BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Connection: keep-alive",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Site: none",
)
PATHS = (
    "/api/tables/customer/1", "/api/tables/customer/2", "/api/tables/customer/99", "/api/tables/order%20line/1,1",
    "/api/tables/customer/1?x=1", "/api/tables/customer", "/api/views/by_city?city=Dakar", "/api/views/by_city",
    "/api/views/mine", "/api/views/secret", "/api", "/openapi.json", "/tables/customer", "/tables/customer/1",
    "/tables/orders?sort=-amount", "/by-city/Dakar", "/mine", "/", "/secret", "/-/health", "/-/sign-in", "/nothing",
    "/outbox", "/-/assets/0/brique.css", "/api/tables/customer.csv", "//evil", "/api/tables/customer/1/",
    "/api/tables/customer/%31", "/api/tables/../api",
)  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with both_ways(tmp_path_factory.mktemp("both")) as both:
        yield both


@pytest.fixture
def lines(both: Both) -> Iterator[tuple[Line, Line]]:
    fast, slow = Line(both.fast), Line(both.slow)
    yield fast, slow
    fast.close()
    slow.close()


def callers(both: Both) -> dict[str, tuple[str, ...]]:
    found = {name: (f"Cookie: {both.sign_in(name)}",) for name in ("rita", "walid", "awa")}
    found["awa, french"] = (f"Cookie: theme=dark; brique_language=fr; {both.sign_in('awa')}", "Accept-Language: fr")
    found["token"] = (f"Authorization: Bearer {TOKEN}",)
    found["a proxy's Basic"] = (f"Cookie: {both.sign_in('rita')}", "Authorization: Basic YWJjOmRlZg==")
    found["nobody"] = ()
    found["old session"] = (f"Cookie: brique_{both.site.accounts.instance}=gone",)
    return found


@pytest.mark.parametrize("encoding", ["", "gzip", "gzip, deflate, br, zstd", "gzip;q=0, identity", "zstd"])
def test_every_kind_of_request_gets_the_same_answer_three_times_over(
    both: Both, lines: tuple[Line, Line], encoding: str
) -> None:
    fast, slow = lines
    before, asked = both.shelf.hits, 0
    for (who, caller), path in itertools.product(callers(both).items(), PATHS):
        accept = "Accept: application/json" if path.startswith("/api") else BROWSER[1]
        headers = (BROWSER[0], accept, *BROWSER[2:], *caller, *([f"Accept-Encoding: {encoding}"] if encoding else []))
        expected = slow.ask("GET", path, *headers)
        for turn in range(3):
            answer = fast.ask("GET", path, *headers)
            assert answer == expected, f"{who} asks for {path}, turn {turn}"
            asked += 1
        for condition in _conditions(expected.etag):
            told = (*headers, f"If-None-Match: {condition}")
            assert fast.ask("GET", path, *told) == slow.ask("GET", path, *told), f"{who}, {path}, {condition}"
        for method in ("HEAD", "OPTIONS"):
            assert fast.ask(method, path, *headers) == slow.ask(method, path, *headers), f"{who} {method} {path}"
    assert both.shelf.hits - before > asked / 10


def _conditions(etag: str) -> list[str]:
    if not etag:
        return ['"none"']
    return [etag, f"W/{etag}".replace("W/W/", "W/"), "*", f'"other", {etag}', '"other"', "", etag.strip('"')]


ROW = "/api/tables/customer/1"


class Warm:
    """A caller whose next request for `path` is answered from the shelf, unless what happens in between forbids it."""

    def __init__(self, both: Both, line: Line, caller: str, path: str = ROW) -> None:
        self.both, self.line, self.headers, self.path = both, line, ("Accept: */*", caller), path
        self.before = self.line.ask("GET", path, *self.headers)
        self.again()

    def again(self) -> None:
        """Twice more, and the last of them from the shelf."""
        hits = self.both.shelf.hits
        assert self.line.ask("GET", self.path, *self.headers) == self.before
        wait_until(lambda: self._asked() and self.both.shelf.hits > hits, 10, "an answer from the shelf")

    def _asked(self) -> bool:
        return self.line.ask("GET", self.path, *self.headers) == self.before

    def now(self, slow: Line) -> int:
        """What the next request gets, and the one after it; the same as by the other door. Its status."""
        expected = slow.ask("GET", self.path, *self.headers)
        assert self.line.ask("GET", self.path, *self.headers) == expected
        assert self.line.ask("GET", self.path, *self.headers) == expected
        return expected.status


def test_who_signs_out_or_is_shut_out_gets_nothing_from_the_next_request_on(
    both: Both, lines: tuple[Line, Line]
) -> None:
    fast, slow = lines
    accounts = both.site.accounts
    accounts.create_user("moussa", PASSWORD, "read")
    deeds = [
        lambda cookie: accounts.close_session(cookie.partition("=")[2]),
        lambda _cookie: accounts.close_all("moussa"),
        lambda _cookie: accounts.set_password("moussa", PASSWORD + "!"),
        lambda _cookie: accounts.disable("moussa"),
    ]
    for deed in deeds:
        cookie = both.sign_in("moussa")
        warm = Warm(both, fast, f"Cookie: {cookie}")
        deed(cookie)
        assert warm.now(slow) == 401
    accounts.disable("moussa", disabled=False)
    opened = Warm(both, fast, f"Cookie: {both.sign_in('moussa')}")
    other = accounts.open_session("moussa", replaces=opened.headers[1].rpartition("=")[2])
    assert opened.now(slow) == 401
    assert Warm(both, fast, f"Cookie: brique_{accounts.instance}={other.id}").before.status == 200


def test_a_role_that_is_taken_or_given_holds_from_the_next_request_on(both: Both, lines: tuple[Line, Line]) -> None:
    fast, slow = lines
    both.site.accounts.create_user("fatou", PASSWORD, "admin")
    warm = Warm(both, fast, f"Cookie: {both.sign_in('fatou')}", "/api/views/secret")
    both.site.accounts.set_role("fatou", "read")
    assert warm.now(slow) == 404
    both.site.accounts.set_role("fatou", "admin")
    assert warm.now(slow) == 200
    warm.again()


def test_what_one_may_see_is_not_given_to_another_who_may_not(both: Both, lines: tuple[Line, Line]) -> None:
    fast, slow = lines
    Warm(both, fast, f"Cookie: {both.sign_in('awa')}", "/api/views/secret")
    mine = Warm(both, fast, f"Cookie: {both.sign_in('awa')}", "/api/views/mine")
    for caller, status in ((f"Cookie: {both.sign_in('rita')}", 404), ("X-Nobody: 1", 401)):
        headers = ("Accept: */*", caller)
        for _ in range(3):
            answer = fast.ask("GET", "/api/views/secret", *headers)
            assert answer.status == status
            assert answer == slow.ask("GET", "/api/views/secret", *headers)
            assert fast.ask("GET", "/api/views/mine", *headers).body != mine.before.body


def test_a_token_ends_with_its_revocation_and_is_refused_with_its_address(both: Both, lines: tuple[Line, Line]) -> None:
    fast, slow = lines
    accounts = both.site.accounts
    grant = accounts.grant_token("nightly", "read")
    revoked = Warm(both, fast, f"Authorization: Bearer {grant.value}")
    daily = f"Authorization: Bearer {accounts.grant_token('daily', 'read').value}"
    assert fast.ask("GET", "/-/assets/0/brique.css", "Accept: */*", daily).status == 200  # known by what is open to all
    kept = Warm(both, fast, daily)
    accounts.revoke_token(grant.id)
    assert revoked.now(slow) == 401
    kept.again()
    for _ in range(30):
        slow.ask("GET", ROW, "Authorization: Bearer brq_guessed")
    assert fast.ask("GET", ROW, *kept.headers).status == 429
    gate = both.gate()
    gate.bad_tokens.forget()
    kept.again()


def test_a_change_of_the_data_is_in_the_next_answer(both: Both, lines: tuple[Line, Line]) -> None:
    fast, slow = lines
    caller = f"Cookie: {both.sign_in('rita')}"
    row, view = Warm(both, fast, caller), Warm(both, fast, caller, "/api/views/by_city?city=Dakar")
    beside = Warm(both, fast, caller, "/api/tables/customer/2")
    both.change("customer", "1", city="Dakar")
    assert row.now(slow) == view.now(slow) == 200
    assert b"Dakar" in fast.ask("GET", ROW, *row.headers).body
    assert b"Aminata" in fast.ask("GET", view.path, *view.headers).body
    assert beside.now(slow) == 200
    hits = both.shelf.hits
    assert fast.ask("GET", beside.path, *beside.headers).body == beside.before.body
    assert both.shelf.hits == hits + 1, "a row that has not changed was let go"


def test_the_language_of_an_account_is_in_its_next_answer(both: Both, lines: tuple[Line, Line]) -> None:
    fast, slow = lines
    both.site.accounts.create_user("binta", PASSWORD, "read", "en")
    warm = Warm(both, fast, f"Cookie: {both.sign_in('binta')}", "/api/views/mine")
    both.site.accounts.set_language("binta", "fr")
    assert warm.now(slow) == 200


PAGES = ("/tables/customer", "/tables/customer/1", "/tables/orders?sort=-amount", "/by-city/Dakar", "/mine", "/")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_that_stands_tells_the_age_of_its_data_as_it_is_now(
    both: Both, lines: tuple[Line, Line], path: str
) -> None:
    fast, slow = lines
    headers = (*BROWSER, f"Cookie: {both.sign_in('rita')}", "Accept-Encoding: gzip")
    wait_until(lambda: _is_ready(both, fast, path, headers), 10, "the page to stand")
    began = both.clock.moment
    try:
        for seconds in (1, 1, 1, 57, 0.5, 0.5, 60, 3600, 10, 86_400 * 2, 1):
            both.clock.moment += timedelta(seconds=seconds)
            for _ in range(3):
                assert fast.ask("GET", path, *headers) == slow.ask("GET", path, *headers), both.clock.moment - began
        both.clock.moment = began
        wait_until(lambda: _is_ready(both, fast, path, headers), 10, "the page to stand again")
        hits = both.shelf.hits
        for _ in range(20):
            both.clock.moment += timedelta(seconds=0.9)
            assert fast.ask("GET", path, *headers) == slow.ask("GET", path, *headers)
        assert both.shelf.hits == hits + 20
    finally:
        both.clock.moment = began


def _is_ready(both: Both, fast: Line, path: str, headers: tuple[str, ...]) -> bool:
    hits = both.shelf.hits
    assert fast.ask("GET", path, *headers).status == 200
    return both.shelf.hits > hits


def test_a_page_shows_a_change_and_what_is_pending_at_once(both: Both, lines: tuple[Line, Line]) -> None:
    fast, slow = lines
    headers = (*BROWSER, f"Cookie: {both.sign_in('walid')}")
    for path in ("/tables/customer", "/tables/customer/3"):
        wait_until(lambda path=path: _is_ready(both, fast, path, headers), 10, "the page to stand")  # type: ignore[misc]
    both.change("customer", "3", city="Saint-Louis")
    for path in ("/tables/customer", "/tables/customer/3"):
        for _ in range(3):
            answer = fast.ask("GET", path, *headers)
            assert answer == slow.ask("GET", path, *headers)
            assert b"Saint-Louis" in answer.body


def test_a_page_of_one_session_is_not_given_to_another(both: Both, lines: tuple[Line, Line]) -> None:
    fast, slow = lines
    cookies = [both.sign_in("rita"), both.sign_in("rita"), both.sign_in("awa")]
    for cookie in cookies:
        headers = (*BROWSER, f"Cookie: {cookie}")
        wait_until(lambda headers=headers: _is_ready(both, fast, "/mine", headers), 10, "the page")  # type: ignore[misc]
    pages = {cookie: fast.ask("GET", "/mine", *BROWSER, f"Cookie: {cookie}").body for cookie in cookies}
    assert len(set(pages.values())) == 3, "each has its own secret in its forms"
    for cookie, page in pages.items():
        assert slow.ask("GET", "/mine", *BROWSER, f"Cookie: {cookie}").body == page


def test_what_leaves_from_the_shelf_is_logged_and_counted_as_all_else(
    both: Both, lines: tuple[Line, Line], caplog: pytest.LogCaptureFixture
) -> None:
    fast, slow = lines
    warm = Warm(both, fast, f"Cookie: {both.sign_in('rita')}")
    counted: list[Exchange] = []
    both.shelf.on_exchange = counted.append
    hits = both.shelf.hits
    told = []
    with caplog.at_level(logging.INFO, "brique.access"):
        for line in (slow, fast):
            caplog.clear()
            line.ask("GET", ROW, *warm.headers)
            wait_until(lambda: bool(caplog.records), 5, "the line in the log")
            told.append({name: getattr(caplog.records[0], name) for name in _FACTS})
    both.shelf.on_exchange = None
    assert both.shelf.hits == hits + 1
    assert told[0] == told[1]
    assert told[1]["user"] == "rita"
    assert [(one.method, one.route, one.status) for one in counted] == [("GET", "/api/tables/{table}/{key}", 200)]
    assert counted[0].bytes_sent == told[1]["bytes"] > 0


_FACTS = ("method", "path", "status", "bytes", "user", "address")


def test_a_row_is_kept_once_for_all_who_wish_the_same(both: Both, lines: tuple[Line, Line]) -> None:
    fast, slow = lines
    caller = f"Cookie: {both.sign_in('rita')}"
    Warm(both, fast, caller)
    other = ("Accept-Encoding: identity", f"Cookie: {both.sign_in('awa')}", "User-Agent: another/1", "Accept: */*")
    assert fast.ask("GET", "/api/tables/customer/3", *other).status == 200  # now this head is known too
    hits = both.shelf.hits
    assert fast.ask("GET", ROW, *other) == slow.ask("GET", ROW, *other)
    assert both.shelf.hits == hits + 1
