"""The ERP behind a simulated backend: its tables, what was committed to them and when, and what it can forget.

Every change that brique or the colleague writes puts a mark of its own into the row's column `mark`; the ERP keeps a
log of what was committed under which mark, which is how the simulation knows what happened how many times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from brique.schema import Column, Kind, Reference, Row, TableSpec, Value

Key = tuple[Value, ...]
_KEPT_COMMITS = 12


def column(name: str, kind: Kind = Kind.TEXT, **more: bool) -> Column:
    return Column(name, name, kind, name, **more)


def tables_of(backend: str, prefix: str = "") -> dict[str, TableSpec]:
    """The tables of a backend: a key of the users', a key that it gives itself, a key of two columns, and
    rows that refer to others by the number that those have from it."""
    item = TableSpec(
        f"{prefix}item",
        f"{prefix}item",
        backend,
        "Items",
        (column("code", nullable=False), column("name"), column("stock", Kind.INTEGER), column("mark")),
        key=("code",),
    )
    note = TableSpec(
        f"{prefix}note",
        f"{prefix}note",
        backend,
        "Notes",
        (column("id", Kind.INTEGER, nullable=False, defaulted=True), column("text"), column("mark")),
        key=("id",),
    )
    line = TableSpec(
        f"{prefix}line",
        f"{prefix}line",
        backend,
        "Lines",
        (
            column("number", Kind.INTEGER, nullable=False),
            column("part", nullable=False),
            column("quantity", Kind.INTEGER),
            column("mark"),
        ),
        key=("number", "part"),
    )
    entry = TableSpec(
        f"{prefix}entry",
        f"{prefix}entry",
        backend,
        "Entries",
        (
            column("id", Kind.INTEGER, nullable=False, defaulted=True),
            column("note", Kind.INTEGER),
            column("text"),
            column("mark"),
        ),
        key=("id",),
        references=(Reference(("note",), note.name, ("id",)),),
    )
    return {spec.name: spec for spec in (item, note, line, entry)}


class Entry(NamedTuple):
    """One thing that was committed: `mark` is that of the change, or of the row that was deleted. `other`: by a
    colleague."""

    kind: str
    table: str
    key: str
    mark: str
    other: bool = False


@dataclass
class State:
    """All that a commit can change. `entries`: how much of the ERP's log it has seen."""

    tables: dict[str, dict[Key, Row]]
    cursor: dict[str, int] = field(default_factory=dict)
    done: dict[tuple[str, int], list[Row | int]] = field(default_factory=dict)
    """By stream and position: what each change of a command was answered (rung `guard`)."""
    entries: int = 0
    version: int = 0
    versions: dict[str, int] = field(default_factory=dict)
    number: int = 3
    """The last one given to a row that has its number from the ERP."""

    def next_number(self) -> int:
        self.number += 1
        return self.number

    def copy(self) -> State:
        tables = {name: dict(rows) for name, rows in self.tables.items()}
        done = {place: list(answers) for place, answers in self.done.items()}
        return replace(self, tables=tables, cursor=dict(self.cursor), done=done)


class Erp:
    """The ERP itself. `state` is what is committed, `log` what was committed when; `epoch` counts how often it has
    forgotten some of it."""

    def __init__(self, specs: dict[str, TableSpec]) -> None:
        self.specs = specs
        self.kind_of = {name: name.removeprefix("b_") for name in specs}
        first: dict[str, list[Row]] = {
            "item": [{"code": code, "name": code.lower(), "stock": 10, "mark": "start"} for code in "ABCDE"],
            "note": [{"id": n, "text": f"note {n}", "mark": "start"} for n in range(1, 4)],
            "line": [
                {"number": n, "part": part, "quantity": n, "mark": "start"}
                for n in range(1, 4)
                for part in ("x", "y z")
            ],
            "entry": [{"id": 1, "note": 1, "text": "entry 1", "mark": "start"}],
        }
        self.state = State(
            {
                name: {tuple(row[part] for part in spec.key): row for row in first[self.kind_of[name]]}
                for name, spec in specs.items()
            }
        )
        self.log: list[Entry] = []
        self.epoch = 0
        self.has_marker = False
        self.refused: set[str] = set()
        """Marks of the changes (of the rows, for deletions) that it has said no to."""
        self.late: State | None = None
        """A commit that its caller has given up waiting for, and that may still happen."""
        self.late_entries: list[Entry] = []
        self._before: list[State] = []

    def begin(self) -> State:
        return self.state.copy()

    def commit(self, state: State, entries: Sequence[Entry]) -> None:
        self._before.append(self.state)
        del self._before[:-_KEPT_COMMITS]
        self.log.extend(entries)
        state.entries = len(self.log)
        self._publish(state)

    def _publish(self, state: State) -> None:
        """Number the new state, and each table of it that is not as it was."""
        version = self.state.version + 1
        changed = [name for name, rows in state.tables.items() if rows != self.state.tables[name]]
        versions = {**self.state.versions, **dict.fromkeys(changed, version)}
        self.state = replace(state, version=version, versions=versions)

    def forget(self, commits: int) -> int:
        """Lose the last commits, as a server without flush does in a power cut; never its very first mark. How many."""
        for count in range(commits):
            if not self._before or all(name.endswith("!") for name in self._before[-1].cursor):
                return count
            self._publish(self._before.pop())
            del self.log[self.state.entries :]
            self.epoch += 1
        return commits

    def keep_no_backup(self) -> None:
        """From now on it cannot be restored to a time before now."""
        self._before.clear()

    def thaw(self, happens: bool) -> None:
        """Let the commit that was given up come to its end."""
        late, self.late = self.late, None
        if late is not None and happens:
            self.commit(late, self.late_entries)

    def rows(self, table: str) -> dict[str, Row]:
        """The committed rows by key text."""
        return {self.specs[table].key_of(row): row for row in self.state.tables[table].values()}
