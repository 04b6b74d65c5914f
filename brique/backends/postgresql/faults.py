"""What a fault of PostgreSQL means for the caller, by its SQLSTATE."""

from __future__ import annotations

import psycopg

from brique.backends.faults import LOST, NOT_NOW, SAYS, SLOW, away, refused
from brique.errors import BackendAway, BackendRefused

_AWAY_CLASSES = ("08", "53", "57", "58", "XX", "F0")
_AWAY_CODES = ("40001", "40P01", "55P03", "25P03", "25P04", "28000", "28P01", "3D000", "25006")
"""Tried again later: deadlock, lock not had, session ended for idling, account or database being set up, a standby."""
BROKEN = ("08", "57P0", "25P03")


def explain(
    fault: psycopg.Error, *, backend: str, seconds: float, opening: bool = False
) -> BackendAway | BackendRefused:
    """The brique fault for a fault of the driver. `opening`: no connection was there yet, so that nothing was asked."""
    code = fault.sqlstate or ""
    reason = first_line(fault)
    if (
        not code
        and not opening
        and isinstance(fault, (psycopg.DataError, psycopg.ProgrammingError, psycopg.NotSupportedError))
    ):
        return refused(SAYS, reason=reason)
    if not code:
        return away(LOST, backend=backend, reason=reason)
    if code == "57014":
        return away(SLOW, backend=backend, seconds=seconds)
    if opening or code in _AWAY_CODES or code[:2] in _AWAY_CLASSES:
        return away(NOT_NOW, backend=backend, reason=reason)
    return _refusal(fault, code, reason)


def is_broken(fault: psycopg.Error) -> bool:
    """Whether the connection is of no more use."""
    return not fault.sqlstate or fault.sqlstate.startswith(BROKEN)


def first_line(fault: psycopg.Error) -> str:
    """What the server or driver said, without its context lines and SQL."""
    said = fault.diag.message_primary or str(fault)
    return " ".join(said.split("\n")[0].split()) or type(fault).__name__


def _refusal(fault: psycopg.Error, code: str, reason: str) -> BackendRefused:
    diag = fault.diag
    facts = {
        name: value
        for name, value in (("constraint", diag.constraint_name), ("column", diag.column_name), ("code", code))
        if value
    }
    told = _sentence(fault, code, reason)
    told.facts.update(facts)
    return told


def _sentence(fault: psycopg.Error, code: str, reason: str) -> BackendRefused:
    diag = fault.diag
    if code == "23505":
        return refused("There is already a row with the same {columns}.", columns=_columns(fault))
    if code == "23502":
        return refused("{columns} must not be empty.", columns=diag.column_name or "?")
    if code == "23503":
        return refused("It refers to a row that is not there, or other rows refer to it.")
    if code in ("23514", "23P01"):
        return refused("The database's rule {rule} says no.", rule=diag.constraint_name or reason)
    if code == "22001":
        return refused("A text is too long: {reason}", reason=reason)
    if code == "22003":
        return refused("A number is too large: {reason}", reason=reason)
    if code == "42501":
        return refused("The account that brique uses may not do this: {reason}", reason=reason)
    if code.startswith("P0"):
        hint = f" {diag.message_hint}" if diag.message_hint else ""
        return refused("{reason}", reason=f"{reason}{hint}")
    return refused(SAYS, reason=reason)


def _columns(fault: psycopg.Error) -> str:
    """The columns of a broken unique constraint, from `Key (a, b)=(1, 2) already exists.` in any language."""
    detail = fault.diag.message_detail or ""
    start, end = detail.find("("), detail.find(")=(")
    if 0 <= start < end:
        return detail[start + 1 : end].replace('"', "")
    return fault.diag.constraint_name or "key"
