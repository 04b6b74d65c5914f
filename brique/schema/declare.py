"""Tables declared as Python classes, and what they mean: `class Order(Table, backend=erp, source="ORDRPF")`.

An annotation gives the kind, the right-hand side the name in the source and whatever the kind cannot say. The class
is also what rows are instances of, so that editors complete and type checkers check `order.amount`.
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, ClassVar

from brique.errors import BadConfiguration
from brique.schema import names
from brique.schema.decoders import DECODERS
from brique.schema.kinds import Kind
from brique.schema.native import NATIVE, NATIVE_URL, native_type
from brique.schema.table import Column, Reference, TableSpec

_KINDS: dict[object, Kind] = {
    str: Kind.TEXT,
    int: Kind.INTEGER,
    Decimal: Kind.DECIMAL,
    float: Kind.REAL,
    bool: Kind.BOOLEAN,
    date: Kind.DATE,
    datetime: Kind.DATETIME,
    time: Kind.TIME,
    bytes: Kind.BINARY,
    dict: Kind.JSON,
    list: Kind.JSON,
    object: Kind.ANY,
    Any: Kind.ANY,
}


@dataclass(frozen=True)
class BackendSpec:
    """A system outside. `refresh_seconds` is the pause between two refreshes; `marker` allows the one marker table
    `brique_cursor` in it, which makes replay exactly-once. `options` are those of its kind (credentials, senders):
    never shown."""

    name: str
    url: str = field(repr=False)
    refresh_seconds: float = 30.0
    marker: bool = False
    label: str = ""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)


OWN = BackendSpec(NATIVE, NATIVE_URL, marker=True)
"""Where tables declared without a backend are: in brique's own folder."""


class Declared:
    """A column or reference as written on the right-hand side; a descriptor, so that references follow lazily."""

    def __init__(self, sources: tuple[str, ...], *, is_key: bool = False, is_ref: bool = False, **options: Any) -> None:
        self.sources = sources
        self.is_key = is_key
        self.is_ref = is_ref
        self.options = options
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, row: Table | None, owner: type) -> Any:
        if row is None:
            return self
        if self.is_ref:
            return row.follow(self.name)
        return row.__dict__["_values"][self.name]


def column(
    source: str = "",
    *,
    label: str = "",
    scale: int | None = None,
    precision: int | None = None,
    length_max: int | None = None,
    choices: tuple[str, ...] = (),
    decoder: str = "",
    generated: bool = False,
    defaulted: bool = False,
    default: Any = None,
    unique: bool = False,
    help: str = "",  # noqa: A002
) -> Any:
    """A column; `source` is its name in the backend when it differs from the attribute's.

    `unique`: no two rows hold the same. `default`, of native tables only: what a new row holds when nothing is given.
    """
    options = locals().copy()
    return Declared((options.pop("source"),), **options)


def key(source: str = "", **options: Any) -> Any:
    """A key column; several make a composite key, in the order written. Options as for `column`."""
    return Declared((source,), is_key=True, **options)


def ref(*sources: str, is_key: bool = False, **options: Any) -> Any:
    """A reference to the row of another table whose key stands in `sources` (one name, or one for each key column).

    With one source the attribute is also a column; with several they name columns declared beside it.
    """
    return Declared(sources or ("",), is_key=is_key, is_ref=True, **options)


def old_date(
    source: str = "", *, written: str = "cyymmdd", none: int | None = None, text: bool = False, **options: Any
) -> Any:
    """A date that the source keeps as a number: `cyymmdd` (1261120 is 2026-11-20), `yyyymmdd`, `yymmdd`, `ddmmyy`,
    `yyyyddd` (day of the year) and others (`decoders.DATES`), or `nodate`: a date whose 0001-01-01 means none.

    Zero and all nines are no date; `none` is the number written for no date, when it is not zero. `text`: the digits
    stand in a text column.
    """
    decoder = written + (f":none={none}" if none is not None else "") + (":text" if text else "")
    return Declared((source,), decoder=decoder, **options)


def date_parts(year: str, month: str, day: str, *, century: str = "", digits: int = 2, **options: Any) -> Any:
    """A date that stands in three columns, or four: `date_parts("ORYY", "ORMM", "ORDD")`. The year has two `digits`, or
    four; `century` is the column in which 1 means 20xx. All zero is no date. It cannot be a part of a key."""
    if options.get("is_key"):
        raise BadConfiguration(f"a date in {year}, {month} and {day} cannot be a key")
    written = [("c", century)] * bool(century) + [("y" * digits, year), ("mm", month), ("dd", day)]
    decoder = "parts:" + ":".join(name for name, _ in written)
    return Declared(("+".join(source for _, source in written),), decoder=decoder, **options)


