"""Rows that get the key of their backend: what is laid over them, and over rows that refer to them, goes by it, until
the backend forgets that it has given it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from brique.schema import PENDING, Change, Command, Row, Value, decode_command, encode_command
from brique.store.commands import Commands
from brique.store.folding import Folding
from brique.store.ledger import Ledger
from brique.store.temporary import replaced

if TYPE_CHECKING:
    from brique.store.writer import Store


class Naming:
    """The names of rows in one transaction."""

    def __init__(self, store: Store, ledger: Ledger, folding: Folding, commands: Commands) -> None:
        self._store, self._ledger, self._folding, self._commands = store, ledger, folding, commands
        self._run: Any = store.connection.execute  # SQLite's values have no static type

    def follow(self, renamed: set[str]) -> None:
        """What is laid over rows that refer to these tables, by the temporary keys of rows that have a number by now,
        refers to the number."""
        children = [
            name for name, spec in self._store.specs.items() if any(ref.table in renamed for ref in spec.references)
        ]
        for table, key, laid in self._ledger.leaning(children) if renamed else ():
            change = Change(table, key, laid.before, laid.after)
            new = replaced(change, self._store.specs, self._commands.real_key)
            if new is not change:
                self._ledger.relay(table, key, laid.position, laid.ordinal, new.before, new.after)
                self._folding.again([(table, key)], laid.position)

    def rename(self, position: int, keys: Mapping[str, str], renamed: set[str]) -> list[tuple[str, str]]:
        """Give rows with temporary keys their real ones; the (table, key) to compute again. `renamed` takes the
        tables of these rows."""
        if not keys:
            return []
        touched = []
        stored = self._run("SELECT payload FROM command WHERE position = ?", (position,)).fetchone()
        for change in decode_command(stored[0]).changes:
            real = keys.get(f"{change.table}/{change.key}", keys.get(change.key))
            if real is None or real == change.key or change.before is not None:
                continue
            self._ledger.rename(change.table, change.key, real, self._key_values(change.table, real))
            touched += [(change.table, change.key), (change.table, real)]
            renamed.add(change.table)
        return touched

    def forget(self, position: int, command: Command) -> set[int]:
        """The rows that this command makes have no numbers any more: what was given since and names these numbers goes
        by the temporary keys again, or it would hit the rows that get them next. The positions of these commands."""
        changed: set[int] = set()
        for change in command.changes:
            if change.before is None and change.key.startswith(PENDING):
                key = self._commands.real_key(change.table, change.key)
                self._ledger.forget_name(change.table, change.key)
                if key != change.key:
                    changed.update(self._call_again(position, command.backend, change.table, key, change.key))
        return changed

    def _call_again(self, after: int, backend: str, table: str, key: str, old: str) -> Iterator[int]:
        """Let what was given past position `after`, and may be sent again, name the row `old` instead of `key`."""
        spec = self._store.specs.get(table)
        if spec is None:
            return
        number = spec.key_values(key)[0] if len(spec.key) == 1 else None
        children = {
            name: [column for column, target in child.reference_of.items() if target.table == table]
            for name, child in self._store.specs.items()
            if number is not None
        }
        called = [("key", key), *{(column, number) for columns in children.values() for column in columns}]
        marks = [_packed(name, value) for name, value in called]
        found = self._run(
            "SELECT position, payload FROM command WHERE backend = ? AND position > ? "  # noqa: S608 - no value in it
            f"AND state IN ('kept', 'sending', 'applied') AND ({' OR '.join(['instr(payload, ?)'] * len(marks))})",
            (backend, after, *marks),
        ).fetchall()
        for position, payload in found:
            command = decode_command(payload)
            changes = tuple(
                _called(change, table, key, old, spec.key, children.get(change.table, []), number)
                for change in command.changes
            )
            if changes != command.changes:
                renamed = encode_command(msgspec.structs.replace(command, changes=changes))
                self._run("UPDATE command SET payload = ? WHERE position = ?", (renamed, position))
                yield position

    def _key_values(self, table: str, key: str) -> Row:
        spec = self._store.specs.get(table)
        if spec is None or not spec.key:
            return {}
        values: tuple[Value, ...] = spec.key_values(key)
        return dict(zip(spec.key, values, strict=True))


def _packed(name: str, value: Value) -> bytes:
    """How a field of a packed command looks."""
    return msgspec.msgpack.encode(name) + msgspec.msgpack.encode(value)


def _called(
    change: Change, table: str, key: str, old: str, names: Sequence[str], columns: Sequence[str], number: Value
) -> Change:
    """`change` with the row `key` of `table` called `old`: its own, and where `columns` of it refer to it."""
    before, after = change.before, change.after
    for column in columns:
        if before is not None and before.get(column) == number:
            before = {**before, column: old}
        if after is not None and after.get(column) == number:
            after = {**after, column: old}
    if change.table != table or change.key != key or change.before is None:
        return Change(change.table, change.key, before, after)
    return Change(table, old, {**(before or {}), **{name: None for name in names if name in change.before}}, after)
