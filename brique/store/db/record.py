"""Rows as Python objects whose values are decoded, and noted as read, when they are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from brique.schema import BackendSpec, Row, Table, TableSpec, Value
from brique.store.db.tracking import PENDING_COLUMN


class Values(Mapping[str, Any]):
    """Python values by column name; each look adds the column to `mask`."""

    __slots__ = ("_mask", "_places", "_stored", "spec")

    def __init__(self, spec: TableSpec, places: Mapping[str, int], stored: tuple[Value, ...], mask: set[str]) -> None:
        self.spec = spec
        self._places = places
        self._stored = stored
        self._mask = mask

    def __getitem__(self, name: str) -> Any:
        place = self._places[name]
        self._mask.add(name)
        return self.spec.columns[place].python(self._stored[place])

    def __iter__(self) -> Iterator[str]:
        return iter(self.spec.names)

    def __len__(self) -> int:
        return len(self._stored)

    def stored(self, name: str) -> Value:
        """The store value of one column."""
        place = self._places[name]
        self._mask.add(name)
        return self._stored[place]

    def row(self) -> Row:
        """All store values by column name."""
        self._mask.update(self.spec.names)
        return dict(zip(self.spec.names, self._stored, strict=True))


class _Pending:
    """Whether a command is laid over the row: noted as read when it is asked."""

    __slots__ = ("_mask", "_state")

    def __init__(self, state: int, mask: set[str]) -> None:
        self._state = state
        self._mask = mask

    def __bool__(self) -> bool:
        self._mask.add(PENDING_COLUMN)
        return self._state > 0

    def __int__(self) -> int:
        self._mask.add(PENDING_COLUMN)
        return self._state


class _Label:
    """The readable label, made when it is asked for."""

    __slots__ = ("_spec", "_values")

    def __init__(self, spec: TableSpec, values: Values) -> None:
        self._spec = spec
        self._values = values

    def __str__(self) -> str:
        parts = (self._values.stored(name) for name in self._spec.label_columns if name in self._spec.by_name)
        return " ".join(str(part) for part in parts if part not in (None, ""))


class Record(Table, backend=BackendSpec("", "")):
    """A row of a table that no class declares: columns are attributes, or items when a name is taken.

    `row.customer_id` is the value; `row.customer` follows the reference that starts at `customer_id`.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        values = cast("Values", self.__dict__["_values"])
        if name in values.spec.by_name:
            return values[name]
        if f"{name}_id" in values.spec.by_name:
            return self.follow(name)
        known = ", ".join(values.spec.names)
        raise AttributeError(f"{values.spec.name} has no column {name!r}; columns: {known}", name=name, obj=self)

    def __getitem__(self, name: str) -> Any:
        return self.row_values[name]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and other.row_key == self.row_key and _table(other) == _table(self)

    def __hash__(self) -> int:
        return hash((_table(self), self.row_key))

    def __repr__(self) -> str:
        return f"<{_table(self)} {self.row_key}>"


def _table(row: Table) -> str:
    return spec_of(row).name


def make(
    cls: type[Table],
    values: Values,
    *,
    key: str,
    version: int,
    pending: int,
    mask: set[str],
    follow: Callable[[Table, str], Any],
) -> Table:
    """A row object over `values`. `follow(row, name)` finds the row that a reference points to."""
    row = cls.__new__(cls)
    Table.__init__(
        row,
        cast("dict[str, Any]", values),
        row_key=key,
        version=version,
        pending=cast("bool", _Pending(pending, mask)),
        label=cast("str", _Label(values.spec, values)),
        follow=lambda name: follow(row, name),
    )
    row.__dict__["_spec"] = values.spec
    return row


def spec_of(row: Table) -> TableSpec:
    """The table that `row` was read from."""
    return cast("TableSpec", row.__dict__["_spec"])


def values_of(row: Table) -> Values:
    """The values of a row that a Db made."""
    return cast("Values", row.__dict__["_values"])


def row_json(row: Table) -> dict[str, Any]:
    """All of a row as JSON: `_key`, `_label`, `_pending` (0 none, 1 pending, 2 needs a person), then its columns."""
    values, spec = values_of(row), spec_of(row)
    stored = values.row()
    head = {"_key": row.row_key, "_label": str(row), "_pending": int(row.__dict__["_pending"])}
    return head | {column.name: column.json(stored[column.name]) for column in spec.columns}
