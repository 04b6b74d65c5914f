"""Stages, loads and diffs."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brique.errors import NotFound
from brique.schema import Row, State
from brique.store import ListQuery, Reader, StageWriter, Store, Tx, diff
from tests.store.parts import (
    LINES,
    LOOSE,
    ORDERS,
    SPECS,
    command,
    give,
    insert,
    load,
    open_store,
    order,
    stage,
    update,
    visible,
)


def cells(row: Row) -> list[object]:
    return [row[name] for name in ORDERS.names]


def many(count: int) -> list[Row]:
    chance = random.Random(1)
    return [order(n, status=chance.choice("abc"), note=f"pièce {n % 97}") for n in range(1, count + 1)]


@pytest.mark.parametrize("search", [True, False])
@pytest.mark.parametrize("count", [0, 3, 7_000])
def test_a_load_brings_all_rows_at_once(store: Store, reader: Reader, tmp_path: Path, count: int, search: bool) -> None:
    path = stage(tmp_path / "stage.db", ORDERS, [cells(row) for row in many(count)], search=search)  # type: ignore[misc]
    work = store.begin_load("orders", path, count)
    give(store, ORDERS, [order(99_999)])
    while work.step():
        if not reader.table_state("orders").loading:
            continue
        assert [row.key for row in reader.browse("orders", ListQuery()).rows] == ["99999"], "half a load is never seen"
    assert visible(store, ORDERS).keys() == {str(n) for n in range(1, count + 1)}
    state = reader.table_state("orders")
    assert (state.loaded, state.rows, state.loading) == (True, count, "")
    wanted = [n for n in range(1, count + 1) if n % 97 == 13]
    found = reader.browse("orders", ListQuery(search="piece 13", limit=5000)).rows
    assert [row.key for row in found if row.values["note"] == "pièce 13"] == [str(n) for n in wanted]
    assert not store.connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 't_orders:1'").fetchall()


def test_pending_changes_lie_over_the_rows_that_a_load_brings(store: Store, reader: Reader, tmp_path: Path) -> None:
    with store.transaction() as tx:
        tx.lay(1, command("c1", update("2", {"status": "x"}, {"status": "mine"})))
        tx.lay(2, command("c2", insert("new-c2", {"status": "new"})))
    work = store.begin_load("orders", stage(tmp_path / "s.db", ORDERS, [cells(row) for row in many(3000)]))  # type: ignore[misc]
    work.step()
    with store.transaction() as tx:
        tx.lay(3, command("c3", update("5", {"status": "x"}, {"status": "during"})))
    seen: list[set[str]] = []
    store.listen(lambda tx, _: seen.append(set(tx.reloaded)))
    while work.step():
        pass
    assert {"orders"} in seen
    rows = visible(store, ORDERS)
    assert (rows["2"][0]["status"], rows["5"][0]["status"], rows["new-c2"][1]) == ("mine", "during", 1)
    assert reader.table_state("orders").rows == 3001
    with store.transaction() as tx:
        tx.settle(1, State.REFUSED)
    assert rows["2"][0] | {"status": many(3000)[1]["status"]} == reader.row("orders", "2").values  # type: ignore[union-attr]


def test_an_abandoned_load_leaves_nothing(store: Store, reader: Reader, tmp_path: Path) -> None:
    give(store, ORDERS, [order(1)])
    work = store.begin_load("orders", stage(tmp_path / "s.db", ORDERS, [cells(row) for row in many(9000)]))  # type: ignore[misc]
    for _ in range(5):
        work.step()
    work.abandon()
    work.abandon()
    assert not work.step()
    assert set(visible(store, ORDERS)) == {"1"}
    assert reader.table_state("orders").loading == ""
    assert not store.connection.execute("SELECT 1 FROM sqlite_schema WHERE name LIKE 't_orders:2%'").fetchall()


def test_a_load_cut_off_by_a_crash_is_swept_away_at_the_next_start(store: Store, tmp_path: Path) -> None:
    give(store, ORDERS, [order(1)])
    work = store.begin_load("orders", stage(tmp_path / "s.db", ORDERS, [cells(row) for row in many(9000)]))  # type: ignore[misc]
    for _ in range(5):
        work.step()
    store.connection.close()
    again = open_store(store.path.parent)
    assert set(visible(again, ORDERS)) == {"1"}
    assert load(again, tmp_path / "t.db", ORDERS, [cells(row) for row in many(10)]) >= 1  # type: ignore[misc]
    assert len(visible(again, ORDERS)) == 10
    again.close()


def test_a_listener_that_fails_abandons_the_load(store: Store, tmp_path: Path) -> None:
    give(store, ORDERS, [order(1)])

    def fail(tx: Tx, _changes: object) -> None:
        if tx.reloaded:
            raise ZeroDivisionError

    store.listen(fail)
    with pytest.raises(ZeroDivisionError):
        load(store, tmp_path / "s.db", ORDERS, [cells(order(5))])  # type: ignore[list-item]
    assert set(visible(store, ORDERS)) == {"1"}
    with store.transaction() as tx:
        tx.apply_base("orders", [("2", order(2))], [])
    assert set(visible(store, ORDERS)) == {"1", "2"}


def test_a_load_needs_its_stage(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        store.begin_load("orders", tmp_path / "nothing.db")
    with pytest.raises(NotFound):
        store.begin_load("nothing", stage(tmp_path / "s.db", ORDERS, []))


def test_a_second_row_of_a_key_is_left_out_and_reported(tmp_path: Path) -> None:
    with StageWriter(tmp_path / "s.db", LINES) as writer:
        writer.add([(1, "a", "first"), (1, "b", 2), (1, "a", "second"), (1, "a", "third")])
    assert writer.result is not None
    assert (writer.result.rows, writer.result.duplicates, writer.result.examples) == (2, 2, ("1,a",))


def test_a_stage_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), StageWriter(tmp_path / "s.db", LINES):
        raise ZeroDivisionError
    assert not (tmp_path / "s.db").exists()


def test_rows_without_a_key_get_one_from_their_values(store: Store, reader: Reader, tmp_path: Path) -> None:
    rows = [(1, "x"), (1, "x"), (2, None), (1, "1")]
    load(store, tmp_path / "s.db", LOOSE, rows)
    first = set(visible(store, LOOSE))
    assert len(first) == 4
    upserts, deletes = diff(reader, stage(tmp_path / "t.db", LOOSE, [*reversed(rows), (1, "x")]), LOOSE)
    assert [len(batch) for batch in upserts] == [1]
    assert list(deletes) == []


VALUE = st.sampled_from([None, 0, 1, 1.0, "1", "", "a", "A", b"1", b"", 2**53 + 1, float(2**53)])
TABLE = st.dictionaries(st.integers(1, 12), st.tuples(VALUE, VALUE), max_size=12)


@settings(max_examples=150, deadline=None)
@given(old=TABLE, new=TABLE, edits=st.dictionaries(st.integers(1, 12), VALUE, max_size=4), batch=st.integers(1, 5))
def test_a_diff_applied_gives_the_rows_of_the_stage(
    old: dict[int, tuple[object, object]], new: dict[int, tuple[object, object]], edits: dict[int, object], batch: int
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        store = open_store(folder)
        reader = Reader(store.path, SPECS)
        give(store, ORDERS, [order(n, status=a, note=b) for n, (a, b) in old.items()])  # type: ignore[arg-type]
        with store.transaction() as tx:
            for position, (number, value) in enumerate(edits.items(), 1):
                what = update(str(number), {"status": None}, {"status": value})  # type: ignore[dict-item]
                tx.lay(position, command(f"c{position}", what))
        wanted = {str(n): order(n, status=a, note=b) for n, (a, b) in new.items()}  # type: ignore[arg-type]
        path = stage(folder / "s.db", ORDERS, [cells(row) for row in wanted.values()])  # type: ignore[misc]
        upserts, deletes = diff(reader, path, ORDERS, batch=batch)
        rows = [item for found in upserts for item in found]
        gone = [key for found in deletes for key in found]
        same = {n for n in old.keys() & new.keys() if [(type(v), v) for v in old[n]] == [(type(v), v) for v in new[n]]}
        assert {key for key, _ in rows} == {str(n) for n in new.keys() - same}
        assert set(gone) == {str(n) for n in old.keys() - new.keys()}
        with store.transaction() as tx:
            tx.apply_base("orders", rows, gone)
            for position in range(1, len(edits) + 1):
                tx.settle(position, State.WITHDRAWN)
        found_rows = {key: row for key, (row, _) in visible(store, ORDERS).items()}
        assert repr(sorted(found_rows.items())) == repr(sorted(wanted.items()))
        reader.close()
        store.close()