def old_time(source: str = "", *, written: str = "hhmmss", text: bool = False, **options: Any) -> Any:
    """A time of day that the source keeps as a number: `hhmmss` (93000 is 09:30:00) or `hhmm`."""
    return Declared((source,), decoder=written + (":text" if text else ""), **options)


def padded(source: str = "", *, blank_is_none: bool = False, **options: Any) -> Any:
    """Text in a CHAR column: the blanks at its end are not part of it, and nothing but blanks may mean nothing."""
    return Declared((source,), decoder="blank" if blank_is_none else "trim", **options)


def flag(source: str = "", *, yes: str = "Y", no: str = "N", **options: Any) -> Any:
    """A yes or no that the source writes as `yes` and `no`: Y and N, O and N, X and a blank, 1 and 0."""
    return Declared((source,), decoder=f"flag:{yes}:{no.strip()}", **options)


def implied(source: str = "", *, scale: int, **options: Any) -> Any:
    """A decimal kept as a whole number: with `scale=2`, 12345 is 123.45."""
    return Declared((source,), decoder="implied", scale=scale, **options)


def code(source: str = "", *, digits: int, **options: Any) -> Any:
    """A code of `digits` digits kept as a number, whose leading zeros belong to it: 1000 is "01000"."""
    return Declared((source,), decoder=f"code:{digits}", length_max=options.pop("length_max", digits), **options)


def ebcdic(source: str = "", page: str = "cp037", *, length: int = 0, **options: Any) -> Any:
    """Text kept as bytes of an EBCDIC code page (CCSID 65535): `cp297` France, `cp037` United States, `cp500`
    international, `cp1140` to `cp1149` with the euro. `length` bytes are filled with blanks when it is written."""
    decoder = f"ebcdic:{page}" + (f":{length}" if length else "")
    return Declared((source,), decoder=decoder, length_max=options.pop("length_max", length or None), **options)


def packed(source: str = "", *, precision: int, scale: int = 0, **options: Any) -> Any:
    """A decimal kept as bytes, two digits each and the sign at the end (COMP-3)."""
    return Declared((source,), decoder=f"packed:{precision},{scale}", scale=scale, **options)


def zoned(source: str = "", *, precision: int, scale: int = 0, **options: Any) -> Any:
    """A decimal kept as bytes, one digit each, the sign in the last one."""
    return Declared((source,), decoder=f"zoned:{precision},{scale}", scale=scale, **options)


class Table:
    """Base of declared tables. An instance is one row, read from the copy; its values are Python values.

    Class arguments: `backend` (none: brique keeps the table itself), then `source` and `schema` (its name there),
    `label`, `help`, `read_only` (a reason), `label_columns`, `list_columns`, `is_view`, `unique` (tuples of columns
    that together are unique).
    """

    _declared: ClassVar[dict[str, Any]] = {}
    _fields: ClassVar[dict[str, Declared]] = {}

    def __init_subclass__(
        cls, *, backend: BackendSpec = OWN, source: str = "", schema: str = "", **options: Any
    ) -> None:
        super().__init_subclass__()
        known = {"label", "help", "read_only", "label_columns", "list_columns", "is_view", "name", "unique"}
        unknown = set(options) - known
        if unknown:
            raise BadConfiguration(f"class {cls.__name__}: {', '.join(sorted(unknown))} is not a table option")
        cls._declared = {"backend": backend, "source": source or cls.__name__, "schema": schema, **options}
        cls._fields = {}
        for attribute in inspect.get_annotations(cls):
            given = cls.__dict__.get(attribute)
            if attribute.startswith("_"):
                continue
            if given is None:
                given = Declared(("",))
                given.__set_name__(cls, attribute)
                setattr(cls, attribute, given)
            if not isinstance(given, Declared):
                raise BadConfiguration(
                    f"{cls.__name__}.{attribute} = {given!r}: a column is declared with column(), key() or ref()",
                    try_this=f'{attribute}: ... = column("{given}")',
                )
            cls._fields[attribute] = given

    def __init__(
        self,
        values: dict[str, Any],
        *,
        row_key: str,
        version: int = 0,
        pending: bool = False,
        label: str = "",
        follow: Callable[[str], Any] | None = None,
    ) -> None:
        self.__dict__.update(
            _values=values, _key=row_key, _version=version, _pending=pending, _label=label, _follow=follow
        )

    @property
    def row_key(self) -> str:
        """The key as one text, as in addresses."""
        return str(self.__dict__["_key"])

    @property
    def row_pending(self) -> bool:
        """Whether a command not yet shown by the source is laid over this row."""
        return bool(self.__dict__["_pending"])

    @property
    def row_values(self) -> Mapping[str, Any]:
        """Python values by column name."""
        return typing.cast("dict[str, Any]", self.__dict__["_values"])

    def follow(self, name: str) -> Any:
        """The row that reference `name` points to, None when it points nowhere."""
        follow = self.__dict__["_follow"]
        if follow is None:
            raise BadConfiguration(f"{type(self).__name__}.{name} cannot be followed outside a view or command")
        return follow(name)

    def __str__(self) -> str:
        return str(self.__dict__["_label"]) or self.row_key

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.row_key}>"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Table) and other.row_key == self.row_key

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.row_key))


