"""What a fault of an ODBC driver means for the caller, by its SQLSTATE and, where that says little, its native code."""

from __future__ import annotations

import re
from collections.abc import Mapping

from brique.backends.faults import LOST, NOT_NOW, SAYS, SLOW, away, refused
from brique.errors import BackendAway, BackendRefused

NOT_JOURNALED = "Table {table} is not journaled: its changes cannot be rolled back."

_AWAY_CLASSES = ("08", "53", "57", "58", "XX", "F0")
_AWAY_CODES = (
    "40001", "40P01", "40003", "55P03", "25P03", "25P04", "28000", "28P01", "3D000", "25006", "HYT00", "HYT01",
    "S1T00", "HY117", "IM001", "57033", "57014",
)  # fmt: skip
_CANCELLED = ("HY008", "57014", "S1008", "52004")
BROKEN = ("08", "57P0", "25P03", "HY117", "40003", "IM", "01002")
_DRIVER_MISSING = ("IM002", "IM003", "01000", "IM004")

UNIQUE, EMPTY, REFERENCE, RULE, LONG, LARGE, RIGHTS = (
    "unique", "empty", "reference", "rule", "long", "large", "rights",
)  # fmt: skip
_BY_STATE: dict[str, str] = {
    "23505": UNIQUE, "23502": EMPTY, "23503": REFERENCE, "23504": REFERENCE, "23001": REFERENCE, "23514": RULE,
    "23513": RULE, "23P01": RULE, "22001": LONG, "22003": LARGE, "42501": RIGHTS, "42000-229": RIGHTS,
}  # fmt: skip
_BY_NATIVE: dict[str, str] = {
    # SQL Server; MariaDB and MySQL; Db2 (native codes are negative there)
    "2627": UNIQUE, "2601": UNIQUE, "515": EMPTY, "547": REFERENCE, "8152": LONG, "2628": LONG, "8115": LARGE,
    "229": RIGHTS, "1062": UNIQUE, "1048": EMPTY, "1364": EMPTY, "1451": REFERENCE, "1452": REFERENCE, "3819": RULE,
    "4025": RULE, "1406": LONG, "1264": LARGE, "1142": RIGHTS, "1143": RIGHTS, "-803": UNIQUE, "-407": EMPTY,
    "-530": REFERENCE, "-531": REFERENCE, "-532": REFERENCE, "-545": RULE, "-404": LONG, "-551": RIGHTS,
}  # fmt: skip
_BY_WORDS: tuple[tuple[str, str], ...] = (
    (r"(?i)unique constraint failed|duplicate key", UNIQUE),
    (r"(?i)not null constraint failed|cannot be null", EMPTY),
    (r"(?i)foreign key constraint", REFERENCE),
    (r"(?i)check constraint", RULE),
    (r"(?i)readonly database|read.only", RIGHTS),
)
_AWAY_WORDS = re.compile(r"(?i)database is locked|database table is locked|communication link|server has gone away")


def explain(
    state: str, said: str, *, backend: str, seconds: float, unique: Mapping[str, tuple[str, ...]] | None = None,
    columns: tuple[str, ...] = (),
) -> BackendAway | BackendRefused:  # fmt: skip
    """The brique fault for a SQLSTATE and the text that came with it.

    `unique` and `columns` are the unique indexes (columns by name) and the columns of the table concerned, to say
    which of them it was.
    """
    reason, native = clean(said), _native(said)
    if state in _CANCELLED:
        return away(SLOW, backend=backend, seconds=seconds)
    if state == "IM002" or (state in _DRIVER_MISSING and "lib" in said and "open" in said):
        return away("{backend}: the driver or data source cannot be loaded: {reason}", backend=backend, reason=reason)
    if state in _AWAY_CODES or state[:2] in _AWAY_CLASSES or _AWAY_WORDS.search(said):
        return away(NOT_NOW if state[:2] != "08" else LOST, backend=backend, reason=reason)
    kind = _BY_STATE.get(state) or (_BY_NATIVE.get(native) if state[:2] in ("23", "22", "42", "HY") else None)
    kind = kind or next((what for pattern, what in _BY_WORDS if re.search(pattern, said)), "")
    fault = _refusal(kind, reason, said, unique or {}, columns)
    fault.facts["code"] = state
    return fault


def is_broken(state: str) -> bool:
    """Whether the connection is of no more use."""
    return state.startswith(BROKEN)


def clean(said: str) -> str:
    """What the server said, without what drivers and the driver manager put around it, and without SQL."""
    text = re.sub(r"\s*\(\d*-?\d*\)\s*\(SQL\w+\)\s*$", "", said.strip())
    text = text.split(";\nError while")[0]
    text = re.sub(r"^(\[[^\]]*\]\s*)+", "", text)
    text = re.sub(r"^(ERROR|FEHLER|ERREUR):\s*", "", text)
    return " ".join(text.split("\n")[0].rstrip(";").split()) or "no reason is given"


def _native(said: str) -> str:
    found = re.search(r"\((-?\d+)\)\s*\(SQL\w+\)\s*$", said.strip())
    return found[1] if found else ""


def _refusal(
    kind: str, reason: str, said: str, unique: Mapping[str, tuple[str, ...]], columns: tuple[str, ...]
) -> BackendRefused:
    if kind == UNIQUE:
        return refused(
            "There is already a row with the same {columns}.", columns=", ".join(_unique_columns(said, unique, columns))
        )
    if kind == EMPTY:
        return refused("{columns} must not be empty.", columns=_named(said, columns) or "?")
    if kind == REFERENCE and not re.search(r"(?i)\bcheck\b", reason):
        return refused("It refers to a row that is not there, or other rows refer to it.")
    if kind in (RULE, REFERENCE):
        rule = re.search(r'"([^"]+)"[^"]*$', reason) or re.search(r"failed: (.+)$", reason)
        return refused("The database's rule {rule} says no.", rule=rule[1] if rule else reason)
    if kind == LONG:
        return refused("A text is too long: {reason}", reason=reason)
    if kind == LARGE:
        return refused("A number is too large: {reason}", reason=reason)
    if kind == RIGHTS:
        return refused("The account that brique uses may not do this: {reason}", reason=reason)
    return refused(SAYS, reason=reason)


def _unique_columns(said: str, unique: Mapping[str, tuple[str, ...]], columns: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of the index that the message names; those that it names itself; or just "key"."""
    detail = re.search(r"\(([^()=]+)\)=\(", said)
    if detail:
        return (detail[1].replace('"', ""),)
    for name, names in sorted(unique.items(), key=lambda item: -len(item[0])):
        if name and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", said):
            return names
    named = _named(said, columns)
    return (named,) if named else ("key",)


def _named(said: str, columns: tuple[str, ...]) -> str:
    """The column of the table that the message names: in quotes, behind a dot, or as a word."""
    for pattern in (r"[\"'`\[]{}[\"'`\]]", r"\.{}(?!\w)", r"(?<!\w){}(?!\w)"):
        for column in columns:
            if re.search(pattern.format(re.escape(column)), said):
                return column
    return ""
