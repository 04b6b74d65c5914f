"""What a view is: a plain function of the data and some arguments, with an address."""

from __future__ import annotations

import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import msgspec

from brique.errors import BadConfiguration, BadInput, NotFound
from brique.schema import Kind, Table, TableSpec, from_json, label, to_json, to_python
from brique.store import Classes, Db

ViewKind = Literal["view", "dashboard"]
ARGUMENT_CHARS_MAX = 1000
FRESH_SECONDS_MAX = 86_400
_KINDS: dict[object, Kind] = {
    str: Kind.TEXT,
    int: Kind.INTEGER,
    Decimal: Kind.DECIMAL,
    float: Kind.REAL,
    bool: Kind.BOOLEAN,
    date: Kind.DATE,
    datetime: Kind.DATETIME,
}
_HIDDEN_SOURCES = frozenset({"random", "secrets", "time", "uuid"})
_PLACE = re.compile(r"\{([a-z_][a-z0-9_]*)\}")


@dataclass(frozen=True)
class Parameter:
    """An argument of a view: a value of `kind`, or the row of `table` with a key. `in_path`: it is in the address."""

    name: str
    label: str
    kind: Kind
    table: str = ""
    required: bool = True
    default: Any = None
    in_path: bool = False


@dataclass(frozen=True)
class View:
    """A view or dashboard. `path` is its address, with `{name}` for arguments; others come from the query string.

    `fresh_seconds`: a representation that read whole tables may stay up to so long behind their changes. `role`: who
    may see it (read, write, admin). `warnings`: what its author should know.
    """

    name: str
    path: str
    function: Callable[..., Any] = field(repr=False)
    parameters: tuple[Parameter, ...] = ()
    role: str = "read"
    fresh_seconds: float | None = None
    kind: ViewKind = "view"
    label: str = ""
    help: str = ""
    warnings: tuple[str, ...] = ()

    @cached_property
    def by_name(self) -> dict[str, Parameter]:
        return {parameter.name: parameter for parameter in self.parameters}

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """`given` (texts of an address, or Python values) as checked JSON values by name, defaults left out.

        Rows are given by key text. Raises BadInput by field.
        """
        plain: dict[str, Any] = {}
        faults = {name: "There is no such field." for name in given if name not in self.by_name}
        for parameter in self.parameters:
            value = given.get(parameter.name)
            if value is None or (value == "" and parameter.kind is not Kind.TEXT):
                if parameter.required:
                    faults[parameter.name] = "Is required."
                continue
            try:
                plain[parameter.name] = _plain_argument(parameter, value)
            except ValueError as fault:
                faults[parameter.name] = str(fault)
        if faults:
            raise BadInput("Some fields need another value.", fields=faults, view=self.name)
        return plain

    def run(self, db: Db, arguments: Mapping[str, Any]) -> Any:
        """What the function makes of checked `arguments`. Raises NotFound when a row among them is not there."""
        values: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.name not in arguments:
                values[parameter.name] = parameter.default
                continue
            given = arguments[parameter.name]
            if parameter.table:
                row = db[parameter.table].get(str(given))
                if row is None:
                    raise NotFound(f"{parameter.label}: there is no {given}.", table=parameter.table, key=str(given))
                values[parameter.name] = row
            else:
                values[parameter.name] = to_python(parameter.kind, from_json(parameter.kind, given))
        return self.function(db, **values)

    def address(self, arguments: Mapping[str, Any]) -> str:
        """The path for some arguments (query string left out). Raises BadInput when one is missing."""
        plain = self.arguments(arguments)
        return _PLACE.sub(lambda place: str(plain[place[1]]), self.path)


def _plain_argument(parameter: Parameter, value: Any) -> Any:
    if parameter.table:
        value = value.row_key if isinstance(value, Table) else str(value)
        if not 0 < len(value) <= ARGUMENT_CHARS_MAX:
            raise ValueError("Must be the key of a row.")
        return value
    if isinstance(value, str):
        if len(value) > ARGUMENT_CHARS_MAX:
            raise ValueError(f"Must have at most {ARGUMENT_CHARS_MAX} characters.")
        value = _typed(parameter.kind, value)
    elif isinstance(value, (date, Decimal)):
        value = value.isoformat() if isinstance(value, date) else format(value, "f")
    return to_json(parameter.kind, from_json(parameter.kind, value))


def _typed(kind: Kind, text: str) -> Any:
    if kind is Kind.BOOLEAN:
        if text.lower() not in ("1", "0", "true", "false", "yes", "no", "on", "off"):
            raise ValueError("Must be yes or no.")
        return text.lower() in ("1", "true", "yes", "on")
    if kind is Kind.REAL:
        try:
            return float(text)
        except ValueError as fault:
            raise ValueError("Must be a number.") from fault
    return text


