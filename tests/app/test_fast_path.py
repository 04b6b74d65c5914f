"""The same answers either way: what the connection gives from the shelf is what the application would have given."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.app.both_ways import TOKEN, Both, Line, both_ways

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
