"""What the engine does to the store: commands laid, settled and let go; faults; the change log."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from brique.errors import NotFound
from brique.schema import State
from brique.store import ChangesForgotten, ListQuery, Reader, RowChange, Store, Tx
from tests.store.parts import ORDERS, command, delete, give, insert, open_store, order, update, visible


def lay(store: Store, position: int, *changes: object, user: str = "awa") -> None:
    with store.transaction() as tx:
        tx.lay(position, command(f"c{position}", *changes, user=user))  # type: ignore[arg-type]


def settle(store: Store, position: int, state: State, **more: object) -> None:
    with store.transaction() as tx:
        tx.settle(position, state, **more)  # type: ignore[arg-type]


def status(reader: Reader, key: str) -> tuple[object, int] | None:
    row = reader.row("orders", key)
    return None if row is None else (row.values["status"], row.pending)


@pytest.fixture(autouse=True)
def some_orders(store: Store) -> None:
    give(store, ORDERS, [order(n, status="open") for n in (1, 2, 3)])


def test_a_look_sees_what_a_transaction_would_and_leaves_nothing_behind(store: Store, reader: Reader) -> None:
    lay(store, 1, update("1", {"status": "open"}, {"status": "shipped"}))
    before = reader.seq()
    with store.look() as tx:
        assert tx.state_of(1) is State.KEPT
        tx.set_meta("by mistake", 1)
        with pytest.raises(RuntimeError), store.transaction():
            pass
    assert (reader.meta("by mistake"), reader.seq()) == (None, before)
    lay(store, 2, update("2", {"status": "open"}, {"status": "shipped"}))


def test_what_is_applied_as_wanted_counts_above_what_was_applied_before_and_is_not_shown_by_the_source_yet(
    store: Store, reader: Reader
) -> None:
    lay(store, 1, update("1", {"status": "open"}, {"status": "packed", "note": "first"}))
    settle(store, 1, State.APPLIED)  # as the spool tells after a crash: nobody has read the row again
    lay(store, 2, update("1", {"status": "packed"}, {"status": "shipped"}))
    with store.transaction() as tx:
        tx.applied_as_wanted([(2, 2)])
    row = reader.row("orders", "1")
    assert row is not None
    assert (row.values["status"], row.values["note"], row.pending) == ("shipped", "first", 0)
    lay(store, 3, update("1", {"status": "shipped"}, {"status": "paid"}))
    assert status(reader, "1") == ("paid", 1)
    with store.transaction() as tx:  # a refresh that had begun to read before the first
        tx.apply_base("orders", [("1", order(1, status="open"))], [], began=0)
        tx.let_go(["orders"], 0)
    assert status(reader, "1") == ("paid", 1)


def test_an_applied_change_stays_until_the_source_shows_it(store: Store, reader: Reader) -> None:
    lay(store, 1, update("1", {"status": "open"}, {"status": "shipped"}))
    began_before = reader.settled_seq()
    settle(store, 1, State.APPLIED)
    with store.transaction() as tx:  # a refresh that had begun to read before the command was applied
        tx.apply_base("orders", [("1", order(1, status="open", note="new"))], [], began=began_before)
        tx.let_go(["orders"], began_before)
    assert status(reader, "1") == ("shipped", 1)
    with store.transaction() as tx:
        tx.apply_base("orders", [("1", order(1, status="shipped"))], [])
        tx.let_go(["orders"], reader.settled_seq())
    assert status(reader, "1") == ("shipped", 0)


def test_letting_go_of_one_table_keeps_what_lies_over_another(store: Store, reader: Reader) -> None:
    lay(store, 1, update("1", {}, {"status": "x"}), update("7", {}, {"name": "y"}, "customers"))
    settle(store, 1, State.APPLIED)
    with store.transaction() as tx:
        tx.let_go(["customers"], store.settled_seq())
    assert status(reader, "1") == ("x", 1)


def test_a_refused_change_is_lifted_but_later_ones_of_the_row_stay(store: Store, reader: Reader) -> None:
    lay(store, 1, update("1", {"status": "open"}, {"status": "a", "note": "first"}))
    lay(store, 2, update("1", {"note": None}, {"note": "second"}))
    settle(store, 1, State.REFUSED, reason="not allowed")
    row = reader.row("orders", "1")
    assert row is not None
    assert (row.values["status"], row.values["note"], row.pending) == ("open", "second", 2)
    with store.transaction() as tx:
        tx.dismiss(1)
    assert status(reader, "1") == ("open", 1)
    assert reader.needing_person() == 0


def test_a_new_row_gets_its_real_key_and_its_old_address_still_leads_to_it(store: Store, reader: Reader) -> None:
    lay(store, 1, insert("new-c1", {"status": "new"}))
    lay(store, 2, update("new-c1", {"status": "new"}, {"status": "newer"}))
    assert status(reader, "new-c1") == ("newer", 1)
    settle(store, 1, State.APPLIED, keys={"new-c1": "40"})
    row = reader.row("orders", "new-c1")
    assert row is not None
    assert (row.key, row.values["id"], row.values["status"]) == ("40", 40, "newer")
    assert [c.command.changes[0].key for c in reader.pending_for("erp", 9)] == ["40"]
    assert reader.real_keys(["new-c1", "new-c9"]) == {"new-c1": "40"}
    lay(store, 3, update("new-c1", {}, {"note": "late"}))
    assert reader.row("orders", "40").values["note"] == "late"  # type: ignore[union-attr]


def test_two_new_rows_of_one_command_in_two_tables_get_keys_of_their_own(store: Store, reader: Reader) -> None:
    lay(store, 1, insert("new-c1", {"status": "n"}), insert("new-c1", {"name": "m"}, "customers"))
    settle(store, 1, State.APPLIED, keys={"orders/new-c1": "50", "customers/new-c1": "60"})
    assert reader.row("orders", "50") and reader.row("customers", "60")
    assert not reader.row("customers", "50")


def test_a_row_that_its_backend_forgot_gets_another_key_the_second_time(store: Store, reader: Reader) -> None:
    lay(store, 1, insert("new-c1", {"status": "n"}))
    settle(store, 1, State.APPLIED, keys={"new-c1": "50"})
    with store.transaction() as tx:
        tx.reopen(1)
    assert reader.row("orders", "50") is None
    assert status(reader, "new-c1") == ("n", 1)
    assert reader.command(1).state is State.KEPT  # type: ignore[union-attr]
    settle(store, 1, State.APPLIED, keys={"new-c1": "51"})
    assert status(reader, "51") == ("n", 1)
    assert set(visible(store, ORDERS)) == {"1", "2", "3", "51"}


def test_a_deleted_row_comes_back_when_the_command_is_withdrawn(store: Store, reader: Reader) -> None:
    lay(store, 1, delete("2", order(2, status="open")))
    assert reader.row("orders", "2") is None
    assert reader.base("orders", "2") == order(2, status="open")
    settle(store, 1, State.WITHDRAWN)
    assert status(reader, "2") == ("open", 0)


def test_read_back_rows_are_not_overwritten_by_a_refresh_that_began_before(store: Store, reader: Reader) -> None:
    lay(store, 1, update("1", {}, {"status": "shipped"}))
    settle(store, 1, State.APPLIED)
    began = reader.settled_seq()
    with store.transaction() as tx:
        tx.apply_base("orders", [("1", order(1, status="shipped", note="by trigger"))], [])
        tx.let_go_of([1])
    with store.transaction() as tx:
        tx.apply_base("orders", [("1", order(1, status="shipped"))], ["2"], began=began)
        tx.let_go(["orders"], began)
    assert reader.row("orders", "1").values["note"] == "by trigger"  # type: ignore[union-attr]
    assert reader.row("orders", "2") is None


def test_listeners_hear_each_row_once_with_its_first_and_last_values(store: Store) -> None:
    heard: list[RowChange] = []
    store.listen(lambda _, changes: heard.extend(changes))
    with store.transaction() as tx:
        tx.apply_base("orders", [("1", order(1, status="a")), ("2", order(2, status="b"))], [])
        tx.apply_base("orders", [("1", order(1, status="c")), ("2", order(2, status="open"))], [])
    assert [(c.key, c.columns) for c in heard] == [("1", frozenset({"status"}))]
    assert heard[0].before == order(1, status="open")
    assert heard[0].after == order(1, status="c")


def test_a_listener_that_fails_undoes_the_transaction(store: Store, reader: Reader) -> None:
    def fail(_tx: Tx, _changes: object) -> None:
        raise ZeroDivisionError

    store.listen(fail)
    seq = reader.seq()
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        tx.apply_base("orders", [], ["1"])
    assert status(reader, "1") == ("open", 0)
    assert reader.seq() == seq


def test_what_fails_half_way_cannot_be_committed(store: Store, reader: Reader) -> None:
    with pytest.raises(RuntimeError), store.transaction() as tx:
        with pytest.raises(ValueError, match="unpack"):
            tx.apply_base("orders", [("1", order(1, status="x")), ("2",)], [])  # type: ignore[list-item]
        tx.apply_base("orders", [], ["3"])
    assert set(visible(store, ORDERS)) == {"1", "2", "3"}
    assert status(reader, "1") == ("open", 0)


def test_an_attempt_may_fail_alone(store: Store, reader: Reader) -> None:
    with store.transaction() as tx:
        tx.apply_base("orders", [("1", order(1, status="kept"))], [])
        with pytest.raises(KeyError), tx.attempt():
            tx.apply_base("orders", [("1", order(1, status="lost"))], ["2"])
            raise KeyError
        assert [change.key for change in tx.changes] == ["1"]
    assert status(reader, "1") == ("kept", 0)
    assert status(reader, "2") == ("open", 0)


def test_settling_an_unknown_position_spoils_nothing(store: Store) -> None:
    with store.transaction() as tx:
        with pytest.raises(NotFound):
            tx.settle(99, State.APPLIED)
        tx.apply_base("orders", [], ["1"])
    assert "1" not in visible(store, ORDERS)


def test_values_of_the_same_number_but_another_type_are_changes(store: Store, reader: Reader) -> None:
    for value in (1, 1.0, "1", b"1", None):
        with store.transaction() as tx:
            tx.apply_base("orders", [("1", order(1, note=value))], [])
            assert len(tx.changes) == (0 if value is None and reader.seq() == 0 else 1)
        found = reader.row("orders", "1")
        assert found is not None
        assert type(found.values["note"]) is type(value)


def test_a_version_never_comes_twice(store: Store, reader: Reader) -> None:
    seen = set()
    for text in ("a", "b", "a", "b"):
        with store.transaction() as tx:
            tx.apply_base("orders", [("1", order(1, note=text))], [])
        row = reader.row("orders", "1")
        assert row is not None
        assert row.version not in seen
        seen.add(row.version)
        with store.transaction() as tx:
            tx.apply_base("orders", [], ["1"])


def test_search_follows_every_change_of_a_row(store: Store, reader: Reader) -> None:
    def found(text: str) -> list[str]:
        return [row.key for row in reader.browse("orders", ListQuery(search=text)).rows]

    lay(store, 1, update("1", {}, {"note": "Chaudière à gaz"}))
    assert found("chaudiere") == ["1"]
    lay(store, 2, update("1", {}, {"note": "Pompe"}))
    assert found("chaudiere") == []
    assert found("pompe") == ["1"]
    settle(store, 2, State.WITHDRAWN)
    assert found("chaudiere") == ["1"]
    with store.transaction() as tx:
        tx.apply_base("orders", [], ["1"])
    assert found("chaudiere") == []


def test_the_change_log_is_bounded_and_says_when_it_does_not_reach_back(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path)) / "small"
    folder.mkdir()
    store = open_store(folder, change_log_rows_max=10)
    give(store, ORDERS, [order(n) for n in range(1, 6)])
    position = store.reader.seq()
    for n in range(30):
        with store.transaction() as tx:
            tx.apply_base("orders", [("1", order(1, note=str(n)))], [])
    with pytest.raises(ChangesForgotten):
        store.reader.changes_since(position)
    last = store.reader.seq()
    changes = store.reader.changes_since(last - 5)
    assert [change.seq for change in changes] == list(range(last - 4, last + 1))
    assert changes[-1].columns == {"note"}
    assert len(store.reader.history("orders", "1")) == 10
    store.close()


def test_numbers_go_on_after_a_restart(store: Store) -> None:
    lay(store, 1, update("1", {}, {"status": "x"}))
    settle(store, 1, State.APPLIED)
    seq, settled = store.reader.seq(), store.settled_seq()
    store.close()
    again = open_store(store.path.parent)
    assert (again.reader.seq(), again.settled_seq()) == (seq, settled)
    with again.transaction() as tx:
        tx.apply_base("orders", [], ["2"])
    assert again.reader.seq() == seq + 1
    again.close()


def test_commands_are_counted_listed_and_forgotten(store: Store, reader: Reader) -> None:
    for position in range(1, 7):
        lay(store, position, update("1", {}, {"note": str(position)}), user="awa" if position % 2 else "moussa")
    with store.transaction() as tx:
        tx.sending([1, 2])
        tx.tried([2], "away", datetime(2026, 11, 20, 11, tzinfo=UTC))
    settle(store, 1, State.APPLIED)
    settle(store, 3, State.CONFLICT, reason="changed", theirs={"orders/1": order(1, status="theirs"), "orders/2": None})
    assert reader.command_counts(user="awa") == {State.KEPT: 1, State.APPLIED: 1, State.CONFLICT: 1}
    assert [c.position for c in reader.outbox(limit=2)] == [6, 5]
    assert [c.position for c in reader.outbox(limit=9, after=5)] == [4, 3, 2, 1]
    assert [c.position for c in reader.outbox([State.KEPT], user="moussa")] == [6, 4, 2]
    assert [c.position for c in reader.pending_for("erp", 2, after=2)] == [4, 5]
    tried, conflict = reader.command(2), reader.command("c3")
    assert tried is not None and conflict is not None
    assert (tried.tries, tried.reason, tried.state) == (1, "away", State.KEPT)
    assert conflict.theirs == {"orders/1": order(1, status="theirs"), "orders/2": None}
    assert [c.position for c in reader.commands_on("orders", "1")] == [1, 2, 3, 4, 5, 6]
    assert reader.needing_person("awa") == 1
    with store.transaction() as tx:
        tx.dismiss(3)
        tx.let_go(["orders"], store.settled_seq())
        assert tx.forget_settled(datetime(2027, 1, 1, tzinfo=UTC)) == 2
    assert sorted(c.position for c in reader.outbox()) == [2, 4, 5, 6]
    assert sum(reader.command_counts().values()) == 4


def test_backend_and_table_states_tell_what_was_said(store: Store, reader: Reader) -> None:
    at = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
    with store.transaction() as tx:
        tx.backend_state("erp", state="down", since=at, last_error="no route", next_try=None, waiting=3)
        tx.backend_state("erp", rung="watermark", latency_ms=4.5)
        tx.confirmed("erp", ["orders"], at)
        tx.table_fault("customers", "unreadable")
        tx.progress("customers", 10, 100)
    state = reader.backend_states()["erp"]
    assert (state.state, state.since, state.last_error, state.rung) == ("down", at, "no route", "watermark")
    assert state.facts == {"waiting": 3, "latency_ms": 4.5}
    assert reader.table_state("orders").confirmed_at == at
    customers = reader.table_state("customers")
    assert (customers.fault, customers.rows_done, customers.rows_total) == ("unreadable", 10, 100)
    with store.transaction() as tx:
        tx.confirmed("erp", ["orders", "customers"], datetime(2026, 11, 20, 9, tzinfo=UTC))
    assert reader.table_state("orders").confirmed_at == at, "an older confirmation does not make rows older"
    assert reader.table_state("customers").fault == ""
