"""What the store shows, held against what was asked and what the backends have: at any time, and at rest."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING

from brique.schema import PENDING, Change, Row, State, TableSpec
from brique.store import Store
from tests.simulation.asked import Broken, Ledger

if TYPE_CHECKING:
    from tests.simulation.model import Model

WAITING = (State.KEPT, State.SENDING)


class Shown:
    """Reads the tables themselves, not through the product's own readers."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._names: dict[tuple[str, str], str] = {}
        """The number of each row that had none when it was asked for, by its table and temporary key."""
        self._former: dict[tuple[str, str], list[tuple[int, int, str]]] = {}
        """By table and number: rows that had it until their backend forgot it (from which position on commands meant
        them by it, up to which, and their temporary keys)."""
        self.specs = {name: spec for erp in model.erps.values() for name, spec in erp.specs.items()}

    def check(self, store: Store) -> None:
        """What is not settled is seen: each row's last word of a waiting command, with its mark as pending; and what
        has settled is seen as well, or something newer."""
        renamed = self._names
        last: dict[tuple[str, str], Change] = {}
        for position, asked in sorted(self.model.by_position.items()):
            if asked.state in WAITING:
                for change in asked.command.changes:
                    name = change.table, self.name(change.table, change.key, position)
                    last[change.table, renamed.get(name, name[1])] = _numbered(
                        change, self.specs[change.table], renamed
                    )
        rows = self._rows(store)
        for (table, key), change in last.items():
            spec = self.specs[table]
            by_number = spec.reference_of if self.model.erps[spec.backend].epoch else ()  # a row may get another one
            _check_pending(table, key, change, rows[table].get(key), by_number)
        for name, ledger in self.model.ledgers.items():
            if not ledger.forgetful:
                self._check_floor(name, ledger, rows, set(last))

    def look(self, store: Store, upto: int) -> None:
        """See which rows have numbers. Some may have lost theirs since the last look, or have got others; commands up
        to the position `upto` do not know that."""
        names = {
            (table, old): key
            for table, old, key in store.connection.execute("SELECT table_name, old, key FROM renamed")
        }
        for (table, old), key in self._names.items():
            maker = self.model.asked.get(old.removeprefix(PENDING).partition(".")[0])
            if names.get((table, old)) != key and maker is not None and maker.position is not None:
                self._former.setdefault((table, key), []).append((maker.position, upto, old))
        self._names = names

    def leans_on_forgotten(self, change: Change, position: int) -> bool:
        """Whether the command at `position` knows a row by a number that the backend has forgotten since."""
        rows = [(change.table, change.key)]
        for name, reference in self.specs[change.table].reference_of.items():
            rows += [(reference.table, str(row[name])) for row in (change.before, change.after) if row and name in row]
        return any(self.name(table, key, position) != key for table, key in rows)

    def name(self, table: str, key: str, position: int) -> str:
        """What the row is called that the command at `position` calls `key`."""
        for maker, upto, old in self._former.get((table, key), ()):
            if maker < position <= upto:
                return old
        return key

    def _rows(self, store: Store) -> dict[str, dict[str, tuple[int, Row]]]:
        """Every visible row: by table and key, its mark as pending and its values."""
        found: dict[str, dict[str, tuple[int, Row]]] = {}
        for erp in self.model.erps.values():
            for table, spec in erp.specs.items():
                query = f"SELECT _key, _pending, {', '.join(spec.names)} FROM t_{table}"
                found[table] = {
                    key: (pending, dict(zip(spec.names, values, strict=True)))
                    for key, pending, *values in store.connection.execute(query)
                }
        return found

    def _check_floor(
        self, name: str, ledger: Ledger, rows: dict[str, dict[str, tuple[int, Row]]], waiting: set[tuple[str, str]]
    ) -> None:
        for place, floor in ledger.floor.items():
            if place in waiting:
                continue
            table, key = place
            seen = rows[table].get(key)
            mark = None if seen is None else seen[1]["mark"]
            history = ledger.history[place]
            is_older = mark in history[:floor] if self.model.erps[name].epoch else True
            maker = self.model.of_mark.get(str(history[floor]))
            if maker is not None and (table, f"{PENDING}{maker.id}") in waiting:
                continue
            if is_older and mark not in history[floor:] and not _is_unnumbered(rows[table], history[floor]):
                raise Broken(
                    f"{table}/{key} is seen as {mark}, older than {history[floor]}, which {name} has confirmed"
                )

    def check_same(self, store: Store, again: Store) -> None:
        """`again` was made from the spool alone: the same commands wait, and the same is laid over the copy."""
        for what, query in _LAID.items():
            here = set(store.connection.execute(query).fetchall())
            there = set(again.connection.execute(query).fetchall())
            if here != there:
                raise Broken(f"from the spool alone, {what} differ: lost {here - there}, new {there - here}")

    def check_rest(self, store: Store) -> None:
        """After everything has settled and a refresh: copy and backend are equal, and nothing is left over."""
        shown = self._rows(store)
        for erp in self.model.erps.values():
            for table in erp.specs:
                here = {key: values for key, (_, values) in shown[table].items()}
                there = erp.rows(table)
                if here != there:
                    keys = {*here, *there}
                    wrong = {key: (here.get(key), there.get(key)) for key in keys if here.get(key) != there.get(key)}
                    raise Broken(f"{table}: copy and backend differ: {wrong}")
                marks = {key: pending for key, (pending, _) in shown[table].items() if pending}
                if marks:
                    raise Broken(f"{table}: marks are left: {marks}")
                state = store.reader.table_state(table)
                if state is None or state.rows != len(here):
                    raise Broken(f"{table}: {len(here)} rows are counted as {state}")
        for left in ("overlay", "shadow"):
            [[count]] = store.connection.execute(f"SELECT count(*) FROM {left}").fetchall()
            if count:
                raise Broken(f"{count} rows are left in {left}")
        self._check_counts(store)

    def _check_counts(self, store: Store) -> None:
        """What the outbox counts is what is there."""
        counted = {
            (state, backend): n
            for state, backend, n in store.connection.execute(
                "SELECT state, backend, sum(n) FROM command_count GROUP BY state, backend"
            )
            if n
        }
        there = {
            (state, backend): n
            for state, backend, n in store.connection.execute(
                "SELECT state, backend, count(*) FROM command GROUP BY state, backend"
            )
        }
        if counted != there:
            raise Broken(f"the outbox counts {counted} where there are {there}")


