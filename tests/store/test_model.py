"""The store against a naive model, under random lives of commands, refreshes, reloads, rollbacks and restarts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from brique.schema import Change, Row, State, Value
from brique.store import ListQuery, Reader, RowChange, Tx, spans_of
from brique.store.rows import same_row
from tests.store.parts import ORDERS, SPECS, command, open_store, stage, visible

KEYS = st.integers(1, 5)
VALUES = st.one_of(
    st.none(),
    st.sampled_from([0, 1, 1.0, "1", "", "Élan vital", "elan", "vis", b"1", 2**60, -5.5]),
    st.text("aé Bœ\x00", max_size=5),
)
SETTLED = [State.APPLIED, State.REFUSED, State.CONFLICT, State.UNKNOWN, State.WITHDRAWN]
AGAIN = {(state, state) for state in SETTLED} | {(State.UNKNOWN, State.APPLIED), (State.UNKNOWN, State.REFUSED)}
PARTIAL = st.dictionaries(st.sampled_from(["status", "amount", "note"]), VALUES, max_size=3)


@dataclass
class Given:
    """A command as the model knows it. `laid`: its changes that are over the copy; `marks`: rows it marks."""

    position: int
    changes: list[Change]
    state: State = State.KEPT
    seq: int | None = None
    laid: list[Change] = field(default_factory=list)
    marks: set[str] = field(default_factory=set)


class Model:
    """What people should see, computed anew each time."""

    def __init__(self) -> None:
        self.base: dict[str, Row] = {}
        self.commands: dict[int, Given] = {}
        self.real: dict[str, str] = {}
        self.fresh: dict[str, int] = {}
        self.seq = 0

    def rows(self) -> dict[str, tuple[Row, int]]:
        keys = set(self.base) | {change.key for given in self.commands.values() for change in given.laid}
        result = {}
        for key in keys:
            row = dict(self.base[key]) if key in self.base else None
            pending = 0
            for position in sorted(self.commands):
                for change in self.commands[position].laid:
                    if change.key != key:
                        continue
                    pending = 1
                    row = self.one(row, change)
            if any(key in given.marks for given in self.commands.values()):
                pending = 2
            if row is not None:
                result[key] = (row, pending)
        return result

    def one(self, row: Row | None, change: Change) -> Row | None:
        if change.after is None:
            return row if change.before is None else None
        if change.before is None:
            return {**(row or dict.fromkeys(ORDERS.names)), **change.after}
        return None if row is None else {**row, **change.after}

    def renewed(self, change: Change) -> Change:
        return Change(change.table, self.real.get(change.key, change.key), change.before, change.after)

    def lift(self, given: Given) -> None:
        given.laid = []


def words_of(value: Value) -> list[str]:
    return [] if isinstance(value, bytes) else str(value or "").replace("\x00", " ").split()


class Lives(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.made = tempfile.TemporaryDirectory()
        self.folder = Path(self.made.name)
        self.open()
        self.model = Model()
        self.position = 0
        self.mirror: dict[str, tuple[Row, int]] = {}
        self.spool: list[Callable[[Tx], None]] = []
        self.work: Any = None
        self.work_rows: dict[str, Row] = {}
        self.work_began: int | None = None

    def open(self) -> None:
        self.store = open_store(self.folder, change_log_rows_max=50)
        self.store.listen(self.listen)
        self.reader = Reader(self.store.path, SPECS)

    def listen(self, tx: Tx, changes: list[RowChange]) -> None:
        if "orders" in tx.reloaded:
            self.mirror = visible(self.store, ORDERS)
            return
        for change in changes:
            known = self.mirror.get(change.key)
            assert same_row(known[0] if known else None, change.before)
            assert (known[1] if known else 0) == change.pending_before
            if change.after is None:
                del self.mirror[change.key]
            else:
                self.mirror[change.key] = (change.after, change.pending_after)

    def do(self, act: Callable[[Tx], None], *, spooled: bool = False) -> None:
        with self.store.transaction() as tx:
            act(tx)
        if spooled:
            self.spool.append(act)

    # -- commands -----------------------------------------------------------------------------------------------------

    @rule(
        wishes=st.lists(
            st.tuples(st.sampled_from(["insert", "update", "delete", "new", "mark"]), KEYS, PARTIAL),
            min_size=1,
            max_size=3,
        ),
        twice=st.booleans(),
    )
    def lay(self, wishes: list[tuple[str, int, Row]], twice: bool) -> None:
        self.position += 1
        position, changes = self.position, []
        for ordinal, (kind, number, values) in enumerate(wishes):
            key, before = str(number), {"status": "x"}
            match kind:
                case "new":
                    changes.append(Change("orders", f"new-{position}.{ordinal}", None, values))
                case "insert":
                    changes.append(Change("orders", key, None, {"id": number, **values}))
                case "update":
                    changes.append(Change("orders", key, before, values))
                case "delete":
                    changes.append(Change("orders", key, before, None))
                case "mark":
                    changes.append(Change("orders", key, None, None))
        self.given(position, changes, twice)

    def given(self, position: int, changes: list[Change], twice: bool = False) -> None:
        what = command(f"c{position}", *changes)
        for _ in range(1 + twice):
            self.do(lambda tx: tx.lay(position, what), spooled=True)
        known = Given(position, changes)
        known.laid = [self.model.renewed(change) for change in changes]
        self.model.commands[position] = known

    @precondition(lambda self: any(k.startswith("new-") for k in self.model.rows()) or self.model.real)
    @rule(data=st.data(), values=PARTIAL)
    def edit_a_new_row(self, data: st.DataObject, values: Row) -> None:
        """By its temporary key, known or replaced by now."""
        keys = [k for k in self.model.rows() if k.startswith("new-")] + list(self.model.real)
        key = data.draw(st.sampled_from(sorted(keys)))
        self.position += 1
        self.given(self.position, [Change("orders", key, {"note": None}, values)])

    @precondition(lambda self: self.model.commands)
    @rule(data=st.data(), state=st.sampled_from(SETTLED), number=st.integers(1, 8))
    def settle(self, data: st.DataObject, state: State, number: int) -> None:
        given = self.model.commands[data.draw(st.sampled_from(sorted(self.model.commands)))]
        if given.state.settled and (given.state, state) not in AGAIN:
            return
        keys: dict[str, str] = {}
        new = [c.key for c in given.changes if c.key.startswith("new-") and c.before is None and c.after is not None]
        if state is State.APPLIED and not given.state.settled and new:
            keys = {key: str(number + place) for place, key in enumerate(new)}
        self.do(lambda tx: tx.settle(given.position, state, reason="because", keys=keys), spooled=True)
        if given.state is state:
            return
        self.model.seq += 1
        self.rename(keys)
        if state is State.APPLIED and not given.state.settled:
            given.seq = self.model.seq
        elif state in (State.APPLIED, State.WITHDRAWN):
            given.laid, given.marks = [], set()
        else:
            given.marks |= {change.key for change in given.laid}
            given.laid = []
        given.state = state

    def rename(self, keys: dict[str, str]) -> None:
        for old, real in keys.items():
            self.model.real[old] = real
            for given in self.model.commands.values():
                moved = []
                for change in given.laid:
                    if change.key == old:
                        after = change.after
                        if change.before is None and after is not None:
                            after = {**after, "id": int(real)}
                        change = Change("orders", real, change.before, after)
                    moved.append(change)
                given.laid = moved
                given.marks = {real if key == old else key for key in given.marks}

    @precondition(lambda self: any(not given.state.settled for given in self.model.commands.values()))
    @rule(data=st.data())
    def apply_as_wanted(self, data: st.DataObject) -> None:
        """Told as spans, with some that have ended or never were."""
        numbered = {p for p, given in self.model.commands.items() if not any("new-" in c.key for c in given.laid)}
        told = sorted(data.draw(st.sets(st.sampled_from(sorted({*numbered, 9_000})))))
        chosen = [p for p in told if p in numbered and not self.model.commands[p].state.settled]
        self.do(lambda tx: tx.applied_as_wanted(spans_of(told)))
        self.spool.append(lambda tx: tx.applied({position: {} for position in chosen}))
        self.model.seq += 1
        keys = {change.key for position in chosen for change in self.model.commands[position].laid}
        for position in sorted(self.model.commands):
            given = self.model.commands[position]
            if position in chosen:
                given.state, given.seq = State.APPLIED, self.model.seq
            elif given.state is not State.APPLIED or given.seq is None:
                continue
            for change in [change for change in given.laid if change.key in keys]:
                given.laid.remove(change)
                row = self.model.one(self.model.base.get(change.key), change)
                self.model.base.pop(change.key, None)
                if row is not None:
                    self.model.base[change.key] = row
        self.model.fresh |= dict.fromkeys(keys, self.model.seq)

    @precondition(lambda self: self.model.commands)
    @rule(data=st.data(), back=st.booleans())
    def send_and_try(self, data: st.DataObject, back: bool) -> None:
        given = self.model.commands[data.draw(st.sampled_from(sorted(self.model.commands)))]
        self.do(lambda tx: tx.sending([given.position]))
        if given.state is State.KEPT:
            given.state = State.SENDING
        if back:
            self.do(lambda tx: tx.tried([given.position], "away", "2026-11-20T11:00:00.000000Z"))
            if not given.state.settled:
                given.state = State.KEPT

    @precondition(lambda self: self.model.commands)
    @rule(data=st.data())
    def dismiss(self, data: st.DataObject) -> None:
        given = self.model.commands[data.draw(st.sampled_from(sorted(self.model.commands)))]
        self.do(lambda tx: tx.dismiss(given.position), spooled=True)
        if given.state.needs_person:
            given.marks = set()

    @precondition(lambda self: any(g.state is State.APPLIED for g in self.model.commands.values()))
    @rule(data=st.data())
    def reopen(self, data: st.DataObject) -> None:
        applied = [p for p, given in self.model.commands.items() if given.state is State.APPLIED]
        given = self.model.commands[data.draw(st.sampled_from(sorted(applied)))]
        if any(change.key.startswith("new-") for change in given.changes):
            return  # a row that gets its key twice has a test of its own
        self.do(lambda tx: tx.reopen(given.position), spooled=True)
        given.state, given.seq = State.KEPT, None
        given.laid = [self.model.renewed(change) for change in given.changes]

    # -- the source ---------------------------------------------------------------------------------------------------

    @rule(
        upserts=st.dictionaries(st.integers(1, 9), PARTIAL, max_size=4),
        deletes=st.sets(st.integers(1, 9), max_size=3),
        old=st.booleans(),
        data=st.data(),
    )
    def apply_base(self, upserts: dict[int, Row], deletes: set[int], old: bool, data: st.DataObject) -> None:
        began = data.draw(st.integers(0, self.model.seq)) if old else None
        rows = [(str(n), {**dict.fromkeys(ORDERS.names), "id": n, **values}) for n, values in upserts.items()]
        gone = [str(n) for n in deletes - set(upserts)]
        self.do(lambda tx: tx.apply_base("orders", rows, gone, began=began))
        for key, row in rows:
            if began is None or self.model.fresh.get(key, -1) <= began:
                self.model.base[key] = row
        for key in gone:
            if began is None or self.model.fresh.get(key, -1) <= began:
                self.model.base.pop(key, None)

    @rule(data=st.data())
    def let_go(self, data: st.DataObject) -> None:
        began = data.draw(st.integers(0, self.model.seq))
        self.do(lambda tx: tx.let_go(["orders", "customers"], began))
        for given in self.model.commands.values():
            if given.state is State.APPLIED and given.seq is not None and given.seq <= began:
                given.laid = []
        self.model.fresh = {key: seq for key, seq in self.model.fresh.items() if seq > began}

    @precondition(lambda self: self.model.commands)
    @rule(data=st.data())
    def let_go_of(self, data: st.DataObject) -> None:
        positions = data.draw(st.sets(st.sampled_from(sorted(self.model.commands))))
        self.do(lambda tx: tx.let_go_of(sorted(positions)))
        touched = set()
        for position in positions:
            given = self.model.commands[position]
            if given.state is State.APPLIED and given.seq is not None:
                touched |= {change.key for change in given.laid}
                given.laid = []
        if touched:
            self.model.seq += 1
            self.model.fresh |= dict.fromkeys(touched, self.model.seq)

    @precondition(lambda self: self.work is None)
    @rule(rows=st.dictionaries(st.integers(1, 9), PARTIAL, max_size=6), old=st.booleans())
    def begin_load(self, rows: dict[int, Row], old: bool) -> None:
        self.work_rows = {str(n): {**dict.fromkeys(ORDERS.names), "id": n, **v} for n, v in rows.items()}
        path = stage(self.folder / "stage.db", ORDERS, [[r[n] for n in ORDERS.names] for r in self.work_rows.values()])
        self.work_began = self.model.seq if old else None
        self.work = self.store.begin_load("orders", path, began=self.work_began, rows_step=2)

    @precondition(lambda self: self.work is not None)
    @rule(steps=st.integers(1, 30), abandon=st.booleans())
    def go_on_loading(self, steps: int, abandon: bool) -> None:
        if abandon and steps == 1:
            self.work.abandon()
            self.work = None
            return
        before = self.store.rows("orders").layout.generation
        for _ in range(steps):
            more = self.work.step()
            if self.store.rows("orders").layout.generation != before:
                before = self.store.rows("orders").layout.generation
                began = self.work_began
                newer = {k for k, s in self.model.fresh.items() if began is not None and s > began}
                kept = {k: row for k, row in self.model.base.items() if k in newer}
                self.model.base = {k: r for k, r in self.work_rows.items() if k not in newer} | kept
            if not more:
                self.work = None
                break

    # -- faults -------------------------------------------------------------------------------------------------------

    @rule(values=PARTIAL, number=KEYS)
    def roll_back(self, values: Row, number: int) -> None:
        before, mirror = visible(self.store, ORDERS), dict(self.mirror)
        try:
            with self.store.transaction() as tx:
                tx.lay(9_999, command("lost", Change("orders", str(number), None, {"id": number, **values})))
                tx.apply_base("orders", [("77", dict.fromkeys(ORDERS.names))], [str(number)])
                raise KeyError("stop")
        except KeyError:
            pass
        self.mirror = mirror
        assert visible(self.store, ORDERS) == before

    @rule(values=PARTIAL, number=KEYS)
    def attempt_in_vain(self, values: Row, number: int) -> None:
        with self.store.transaction() as tx:
            try:
                with tx.attempt():
                    tx.apply_base("orders", [("78", dict.fromkeys(ORDERS.names))], [str(number)])
                    tx.lay(9_998, command("lost", Change("orders", str(number), {"id": 1}, values)))
                    raise KeyError("stop")
            except KeyError:
                pass

    @precondition(lambda self: self.work is None)
    @rule()
    def restart(self) -> None:
        self.reader.close()
        self.store.close()
        self.open()

    @rule()
    def checkpoint(self) -> None:
        self.store.checkpoint(restart=True)

    # -- what must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def rows_are_those_of_the_model(self) -> None:
        found, wanted = visible(self.store, ORDERS), self.model.rows()
        assert found.keys() == wanted.keys()
        for key, (row, pending) in wanted.items():
            assert same_row(found[key][0], row), key
            assert found[key][1] == pending, key

    @invariant()
    def listeners_missed_nothing(self) -> None:
        found = visible(self.store, ORDERS)
        assert self.mirror.keys() == found.keys()
        for key, (row, pending) in found.items():
            assert same_row(self.mirror[key][0], row)
            assert self.mirror[key][1] == pending

    @invariant()
    def counts_shadows_states_and_search_agree(self) -> None:
        wanted = self.model.rows()
        assert self.reader.table_state("orders").rows == len(wanted)
        laid = {change.key for given in self.model.commands.values() for change in given.laid}
        assert {key for (key,) in self.store.connection.execute("SELECT key FROM shadow")} == laid
        counts: dict[State, int] = {}
        for given in self.model.commands.values():
            counts[given.state] = counts.get(given.state, 0) + 1
        assert self.reader.command_counts() == counts
        for key, (row, _) in wanted.items():
            for word in words_of(row["note"]):
                assert key in {r.key for r in self.reader.browse("orders", ListQuery(search=word)).rows}
        layout = self.store.rows("orders").layout
        documents = self.store.connection.execute(f'SELECT count(*) FROM "{layout.search_name}_docsize"').fetchone()
        searchable = [row for row, _ in wanted.values() if self.store.rows("orders")._document(row)]
        assert documents == (len(searchable),)
        pending = self.reader.browse("orders", ListQuery(pending_first=True, limit=100)).rows
        assert [r.pending > 0 for r in pending] == sorted((r.pending > 0 for r in pending), reverse=True)
        assert {r.key for r in pending} == wanted.keys()

    def teardown(self) -> None:
        try:
            if self.work is not None:
                self.work.abandon()
            self.rebuilding_from_the_spool_gives_the_same_rows()
        finally:
            self.reader.close()
            self.store.close()
            self.made.cleanup()

    def rebuilding_from_the_spool_gives_the_same_rows(self) -> None:
        with tempfile.TemporaryDirectory() as other:
            rebuilt = open_store(Path(other))
            with rebuilt.transaction() as tx:
                tx.apply_base("orders", list(self.model.base.items()), [])
                for act in self.spool:
                    act(tx)
                tx.let_go(["orders"], rebuilt.settled_seq())
            with self.store.transaction() as tx:
                tx.let_go(["orders"], self.store.settled_seq())
            found = visible(rebuilt, ORDERS)
            rebuilt.close()
            assert found == visible(self.store, ORDERS)


TestLives = Lives.TestCase
TestLives.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
