"""Rows that get the key of their backend: what is laid over them, and over rows that refer to them, goes by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from brique.schema import Change, Row, Value, decode_command
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

    def _key_values(self, table: str, key: str) -> Row:
        spec = self._store.specs.get(table)
        if spec is None or not spec.key:
            return {}
        values: tuple[Value, ...] = spec.key_values(key)
        return dict(zip(spec.key, values, strict=True))
