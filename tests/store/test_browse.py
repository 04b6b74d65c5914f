"""Pages of lists against plain Python: the same rows in the same order, whatever way the planner takes."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brique.errors import BadInput, NotFound
from brique.schema import Kind, Row, TableSpec, Value, fold
from brique.store import Filter, ListQuery, Reader, Store, StoredRow, browse, plans
from tests.store.parts import CUSTOMERS, ORDERS, SPECS, column, command, give, load, open_store, order, update

THINGS = TableSpec(
    "things",
    "things",
    "erp",
    "Things",
    (
        column("id", Kind.INTEGER),
        column("word", Kind.TEXT),
        column("number", Kind.INTEGER),
        column("wild", Kind.ANY),
        column("data", Kind.BINARY),
    ),
    key=("id",),
)
WORDS = ["vis", "Vis à tête", "boulon", "ÉCROU", "écrou", "ecrou", "a", "ab", "abc", "", " ", "100%", "x_y", '"q"']
WILD: list[Value] = [None, 0, 1, 1.0, 1.5, -3, "1", "a", "A", "é", b"a", b"", 2**62, "", float("inf")]
_CLASS = {int: 1, float: 1, str: 2, bytes: 3}


def sort_key(value: Value, text: bool) -> tuple[int, Any]:
    """SQLite's order: NULL, numbers, texts (by lower case of ASCII letters where `text`), bytes."""
    if value is None:
        return 0, 0
    if isinstance(value, str):
        raw = value.encode()
        return 2, bytes(b + 32 if text and 65 <= b <= 90 else b for b in raw)
    return _CLASS[type(value)], value


def passes(row: Row, wanted: Filter) -> bool:
    value, op, other = row[wanted.column], wanted.op, wanted.value
    text = THINGS.by_name[wanted.column].kind in (Kind.TEXT, Kind.ANY)
    if op == "null" or (op == "eq" and other is None):
        return value is None
    if op == "notnull" or (op == "ne" and other is None):
        return value is not None
    if op == "in":
        assert isinstance(other, tuple)
        return any(sort_key(value, False) == sort_key(o, False) for o in other)
    if op == "contains":
        return value is not None and not isinstance(value, bytes) and fold(str(other)) in fold(str(value))
    if op == "eq":
        return sort_key(value, False) == sort_key(other, False)  # type: ignore[arg-type]
    if op == "ne":
        return sort_key(value, False) != sort_key(other, False)  # type: ignore[arg-type]
    if value is None or other is None:
        return False
    if op == "prefix":
        return isinstance(value, str) and sort_key(value, text)[1].startswith(sort_key(str(other), text)[1])
    one, two = sort_key(value, text), sort_key(other, text)  # type: ignore[arg-type]
    return {"lt": one < two, "le": one <= two, "gt": one > two, "ge": one >= two}[op]


def answers(row: Row, question: str) -> bool:
    words = fold(" ".join(str(row[n]) for n in ("id", "word", "wild") if _shown(row[n]))).split()
    for asked in fold(question).split():
        if not any(asked in word if len(asked) > 2 else word.startswith(asked) for word in words):
            return False
    return True


def _shown(value: Value) -> bool:
    return value is not None and not isinstance(value, bytes)


def rows_at_random(chance: random.Random, count: int) -> list[tuple[Value, ...]]:
    return [
        (
            number,
            chance.choice([None, *WORDS]),
            chance.choice([None, 1, 2, 3, number]),
            chance.choice(WILD),
            chance.choice([None, b"x", b"y"]),
        )
        for number in range(count)
    ]