def specs_of(classes: list[type[Table]]) -> dict[type[Table], TableSpec]:
    """The TableSpec of each declared class; references may point forward. Raises BadConfiguration."""
    known = {cls.__name__: cls for cls in classes}
    hints = {cls: _hints(cls, known) for cls in classes}
    idents = names.distinct([cls._declared.get("name") or cls.__name__ for cls in classes])
    table_names = dict(zip(classes, idents, strict=True))
    return {cls: _spec(cls, hints, table_names) for cls in classes}


def _hints(cls: type[Table], known: dict[str, type[Table]]) -> dict[str, Any]:
    module = sys.modules.get(cls.__module__)
    try:
        found = inspect.get_annotations(cls, globals=vars(module) if module else {}, locals=dict(known), eval_str=True)
    except NameError as fault:
        raise BadConfiguration(f"class {cls.__name__}: {fault}", try_this="import or declare that type") from fault
    return {name: found[name] for name in cls._fields}


def _plain(hint: Any) -> tuple[Any, bool]:
    """The type inside an annotation, and whether it may be None."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        if len(inner) == 1:
            return typing.get_origin(inner[0]) or inner[0], len(inner) < len(typing.get_args(hint))
    return typing.get_origin(hint) or hint, False


def _spec(cls: type[Table], hints: dict[type[Table], dict[str, Any]], table_names: dict[type[Table], str]) -> TableSpec:
    columns: list[Column] = []
    key_names: list[str] = []
    by_source: dict[str, str] = {}
    for name, declared in cls._fields.items():
        if declared.is_ref and len(declared.sources) > 1:
            continue
        target, nullable = _plain(hints[cls][name])
        kind, like = _kind_of(cls, name, target, hints)
        made = _column(name, declared, kind, nullable, like)
        by_source[made.source] = name
        columns.append(made)
        if declared.is_key:
            key_names.append(name)
    told = cls._declared
    if told["backend"] is OWN:
        columns = _native(cls, columns, key_names)
    read_only = told.get("read_only", "") or ("" if key_names else "It has no key, so that a row cannot be told apart.")
    return TableSpec(
        name=table_names[cls],
        source=told["source"],
        source_schema=told["schema"],
        backend=told["backend"].name,
        label=told.get("label") or names.label(cls.__name__),
        columns=tuple(columns),
        key=tuple(key_names),
        references=_references(cls, hints, table_names, by_source),
        label_columns=tuple(told.get("label_columns", ())) or _label_columns(columns, key_names),
        list_columns=tuple(told.get("list_columns", ())),
        read_only=read_only,
        is_view=bool(told.get("is_view", False)),
        help=told.get("help", ""),
        unique=_unique(cls, columns),
    )


def _native(cls: type[Table], columns: list[Column], key_names: list[str]) -> list[Column]:
    """The columns of a table that brique owns: with their types, and a single integer key numbered by it."""
    if not key_names:
        raise BadConfiguration(
            f"class {cls.__name__} has no backend and no key",
            try_this="give it a key, id: int = key(), or say where it is: class ...(Table, backend=erp)",
        )
    made = []
    for one in columns:
        is_numbered = (
            key_names == [one.name] and one.kind is Kind.INTEGER and not cls._fields[one.name].is_ref
        ) or one.default is not None
        made.append(replace(one, source_type=native_type(one), defaulted=one.defaulted or is_numbered))
    return made


def _unique(cls: type[Table], columns: list[Column]) -> tuple[tuple[str, ...], ...]:
    """The sets of columns that are unique."""
    names_ = {one.name for one in columns}
    found = [(one.name,) for one in columns if cls._fields[one.name].options.get("unique")]
    for together in cls._declared.get("unique", ()):
        wanted = (together,) if isinstance(together, str) else tuple(together)
        unknown = [name for name in wanted if name not in names_]
        if unknown:
            raise BadConfiguration(f"class {cls.__name__}: unique names {', '.join(unknown)}, which is no column of it")
        found.append(wanted)
    return tuple(dict.fromkeys(found))


def _label_columns(columns: list[Column], key_names: list[str]) -> tuple[str, ...]:
    for made in columns:
        if made.name in {"name", "nom", "label", "libelle", "title", "titre", "designation"}:
            return (*key_names, made.name)
    return tuple(key_names)


def _kind_of(
    cls: type[Table], name: str, target: Any, hints: dict[type[Table], dict[str, Any]]
) -> tuple[Kind, Declared | None]:
    """The kind of an annotation; for a reference, that of the target's key and how the target declares it."""
    if isinstance(target, type) and issubclass(target, Table):
        if target not in hints:
            raise BadConfiguration(f"{cls.__name__}.{name}: {target.__name__} belongs to another intranet")
        keys = [(key_name, made) for key_name, made in target._fields.items() if made.is_key]
        if len(keys) != 1:
            raise BadConfiguration(
                f"{cls.__name__}.{name} refers to {target.__name__}, whose key has {len(keys)} columns",
                try_this="name one source column for each key column: ref('A', 'B')",
            )
        key_name, made = keys[0]
        inner, _ = _plain(hints[target][key_name])
        kind, deeper = _kind_of(target, key_name, inner, hints)
        return kind, deeper or made
    if target not in _KINDS:
        raise BadConfiguration(
            f"{cls.__name__}.{name}: {target!r} is not a type that a column can have",
            try_this="use str, int, Decimal, float, bool, date, datetime, time, bytes, dict, list or a table",
        )
    return _KINDS[target], None


