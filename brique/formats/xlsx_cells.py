"""Columns of Python values as the XML of spreadsheet cells, a batch of a column at a time.

A column of a batch mostly holds one type, so that one comprehension writes it; anything else goes value by value.
Text is always an inline string, never a formula. A number stays a number only while a spreadsheet can hold it:
beyond 15 digits it would be rounded, so it becomes text, as do dates before March 1900 (Excel counts a 29 February
1900 that never was).
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo
from decimal import Decimal
from typing import Any

import msgspec

from brique.formats.protocol import Heading, WriteReport
from brique.schema import Kind

CHARS_MAX = 32_767
_DIGITS_MAX = 15
_INTEGER_MAX = 10**_DIGITS_MAX
_DAY_ZERO = date(1899, 12, 30).toordinal()
_FIRST_DAY = date(1900, 3, 1)
_CARE = re.compile("[&<>\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]|_x[0-9A-Fa-f]{4}_")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}

PLAIN, HEAD, TEXT, INTEGER, DATE, MOMENT, TIME = range(7)
_FIRST_DECIMAL = 7
"""Style numbers; a decimal of scale n has the style `_FIRST_DECIMAL + n`."""
SCALE_MAX = 15


def _careful(found: re.Match[str]) -> str:
    char = found[0]
    if char in _ENTITIES:
        return _ENTITIES[char]
    if len(char) > 1:
        return f"_x005F{char}"  # a literal _x0041_ must not turn into A
    if "\ud800" <= char <= "\udfff":
        return "\ufffd"
    return f"_x{ord(char):04X}_"


def escape(text: str) -> str:
    """`text` as the content of an XML element of a workbook; control characters as `_xHHHH_`."""
    return _CARE.sub(_careful, text) if _CARE.search(text) else text


def letters(index: int) -> str:
    """The name of a column, from 0: A, B, … Z, AA, …"""
    name = ""
    index += 1
    while index:
        index, digit = divmod(index - 1, 26)
        name = chr(65 + digit) + name
    return name


@dataclass(frozen=True)
class CellWriter:
    """Writes the cells of one column. `column` is its letters, `style` the style of decimals in it."""

    column: str
    style: int
    zone: tzinfo
    report: WriteReport

    def cells(self, numbers: Sequence[int], values: Sequence[Any]) -> list[str]:
        """One text for each value, empty for NULL; `numbers` are the row numbers."""
        kinds = set(map(type, values)) - {type(None)}
        one = kinds.pop() if len(kinds) == 1 else None
        pairs = zip(numbers, values, strict=True)
        col = self.column
        if one is str and not _CARE.search("".join([v for v in values if v is not None])):
            head, longest = f'<c r="{col}', CHARS_MAX
            tail = f'" s="{TEXT}" t="inlineStr"><is><t xml:space="preserve">'
            return [
                "" if v is None else f"{head}{n}{tail}{v}</t></is></c>" if len(v) <= longest else self.text(n, v)
                for n, v in pairs
            ]
        if one is int:
            top = _INTEGER_MAX
            return [
                ""
                if v is None
                else f'<c r="{col}{n}" s="{INTEGER}"><v>{v}</v></c>'
                if -top < v < top
                else self.integer(n, v)
                for n, v in pairs
            ]
        table = self._by_type
        write = table.get(one, self.other) if one is not None else None
        if write is not None:
            return ["" if v is None else write(n, v) for n, v in pairs]
        return ["" if v is None else table.get(type(v), self.other)(n, v) for n, v in pairs]

    @property
    def _by_type(self) -> dict[type, Callable[[int, Any], str]]:
        return {
            str: self.text,
            bool: self.boolean,
            int: self.integer,
            float: self.real,
            Decimal: self.decimal,
            datetime: self.moment,
            date: self.day,
            time: self.time,
            bytes: self.binary,
        }

    def text(self, row: int, value: str, style: int = TEXT) -> str:
        safe = escape(value)
        if len(safe) > CHARS_MAX and len(value) > CHARS_MAX:
            self.report.cut += 1
            safe = escape(value[: CHARS_MAX - 1] + "…")
        return f'<c r="{self.column}{row}" s="{style}" t="inlineStr"><is><t xml:space="preserve">{safe}</t></is></c>'

    def boolean(self, row: int, value: bool) -> str:
        return f'<c r="{self.column}{row}" t="b"><v>{int(value)}</v></c>'

    def integer(self, row: int, value: int) -> str:
        if -_INTEGER_MAX < value < _INTEGER_MAX:
            return self._number(row, INTEGER, value)
        self.report.numbers_as_text += 1
        return self.text(row, str(value))

    def real(self, row: int, value: float) -> str:
        if not math.isfinite(value):
            self.report.not_a_number += 1
            return ""
        return self._number(row, PLAIN, repr(value))

    def decimal(self, row: int, value: Decimal) -> str:
        if not value.is_finite():
            self.report.not_a_number += 1
            return ""
        plain = format(value, "f")
        if len(plain) > _DIGITS_MAX and len(plain.lstrip("-0.").replace(".", "").rstrip("0")) > _DIGITS_MAX:
            self.report.numbers_as_text += 1
            return self.text(row, plain)
        return self._number(row, self.style, plain)

    def day(self, row: int, value: date) -> str:
        if value < _FIRST_DAY:
            self.report.dates_as_text += 1
            return self.text(row, value.isoformat())
        return self._number(row, DATE, value.toordinal() - _DAY_ZERO)

    def moment(self, row: int, value: datetime) -> str:
        if value.tzinfo is not None:
            value = value.astimezone(self.zone).replace(tzinfo=None)
        if value.date() < _FIRST_DAY:
            self.report.dates_as_text += 1
            return self.text(row, value.isoformat(sep=" "))
        part = (value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6) / 86400
        return self._number(row, MOMENT, repr(value.toordinal() - _DAY_ZERO + part))

    def time(self, row: int, value: time) -> str:
        part = (value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6) / 86400
        return self._number(row, TIME, repr(part))

    def binary(self, row: int, value: bytes) -> str:
        if len(value) * 4 // 3 + 4 > CHARS_MAX:
            self.report.cut += 1
            return self.text(row, f"[{len(value)} bytes]")
        return self.text(row, base64.b64encode(value).decode())

    def other(self, row: int, value: object) -> str:
        return self.text(row, msgspec.json.encode(value, enc_hook=str).decode())

    def _number(self, row: int, style: int, value: object) -> str:
        return f'<c r="{self.column}{row}" s="{style}"><v>{value}</v></c>'


def decimal_style(field: Heading) -> int:
    """The style of the decimals of `field`: as many places as its scale, or as each value has."""
    if field.kind is Kind.DECIMAL and field.scale is not None and 0 <= field.scale <= SCALE_MAX:
        return _FIRST_DECIMAL + field.scale
    return PLAIN


def styles_xml(language: str) -> str:
    """The styles part: dates as `language` writes them, decimals with their places, headings bold."""
    day = "dd/mm/yyyy" if language == "fr" else "yyyy-mm-dd"
    formats = [f"{day}", f"{day} hh:mm:ss", "hh:mm:ss"]
    formats += ["#,##0" + ("." + "0" * scale if scale else "") for scale in range(SCALE_MAX + 1)]
    customs = "".join(f'<numFmt numFmtId="{164 + at}" formatCode="{code}"/>' for at, code in enumerate(formats))
    body = "".join(_style(164 + at) for at in range(len(formats)))
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
        '<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
        f'<numFmts count="{len(formats)}">{customs}</numFmts>'
        '<fonts count="2"><font><sz val="11"/><name val="Calibri"/><family val="2"/></font>'
        '<font><b/><sz val="11"/><name val="Calibri"/><family val="2"/></font></fonts>'
        '<fills count="2"><fill><patternFill patternType="none"/></fill>'
        '<fill><patternFill patternType="gray125"/></fill></fills>'
        '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
        '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
        f'<cellXfs count="{4 + len(formats)}">{_style(0)}'
        '<xf numFmtId="49" fontId="1" fillId="0" borderId="0" xfId="0" applyNumberFormat="1" applyFont="1"/>'
        f"{_style(49)}{_style(1)}{body}</cellXfs>"
        '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles>'
        "</styleSheet>"
    )


def _style(number_format: int) -> str:
    apply = ' applyNumberFormat="1"' if number_format else ""
    return f'<xf numFmtId="{number_format}" fontId="0" fillId="0" borderId="0" xfId="0"{apply}/>'


def width(label: str, values: Iterable[object], zone: tzinfo = UTC) -> int:
    """How many characters wide a column should be, judged by its heading and some of its values."""
    longest = len(label) + 3  # room for the filter's arrow
    for value in values:
        if isinstance(value, datetime):
            size = 19
        elif isinstance(value, date):
            size = 10
        elif isinstance(value, (bytes, dict, list)):
            size = 30
        else:
            size = len(str(value).partition("\n")[0]) if value is not None else 0
            size += size // 3 if isinstance(value, Decimal) else 0
        longest = max(longest, size)
    return min(longest + 2, 60)