def view_of(
    path: str,
    function: Callable[..., Any],
    classes: Classes | None = None,
    *,
    name: str = "",
    title: str = "",
    role: str = "read",
    fresh: float | None = None,
    kind: ViewKind = "view",
) -> View:
    """The View of `function`, its parameters read from its annotations.

    Raises BadConfiguration: a parameter without a type that an address can hold, or a place in `path` without one.
    """
    classes = classes or {}
    if fresh is not None and not 0 < fresh <= FRESH_SECONDS_MAX:
        raise BadConfiguration(f"view {function.__name__}: fresh={fresh!r}", try_this='from "1s" to "1d"')
    places = _PLACE.findall(path)
    if not path.startswith("/") or "{" in _PLACE.sub("", path) or len(set(places)) != len(places):
        raise BadConfiguration(f"{path!r} is no address", try_this='"/customers/{number}/statement"')
    signature = list(inspect.signature(function).parameters.values())
    if not signature:
        raise BadConfiguration(f"view {function.__name__} takes no db", try_this=f"def {function.__name__}(db): ...")
    hints = _hints(function, classes)
    parameters = tuple(_parameter(function, item, hints, classes, places) for item in signature[1:])
    missing = set(places) - {parameter.name for parameter in parameters}
    if missing:
        raise BadConfiguration(
            f"view {function.__name__} has no parameter {sorted(missing)[0]!r}, which is in {path!r}"
        )
    summary = (inspect.getdoc(function) or "").split("\n")[0]
    return View(
        name=name or function.__name__,
        path=path,
        function=function,
        parameters=parameters,
        role=role,
        fresh_seconds=fresh,
        kind=kind,
        label=title or label(function.__name__),
        help=summary,
        warnings=_warnings(function),
    )


def _hints(function: Callable[..., Any], classes: Classes) -> dict[str, Any]:
    module = sys.modules.get(function.__module__)
    known = {cls.__name__: cls for cls in classes}
    try:
        return inspect.get_annotations(
            function, globals=vars(module) if module else {}, locals=dict(known), eval_str=True
        )
    except NameError as fault:
        raise BadConfiguration(f"view {function.__name__}: {fault}", try_this="import or declare that type") from fault


def _parameter(
    function: Callable[..., Any],
    item: inspect.Parameter,
    hints: Mapping[str, Any],
    classes: Classes,
    places: list[str],
) -> Parameter:
    hint = hints.get(item.name, str if item.name in places else None)
    inner, optional = _inner(hint)
    required = item.default is inspect.Parameter.empty and not optional
    default = None if item.default is inspect.Parameter.empty else item.default
    in_path = item.name in places
    if in_path and not required:
        raise BadConfiguration(f"view {function.__name__}: {item.name} stands in the address, it has no default")
    if isinstance(inner, type) and inner in classes:
        spec = classes[inner]
        return Parameter(item.name, spec.label, Kind.TEXT, spec.name, required, default, in_path)
    if inner not in _KINDS or item.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        raise BadConfiguration(
            f"view {function.__name__}: parameter {item.name} has no type that an address can hold",
            try_this="annotate it with a table, str, int, Decimal, float, bool, date or datetime",
        )
    return Parameter(item.name, label(item.name), _KINDS[inner], "", required, default, in_path)


def _inner(hint: Any) -> tuple[Any, bool]:
    """The type inside an annotation, and whether it may be None."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        if len(inner) == 1:
            return inner[0], True
    return hint, False


def _warnings(function: Callable[..., Any]) -> tuple[str, ...]:
    """Modules that the function uses and whose answers nobody tracks."""
    scope = getattr(function, "__globals__", {})
    code = getattr(function, "__code__", None)
    found = []
    for name in code.co_names if code else ():
        used = scope.get(name)
        module = used.__name__ if isinstance(used, types.ModuleType) else getattr(used, "__module__", "")
        if module in _HIDDEN_SOURCES:
            found.append(f"{function.__name__} uses {name}: what it makes is kept although {module} would answer anew")
    return tuple(found)


def fingerprint(view: View, specs: Mapping[str, TableSpec], release: str = "") -> str:
    """Changes with the code of the view, the tables' columns and the release: kept bytes do not outlive them."""
    parts = [release, view.path, view.kind, str(view.fresh_seconds), *_code(view.function)]
    for name in sorted(specs):
        spec = specs[name]
        columns = ",".join(f"{c.name}:{c.kind}:{c.scale}" for c in spec.columns)
        parts.append(f"{name}({columns})[{','.join(spec.key)}]{spec.label_columns}{spec.references}")
    return blake2b("\x00".join(parts).encode(), digest_size=8).hexdigest()


def _code(function: Callable[..., Any]) -> list[str]:
    """What the function does, and the text of the file that it stands in (it may call others there)."""
    found: list[str] = []

    def add(code: types.CodeType) -> None:
        plain = [repr(item) for item in code.co_consts if not isinstance(item, (types.CodeType, frozenset))]
        found.extend([code.co_code.hex(), *plain, *code.co_names])
        for item in code.co_consts:
            if isinstance(item, types.CodeType):
                add(item)

    code = getattr(function, "__code__", None)
    if code is not None:
        add(code)
        file = Path(code.co_filename)
        found.append(blake2b(file.read_bytes()).hexdigest() if file.is_file() else "")
    return found


def key_of(arguments: Mapping[str, Any]) -> str:
    """Checked arguments as one text: the same arguments, the same text."""
    return msgspec.json.encode(arguments, order="sorted").decode()
