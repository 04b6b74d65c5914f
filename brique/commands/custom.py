"""Commands that the author of an intranet writes: plain functions of the data and of what a person typed.

    @app.command(roles={"stock"})
    def ship(db, order: Order, carrier: str): ...

The function runs on the copy when the command is given. It changes nothing itself: `db.update(...)` and its like are
collected as changes, kept in the spool like any form's, and sent to the backend by replay. So are `db.call(...)`, in
the transaction of the changes, and `db.mail(...)`, a command of its own that waits until this one has been applied.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from brique.errors import BadConfiguration, BadInput
from brique.schema import Change, Effect, Kind, Row, Table, TableSpec, Value, from_python, label, to_python
from brique.store import WriteDb

_KINDS: dict[object, Kind] = {
    str: Kind.TEXT,
    int: Kind.INTEGER,
    Decimal: Kind.DECIMAL,
    float: Kind.REAL,
    bool: Kind.BOOLEAN,
    date: Kind.DATE,
    datetime: Kind.DATETIME,
    time: Kind.TIME,
}


@dataclass(frozen=True)
class Parameter:
    """Something that a command asks for: a row of `table` (by its key), or a value of `kind`."""

    name: str
    label: str
    kind: Kind
    table: str = ""
    required: bool = True
    default: Any = None


@dataclass(frozen=True)
class CommandSpec:
    """A command by its name. `on` is the table whose row page offers it: that of its first row parameter."""

    name: str
    label: str
    function: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    role: str = "write"
    help: str = ""

    @property
    def on(self) -> str:
        return next((parameter.table for parameter in self.parameters if parameter.table), "")


def command_spec(
    function: Callable[..., Any], tables: Mapping[type[Table], TableSpec], *, title: str = "", role: str = "write"
) -> CommandSpec:
    """What `function` asks for, read from its annotations. Raises BadConfiguration when one is missing or unknown."""
    module = sys.modules.get(function.__module__)
    known = {cls.__name__: cls for cls in tables}
    hints = inspect.get_annotations(function, globals=vars(module) if module else {}, locals=known, eval_str=True)
    parameters = []
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        hint = hints.get(name)
        inner, optional = _plain(hint)
        required = parameter.default is inspect.Parameter.empty and not optional
        default = None if parameter.default is inspect.Parameter.empty else parameter.default
        if isinstance(inner, type) and issubclass(inner, Table) and inner in tables:
            made = Parameter(name, tables[inner].label, Kind.TEXT, tables[inner].name, required, default)
        elif inner in _KINDS:
            made = Parameter(name, label(name), _KINDS[inner], "", required, default)
        else:
            raise BadConfiguration(
                f"command {function.__name__}: parameter {name} has no type that a form can ask for",
                try_this="annotate it with a table, str, int, Decimal, float, bool, date, datetime or time",
            )
        parameters.append(made)
    lines = inspect.getdoc(function) or ""
    return CommandSpec(
        function.__name__, title or label(function.__name__), function, tuple(parameters), role, lines.split("\n")[0]
    )


def _plain(hint: Any) -> tuple[Any, bool]:
    args = typing.get_args(hint)
    inner = [arg for arg in args if arg is not type(None)]
    if len(args) == 2 and len(inner) == 1:
        return inner[0], True
    return hint, False


@dataclass(frozen=True)
class Wish:
    """What a command asks for: changes and calls of `backend`, and mails of `mail_backend`, each sent on its own once
    the rest has been applied."""

    backend: str = ""
    changes: tuple[Change, ...] = ()
    calls: tuple[Effect, ...] = ()
    mail_backend: str = ""
    mails: tuple[Effect, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes or self.calls or self.mails)


def run(
    spec: CommandSpec,
    db: WriteDb,
    arguments: Mapping[str, Any],
    specs: Mapping[str, TableSpec],
    backends: Collection[str] = (),
) -> Wish:
    """What the command asks for. `arguments` are Python values, row keys for rows; `backends` those that may be
    called (none: not checked).

    Raises BadInput by field, Refused by the command's own rule, NotFound for a row that is not there,
    BadConfiguration when it asks for what cannot be one transaction.
    """
    values: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for parameter in spec.parameters:
        given = arguments.get(parameter.name)
        if given is None:
            if parameter.required:
                faults[parameter.name] = "Is required."
            values[parameter.name] = parameter.default
        elif parameter.table:
            row = db[parameter.table].get(str(given))
            if row is None:
                faults[parameter.name] = "There is no such row."
            values[parameter.name] = row
        else:
            values[parameter.name] = given
    unknown = set(arguments) - set(values)
    faults.update(dict.fromkeys(unknown, "There is no such field."))
    if faults:
        raise BadInput("Some fields need another value.", fields=faults)
    spec.function(db, **values)
    return wish_of(db, specs, backends)


def wish_of(db: WriteDb, specs: Mapping[str, TableSpec], backends: Collection[str] = ()) -> Wish:
    """What `db` has collected, as one wish. Raises BadConfiguration."""
    changes = tuple(db.changes)
    backend = backend_of(changes, specs)
    named = {asked.backend for asked in db.calls if asked.backend}
    if backend:
        named.add(backend)
    if len(named) > 1:
        raise BadConfiguration(
            f"a command changes and calls one backend, this one {', '.join(sorted(named))}",
            try_this="split it into one command for each backend",
        )
    if db.calls and not named:
        raise BadConfiguration(
            f"{db.calls[0].effect.name}: a command that changes no row has to say which backend it calls",
            try_this=f'db.call("{db.calls[0].effect.name}", backend="...")',
        )
    wanted = next(iter(named), "")
    if backends and wanted and wanted not in backends:
        raise BadConfiguration(f"there is no backend {wanted}", try_this=f"one of {', '.join(sorted(backends))}")
    return Wish(
        backend=wanted,
        changes=changes,
        calls=tuple(asked.effect for asked in db.calls),
        mail_backend=db.mails[0].backend if db.mails else "",
        mails=tuple(asked.effect for asked in db.mails),
    )


def stored(spec: CommandSpec, arguments: Mapping[str, Any]) -> dict[str, Value]:
    """`arguments` as store values, for the journal."""
    kinds = {parameter.name: parameter.kind for parameter in spec.parameters}
    return {name: from_python(kinds[name], value) for name, value in arguments.items() if name in kinds}


def given(spec: CommandSpec, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as the journal keeps them, as the command takes them: Python values, and key texts for rows."""
    return {
        parameter.name: arguments[parameter.name]
        if parameter.table
        else to_python(parameter.kind, arguments[parameter.name])
        for parameter in spec.parameters
        if arguments.get(parameter.name) is not None
    }


def backend_of(changes: tuple[Change, ...], specs: Mapping[str, TableSpec]) -> str:
    """The one backend that `changes` go to. Raises BadConfiguration when there are several."""
    names = {specs[change.table].backend for change in changes}
    if len(names) > 1:
        raise BadConfiguration(
            f"a command writes to one backend, this one to {', '.join(sorted(names))}",
            try_this="split it into one command for each backend",
        )
    return names.pop() if names else ""


__all__ = ["CommandSpec", "Parameter", "Row", "Wish", "backend_of", "command_spec", "run", "stored", "wish_of"]
