"""Conditions on columns: typed when they are given, then as SQL for the store and as a test of one row in memory.

Both mean the same. Only values of the column's own class (number, text, bytes) can be below, above or start with
something: a text that strayed into a column of numbers is not "greater than 5", though SQLite sorts it so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from brique.errors import BadConfiguration, BadInput
from brique.schema import PENDING, Column, Kind, Reference, Row, Table, TableSpec, Value, fold, from_python
from brique.store.db.tracking import PENDING_COLUMN
from brique.store.layout import collated
from brique.store.search import contains, found

OPERATORS = ("lt", "le", "gt", "ge", "in", "prefix", "contains", "null", "ne")
IN_VALUES_MAX = 1000
_LAST = "\U0010ffff"
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_COMPARE = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_TEXTS = (Kind.TEXT, Kind.DATE, Kind.DATETIME, Kind.TIME, Kind.JSON)


@dataclass(frozen=True, slots=True)
class Condition:
    """One column compared with one store value (`in`: a tuple of them; `null`: 1 or 0).

    `search`: the words are in the texts of the columns that `types` names.

    `types`: what SQLite must call the value for the comparison to hold. `nocase`: the column's index does not tell the
    case of ASCII letters apart, so comparisons go by it, and equality asks it first.
    """

    column: str
    op: str
    value: Value | tuple[Value, ...]
    types: tuple[str, ...] = ()
    nocase: bool = False

    def sql(self) -> tuple[str, list[Value]]:
        """The condition as SQL and its parameters."""
        name, value = quoted(self.column), self.value
        term = f"{name} COLLATE NOCASE" if self.nocase else name
        if isinstance(value, tuple):
            return self._among(name, term, value)
        if self.op == "eq" and value is not None:
            return (f"({term} = ? AND {name} = ?)", [value, value]) if self.nocase else (f"{name} = ?", [value])
        if self.op in ("eq", "ne"):
            return f"{name} IS {'' if self.op == 'eq' else 'NOT '}?", [value]
        if self.op == "null":
            return f"{name} IS {'' if value else 'NOT '}NULL", []
        if self.op in _COMPARE:
            return self._typed(f"{term} {_COMPARE[self.op]} ?"), [value]
        if self.op == "contains":
            return f"brique_contains({name}, ?)", [value]
        if self.op == "search":
            return (f"brique_found(?, {', '.join(map(quoted, self.types))})", [value]) if self.types else ("0", [])
        return self._typed(f"{term} >= ? AND {term} < ?"), [value, str(value) + _LAST]

    def _among(self, name: str, term: str, values: tuple[Value, ...]) -> tuple[str, list[Value]]:
        plain: list[Value] = [item for item in values if item is not None]
        places = ", ".join("?" * len(plain))
        parts = [f"({term} IN ({places}) AND {name} IN ({places}))" if self.nocase else f"{name} IN ({places})"]
        parts = (parts if plain else []) + ([f"{name} IS NULL"] if None in values else [])
        return (f"({' OR '.join(parts)})" if parts else "0"), plain * (2 if self.nocase else 1)

    def _typed(self, sql: str) -> str:
        if not self.types:
            return sql
        return f"({sql} AND typeof({quoted(self.column)}) IN ({', '.join(repr(name) for name in self.types)}))"

    def matches(self, row: Mapping[str, Value]) -> bool:
        """Whether a row in memory (store values) meets the condition, as SQL would say."""
        held, value = row.get(self.column), self.value
        if isinstance(value, tuple):
            return any(same(held, item) for item in value)
        if self.op in ("eq", "ne"):
            return same(held, value) is (self.op == "eq")
        if self.op == "null":
            return (held is None) is bool(value)
        if self.op == "contains":
            return contains(held, str(value))
        if self.op == "search":
            return found(str(value), tuple(row.get(name) for name in self.types))
        if held is None or (self.types and sqlite_type(held) not in self.types):
            return False
        left, right = sort_key(held, self.nocase), sort_key(value, self.nocase)
        if self.op == "prefix":
            return right <= left < sort_key(str(value) + _LAST, self.nocase)
        return {"lt": left < right, "le": left <= right, "gt": left > right, "ge": left >= right}[self.op]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def sqlite_type(value: Value) -> str:
    """What SQLite's `typeof` says."""
    if isinstance(value, int):
        return "integer"
    return {float: "real", str: "text", bytes: "blob"}.get(type(value), "null")


def sort_key(value: Value | tuple[Value, ...], nocase: bool = False) -> tuple[int, Any]:
    """Sorts store values as SQLite does: NULL, numbers, text, bytes."""
    if value is None:
        return (0, 0)
    if isinstance(value, (int, float)):
        return (1, value)
    if isinstance(value, str):
        return (2, value.translate(_LOWER) if nocase else value)
    return (3, value)


def same(left: Value, right: Value) -> bool:
    """Equality as SQLite's `IS`: NULL is NULL, 1 is 1.0, '1' is not 1."""
    if type(left) is type(right):
        return left == right
    return sort_key(left) == sort_key(right)


def parse(spec: TableSpec, references: Mapping[str, Reference], given: Mapping[str, Any]) -> list[Condition]:
    """The conditions in `where(status="open", amount__gt=5, customer=row)`. Raises BadInput by field."""
    conditions: list[Condition] = []
    faults: dict[str, str] = {}
    for name, value in given.items():
        try:
            conditions += _parse(spec, references, name, value)
        except ValueError as fault:
            faults[name] = str(fault)
    if faults:
        detail = "; ".join(f"{name}: {fault}" for name, fault in faults.items())
        raise BadInput(f"{spec.name} cannot be filtered so: {detail}", fields=faults)
    return conditions