class World:
    """A store of some hundred things, and the same in a list, in the order of their numbers."""

    def __init__(self, folder: Path, seed: int, count: int) -> None:
        self.store = Store(folder / "store.db", {"things": THINGS}, clock=open_store(folder / "other").clock)
        self.rows = rows_at_random(random.Random(seed), count)
        load(self.store, folder / "stage.db", THINGS, self.rows)
        with self.store.transaction() as tx:
            for position in range(1, 6):
                what = update(str(position * 3), {"word": None}, {"word": "changed"}, "things")
                tx.lay(position, command(f"c{position}", what))
        self.reader = Reader(self.store.path, {"things": THINGS})
        found = self.store.connection.execute("SELECT * FROM t_things ORDER BY _id")
        self.stored = [(r[0], r[3], dict(zip(THINGS.names, r[4:], strict=True))) for r in found]

    def naive(self, query: ListQuery) -> list[int]:
        rows = [
            (number, pending, row)
            for number, pending, row in self.stored
            if all(passes(row, wanted) for wanted in query.filters) and answers(row, query.search)
        ]
        name, descending = query.sort[0] if query.sort else ("id", False)
        text = THINGS.by_name[name].kind in (Kind.TEXT, Kind.ANY)
        rows.sort(key=lambda r: (sort_key(r[2][name], text), r[0]), reverse=descending)
        if query.pending_first:
            rows.sort(key=lambda r: r[1] == 0)
        return [number for number, _, _ in rows]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "other").mkdir()
        made = World(Path(folder), 5, 300)
        yield made
        made.reader.close()
        made.store.close()


