"""Store values as HTML, in the reader's language: for cells of a list, fields of a row, filters in force.

Each column gets one function, made once for a page, so that a thousand cells cost a thousand calls and no decisions.
All of them are total: a value that does not fit its column is shown as it is, marked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from urllib.parse import urlencode

from markupsafe import Markup, escape

from brique.exports import parameter_of
from brique.pages.format import Formats
from brique.schema import Column, Kind, Reference, TableSpec, Value, join_key
from brique.views import Copy, StoredRow

LIST_CHARS_MAX = 160
"""Longer text is cut in a list; the whole of it is on the row's page."""
_TITLE_CHARS = 40
_TITLE_CHARS_MAX = 500
_REAL_DIGITS = 12
_EMPTY = Markup()

Write = Callable[[Value], Markup]
"""A store value (never None) as HTML."""
Labels = Mapping[str, Mapping[Value, str]]
"""For each column that refers to another table: labels by the value that refers."""


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


def is_plain_number(spec: TableSpec, column: Column) -> bool:
    """Whether a number stands for something rather than counts: keys and references have no separators."""
    return column.name in spec.key or column.name in spec.reference_of


def stands_right(spec: TableSpec, column: Column) -> bool:
    """Whether values of `column` stand on the right: numbers that count."""
    return column.kind.numeric and not is_plain_number(spec, column)


