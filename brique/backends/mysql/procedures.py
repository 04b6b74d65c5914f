"""Calling a stored procedure or function of MariaDB or MySQL by its name, with named arguments.

A procedure may end the transaction that it is called in (COMMIT, or a statement like CREATE TABLE that does so by
itself), and then what was done before it could not be undone any more. In an XA transaction the server refuses such a
statement; where there is none, the procedure's text is looked at, and one that nobody may read is not called.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pymysql.constants import FIELD_TYPE

from brique.backends.faults import refused
from brique.backends.mysql.catalogue import qualified, quoted
from brique.backends.mysql.line import Answer, Connected
from brique.backends.mysql.types import MyType, literal, parser, quote, timed, understand
from brique.schema import Column, Effect, Kind, Row, Value

UNKNOWN = "There is no procedure {name}."
OTHER_ARGUMENTS = "{name} takes other arguments than {given}: {takes}."
ENDS_IT = "The procedure {procedure} ends transactions by itself: what is sent with it could not be undone."
HIDDEN = "The account that brique uses may not read the text of the procedure {procedure}, and so cannot call it here."
_ROUTINE = """
SELECT ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_TYPE, ROUTINE_DEFINITION FROM information_schema.ROUTINES
WHERE ROUTINE_SCHEMA = {schema} AND ROUTINE_NAME = {name} ORDER BY ROUTINE_TYPE = 'FUNCTION' LIMIT 1
"""
_PARAMETERS = """
SELECT PARAMETER_NAME, PARAMETER_MODE, DATA_TYPE, DTD_IDENTIFIER, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION,
       NUMERIC_SCALE, COALESCE(DATETIME_PRECISION, 0)
FROM information_schema.PARAMETERS WHERE SPECIFIC_SCHEMA = {schema} AND SPECIFIC_NAME = {name} AND ROUTINE_TYPE = {type}
ORDER BY ORDINAL_POSITION
"""
_ENDING = re.compile(
    r"(?i)\b(COMMIT|ROLLBACK(?!\s+(WORK\s+)?TO)|START\s+TRANSACTION|BEGIN\s+WORK|CREATE\s+(?!TEMPORARY)|ALTER|RENAME|TRUNCATE"
    r"|DROP\s+(?!TEMPORARY)|GRANT|REVOKE|LOCK\s+TABLES|ANALYZE|OPTIMIZE|REPAIR|FLUSH|AUTOCOMMIT|EXECUTE|CALL)\b"
)
_COMMENT = re.compile(r"(?s)/\*.*?\*/|--[^\n]*|#[^\n]*|'(?:[^'\\]|''|\\.)*'")
_INTEGERS = (
    FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG, FIELD_TYPE.INT24, FIELD_TYPE.YEAR,
)  # fmt: skip


@dataclass(frozen=True)
class Parameter:
    """A parameter of a routine; `mode` is IN, OUT or INOUT ("" for what a function returns)."""

    name: str
    mode: str
    type: MyType

    @property
    def column(self) -> Column:
        found = understand(self.type)
        return Column(self.name, self.name, found.kind, self.name, scale=found.scale)


def call_procedure(connection: Connected, effect: Effect, *, is_guarded: bool) -> Row:
    """Call the routine that `effect` names (`name` or `database.name`): the first row that it shows, and over it what
    its OUT parameters hold; `result` is what a function returns. Raises BackendRefused, pymysql.err.MySQLError."""
    schema, _, name = effect.name.rpartition(".")
    place = {"schema": quote(schema) if schema else "DATABASE()", "name": quote(name)}
    found = connection.rows(_ROUTINE.format(**place))
    if not found:
        raise refused(UNKNOWN, name=effect.name)
    _, _, kind, text = found[0]
    parameters = [_parameter(row) for row in connection.rows(_PARAMETERS.format(**place, type=quote(str(kind))))]
    sql = qualified(schema, str(found[0][1]))
    if kind == "FUNCTION":
        returned = next(item for item in parameters if not item.mode)
        taken = [item for item in parameters if item.mode]
        values = ", ".join(_given(effect, taken).values())
        answer = connection.one(f"SELECT {sql}({values})")
        return {"result": _value(returned, answer.rows[0][0])}
    if not is_guarded:
        _check(effect.name, text)
    return _call(connection, sql, parameters, _given(effect, parameters))


def _check(name: str, text: str | None) -> None:
    if text is None:
        raise refused(HIDDEN, procedure=name)
    if _ENDING.search(_COMMENT.sub(" ", text)):
        raise refused(ENDS_IT, procedure=name)


def _parameter(row: list[str | None]) -> Parameter:
    name, mode, type_, written, length, precision, scale, fraction = row
    characters, digits, decimals = (None if part is None else int(part) for part in (length, precision, scale))
    found = MyType(str(type_), str(written), characters, digits, decimals, int(fraction or 0))
    return Parameter(str(name or "result"), mode or "", found)


def _given(effect: Effect, parameters: list[Parameter]) -> dict[str, str]:
    """The SQL of each parameter's value, by its name; every IN parameter must be given, and nothing else."""
    given = {name.casefold(): value for name, value in effect.arguments.items()}
    wanted = {item.name.casefold() for item in parameters if item.mode != "OUT"}
    if set(given) - {item.name.casefold() for item in parameters} or wanted - set(given):
        takes = f"{effect.name}({', '.join(f'{item.name} {item.type.written}' for item in parameters)})"
        raise refused(OTHER_ARGUMENTS, name=effect.name, given=", ".join(effect.arguments) or "none", takes=takes)
    return {item.name: literal(item.type, _written(item, given.get(item.name.casefold()))) for item in parameters}