def _column(name: str, declared: Declared, kind: Kind, nullable: bool, like: Declared | None) -> Column:
    given = declared.options
    options = {option: value for option, value in given.items() if value not in ("", None) or option == "default"}
    if like is not None:
        for option in ("decoder", "scale", "length_max", "precision"):
            if like.options.get(option) not in ("", None):
                options.setdefault(option, like.options[option])
    decoder = options.get("decoder", "")
    if decoder and decoder not in DECODERS:
        known = ", ".join((*DECODERS, *(f"{family}:…" for family in DECODERS.families)))
        raise BadConfiguration(f"{name}: no decoder {decoder!r}", try_this=f"one of {known}")
    if decoder.startswith(("implied", "packed", "zoned")) and kind is Kind.DECIMAL and options.get("scale") is None:
        raise BadConfiguration(f"{name}: {decoder} needs a scale", try_this="scale=2")
    options.setdefault("label", names.label(name))
    options.pop("unique", None)
    default = options.pop("default", None)
    made = Column(
        name=name, source=declared.sources[0] or name, kind=kind, nullable=nullable and not declared.is_key, **options
    )
    if default is None:
        return made
    try:
        return replace(made, default=made.store(default), defaulted=True)
    except ValueError as fault:
        raise BadConfiguration(f"{name}: the default {default!r} does not fit: {fault}") from fault


def _references(
    cls: type[Table],
    hints: dict[type[Table], dict[str, Any]],
    table_names: dict[type[Table], str],
    by_source: dict[str, str],
) -> tuple[Reference, ...]:
    found = []
    for name, declared in cls._fields.items():
        target, _ = _plain(hints[cls][name])
        if not (isinstance(target, type) and issubclass(target, Table)):
            continue
        keys = tuple(key_name for key_name, made in target._fields.items() if made.is_key)
        if len(declared.sources) == 1:
            columns: tuple[str, ...] = (name,)
        else:
            try:
                columns = tuple(by_source[source] for source in declared.sources)
            except KeyError as fault:
                raise BadConfiguration(f"{cls.__name__}.{name}: no column here has the source {fault}") from fault
        if len(columns) != len(keys):
            raise BadConfiguration(
                f"{cls.__name__}.{name} gives {len(columns)} columns, the key of {target.__name__} has {len(keys)}"
            )
        found.append(Reference(columns=columns, table=table_names[target], target_columns=keys))
    return tuple(found)
