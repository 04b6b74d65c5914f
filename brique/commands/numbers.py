"""Real keys for temporary ones: what the backend has numbered takes the place of `new-<receipt>`.

Numbers are known from this run (`given`), or from the store once the engine has taken the report in. Between the two
nothing is lost: what is reported later than it was given stays in `given` for longer than any report is on its way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import msgspec

from brique.commands.waiting import leans_on
from brique.schema import PENDING, Change, Effect, Row, TableSpec, join_key, split_key

_GIVEN_MAX = 200_000
"""Numbers remembered here; many times the commands whose reports may be on their way at once."""


class NotNumbered(Exception):
    """The row with the temporary key `key` of `table` has no number that is known."""

    def __init__(self, table: str, key: str) -> None:
        super().__init__(f"{table}/{key}")
        self.table, self.key = table, key


class Numbers:
    """`real_key(table, key)`: the key that the store knows for a temporary one, or the key itself."""

    def __init__(self, specs: Mapping[str, TableSpec], real_key: Callable[[str, str], str]) -> None:
        self.specs = specs
        self._real_key = real_key
        self._given: OrderedDict[tuple[str, str], str] = OrderedDict()

    def give(self, table: str, old: str, key: str) -> None:
        """The backend has given `key` to the row that was `old`."""
        self._given[table, old] = key
        if len(self._given) > _GIVEN_MAX:
            self._given.popitem(last=False)

    def forget(self, table: str, old: str) -> None:
        """The transaction that gave the number did not happen."""
        self._given.pop((table, old), None)

    def forget_all(self) -> None:
        """The store knows all that is still true."""
        self._given.clear()

    def knows(self, table: str, key: str) -> bool:
        """Whether the row of a temporary key has a number by now."""
        return not self.key(table, key).startswith(PENDING)

    def key(self, table: str, key: str) -> str:
        """The real key of a row; the temporary one while there is none."""
        if not key.startswith(PENDING):
            return key
        found = self._given.get((table, key)) or self._real_key(table, key)
        return self._joined(table, key) if found == key and "," in key else found

    def _joined(self, table: str, key: str) -> str:
        """A composite key with the numbers of the rows that its parts refer to."""
        spec = self.specs.get(table)
        if spec is None:
            return key
        parts: list[object] = []
        for name, part in zip(spec.key, split_key(key), strict=False):
            reference = spec.reference_of.get(name)
            is_temporary = reference is not None and part is not None and part.startswith(PENDING)
            parts.append(self.key(reference.table, part) if is_temporary and reference and part else part)
        return join_key(tuple(parts))

    def change(self, change: Change) -> Change:
        """`change` with every number that it needs. Raises NotNumbered."""
        spec = self.specs.get(change.table)
        if spec is None or not _needs_numbers(change, spec):
            return change
        for table, key in leans_on(change, self.specs):
            if not self.knows(table, key):
                raise NotNumbered(table, key)
        before, after = self.row(spec, change.before), self.row(spec, change.after)
        key = change.key if change.before is None else self.key(change.table, change.key)
        if before is not None and lacks_key(change, spec):
            before.update(zip(spec.key, spec.key_values(key), strict=True))
        return Change(change.table, key, before, after)

    def row(self, spec: TableSpec, row: Row | None) -> Row | None:
        """`row` with the numbers known by now."""
        if row is None:
            return None
        found = dict(row)
        for name, reference in spec.reference_of.items():
            value = found.get(name)
            if isinstance(value, str) and value.startswith(PENDING):
                target = self.specs.get(reference.table)
                real = self.key(reference.table, value)
                found[name] = target.key_values(real)[0] if target is not None else split_key(real)[0]
        return found

    def effect(self, effect: Effect) -> Effect:
        """`effect` with the numbers of rows that its arguments name. Raises NotNumbered."""
        if not any(isinstance(value, str) and value.startswith(PENDING) for value in effect.arguments.values()):
            return effect
        return msgspec.structs.replace(
            effect, arguments={name: self._argument(value) for name, value in effect.arguments.items()}
        )

    def _argument(self, value: object) -> object:
        """An argument may be any text: one that starts like a temporary key and is none stays as it is."""
        if not (isinstance(value, str) and value.startswith(PENDING)):
            return value
        for table, spec in self.specs.items():
            real = self.key(table, value)
            if not real.startswith(PENDING):
                return spec.key_values(real)[0] if len(spec.key) == 1 else real
        return value


def lacks_key(change: Change, spec: TableSpec) -> bool:
    """Whether it deletes a row that had no number when that was asked for: what it was then, says so."""
    before = change.before
    return change.after is None and before is not None and any(before.get(name, "") is None for name in spec.key)


def _needs_numbers(change: Change, spec: TableSpec) -> bool:
    if not spec.reference_of and not change.key.startswith(PENDING) and not lacks_key(change, spec):
        return False
    if change.key.startswith(PENDING) and change.before is not None:
        return True
    if lacks_key(change, spec):
        return True
    for name in spec.reference_of:
        for row in (change.after, change.before):
            value = row.get(name) if row else None
            if type(value) is str and value.startswith(PENDING):
                return True
    return False


def levels(
    changes: Sequence[Change], groups: Sequence[int], barriers: Mapping[int, int], specs: Mapping[str, TableSpec]
) -> list[int]:
    """For each change the step in which it may be sent together with the others of that step: after the rows that it
    needs the numbers of, and after earlier changes of its own row. All 0 where nothing in the batch needs a number.

    `groups`: the command that each change belongs to; `barriers`: commands with effects (to the number of their
    changes), which keep their place among all the others.
    """
    made: dict[tuple[str, str], int] = {}
    rows: dict[tuple[str, str], int] = {}
    found: list[int] = []
    floor, top, last = 0, 0, -1
    for change, group in zip(changes, groups, strict=True):
        if group != last and (group in barriers or last in barriers):
            floor = top + 1
        last = group
        level = max(floor, rows.get((change.table, change.key), 0))
        spec = specs.get(change.table)
        if made and spec is not None and _needs_numbers(change, spec):
            level = max([level, *(made[row] + 1 for row in leans_on(change, specs) if row in made)])
        if change.before is None and change.key.startswith(PENDING):
            made[change.table, change.key] = level
        rows[change.table, change.key] = level
        found.append(level)
        top = max(top, level)
    return found
