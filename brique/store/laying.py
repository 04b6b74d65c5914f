"""Commands laid over the rows that they change: many at once, under the names that these rows have by now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from brique.schema import PENDING, Command, TableSpec
from brique.store.commands import Commands
from brique.store.folding import Folding
from brique.store.ledger import Ledger
from brique.store.overlay import Laid
from brique.store.temporary import replaced


def lay_changes(
    given: Sequence[tuple[int, Command]],
    specs: Mapping[str, TableSpec],
    commands: Commands,
    ledger: Ledger,
    folding: Folding,
    *,
    anew: bool,
) -> None:
    """Lay the changes of commands (position, command) over the copy. `anew`: for the first time, so that a row that
    bears the receipt of its command as its key is one that nobody knew before."""
    asked: dict[str, list[str]] = {}
    for _, command in given:
        for change in command.changes:
            if change.key.startswith(PENDING):
                asked.setdefault(change.table, []).append(change.key)
    named = {table: commands.real_keys(table, keys) for table, keys in asked.items()}
    records: list[tuple[str, str, Laid]] = []
    for position, command in given:
        for ordinal, change in enumerate(command.changes):
            table, key = change.table, change.key
            if table in named:
                key = named[table].get(key, key)
            wanted = replaced(change, specs, commands.real_key)
            laid = Laid(position, ordinal, wanted.before, wanted.after)
            records.append((table, key, laid))
            if anew and laid.before is None and key == PENDING + command.id:
                folding.born(table, key, laid)
            else:
                folding.again([(table, key)], position)
    ledger.add_many(records)