class Cells:
    """How values of `spec` are written. `at` maps a path to an address; `labels` are of the rows referred to."""

    def __init__(
        self,
        spec: TableSpec,
        formats: Formats,
        at: Callable[[str], str],
        labels: Labels | None = None,
        *,
        specs: Mapping[str, TableSpec] | None = None,
        long: bool = False,
    ) -> None:
        self.spec, self.formats, self.at = spec, formats, at
        self.labels = labels or {}
        self.specs = specs or {}
        self.long = long

    def write(self, column: Column) -> Write:
        """What writes a value of `column`, a link to the row that it refers to included."""
        reference = self.spec.reference_of.get(column.name)
        if reference is not None and reference.table in self.specs:
            return partial(self._reference, reference, self.labels.get(column.name, {}), self.plain(column))
        return self.plain(column)

    def unlinked(self, column: Column) -> Write:
        """What writes a value of `column` where the link leads elsewhere: a reference by its label alone."""
        plain, labels = self.plain(column), self.labels.get(column.name)
        if not labels:
            return plain
        return lambda value: escape(_cut(labels[value], self.long)) if value in labels else plain(value)

    def plain(self, column: Column) -> Write:
        """What writes a value of `column` by its kind alone, without link."""
        by_kind: dict[Kind, Write] = {
            Kind.TEXT: self._pill if column.choices else self._text,
            Kind.INTEGER: self._integer(column),
            Kind.DECIMAL: self._decimal(column),
            Kind.REAL: self._real,
            Kind.BOOLEAN: self._boolean,
            Kind.DATE: self._date,
            Kind.DATETIME: self._moment,
            Kind.TIME: self._time,
            Kind.BINARY: self._size,
            Kind.JSON: self._text,
        }
        write = by_kind.get(column.kind)
        return partial(self._any, column) if write is None else partial(self._checked, column, write)

    def text(self, column: Column, value: Value) -> str:
        """A value as plain text, as a chip or a title says it."""
        return "" if value is None else str(self.plain(column)(value).striptags())

    # by kind

    def _checked(self, column: Column, write: Write, value: Value) -> Markup:
        if _QUICK.get(column.kind) is type(value) or column.fits(value):
            return write(value)
        sentence = self.formats.t(_("This value does not fit its column; it is shown as the backend has it."))
        text = self.formats.size(len(value)) if isinstance(value, bytes) else str(value)
        return Markup('<span class="odd" title="{}">{}</span>').format(sentence, _cut(text, self.long))

    def _text(self, value: Value) -> Markup:
        text = str(value)
        if self.long:
            return escape(text)
        if len(text) <= _TITLE_CHARS:
            return escape(text)
        return Markup('<span title="{}">{}</span>').format(text[:_TITLE_CHARS_MAX], _cut(text, False))

    def _pill(self, value: Value) -> Markup:
        return Markup('<span class="pill">%s</span>') % _cut(str(value), False)

    def _integer(self, column: Column) -> Write:
        if is_plain_number(self.spec, column):
            return escape
        number = self.formats.number
        return lambda value: escape(number(value))

    def _decimal(self, column: Column) -> Write:
        if column.scale is not None:
            scaled, scale = self.formats.scaled, column.scale
            if scale == 0 and is_plain_number(self.spec, column):
                return escape
            return lambda value: escape(scaled(value, scale))
        number, python = self.formats.number, column.python
        return lambda value: escape(number(python(value)))

    def _real(self, value: Value) -> Markup:
        number = float(f"{value:.{_REAL_DIGITS}g}") if isinstance(value, float) else value
        return escape(self.formats.number(number))

    def _boolean(self, value: Value) -> Markup:
        return Markup('<span class="pill %s">%s</span>') % ("ok" if value else "", self.formats.bool(bool(value)))

    def _date(self, value: Value) -> Markup:
        return escape(self.formats.date(value))

    def _moment(self, value: Value) -> Markup:
        moment = datetime.fromisoformat(str(value))
        if not self.long:
            return escape(self.formats.datetime(moment))
        return escape(self.formats.datetime(moment, seconds=bool(moment.second or moment.microsecond)))

    def _time(self, value: Value) -> Markup:
        return escape(self.formats.time(value, seconds=self.long))

    def _size(self, value: Value) -> Markup:
        count = len(value) if isinstance(value, bytes) else 0
        return Markup('<span class="hush">%s</span>') % self.formats.size(count)

    def _any(self, column: Column, value: Value) -> Markup:
        if isinstance(value, bytes):
            return self._size(value)
        if isinstance(value, str) or is_plain_number(self.spec, column):
            return self._text(value)
        return escape(self.formats.number(value))

    # references

    def _reference(self, reference: Reference, labels: Mapping[Value, str], plain: Write, value: Value) -> Markup:
        label = labels.get(value)
        if label is None:
            sentence = self.formats.t(_("There is no such row in {table}."), table=self.specs[reference.table].label)
            return Markup('<span class="hush" title="{}">{}</span>').format(sentence, plain(value))
        return Markup('<a href="{}">{}</a>').format(self.target(reference, value), _cut(label or str(value), self.long))

    def target(self, reference: Reference, value: Value) -> str:
        """The address of the row that `value` refers to."""
        spec = self.specs[reference.table]
        if spec.key == reference.target_columns:
            return self.at(f"/tables/{spec.name}/{join_key((value,))}")
        target = spec.by_name[reference.target_columns[0]]
        question = urlencode({parameter_of(target.name): target.json(value)})
        return self.at(f"/tables/{spec.name}?{question}")


_QUICK: dict[Kind, type] = {Kind.TEXT: str, Kind.INTEGER: int, Kind.BINARY: bytes}
"""Kinds for which the type alone says that a value fits."""


def _cut(text: str, long: bool) -> str:
    if long:
        return text
    text = " ".join(text[: LIST_CHARS_MAX * 2].split())
    return text if len(text) <= LIST_CHARS_MAX else f"{text[:LIST_CHARS_MAX]}…"


def labels_for(copy: Copy, spec: TableSpec, columns: Sequence[Column], rows: Sequence[StoredRow]) -> Labels:
    """The labels that a list needs, in one query for each column that refers to another table."""
    found: dict[str, Mapping[Value, str]] = {}
    for column in columns:
        reference = spec.reference_of.get(column.name)
        if reference is not None and reference.table in copy.specs:
            found[column.name] = copy.labels_of(reference, [row.values[column.name] for row in rows])
    return found
