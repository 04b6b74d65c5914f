"""Values typed in an address as store values: ISO dates, decimal points, `true` and `false`, as the API writes them."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

import msgspec

from brique.schema import Column, Kind, Value, from_json

_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_LOST_PLUS = re.compile(r"(?<=:\d\d) (?=\d\d:?\d\d$)|(?<=\.\d{6}) (?=\d\d:?\d\d$)", re.ASCII)
_TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
BY_TEXT = (Kind.TEXT, Kind.INTEGER, Kind.DATE, Kind.DATETIME, Kind.TIME, Kind.JSON, Kind.ANY)
"""Kinds whose values can be looked for by a part of their text."""


def typed(column: Column, text: str) -> Value:
    """`text` as a store value of `column`. Raises ValueError with a sentence for people.

    Lengths and choices are not checked: to look for what is not there is no fault.
    """
    if "\x00" in text:
        raise ValueError("Must not contain a NUL character.")
    try:
        return from_json(column.kind, _json_form(column.kind, text), column.scale)
    except ArithmeticError as fault:
        raise ValueError("Is too large.") from fault


def part(column: Column, text: str) -> str:
    """`text` as the beginning or a part of a value of `column`. Raises ValueError when such a value has no parts."""
    if column.kind not in BY_TEXT:
        raise ValueError("Has no text to look into: compare with lt, le, gt or ge.")
    if "\x00" in text:
        raise ValueError("Must not contain a NUL character.")
    return unicodedata.normalize("NFC", text)


def truth(text: str) -> bool:
    """`true` or `false`, and their likes. Raises ValueError."""
    known = _TRUTHS.get(text.lower())
    if known is None:
        raise ValueError("Must be yes or no.")
    return known


def _json_form(kind: Kind, text: str) -> Any:
    # Any: what JSON may hold, as from_json takes it.
    if kind is Kind.BOOLEAN:
        return truth(text)
    if kind is Kind.DATETIME:
        return _LOST_PLUS.sub("+", text)  # in an address "+" is a blank
    if kind in (Kind.INTEGER, Kind.DECIMAL):
        text = text.strip()
        return text[1:] if text[:1] == "+" else text
    if kind is Kind.REAL:
        return _real(text)
    if kind is Kind.JSON:
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError as fault:
            raise ValueError("Must be JSON.") from fault
    if kind is Kind.ANY:
        return number_like(text)
    return text


def _real(text: str) -> float:
    try:
        value = float(text) if _NUMBER.fullmatch(text.strip()) else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError("Must be a number.")
    return value


def number_like(text: str) -> int | float | str:
    """`text` as the number that it writes, else as it is."""
    if _INTEGER.fullmatch(text) and -(2**63) <= int(text) < 2**63:
        return int(text)
    if _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return unicodedata.normalize("NFC", text)
