"""A backend in memory that can do to brique what real ones do: go away at any call, before or at the commit, refuse,
forget its last commits, and be changed by a colleague at its own screen.

Every change that brique or the colleague writes puts a mark of its own into the row's column `mark`; the ERP keeps a
log of what was committed under which mark, which is how the simulation knows what happened how many times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from brique import schema
from brique.backends import Applied, Prepared, Rung, Tag
from brique.errors import BackendAway, BackendRefused
from brique.schema import Catalogue, Change, Column, Kind, Row, TableSpec, Value

Key = tuple[Value, ...]
_KEPT_COMMITS = 12


def _column(name: str, kind: Kind = Kind.TEXT, **more: bool) -> Column:
    return Column(name, name, kind, name, **more)


ITEM = TableSpec(
    "item",
    "item",
    "erp",
    "Items",
    (_column("code", nullable=False), _column("name"), _column("stock", Kind.INTEGER), _column("mark")),
    key=("code",),
)
NOTE = TableSpec(
    "note",
    "note",
    "erp",
    "Notes",
    (_column("id", Kind.INTEGER, nullable=False, defaulted=True), _column("text"), _column("mark")),
    key=("id",),
)
LINE = TableSpec(
    "line",
    "line",
    "erp",
    "Lines",
    (
        _column("number", Kind.INTEGER, nullable=False),
        _column("part", nullable=False),
        _column("quantity", Kind.INTEGER),
        _column("mark"),
    ),
    key=("number", "part"),
)
SPECS = {spec.name: spec for spec in (ITEM, NOTE, LINE)}


@dataclass(frozen=True)
class Effect:
    """One row change that was committed: `mark` is that of the change, or of the row that was deleted."""

    kind: str
    table: str
    key: str
    mark: str


@dataclass
class State:
    """All that a commit can change."""

    tables: dict[str, dict[Key, Row]]
    cursor: dict[str, int] = field(default_factory=dict)
    effects: tuple[Effect, ...] = ()
    version: int = 0
    versions: dict[str, int] = field(default_factory=dict)

    def copy(self) -> State:
        return replace(self, tables={name: dict(rows) for name, rows in self.tables.items()}, cursor=dict(self.cursor))


class Erp:
    """The ERP itself. `state` is what is committed."""

    def __init__(self) -> None:
        items = {(code,): {"code": code, "name": code.lower(), "stock": 10, "mark": "start"} for code in "ABCDE"}
        notes = {(n,): {"id": n, "text": f"note {n}", "mark": "start"} for n in range(1, 4)}
        lines = {
            (n, part): {"number": n, "part": part, "quantity": n, "mark": "start"}
            for n in range(1, 4)
            for part in ("x", "y z")
        }
        self.state = State({"item": dict(items), "note": dict(notes), "line": dict(lines)})
        self.number = 3
        self.has_marker = False
        self._before: list[State] = []

    def begin(self) -> State:
        return self.state.copy()

    def commit(self, state: State) -> None:
        self._before.append(self.state)
        del self._before[:-_KEPT_COMMITS]
        self._publish(state)

    def _publish(self, state: State) -> None:
        """Number the new state, and each table of it that is not as it was."""
        version = self.state.version + 1
        changed = [name for name, rows in state.tables.items() if rows != self.state.tables[name]]
        versions = {**self.state.versions, **dict.fromkeys(changed, version)}
        self.state = replace(state, version=version, versions=versions)

    def forget(self, commits: int) -> None:
        """Lose the last commits, as a server without flush does in a power cut; never its very first mark."""
        for _ in range(commits):
            if not self._before or not self._before[-1].cursor:
                return
            self._publish(self._before.pop())

    def next_number(self) -> int:
        self.number += 1
        return self.number

    def rows(self, table: str) -> dict[str, Row]:
        """The committed rows by key text."""
        return {SPECS[table].key_of(row): row for row in self.state.tables[table].values()}


@dataclass
class Faults:
    """What may happen at a call: `away` before it does anything, `lost` at a commit (done or not, nobody knows)."""

    away: float = 0.0
    lost: float = 0.0
    refuse: float = 0.0


class FakeBackend:
    """`brique.backends.Backend` over an Erp. `chance()` is uniform in 0..1; `meanwhile(place)` is called at every
    call, so that other things can happen there, or the process end."""

    def __init__(
        self,
        erp: Erp,
        chance: Callable[[], float],
        meanwhile: Callable[[str], None],
        *,
        marker: bool,
        prints: bool,
    ) -> None:
        self.name = "erp"
        self.erp, self.faults, self._chance, self._meanwhile = erp, Faults(), chance, meanwhile
        self.marker, self._prints = marker, prints
        self.in_session = False

    def _call(self, place: str) -> None:
        self._meanwhile(place)
        if self._chance() < self.faults.away:
            raise BackendAway(f"erp: away at {place}")

    def ping(self, timeout: float) -> None:
        self._call("ping")

    def catalogue(self) -> Catalogue:
        raise NotImplementedError

    def fingerprint(self, tables: Sequence[TableSpec]) -> str | None:
        self._call("fingerprint")
        return str(self.erp.state.version) if self._prints else None

    @contextmanager
    def snapshot(self) -> Iterator[FakeSnapshot]:
        self._call("snapshot")
        yield FakeSnapshot(self.erp.state, self._call, self._prints)

    def fetch(self, spec: TableSpec, keys: Sequence[str]) -> dict[str, Row]:
        self._call("fetch")
        rows = self.erp.rows(spec.name)
        return {key: dict(rows[key]) for key in keys if key in rows}

    @contextmanager
    def session(self) -> Iterator[FakeSession]:
        self._call("begin")
        session = FakeSession(self.erp, self._call, self._refuse)
        self.in_session = True
        try:
            yield session
        finally:
            self.in_session = False
        self._commit(session.state)

    def _commit(self, state: State) -> None:
        self._call("commit")
        happens = self._chance()
        if happens < self.faults.lost / 2:
            raise BackendAway("erp: away at the commit", at_commit=True)
        self.erp.commit(state)
        self._meanwhile("committed")
        if happens < self.faults.lost:
            raise BackendAway("erp: away at the commit", at_commit=True)

    def _refuse(self) -> None:
        if self._chance() < self.faults.refuse:
            raise BackendRefused("erp: not today")

    def watermark(self, stream: str) -> int | None:
        self._call("watermark")
        return self.erp.state.cursor.get(stream, 0) if self.erp.has_marker else None

    def prepare(self, marker: bool) -> Prepared:
        self._call("prepare")
        self.erp.has_marker |= self.marker
        return Prepared(Rung.WATERMARK) if self.marker else Prepared(Rung.COMPARE, "no marker table")

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
        for start in range(0, len(rows), 3):
            self._call("read")
            yield rows[start : start + 3]


class FakeSession:
    def __init__(self, erp: Erp, call: Callable[[str], None], refuse: Callable[[], None]) -> None:
        self.state = erp.begin()
        self._erp, self._call, self._refuse = erp, call, refuse

    def _log(self, kind: str, spec: TableSpec, row: Row) -> None:
        effect = Effect(kind, spec.name, spec.key_of(row), str(row["mark"]))
        self.state.effects = (*self.state.effects, effect)

    def identify(self, tag: Tag) -> None:
        """The old values, or the mark, tell a second try from a first."""

    def call(self, effect: schema.Effect) -> Row:
        raise BackendRefused(f"{effect.name}: the simulated ERP has no procedures", procedure=effect.name)

    def insert(self, spec: TableSpec, row: Row) -> Row:
        self._call("insert")
        self._refuse()
        made = {**dict.fromkeys(spec.names), **row}
        if spec.name == "note" and made["id"] is None:
            made["id"] = self._erp.next_number()
        key = tuple(made[name] for name in spec.key)
        if key in self.state.tables[spec.name]:
            raise BackendRefused("erp: there is a row with this key")
        self._check(made)
        self.state.tables[spec.name][key] = made
        self._log("insert", spec, made)
        return {name: made[name] for name in spec.key}

    def _check(self, row: Row) -> None:
        if (row.get("stock") or 0) < 0:
            raise BackendRefused("erp: stock must not be negative")

    def update(self, spec: TableSpec, key: Key, before: Row, after: Row) -> int:
        self._call("update")
        self._refuse()
        row = self.state.tables[spec.name].get(key)
        if row is None or any(row[name] != value for name, value in before.items()):
            return 0
        made = {**row, **after}
        self._check(made)
        self.state.tables[spec.name][key] = made
        self._log("update", spec, made)
        return 1

    def delete(self, spec: TableSpec, key: Key, before: Row) -> int:
        self._call("delete")
        self._refuse()
        row = self.state.tables[spec.name].get(key)
        if row is None or any(row[name] != value for name, value in before.items()):
            return 0
        del self.state.tables[spec.name][key]
        self._log("delete", spec, row)
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
