"""What a fault of MariaDB or MySQL means for the caller, by its number."""

from __future__ import annotations

import re

import pymysql

from brique.backends.faults import LOST, NOT_NOW, SAYS, SLOW, away, refused
from brique.errors import BackendAway, BackendRefused

TOO_LARGE = "It is larger than the database takes at once ({bytes_max} bytes: its max_allowed_packet)."

DEADLOCK = 1213
READ_ONLY = (1290, 1836)
NO_TABLE = (1146, 1109)
_TOO_SLOW = (1969, 3024)
"""max_statement_time of MariaDB, max_execution_time of MySQL."""
_BROKEN = (1053, 1152, 1153, 1158, 1159, 1160, 1161, 1184, 1927, 4031)
"""The server has closed the connection, or is about to."""
_AWAY = (
    1020, 1021, 1028, 1037, 1038, 1040, 1041, 1047, 1077, 1078, 1079, 1114, 1129, 1135, 1180, 1203, 1205, DEADLOCK,
    1226, 1317, 1615, 1637, *READ_ONLY,
)  # fmt: skip
"""Tried again later: a lock or deadlock, no memory, disk or connection left, a server that starts, stops or is read
only, a cluster that is not in order."""
_RIGHTS = (1044, 1142, 1143, 1227, 1370, 1419)


def number_of(fault: BaseException | None) -> int:
    """The number of a fault of the driver; 0 when it has none."""
    first = fault.args[0] if isinstance(fault, pymysql.err.MySQLError) and fault.args else 0
    return first if isinstance(first, int) else 0


def is_broken(fault: pymysql.err.MySQLError) -> bool:
    """Whether the connection is of no more use: the driver's own numbers start at 2000."""
    number = number_of(fault)
    return number == 0 or 2000 <= number < 3000 or number in _BROKEN


def explain(
    fault: pymysql.err.MySQLError, *, backend: str, seconds: float, opening: bool = False
) -> BackendAway | BackendRefused:
    """The brique fault for a fault of the driver. `opening`: no connection was there yet, so that nothing was asked."""
    number, reason = number_of(fault), said(fault)
    if number in _TOO_SLOW:
        return away(SLOW, backend=backend, seconds=seconds)
    if opening or number in _AWAY:
        return away(NOT_NOW, backend=backend, reason=reason)
    if is_broken(fault):
        return away(LOST, backend=backend, reason=reason)
    told = _sentence(fault, number, reason)
    told.facts.update(code=number)
    return told


def said(fault: BaseException) -> str:
    """What the server or driver said, on one line."""
    text = str(fault.args[1]) if len(fault.args) > 1 else str(fault)
    return " ".join(text.split()) or type(fault).__name__


def _sentence(fault: pymysql.err.MySQLError, number: int, reason: str) -> BackendRefused:
    state = getattr(fault, "sqlstate", "") or ""
    if number == 1644 or state.startswith("45"):
        return refused("{reason}", reason=reason)
    if number in (1062, 1586):
        index = _named(reason, last=True).rpartition(".")[2]
        told = refused("There is already a row with the same {columns}.", columns=index)
        told.facts["index"] = index
        return told
    if number in (1048, 1364):
        return refused("{columns} must not be empty.", columns=_named(reason))
    if number in (1451, 1452, 1216, 1217):
        return refused("It refers to a row that is not there, or other rows refer to it.")
    if number in (4025, 3819):
        told = refused("The database's rule {rule} says no.", rule=_named(reason).rpartition(".")[2])
        told.facts["constraint"] = told.facts["rule"]
        return told
    if number == 1406:
        return refused("A text is too long: {reason}", reason=reason)
    if number in (1264, 1690):
        return refused("A number is too large: {reason}", reason=reason)
    if number in _RIGHTS:
        return refused("The account that brique uses may not do this: {reason}", reason=reason)
    if number in NO_TABLE:
        return refused("There is no table {table}.", table=_named(reason))
    return refused(SAYS, reason=reason)


def _named(reason: str, *, last: bool = False) -> str:
    """The first or last name in quotes, in any language of the server; `?` when there is none."""
    found = re.findall(r"'([^']*)'|`([^`]*)`", reason)
    return next(filter(None, found[-1 if last else 0]), "?") if found else "?"
