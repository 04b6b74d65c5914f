"""Calling a stored procedure or program: `{CALL LIB.PGM(?, ?)}` with parameters in, out and both ways.

pyodbc binds no parameter that comes back, so that such a call is made on its connection by the driver manager's own
functions: same connection, same transaction. Parameters are asked of the driver (SQLProcedureColumns).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from brique.backends.faults import refused
from brique.backends.odbc.dialect import Dialect
from brique.backends.odbc.driver import pyodbc
from brique.backends.odbc.types import OdbcColumn, plain, reader, understand
from brique.errors import BackendRefused
from brique.schema import Column, Effect, Kind, Row, Value

_IN, _INOUT, _RESULT, _OUT, _RETURN = 1, 2, 3, 4, 5
_HANDLE_STMT, _NTS, _NULL_DATA, _C_CHAR, _VARCHAR = 3, -3, -1, 1, 12
_OUT_CHARACTERS = 4_000
_SUCCESS = (0, 1)


@dataclass(frozen=True)
class _Parameter:
    name: str
    way: int
    column: OdbcColumn


def call(cursor: Any, connection: Any, dialect: Dialect, effect: Effect) -> Row:
    """Call `effect.name` (`LIB.PGM`, `schema.procedure`) and give back what it answers: its parameters that come back,
    or the first row of its result. Raises BackendRefused when there is no such procedure or argument."""
    schema, _, name = effect.name.rpartition(".")
    parameters = _parameters(cursor, schema, name)
    if parameters is None:
        raise refused("There is no procedure {name}.", name=effect.name)
    values = _values(parameters, effect)
    place = (
        dialect.qualified(parameters[0].column.default if parameters else schema, name)
        if schema
        else dialect.quoted(name)
    )
    if not any(parameter.way in (_INOUT, _OUT) for parameter in parameters) or dialect.driver.savepoints:
        return _call_plain(cursor, dialect, place, parameters, values)
    return _call_back(connection, place, parameters, values)


def _parameters(cursor: Any, schema: str, name: str) -> list[_Parameter] | None:
    """In their order; None when there is no such procedure."""
    arguments = {"schema": schema} if schema else {}
    is_there = any(str(row[2]) == name for row in cursor.procedures(procedure=name, **arguments).fetchall())
    found: list[_Parameter] = []
    for row in cursor.procedureColumns(procedure=name, **arguments).fetchall():
        if str(row[2]) != name or int(row[4]) in (_RESULT, _RETURN):
            continue
        column = OdbcColumn(
            name=str(row[3] or ""),
            code=int(row[5]),
            type=str(row[6]),
            size=int(row[7]) if row[7] is not None else None,
            digits=int(row[9]) if row[9] is not None else None,
            default=str(row[1] or ""),
        )
        found.append(_Parameter(column.name or f"p{len(found) + 1}", int(row[4]), column))
    return found if found or is_there else None


def _values(parameters: Sequence[_Parameter], effect: Effect) -> list[Any]:
    """Arguments in the order of the parameters, whatever case their names are written in."""
    given = {name.lower(): value for name, value in effect.arguments.items()}
    known = {parameter.name.lower() for parameter in parameters}
    unknown = [name for name in effect.arguments if name.lower() not in known]
    if unknown:
        raise refused("{name} has no parameter {parameters}.", name=effect.name, parameters=", ".join(unknown))
    missing = [p.name for p in parameters if p.way == _IN and p.name.lower() not in given]
    if missing:
        raise refused("{name} needs {parameters}.", name=effect.name, parameters=", ".join(missing))
    return [given.get(parameter.name.lower()) for parameter in parameters]


def _call_plain(cursor: Any, dialect: Dialect, place: str, parameters: Sequence[_Parameter], values: list[Any]) -> Row:
    """A call whose answer, if any, is a row (PostgreSQL gives the parameters that come back so)."""
    marks = ", ".join(
        "NULL" if value is None else dialect.place(parameter.column)
        for parameter, value in zip(parameters, values, strict=True)
    )
    bound = [value for value in values if value is not None]
    try:
        cursor.execute(f"CALL {place}({marks})", *bound)
    except pyodbc().ProgrammingError as fault:
        if not dialect.driver.savepoints or "is not a procedure" not in str(fault):
            raise
        raise BackendRefused(f"{place} is a function: declare a procedure that calls it", sentence="") from None
    return _first_row(cursor)


def _first_row(cursor: Any) -> Row:
    while cursor.description is None:
        if not cursor.nextset():
            return {}
    names = [item[0] for item in cursor.description]
    found = cursor.fetchone()
    while cursor.nextset():
        pass
    return {name: plain(cell) for name, cell in zip(names, found, strict=True)} if found is not None else {}


# by the driver manager itself


@cache
def _manager() -> Any:
    name = ctypes.util.find_library("odbc") or "libodbc.so.2"
    library = ctypes.CDLL(name)
    library.SQLAllocHandle.argtypes = [ctypes.c_short, ctypes.c_void_p, ctypes.c_void_p]
    library.SQLFreeHandle.argtypes = [ctypes.c_short, ctypes.c_void_p]
    library.SQLBindParameter.argtypes = [
        ctypes.c_void_p, ctypes.c_ushort, ctypes.c_short, ctypes.c_short, ctypes.c_short, ctypes.c_size_t,
        ctypes.c_short, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p,
    ]  # fmt: skip
    library.SQLExecDirectW.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    library.SQLMoreResults.argtypes = [ctypes.c_void_p]
    library.SQLGetDiagRecW.argtypes = [
        ctypes.c_short, ctypes.c_void_p, ctypes.c_short, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p,
        ctypes.c_short, ctypes.c_void_p,
    ]  # fmt: skip
    return library


@dataclass
class _Buffer:
    """The memory of one parameter: text in UTF-8 both ways, which every driver converts. (Wide text is right by the
    book, but MariaDB's driver writes narrow text into a wide buffer.)"""

    data: Any
    length: Any

    @property
    def text(self) -> str | None:
        if self.length.value == _NULL_DATA:
            return None
        return bytes(self.data)[: max(self.length.value, 0)].decode("utf-8", "replace")


def _call_back(connection: Any, place: str, parameters: Sequence[_Parameter], values: list[Any]) -> Row:
    manager = _manager()
    statement = ctypes.c_void_p()
    handle = ctypes.c_void_p(int.from_bytes(connection.hdbc, sys.byteorder))
    if manager.SQLAllocHandle(_HANDLE_STMT, handle, ctypes.byref(statement)) not in _SUCCESS:
        raise pyodbc().OperationalError("HY000", "[HY000] no statement for the call (0) (SQLAllocHandle)")
    try:
        buffers = [
            _buffer(manager, statement, at, p, v) for at, (p, v) in enumerate(zip(parameters, values, strict=True), 1)
        ]
        sql = f"{{CALL {place}({', '.join('?' * len(parameters))})}}".encode("utf-16-le") + b"\0\0"
        if manager.SQLExecDirectW(statement, sql, _NTS) not in (*_SUCCESS, 100):
            raise pyodbc().Error(*_diagnosis(manager, statement))
        for _ in range(100):  # what comes back is there when all results have been passed
            if manager.SQLMoreResults(statement) not in _SUCCESS:
                break
        return {
            parameter.name: _read(parameter, buffer.text)
            for parameter, buffer in zip(parameters, buffers, strict=True)
            if parameter.way in (_INOUT, _OUT)
        }
    finally:
        with suppress(OSError):
            manager.SQLFreeHandle(_HANDLE_STMT, statement)


def _buffer(manager: Any, statement: Any, at: int, parameter: _Parameter, value: Any) -> _Buffer:
    encoded = b"" if value is None else str(value).encode()
    size = max(len(encoded) + 1, 4 * min(parameter.column.size or 0, _OUT_CHARACTERS) + 4, 128)
    data = ctypes.create_string_buffer(encoded, size)
    length = ctypes.c_ssize_t(_NULL_DATA if value is None else len(encoded))
    characters = max(parameter.column.size or 0, len(encoded), 1)
    code = manager.SQLBindParameter(
        statement, at, parameter.way, _C_CHAR, parameter.column.code or _VARCHAR, characters,
        parameter.column.digits or 0, data, size, ctypes.byref(length),
    )  # fmt: skip
    if code not in _SUCCESS:
        raise pyodbc().Error(*_diagnosis(manager, statement))
    return _Buffer(data, length)


def _diagnosis(manager: Any, statement: Any) -> tuple[str, str]:
    state, text = ctypes.create_string_buffer(12), ctypes.create_string_buffer(4_000)
    native, length = ctypes.c_int(), ctypes.c_short()
    manager.SQLGetDiagRecW(_HANDLE_STMT, statement, 1, state, ctypes.byref(native), text, 2_000, ctypes.byref(length))
    code = bytes(state)[:10].decode("utf-16-le", "replace").strip("\0") or "HY000"
    said = bytes(text)[: max(length.value, 0) * 2].decode("utf-16-le", "replace")
    return code, f"[{code}] {said} ({native.value}) (SQLExecDirectW)"


def _read(parameter: _Parameter, text: str | None) -> Value:
    found = understand(parameter.column)
    if text is not None and found.kind in (Kind.INTEGER, Kind.REAL, Kind.BOOLEAN):
        with suppress(ValueError):
            return float(text) if found.kind is Kind.REAL else int(text)
    column = Column(parameter.name, parameter.name, found.kind, parameter.name, scale=found.scale)
    value = reader(parameter.column, column)(text)
    return value.rstrip(" ") if found.padded and isinstance(value, str) else value
