"""How one table is reached: its SQL names, its class, its references, and the forms in which a key may be given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from brique.errors import BadInput
from brique.schema import PENDING, Reference, Row, Table, TableSpec, Value, join_key, split_key
from brique.store.db.cells import CellSpec
from brique.store.db.where import Condition, met, plain_value, quoted
from brique.store.layout import collated

_FORMS_MAX = 1_000  # of questions about one table, remembered to have had many rows


def _form(cell: CellSpec) -> tuple[Any, ...]:
    return (tuple((c[0], c[1]) for c in cell.conditions), cell.columns, cell.cuts, cell.summed)


@dataclass(frozen=True, slots=True)
class Stored:
    """One row as the store holds it; `values` in the order of the table's columns."""

    key: str
    version: int
    pending: int
    values: tuple[Value, ...]

    @classmethod
    def of(cls, raw: Sequence[Any]) -> Stored:
        return cls(raw[0], raw[1], raw[2], tuple(raw[3:]))

    def row(self, spec: TableSpec) -> Row:
        return dict(zip(spec.names, self.values, strict=True))

    def meets(self, spec: TableSpec, conditions: Sequence[Condition]) -> bool:
        return not conditions or met(conditions, self.row(spec) | {"_pending": self.pending})


class Access:
    """One table as a Db sees it. `cls` is what its rows are instances of."""

    def __init__(self, spec: TableSpec, cls: type[Table]) -> None:
        self.spec = spec
        self.cls = cls
        self.places: Mapping[str, int] = {name: place for place, name in enumerate(spec.names)}
        self.relation = quoted(f"t_{spec.name}")
        self.collated = frozenset(column.name for column in spec.columns if collated(column))
        self._large: set[tuple[Any, ...]] = set()
        self.select = ", ".join(["_key", "_version", "_pending", *map(quoted, spec.names)])

    def is_large(self, cell: CellSpec) -> bool:
        """Whether questions of that form have had many rows, so that their totals may be kept."""
        return _form(cell) in self._large

    def note_large(self, cell: CellSpec) -> None:
        if len(self._large) < _FORMS_MAX:
            self._large.add(_form(cell))

    def nocase(self, name: str) -> bool:
        """Whether `name` sorts without regard to the case of ASCII letters."""
        return name in self.collated

    def term(self, name: str) -> str:
        """`name` as it is sorted: the way its index goes."""
        return f"{quoted(name)} COLLATE NOCASE" if name in self.collated else quoted(name)

    @cached_property
    def references(self) -> Mapping[str, Reference]:
        """References by the names that follow them: the column, without `_id`, or the declared attribute."""
        found: dict[str, Reference] = {}
        for name, reference in self.spec.reference_of.items():
            found[name] = reference
            short = name.removesuffix("_id")
            if short and short not in self.spec.by_name:
                found.setdefault(short, reference)
        sources = {reference.columns: reference for reference in self.spec.references}
        by_source = {column.source: column.name for column in self.spec.columns}
        for attribute, declared in self.cls._fields.items():
            if declared.is_ref and len(declared.sources) > 1:
                columns = tuple(by_source.get(source, "") for source in declared.sources)
                if columns in sources:
                    found[attribute] = sources[columns]
        return found

    def key_text(self, key: Any) -> str | None:
        """The key text of what was given: a row, a tuple of values, one value, or a key text.

        None when no row can have that key. Raises BadInput when it has another shape or type.
        """
        if isinstance(key, Table):
            return key.row_key
        if isinstance(key, str) and self._is_key_text(key):
            return key
        parts = key if isinstance(key, tuple) else (key,)
        columns = self.spec.key_columns
        if len(parts) != len(columns):
            wanted = ", ".join(self.spec.key) or "no key"
            raise BadInput(f"A key of {self.spec.name} is made of {wanted}; {key!r} was given.", table=self.spec.name)
        try:
            values = tuple(plain_value(column, part) for column, part in zip(columns, parts, strict=True))
        except ValueError as fault:
            raise BadInput(f"{key!r} is no key of {self.spec.name}: {fault}", table=self.spec.name) from fault
        return join_key(values)

    def _is_key_text(self, text: str) -> bool:
        if text.startswith(PENDING):
            return True
        try:
            parts = split_key(text)
        except ValueError:
            return False
        return len(parts) == max(1, len(self.spec.key)) and join_key(parts) == text