def _written(parameter: Parameter, value: Value) -> Value:
    """A store value for a parameter; a decimal comes as text, or times ten to the power of the scale."""
    if isinstance(value, str):
        return timed(parameter.type, value)
    return value


def _call(connection: Connected, sql: str, parameters: list[Parameter], given: dict[str, str]) -> Row:
    places, before, back = [], [], []
    for number, parameter in enumerate(parameters, 1):
        if parameter.mode == "IN":
            places.append(given[parameter.name])
            continue
        variable = f"@brique_{number}"
        before.append(f"SET {variable} = {given[parameter.name] if parameter.mode == 'INOUT' else 'NULL'}")
        places.append(variable)
        back.append(f"{variable} AS {quoted(parameter.name)}")
    statements = [*before, f"CALL {sql}({', '.join(places)})", *([f"SELECT {', '.join(back)}"] if back else [])]
    answers = connection.all("; ".join(statements))
    shown = [answer for answer in answers if answer.names]
    row: Row = {}
    first = next((answer for answer in (shown[:-1] if back else shown) if answer.rows), None)
    if first is not None:
        row |= _first_row(first)
    if back:
        outs = [item for item in parameters if item.mode != "IN"]
        row |= {item.name: _value(item, cell) for item, cell in zip(outs, shown[-1].rows[0], strict=True)}
    return row


def _value(parameter: Parameter, cell: bytes | None) -> Value:
    """What a parameter holds, as a store value; a decimal as its text, since nobody here knows its scale."""
    if cell is None:
        return None
    if parameter.column.kind is Kind.DECIMAL:
        return cell.decode()
    return parser(parameter.type, parameter.column)((cell,))[0]


def _first_row(answer: Answer) -> Row:
    """The first row of what a procedure shows: numbers as numbers, decimals and everything else as text."""
    return {
        name: _cell(type_, cell) for name, type_, cell in zip(answer.names, answer.types, answer.rows[0], strict=True)
    }


def _cell(type_: int, cell: bytes | None) -> Value:
    if cell is None:
        return None
    if type_ in _INTEGERS:
        return int(cell)
    if type_ in (FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE):
        return float(cell)
    try:
        return cell.decode()
    except UnicodeDecodeError:
        return cell
