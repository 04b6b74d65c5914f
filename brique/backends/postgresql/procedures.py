"""Calling functions and procedures of PostgreSQL by name, arguments by name, inside the transaction in progress.

What a name means is looked up first: whether it is a function (`SELECT * FROM f(...)`) or a procedure (`CALL p(...)`),
which arguments it takes and of which types. Only names that the server itself has told go into SQL, quoted; values are
always bound.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from brique.backends.faults import refused
from brique.backends.postgresql.catalogue import quoted, run, texts
from brique.backends.postgresql.rows import Parameters, Raw
from brique.errors import BackendRefused
from brique.schema import Effect, Row, Value

UNKNOWN = "There is no procedure {name}."
UNKNOWN_NEAR = "There is no procedure {name}; there are {near}."
OTHER_ARGUMENTS = "{name} takes other arguments than {given}: {takes}."
SEVERAL = "Several procedures {name} take the arguments {given}: {takes}."
_NEAR_MAX = 5
_NAMED = """
SELECT p.oid::int8, n.nspname, p.proname, p.prokind::text, coalesce(p.proargnames, '{}')::text[],
       coalesce(p.proargmodes::text[], '{}'), p.pronargdefaults::int4, p.pronargs::int4,
       ARRAY(SELECT format_type(t.oid, NULL) FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]))
             WITH ORDINALITY AS u (oid, place) JOIN pg_type t ON t.oid = u.oid ORDER BY u.place),
       has_function_privilege(p.oid, 'EXECUTE')
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prokind IN ('f', 'p') AND p.proname = $1
  AND CASE WHEN $2::text = '' THEN pg_function_is_visible(p.oid) ELSE n.nspname = $2::text END
ORDER BY p.oid
"""
_OTHERS = """
SELECT DISTINCT CASE WHEN pg_function_is_visible(p.oid) THEN p.proname ELSE n.nspname || '.' || p.proname END
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prokind IN ('f', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
  AND has_schema_privilege(n.oid, 'USAGE')
"""
_NUMBERS: Mapping[int, Callable[[str], Value]] = {
    16: lambda text: int(text == "t"), 20: int, 21: int, 23: int, 26: int, 700: float, 701: float,
}  # fmt: skip
_VOID = 2278


@dataclass(frozen=True)
class _Argument:
    """`mode`: in, out (of a procedure: has to be given as NULL), both."""

    name: str
    type: str
    mode: str
    is_required: bool


@dataclass(frozen=True)
class _Routine:
    schema: str
    name: str
    is_procedure: bool
    arguments: tuple[_Argument, ...]

    def told(self) -> str:
        inner = ", ".join(f"{one.name} {one.type}".strip() for one in self.arguments if one.mode != "o")
        return f"{self.name}({inner})"

    @property
    def taken(self) -> list[_Argument]:
        return [one for one in self.arguments if one.mode != "o"]

    def takes(self, given: Sequence[str]) -> bool:
        """Whether it can be called with arguments of these names; when its own have none, with as many."""
        taken = self.taken
        required = [one for one in taken if one.is_required]
        if not any(one.name for one in taken):
            return len(required) <= len(given) <= len(taken)
        return {one.name for one in required} <= set(given) <= {one.name for one in taken}


def call(connection: psycopg.Connection[Any], effect: Effect) -> Row:
    """Call what `effect` names; the first row that it answers, by column. Raises BackendRefused, psycopg.Error."""
    routine = _find(connection, effect)
    parameters = Parameters()
    inner = ", ".join(_places(routine, effect, parameters))
    name = f"{quoted(routine.schema)}.{quoted(routine.name)}"
    sql = f"CALL {name}({inner})" if routine.is_procedure else f"SELECT * FROM {name}({inner})"  # noqa: S608
    cursor = run(connection, sql, parameters.values)
    if not cursor.description:
        return {}
    columns = [(column.name, column.type_code) for column in cursor.description]
    found = texts(cursor)
    if not found:
        return {}
    return {column: _value(oid, text) for (column, oid), text in zip(columns, found[0], strict=True) if oid != _VOID}


def _find(connection: psycopg.Connection[Any], effect: Effect) -> _Routine:
    schema, _, name = effect.name.rpartition(".")
    routines = [_routine(record) for record in run(connection, _NAMED, (name, schema)).fetchall()]
    if not routines:
        raise _unknown(connection, effect.name)
    given = list(effect.arguments)
    fitting = [routine for routine in routines if routine.takes(given)]
    if len(fitting) == 1:
        return fitting[0]
    told = "; ".join(routine.told() for routine in (fitting or routines)[:_NEAR_MAX])
    sentence = SEVERAL if fitting else OTHER_ARGUMENTS
    raise refused(sentence, name=effect.name, given=", ".join(given) or "none", takes=told)


def _routine(record: tuple[Any, ...]) -> _Routine:
    _, schema, name, kind, names, modes, defaults, taken, types, _ = record
    modes = modes or ["i"] * len(types)
    names = list(names) + [""] * (len(types) - len(names))
    is_procedure = kind == "p"
    inputs = sum(mode in "iob" if is_procedure else mode in "ib" for mode in modes)
    made, place = [], 0
    for own, type_, mode in zip(names, types, modes, strict=True):
        if mode == "t" or (mode == "o" and not is_procedure) or mode == "v":
            continue
        place += 1
        made.append(_Argument(own, type_, mode, is_required=place <= max(inputs, taken) - defaults))
    return _Routine(schema, name, is_procedure, tuple(made))


def _unknown(connection: psycopg.Connection[Any], name: str) -> BackendRefused:
    others = [str(found) for (found,) in run(connection, _OTHERS).fetchall()]
    near = difflib.get_close_matches(name, others, _NEAR_MAX, 0.5)
    if not near:
        return refused(UNKNOWN, name=name)
    return refused(UNKNOWN_NEAR, name=name, near=", ".join(near))


def _places(routine: _Routine, effect: Effect, parameters: Parameters) -> list[str]:
    """The arguments as SQL: by name where they have names, else in the order given."""
    if not any(one.name for one in routine.taken):
        return [
            f"{parameters.add(_raw(value))}::{one.type}"
            for one, value in zip(routine.taken, effect.arguments.values(), strict=False)
        ]
    places = []
    for one in routine.arguments:
        if one.mode == "o":
            places.append(f"{quoted(one.name)} => NULL::{one.type}")
        elif one.name in effect.arguments:
            places.append(f"{quoted(one.name)} => {parameters.add(_raw(effect.arguments[one.name]))}::{one.type}")
    return places


def _raw(value: Any) -> Raw | None:
    """A value as the server's own input functions read it."""
    if value is None:
        return None
    if isinstance(value, bool):
        return Raw(b"true" if value else b"false")
    if isinstance(value, bytes):
        return Raw(b"\\x" + value.hex().encode())
    if isinstance(value, list):
        raise refused("A list cannot be given to a procedure: give its parts one by one.")
    return Raw((repr(value) if isinstance(value, float) else str(value)).encode())


def _value(oid: int, text: str | None) -> Value:
    convert = _NUMBERS.get(oid)
    return text if text is None or convert is None else convert(text)
