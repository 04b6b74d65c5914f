"""Readers: whole states only, beside a writer, across processes, restarts and replaced files."""

from __future__ import annotations

import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from brique.errors import BadConfiguration, EngineAway
from brique.schema import Kind, State
from brique.store import ListQuery, Reader, Store
from tests.store.parts import (
    ORDERS,
    SPECS,
    HandClock,
    column,
    command,
    give,
    insert,
    load,
    open_store,
    order,
    update,
    visible,
)


def test_a_reader_works_while_the_writer_holds_a_transaction(store: Store, reader: Reader) -> None:
    give(store, ORDERS, [order(1, status="old")])
    with store.transaction() as tx:
        tx.apply_base("orders", [("1", order(1, status="new")), ("2", order(2))], [])
        assert reader.row("orders", "1").values["status"] == "old"  # type: ignore[union-attr]
        assert reader.row("orders", "2") is None
        assert tx.row("orders", "1").values["status"] == "new"  # type: ignore[union-attr]
        assert store.reader.row("orders", "2") is not None
    assert reader.row("orders", "1").values["status"] == "new"  # type: ignore[union-attr]


def test_a_snapshot_stays_as_it_was_and_ends(store: Store, reader: Reader, tmp_path: Path) -> None:
    give(store, ORDERS, [order(n) for n in range(1, 4)])
    with reader.snapshot():
        seq = reader.seq()
        load(store, tmp_path / "s.db", ORDERS, [[n, None, "x", None, None, None] for n in range(100, 110)])
        with reader.snapshot():
            assert [row.key for row in reader.browse("orders", ListQuery()).rows] == ["1", "2", "3"]
        assert reader.seq() == seq
    assert reader.table_state("orders").rows == 10
    assert reader.browse("orders", ListQuery()).position > seq


def test_a_stream_is_of_one_moment(store: Store, reader: Reader) -> None:
    give(store, ORDERS, [order(n, status="a") for n in range(1, 101)])
    stream = reader.stream("orders", ListQuery(sort=(("id", True),)), batch=30)
    rows = next(stream)
    with store.transaction() as tx:
        tx.apply_base("orders", [(str(n), order(n, status="b")) for n in range(1, 101)], ["5"])
    rows += [row for batch in stream for row in batch]
    assert [row.values["id"] for row in rows] == list(range(100, 0, -1))
    assert {row.values["status"] for row in rows} == {"a"}
    half = reader.stream("orders", ListQuery(), batch=1)
    next(half)
    half.close()
    assert reader.row("orders", "5") is None


def test_there_may_be_no_store_yet(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "store.db", SPECS)
    with pytest.raises(EngineAway):
        reader.seq()
    store = open_store(tmp_path)
    give(store, ORDERS, [order(1)])
    assert reader.row("orders", "1") is not None
    reader.close()
    store.close()