def _numbered(change: Change, spec: TableSpec, renamed: Mapping[tuple[str, str], str]) -> Change:
    """`change` as it is shown once the rows that it refers to have their numbers."""
    if change.after is None or not spec.reference_of:
        return change
    after = dict(change.after)
    for name, reference in spec.reference_of.items():
        number = renamed.get((reference.table, str(after.get(name))))
        if number is not None:
            after[name] = int(number)
    return Change(change.table, change.key, change.before, after)


def _is_unnumbered(rows: dict[str, tuple[int, Row]], mark: str | None) -> bool:
    """Whether a row is seen under its temporary key: a crash has lost its number until the next refresh."""
    return any(key.startswith(PENDING) and row["mark"] == mark for key, (_, row) in rows.items())


def _check_pending(table: str, key: str, change: Change, seen: tuple[int, Row] | None, unsure: Container[str]) -> None:
    if change.after is None:
        if seen is not None:
            raise Broken(f"{table}/{key} is seen although its deletion waits")
    elif seen is None:
        if change.before is None:
            raise Broken(f"{table}/{key} waits to be made and is not seen")
    elif any(seen[1][name] != value for name, value in change.after.items() if name not in unsure):
        raise Broken(f"{table}/{key} is seen as {seen[1]} although {change.after} waits")
    elif not seen[0]:
        raise Broken(f"{table}/{key} has a waiting command and is not marked")


_LAID = {
    "commands": "SELECT position, id, backend, user, replace(state, 'sending', 'kept'), dismissed FROM command "
    "WHERE state IN ('kept', 'sending') OR (dismissed = 0 AND state IN ('refused', 'conflict', 'unknown'))",
    "waiting changes": "SELECT table_name, key, position, ordinal, before, after FROM overlay "
    "WHERE position IN (SELECT position FROM command WHERE state IN ('kept', 'sending'))",
    "marks": "SELECT table_name, key, position FROM overlay WHERE mark",
}