def _parse(spec: TableSpec, references: Mapping[str, Reference], name: str, value: Any) -> Iterable[Condition]:
    if name == "row_pending":
        return [Condition(PENDING_COLUMN, "gt" if value else "eq", 0)]
    if name in references and (name not in spec.by_name or isinstance(value, Table)):
        return _refers(spec, references[name], value)
    column, op = spec.by_name.get(name), "eq"
    if column is None:
        stem, _, op = name.rpartition("__")
        column = spec.by_name.get(stem)
        if column is None or op not in OPERATORS:
            raise ValueError(f"there is no such column or comparison; columns: {', '.join(spec.names)}")
    return [_condition(column, op, _value(column, op, value))]


def _condition(column: Column, op: str, value: Value | tuple[Value, ...]) -> Condition:
    return Condition(column.name, op, value, _types(column, op), collated(column))


def _types(column: Column, op: str) -> tuple[str, ...]:
    if op == "prefix":
        return ("text",)
    if op not in _COMPARE or column.kind is Kind.ANY:
        return ()
    if column.kind is Kind.BINARY:
        return ("blob",)
    if column.kind in _TEXTS or (column.kind is Kind.DECIMAL and column.scale is None):
        return ("text",)
    return ("integer", "real")


def _value(column: Column, op: str, value: Any) -> Value | tuple[Value, ...]:
    if op == "null":
        if not isinstance(value, bool):
            raise ValueError("Must be yes or no.")
        return int(value)
    if op == "in":
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
            raise ValueError("Must be a list of values.")
        values = [plain_value(column, item) for item in value]
        if len(values) > IN_VALUES_MAX:
            raise ValueError(f"Must have at most {IN_VALUES_MAX} values.")
        return tuple(values)
    if op in ("prefix", "contains"):
        if not isinstance(value, str):
            raise ValueError("Must be text.")
        return fold(value) if op == "contains" else value
    if op in _COMPARE:
        if value is None:
            raise ValueError("Must not be empty.")
        return _bound(column, op, value)
    return plain_value(column, value)


def plain_value(column: Column, value: Any) -> Value:
    """A Python value (or a row: its key) as store value of `column`. Raises ValueError with a sentence."""
    if isinstance(value, Table):
        temporary = temporary_key(value)
        if temporary:
            return temporary
        parts = key_parts(value)
        if len(parts) != 1:
            raise ValueError("Must be a row whose key is one column.")
        value = parts[0]
    return from_python(column.kind, value, column.scale)


def _bound(column: Column, op: str, value: Any) -> Value:
    """A limit may have more digits than the column keeps: `< 1.005` is `< 1.01` for a column of cents."""
    if column.kind is Kind.DECIMAL and column.scale is not None and isinstance(value, Decimal) and value.is_finite():
        rounding = ROUND_CEILING if op in ("lt", "ge") else ROUND_FLOOR
        scaled = int((value * 10**column.scale).to_integral_value(rounding)) if value.adjusted() < 30 else None
        fits = scaled is not None and -(2**63) <= scaled < 2**63
        return scaled if fits else (float("-inf") if value < 0 else float("inf"))
    return from_python(column.kind, value, column.scale)


def _refers(spec: TableSpec, reference: Reference, value: Any) -> list[Condition]:
    if value is None:
        return [_condition(spec.by_name[name], "eq", None) for name in reference.columns]
    temporary = temporary_key(value) if isinstance(value, Table) else ""
    if temporary and len(reference.columns) == 1:
        return [_condition(spec.by_name[reference.columns[0]], "eq", temporary)]
    parts = key_parts(value) if isinstance(value, Table) else (value if isinstance(value, tuple) else (value,))
    if len(parts) != len(reference.columns):
        raise ValueError(f"Must be a row of {reference.table}.")
    columns = [spec.by_name[name] for name in reference.columns]
    return [
        _condition(column, "eq", from_python(column.kind, part, column.scale))
        for column, part in zip(columns, parts, strict=True)
    ]


def temporary_key(row: Table) -> str:
    """What stands for `row` in columns that refer to it while its backend has not numbered it; "" when it has, and for
    a key of several columns, in whose place nothing can stand."""
    spec: TableSpec | None = row.__dict__.get("_spec")
    if spec is None or len(spec.key) != 1 or not row.row_key.startswith(PENDING):
        return ""
    return row.row_key if row.row_values[spec.key[0]] is None else ""


def key_parts(row: Table) -> tuple[Any, ...]:
    """The Python values of the key columns of `row`. Raises ValueError when its backend has not numbered it yet."""
    spec: TableSpec | None = row.__dict__.get("_spec")
    if spec is None:
        raise BadConfiguration(f"{row!r} was not read from a Db")
    parts = tuple(row.row_values[name] for name in spec.key)
    if any(part is None for part in parts):
        raise ValueError("This row has no number yet: wait until the backend has given it one.")
    return parts


def met(conditions: Iterable[Condition], row: Row) -> bool:
    """Whether `row` meets all conditions."""
    return all(condition.matches(row) for condition in conditions)
