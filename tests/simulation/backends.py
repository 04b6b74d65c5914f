"""A simulated ERP as brique reaches it: `brique.backends.Backend` over an `Erp`, in any manner that there is (with a
transaction or without, with a mark, a guard, or nothing that tells what has arrived), and with every fault of the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from brique import schema
from brique.backends import Abilities, Applied, Prepared, Rung, Tag
from brique.errors import BackendAway, BackendRefused
from brique.schema import Catalogue, Change, Row, TableSpec, Value
from tests.simulation.erp import Entry, Erp, Key, State
from tests.simulation.faults import Crash, Faults

_TIMEOUT_SECONDS = 10.0
_READING = ("fingerprint", "snapshot", "mark", "read")


@dataclass(frozen=True)
class Manner:
    """What kind of backend it is: the rung that it allows without a marker table, and whether it has transactions."""

    rung: Rung = Rung.COMPARE
    transactions: bool = True


class FakeBackend:
    """`brique.backends.Backend` over an Erp. `between(place)` is called at every call, so that other things can
    happen there, or the process end."""

    def __init__(
        self,
        name: str,
        erp: Erp,
        faults: Faults,
        between: Callable[[str], None],
        *,
        marker: bool,
        manner: Manner,
        prints: bool,
        advance: Callable[[float], None],
        committed: Callable[[str, list[str]], None],
    ) -> None:
        self.name = name
        self.erp, self.faults, self._between, self._advance = erp, faults, between, advance
        self.marker, self.manner, self._prints = marker, manner, prints
        self._committed = committed
        self.session_open: FakeSession | None = None
        self.cut: set[str] = set()
        """Connections that the backend has dropped, and whose owner does not know yet."""
        self._doubts = 0

    def take_doubts(self) -> int:
        """How often, since the last call of this, nobody could know whether something had arrived."""
        found, self._doubts = self._doubts, 0
        return found

    def commit(self, state: State, entries: list[Entry]) -> None:
        self.erp.commit(state, entries)
        self._committed(self.name, [entry.mark for entry in entries if entry.kind != "delete"])

    def cut_connections(self) -> None:
        """Both are dropped, the refresh's and the replay's."""
        self.cut = {"reading", "writing"}

    @property
    def is_locked(self) -> bool:
        return self.session_open is not None or self.erp.late is not None

    def call(self, place: str) -> None:
        """A call on its way: it may find nobody, or nobody who answers in time."""
        Crash.check()
        self._between(place)
        faults, weather = self.faults, self.faults.weather
        connection = "reading" if place in _READING else "writing"
        if connection in self.cut:
            self.cut.remove(connection)
            raise BackendAway(f"{self.name}: the connection was cut")
        if self.erp.late is not None and (not weather.late or faults.chance() < weather.thaw):
            self.erp.thaw(faults.chance() < 0.5)
        if faults.happens(weather.away, "backend away"):
            raise BackendAway(f"{self.name}: away at {place}")
        if faults.happens(weather.frozen, "backend frozen"):
            self._advance(_TIMEOUT_SECONDS)
            faults.crash("hung process killed")
            raise BackendAway(f"{self.name}: no answer for {_TIMEOUT_SECONDS:.0f} s")
        if faults.happens(weather.slow, "backend slow"):
            self._advance(1.5)

    def ping(self, timeout: float) -> None:
        self.call("ping")

    def catalogue(self) -> Catalogue:
        raise NotImplementedError

    def fingerprint(self, tables: Sequence[TableSpec]) -> str | None:
        self.call("fingerprint")
        return str(self.erp.state.version) if self._prints else None

    @contextmanager
    def snapshot(self) -> Iterator[FakeSnapshot]:
        self.call("snapshot")
        yield FakeSnapshot(self.erp.state, self.call, self._prints)

    def fetch(self, spec: TableSpec, keys: Sequence[str]) -> dict[str, Row]:
        self.call("fetch")
        rows = self.erp.rows(spec.name)
        return {key: dict(rows[key]) for key in keys if key in rows}

    @contextmanager
    def session(self) -> Iterator[FakeSession]:
        self.call("begin")
        if self.is_locked:
            raise BackendAway(f"{self.name}: locked by another transaction")
        session = FakeSession(self)
        self.session_open = session
        try:
            yield session
            self._commit(session)
        except BaseException:
            session.is_doubtful |= not self.manner.transactions
            raise
        finally:
            self.session_open = None
            self._doubts += session.is_doubtful

    def _commit(self, session: FakeSession) -> None:
        if not self.manner.transactions:
            return
        session.is_doubtful = True
        self.call("commit")
        if session.entries:  # else there is nothing to say no to
            self.refuse("refused at the commit", [entry.mark for entry in session.entries], 0.3)
        faults, weather = self.faults, self.faults.weather
        away = BackendAway(f"{self.name}: away at the commit", at_commit=True)
        if faults.happens(weather.lost / 2, "connection lost before the commit"):
            raise away
        if faults.happens(weather.late, "commit given up, still under way"):
            self.erp.late, self.erp.late_entries = session.state, session.entries
            raise away
        self.commit(session.state, session.entries)
        self._between("committed")
        if faults.happens(weather.lost / 2, "answer lost after the commit"):
            raise away
        session.is_doubtful = False

    def refuse(self, kind: str, marks: Sequence[str], share: float = 1.0) -> None:
        """Say no, now and then, to what bears these marks."""
        if self.faults.happens(self.faults.weather.refuse * share, kind):
            raise self.no("not today", marks)

    def no(self, why: str, marks: Sequence[str]) -> BackendRefused:
        self.erp.refused.update(marks)
        return BackendRefused(f"{self.name}: {why}")

    def watermark(self, stream: str) -> int | None:
        self.call("watermark")
        return self.erp.state.cursor.get(stream, 0) if self.erp.has_marker else None

    def prepare(self, marker: bool) -> Prepared:
        self.call("prepare")
        self.erp.has_marker |= self.marker
        transactions = self.manner.transactions
        abilities = Abilities(transactions=transactions, marker=self.marker)
        if self.marker:
            return Prepared(Rung.WATERMARK, "", abilities)
        return Prepared(self.manner.rung, "no marker table", abilities)

    def allow_marker(self, allowed: bool) -> None:
        """Allow the marker table from the next start on, or not; what is in it stays."""
        self.marker = allowed

    def abort(self) -> None:
        """Calls here end by themselves."""

    def close(self) -> None:
        """Nothing is open."""


class FakeSnapshot:
    def __init__(self, state: State, call: Callable[[str], None], prints: bool) -> None:
        self._state, self._call, self._prints = state, call, prints

    @property
    def fingerprint(self) -> str | None:
        return str(self._state.version) if self._prints else None

    def mark(self, spec: TableSpec) -> str | None:
        self._call("mark")
        return str(self._state.versions.get(spec.name, 0)) if self._prints else None

    def read(self, spec: TableSpec) -> Iterator[list[tuple[Value, ...]]]:
        rows = [tuple(row[name] for name in spec.names) for row in self._state.tables[spec.name].values()]
        for start in range(0, len(rows), 6):
            self._call("read")
            yield rows[start : start + 6]


class FakeSession:
    """One transaction; or, where there are none, changes that each are done when their call returns."""

    def __init__(self, backend: FakeBackend) -> None:
        self._backend, self._erp = backend, backend.erp
        self.state = backend.erp.begin()
        self.entries: list[Entry] = []
        self.is_doubtful = False
        self._notes = next(name for name, kind in self._erp.kind_of.items() if kind == "note")
        self._tag: Tag | None = None
        self._ordinal = 0

    def identify(self, tag: Tag) -> None:
        self._tag, self._ordinal = tag, 0

    def _call(self, place: str) -> None:
        self._backend.call(place)

    def _known(self) -> Row | int | None:
        """What this change was answered when it was done before (rung `guard`)."""
        if self._backend.manner.rung is not Rung.GUARD or self._tag is None or self._backend.marker:
            return None
        answers = self.state.done.setdefault((self._tag.stream, self._tag.position), [])
        self._ordinal += 1
        return answers[self._ordinal - 1] if self._ordinal <= len(answers) else None

    def _finish(self, entry: Entry, answer: Row | int) -> None:
        """The change is done: with the transaction, or at once (and then its answer may be lost)."""
        self.entries.append(entry)
        if self._backend.manner.rung is Rung.GUARD and self._tag is not None and not self._backend.marker:
            self.state.done[(self._tag.stream, self._tag.position)].append(answer)
        if self._backend.manner.transactions:
            return
        self._backend.commit(self.state, self.entries)
        self.state, self.entries = self._erp.begin(), []
        self.is_doubtful = True
        self._backend._between("committed")
        faults = self._backend.faults
        if faults.happens(faults.weather.lost, "answer lost after a change"):
            raise BackendAway(f"{self._backend.name}: away after a change", at_commit=True)
        self.is_doubtful = False

    def call(self, effect: schema.Effect) -> Row:
        self._call("call")
        known = self._known()
        if isinstance(known, dict):
            return known
        mark = str(effect.arguments["mark"])
        self._backend.refuse("refused a call", [mark])
        if effect.arguments.get("amount", 0) < 0:
            raise self._backend.no("the amount must not be negative", [mark])
        self._finish(Entry("call", effect.name, "", mark), {"ok": 1})
        return {"ok": 1}

    def insert(self, spec: TableSpec, row: Row) -> Row:
        self._call("insert")
        known = self._known()
        if isinstance(known, dict):
            return known
        self._backend.refuse("refused an insert", [str(row["mark"])])
        made = {**dict.fromkeys(spec.names), **row}
        if "id" in made and made["id"] is None:
            made["id"] = self.state.next_number()
        key = tuple(made[name] for name in spec.key)
        if key in self.state.tables[spec.name]:
            raise self._backend.no("there is a row with this key", [str(row["mark"])])
        self._check(made)
        self.state.tables[spec.name][key] = made
        given = {name: made[name] for name in spec.key}
        self._finish(Entry("insert", spec.name, spec.key_of(made), str(made["mark"])), given)
        return given

    def _check(self, row: Row) -> None:
        if (row.get("stock") or 0) < 0:
            raise self._backend.no("stock must not be negative", [str(row["mark"])])
        note = row.get("note")
        if note is not None and (note,) not in self.state.tables[self._notes]:
            raise self._backend.no("there is no such note", [str(row["mark"])])

    def update(self, spec: TableSpec, key: Key, before: Row, after: Row) -> int:
        self._call("update")
        known = self._known()
        if isinstance(known, int):
            return known
        self._backend.refuse("refused an update", [str(after["mark"])])
        row = self.state.tables[spec.name].get(key)
        if row is None or any(row[name] != value for name, value in before.items()):
            return 0
        made = {**row, **after}
        self._check(made)
        self.state.tables[spec.name][key] = made
        self._finish(Entry("update", spec.name, spec.key_of(made), str(made["mark"])), 1)
        return 1

    def delete(self, spec: TableSpec, key: Key, before: Row) -> int:
        self._call("delete")
        known = self._known()
        if isinstance(known, int):
            return known
        self._backend.refuse("refused a deletion", [str(before["mark"])])
        row = self.state.tables[spec.name].get(key)
        if row is None or any(row[name] != value for name, value in before.items()):
            return 0
        del self.state.tables[spec.name][key]
        self._finish(Entry("delete", spec.name, spec.key_of(row), str(row["mark"])), 1)
        return 1

    def look(self, spec: TableSpec, key: Key) -> Row | None:
        self._call("look")
        row = self.state.tables[spec.name].get(key)
        return None if row is None else dict(row)

    def apply(self, changes: Sequence[tuple[TableSpec, Change]]) -> list[Applied]:
        done = []
        for spec, change in changes:
            if change.before is None:
                assert change.after is not None
                done.append(Applied(1, self.insert(spec, change.after)))
            elif change.after is None:
                done.append(Applied(self.delete(spec, spec.key_values(change.key), change.before), {}))
            else:
                rows = self.update(spec, spec.key_values(change.key), change.before, change.after)
                done.append(Applied(rows, {}))
        return done

    def move_watermark(self, stream: str, previous: int, position: int) -> bool:
        self._call("move")
        if self.state.cursor.get(stream, 0) != previous:
            return False
        self.state.cursor[stream] = position
        return True