def test_a_replaced_store_is_opened_anew(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    give(store, ORDERS, [order(1)])
    reader = Reader(store.path, SPECS)
    assert reader.row("orders", "1") is not None
    store.close()
    for name in ("store.db", "store.db-wal", "store.db-shm"):
        if (tmp_path / name).exists():
            os.rename(tmp_path / name, tmp_path / f"old-{name}")
    again = open_store(tmp_path)
    give(again, ORDERS, [order(2)])
    assert reader.row("orders", "1") is None
    assert reader.row("orders", "2") is not None
    reader.close()
    again.close()


def test_a_changed_table_starts_anew_with_its_pending_changes(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    give(store, ORDERS, [order(1, status="open"), order(2)])
    reader = Reader(store.path, SPECS)
    seq = reader.seq()
    with store.transaction() as tx:
        tx.lay(1, command("c1", update("1", {"status": "open"}, {"status": "x", "note": "n"})))
        tx.lay(2, command("c2", insert("new-c2", {"status": "new", "note": "n"})))
    store.close()
    wider = ORDERS.changed(columns=(*(c for c in ORDERS.columns if c.name != "note"), column("extra", Kind.INTEGER)))
    specs = {**SPECS, "orders": wider}
    again = open_store(tmp_path, specs)
    assert not again.reader.table_state("orders").loaded
    assert visible(again, wider).keys() == {"new-c2"}
    load(again, tmp_path / "s.db", wider, [[1, None, "open", None, None, 7], [2, None, None, None, None, 8]])
    rows = visible(again, wider)
    assert (rows["1"][0]["status"], rows["1"][0]["extra"], rows["1"][1]) == ("x", 7, 1)
    assert [change.key for change in Reader(again.path, specs).changes_since(seq) if change.table == "orders"][
        -1
    ] is None
    assert again.reader.seq() > seq
    reader.close()
    again.close()


def test_an_unchanged_table_is_kept_over_a_restart_and_a_removed_one_goes(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    give(store, ORDERS, [order(1)])
    store.close()
    store = open_store(tmp_path)
    assert set(visible(store, ORDERS)) == {"1"}
    store.close()
    store = open_store(tmp_path, {"customers": SPECS["customers"]})
    names = [name for (name,) in store.connection.execute("SELECT name FROM sqlite_schema")]
    assert not [name for name in names if "t_orders" in name]
    store.close()
    store = open_store(tmp_path)
    assert visible(store, ORDERS) == {}
    store.close()


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"not a database at all, and long enough to be read as one" * 100)
    with pytest.raises(BadConfiguration):
        open_store(tmp_path)


def test_a_store_of_a_newer_brique_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.connection.execute("PRAGMA user_version=99")
    store.close()
    with pytest.raises(BadConfiguration):
        open_store(tmp_path)


def test_a_store_of_the_layout_before_is_brought_to_this_one_with_its_rows(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    give(store, ORDERS, [order(1)])
    store.connection.execute(
        "DROP TABLE fresh; CREATE TABLE fresh(table_name TEXT, key TEXT, seq INTEGER NOT NULL, "
        "PRIMARY KEY(table_name, key)) WITHOUT ROWID; PRAGMA user_version=2; "
        "DROP TABLE publication; "
        "DROP TRIGGER body_goes; DROP TABLE body; DROP TABLE pattern; DROP TABLE cell; DROP TABLE cell_total; "
        "INSERT INTO fresh VALUES ('orders', '1', 7), ('orders', '2', 7), ('orders', '3', 8), ('customers', '1', 7)"
    )
    store.close()
    store = open_store(tmp_path)
    assert set(visible(store, ORDERS)) == {"1"}
    assert [store.ledger.fresh_since("orders", seq) for seq in (6, 7, 8)] == [{"1", "2", "3"}, {"3"}, set()]
    store.close()


def test_fresh_keys_take_no_more_room_than_there_are_keys(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for seq in range(1, 3001):
        store.ledger.freshen([("orders", str(seq % 3)), ("orders", "often")], seq)
    [(lists,)] = store.connection.execute("SELECT count(*) FROM fresh").fetchall()
    assert lists < 1024 + 4
    assert store.ledger.fresh_since("orders", 0) == {"0", "1", "2", "often"}
    assert store.ledger.fresh_since("orders", 2998) == {str(2999 % 3), str(3000 % 3), "often"}
    store.close()


def test_stream_id_is_kept(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    first = store.reader.stream_id()
    store.close()
    store = open_store(tmp_path)
    assert store.reader.stream_id() == first
    store.close()


def test_a_checkpoint_may_run_beside_the_writer(store: Store, reader: Reader) -> None:
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            store.checkpoint(restart=True)

    thread = threading.Thread(target=work)
    thread.start()
    for number in range(200):
        with store.transaction() as tx:
            tx.apply_base("orders", [(str(number), order(number))], [])
        assert reader.row("orders", str(number)) is not None
    stop.set()
    thread.join()


def _watch(path: str, ready: object, faults: object) -> None:
    """In another process: the two rows always change together."""
    reader = Reader(Path(path), SPECS)
    ready.set()  # type: ignore[attr-defined]
    seen = 0
    while seen < 300:
        with reader.snapshot():
            rows = [row.values["amount"] for row in reader.browse("orders", ListQuery(limit=10)).rows]
            total = reader.sum("orders", "amount")
        if rows and (len(rows) != 2 or rows[0] + rows[1] != 0 or total != 0):
            faults.put(repr(rows))  # type: ignore[attr-defined]
        seen = max(seen, abs(rows[0]) if rows else 0)
    reader.close()


def test_another_process_never_sees_half_a_transaction(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    spawn = multiprocessing.get_context("spawn")
    ready, faults = spawn.Event(), spawn.Queue()
    process = spawn.Process(target=_watch, args=(str(store.path), ready, faults))
    process.start()
    assert ready.wait(30)
    number = 0
    while process.is_alive():
        number += 1
        with store.transaction() as tx:
            tx.apply_base("orders", [("1", order(1, amount=number))], [])
            tx.apply_base("orders", [("2", order(2, amount=-number))], [])
        if number % 50 == 0:
            rows = [[n, None, None, sign * number, None, None] for n, sign in ((1, 1), (2, -1))]
            load(store, tmp_path / "s.db", ORDERS, rows)  # type: ignore[arg-type]
        assert number < 100_000
    process.join()
    assert faults.empty()
    store.close()


def test_everything_that_is_waiting_is_there_after_reopening(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db", SPECS, clock=HandClock())
    give(store, ORDERS, [order(1, status="a")])
    with store.transaction() as tx:
        tx.lay(1, command("c1", update("1", {}, {"status": "b"})))
        tx.set_spool_position(1)
    store.connection.close()  # as a crash would, without a checkpoint
    store = open_store(tmp_path)
    assert store.reader.spool_position() == 1
    assert visible(store, ORDERS)["1"][1] == 1
    with store.transaction() as tx:
        tx.settle(1, State.WITHDRAWN)
    assert visible(store, ORDERS)["1"][0]["status"] == "a"
    store.close()