COLUMNS = st.sampled_from(["id", "word", "number", "wild"])
ANY_VALUE = st.sampled_from([*WILD[:-1], *WORDS, 2, 3, 17])
FILTERS = st.one_of(
    st.builds(Filter, COLUMNS, st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"]), ANY_VALUE),
    st.builds(Filter, COLUMNS, st.just("in"), st.lists(ANY_VALUE, max_size=4).map(tuple)),
    st.builds(Filter, COLUMNS, st.sampled_from(["null", "notnull"])),
    st.builds(Filter, COLUMNS, st.just("contains"), st.sampled_from(["ou", "crou", "CROÛ", "is a", "1", "%", "", "_"])),
    st.builds(
        Filter, st.sampled_from(["word", "wild"]), st.just("prefix"), st.sampled_from(["vis", "É", "a", "A", ""])
    ),
    st.builds(Filter, st.just("data"), st.sampled_from(["null", "notnull"])),
    st.builds(Filter, st.just("data"), st.just("eq"), st.just(b"x")),
)
QUERIES = st.builds(
    ListQuery,
    filters=st.lists(FILTERS, max_size=3).map(tuple),
    search=st.sampled_from(
        ["", "", "", "vis", "écrou", "ecr", "a", "ab", "1", "12", "changed", "vis tete", "zz", '"q"', " "]
    ),
    sort=st.one_of(st.just(()), st.builds(lambda c, d: ((c, d),), COLUMNS, st.booleans())),
    limit=st.integers(1, 40),
    pending_first=st.booleans(),
)
WAYS = ("cheapest", *plans.Way)


@settings(max_examples=400, deadline=None)
@given(query=QUERIES, way=st.sampled_from(WAYS))
def test_pages_hold_the_same_rows_as_plain_python_forwards_and_backwards(
    world: World, query: ListQuery, way: plans.Way | str
) -> None:
    wanted = world.naive(query)
    with forced(way):
        forwards, last = walk(world.reader, query)
        assert [row.id for row in forwards] == wanted
        if last is not None and len(wanted) > query.limit:
            assert [row.id for row in walk_back(world.reader, query, last)] == wanted[
                : len(wanted) - last_size(query, wanted)
            ]
    streamed = [row.id for batch in world.reader.stream("things", query, 7) for row in batch]
    assert streamed == wanted
    count, exact = world.reader.count("things", query.filters, query.search)
    assert not exact or count == len(wanted)
    assert world.reader.count_exactly("things", query.filters, query.search) == len(wanted)


def last_size(query: ListQuery, wanted: list[int]) -> int:
    return len(wanted) % query.limit or query.limit


def walk(reader: Reader, query: ListQuery) -> tuple[list[StoredRow], str | None]:
    """All rows page by page, and the cursor that leads back from the last page."""
    rows: list[StoredRow] = []
    page = reader.browse("things", query)
    assert page.previous is None
    while True:
        rows += page.rows
        if page.next is None:
            return rows, page.previous
        page = reader.browse("things", with_cursor(query, after=page.next))
        assert page.rows, "a next page is never empty while nothing changes"


def walk_back(reader: Reader, query: ListQuery, cursor: str) -> list[StoredRow]:
    rows: list[StoredRow] = []
    back: str | None = cursor
    while back is not None:
        page = reader.browse("things", with_cursor(query, before=back))
        assert page.next is not None
        rows = page.rows + rows
        back = page.previous
    return rows


def with_cursor(query: ListQuery, **cursor: str) -> ListQuery:
    return ListQuery(
        query.filters, query.search, query.sort, limit=query.limit, pending_first=query.pending_first, **cursor
    )


class forced:
    """Makes the planner take one way wherever it can; rows must not depend on it."""

    def __init__(self, way: plans.Way | str) -> None:
        self.way = way
        self.real = browse.plans

    def __enter__(self) -> None:
        if not isinstance(self.way, str) or self.way != "cheapest":
            browse.plans = self.choose

    def __exit__(self, *_: object) -> None:
        browse.plans = self.real

    def choose(self, conditions: Any, sized: Any, total: int, limit: int) -> list[plans.Plan]:
        sized = tuple(sized)
        if self.way is plans.Way.GATHER and sized:
            return [plans.Plan(plans.Way.GATHER, 0.0, sized[-1], sized[:-1])]
        if self.way is plans.Way.SIEVE and sized:
            return [plans.Plan(plans.Way.SIEVE, 0.0, sieves=sized)]
        return [plans.Plan(plans.Way.WALK, 0.0)]


# -- by hand ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def orders(store: Store) -> Store:
    give(
        store,
        CUSTOMERS,
        [{"number": n, "name": name, "city": "Dakar"} for n, name in ((7, "Élodie Ndiaye"), (8, "Sow"))],
    )
    give(store, ORDERS, [order(n, customer=7 + n % 2, status=f"s{n % 3}", note=f"note {n}") for n in range(1, 31)])
    return store


def test_search_finds_rows_by_the_labels_of_what_they_refer_to(orders: Store, reader: Reader) -> None:
    found = reader.browse("orders", ListQuery(search="elodie"))
    assert [row.values["customer"] for row in found.rows] == [7] * 15


def test_a_cursor_of_another_sort_is_refused(orders: Store, reader: Reader) -> None:
    page = reader.browse("orders", ListQuery(limit=2))
    with pytest.raises(BadInput):
        reader.browse("orders", ListQuery(limit=2, sort=(("note", False),), after=page.next))


@pytest.mark.parametrize("cursor", ["x", "é", "A" * 5000, "gaFhwA", "%%%", "lKNpZCvA_____w"])
def test_a_cursor_that_is_none_is_refused(orders: Store, reader: Reader, cursor: str) -> None:
    with pytest.raises(BadInput):
        reader.browse("orders", ListQuery(after=cursor))


def test_a_cursor_stays_good_when_its_row_goes(orders: Store, reader: Reader) -> None:
    page = reader.browse("orders", ListQuery(limit=3))
    with orders.transaction() as tx:
        tx.apply_base("orders", [], ["3", "4"])
    assert [row.key for row in reader.browse("orders", ListQuery(limit=2, after=page.next)).rows] == ["5", "6"]


def test_the_last_page_leads_back_only(orders: Store, reader: Reader) -> None:
    page = reader.browse("orders", ListQuery(limit=4, before=""))
    assert [row.key for row in page.rows] == ["27", "28", "29", "30"]
    assert page.next is None
    assert page.previous is not None
    assert reader.browse("orders", ListQuery(limit=4, after="")).previous is None


def test_a_long_sort_value_makes_a_short_cursor_that_still_leads_on(orders: Store, reader: Reader) -> None:
    with orders.transaction() as tx:
        tx.apply_base("orders", [(str(n), order(n, note="y" * 5000 + str(n % 4))) for n in range(40, 60)], [])
    sort, seen, cursor = (("note", True),), list[str](), None
    while True:
        page = reader.browse("orders", ListQuery(limit=3, sort=sort, after=cursor))
        seen += [row.key for row in page.rows]
        cursor = page.next
        if cursor is None:
            break
        assert len(cursor) < 400
    assert len(seen) == len(set(seen)) == 50


@pytest.mark.parametrize(
    "query",
    [
        ListQuery(sort=(("nothing", False),)),
        ListQuery(sort=(("photo", False),)),
        ListQuery(sort=(("id", False), ("note", False))),
        ListQuery(filters=(Filter("nothing", "eq", 1),)),
        ListQuery(filters=(Filter("id", "like", 1),)),  # type: ignore[arg-type]
        ListQuery(filters=(Filter("id", "in", tuple(range(2000))),)),
        ListQuery(filters=(Filter("id", "eq", (1, 2)),)),
        ListQuery(limit=0),
        ListQuery(limit=100_000),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(orders: Store, reader: Reader, query: ListQuery) -> None:
    with pytest.raises(BadInput):
        reader.browse("orders", query)


def test_an_unknown_table_is_not_found(reader: Reader) -> None:
    with pytest.raises(NotFound):
        reader.browse("nothing", ListQuery())


def test_a_query_that_reads_for_too_long_is_stopped(orders: Store, reader: Reader, monkeypatch: Any) -> None:
    monkeypatch.setattr(browse, "SECONDS_MAX", 0.0)
    monkeypatch.setattr(browse, "_CHECK_STEPS", 10)
    with pytest.raises(browse.TooMuch):
        reader.browse("orders", ListQuery(filters=(Filter("note", "contains", "9 "),)))


def test_sums_and_groups_leave_out_what_is_no_number(orders: Store, reader: Reader) -> None:
    with orders.transaction() as tx:
        rows: list[Value] = [100, 250, "wrong", None]
        tx.apply_base("orders", [(str(n), order(n, amount=rows[n - 1], status="s0")) for n in range(1, 5)], [])
    assert reader.sum("orders", "amount") == 350
    assert reader.sum("orders", "amount", [Filter("status", "eq", "none")]) is None
    groups = reader.group("orders", "status", total="amount")
    assert sum(count for _, count, _ in groups) == 30
    assert next(amount for value, _, amount in groups if value == "s0") == 350


def test_lookup_puts_labels_that_begin_with_the_text_first(store: Store, reader: Reader) -> None:
    names = ["Le Diop", "Diop Awa", "Diopa", "Sow", "Élan"]
    give(store, CUSTOMERS, [{"number": n, "name": name, "city": None} for n, name in enumerate(names)])
    assert [key for key, _ in reader.lookup("customers", "diop")] == ["1", "2", "0"]
    assert reader.lookup("customers", "ela") == [("4", "Élan")]
    assert reader.lookup("customers", "3")[0] == ("3", "Sow")
    assert [label for _, label in reader.lookup("customers", "", 2)] == ["Diop Awa", "Diopa"]


def test_labels_come_in_one_go_and_leave_out_what_is_missing(orders: Store, reader: Reader) -> None:
    assert reader.labels("customers", ["7", "99"]) == {"7": "Élodie Ndiaye"}
    reference = SPECS["orders"].references[0]
    assert reader.labels_of(reference, [7, None, 8, 12]) == {7: "Élodie Ndiaye", 8: "Sow"}


def test_related_rows_are_found_by_one_or_more_columns(orders: Store, reader: Reader) -> None:
    assert len(reader.rows_by("orders", "customer", 7)) == 15
    assert len(reader.rows_by("orders", ["customer", "status"], [7, "s0"])) == 5
    assert reader.rows_by("orders", "customer", None) == []
