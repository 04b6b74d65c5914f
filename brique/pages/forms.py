"""Fields of a form, made from a table or a command; and what people typed in them, as store values.

The same field both ways: `Sheet.shown` writes the text that a field holds, `Sheet.read` reads what came back. Text that
came back as it was shown means the value that was shown, whatever it is: a row that holds a date in a number column can
be saved without a word about it. Nothing here keeps or sends anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from brique.exports import typed as typed_plainly
from brique.pages import parse
from brique.pages.asks import BY_SYSTEM, Ask, is_aware, kind_of
from brique.pages.format import Formats
from brique.pages.references import References
from brique.pages.seen import Seen, plain
from brique.schema import Kind, Row, Value, label

_EDITABLE_CHARS_MAX = 200_000


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


@dataclass(frozen=True)
class Field:
    """One field as the template `parts/fields.html` draws it. `value` is text as typed; `size` of a file, or None."""

    name: str
    label: str
    kind: str = "text"
    value: str = ""
    error: str = ""
    hint: str = ""
    required: bool = False
    readonly: bool = False
    options: tuple[tuple[str, str], ...] = ()
    lookup_url: str = ""
    value_label: str = ""
    length_max: int | None = None
    placeholder: str = ""
    size: int | None = None
    autofocus: bool = False
    removable: bool = False


@dataclass
class Typed:
    """What came back from a form: the text of each field, the values that it changes, and what is wrong with it."""

    texts: dict[str, str] = field(default_factory=dict)
    values: Row = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


Given = Mapping[str, str | bytes]
"""The fields as sent: text, or the content of a file; what was not sent is missing."""


class Sheet:
    """A form in one language. `references` answers for the rows that it names."""

    def __init__(
        self, asks: Sequence[Ask], formats: Formats, references: References, *, cell_bytes_max: int = 4 * 1024 * 1024
    ) -> None:
        self.asks = tuple(asks)
        self.formats = formats
        self.references = references
        self.cell_bytes_max = cell_bytes_max
        self.t: Callable[..., str] = formats.t

    # showing

    def texts_of(self, values: Row) -> dict[str, str]:
        """The text of each field for these store values."""
        return {ask.name: self.shown(ask, values.get(ask.name)) for ask in self.asks}

    def shown(self, ask: Ask, value: Value) -> str:
        """`value` as its field shows it; `read` takes it back."""
        column, f = ask.column, self.formats
        if value is None or isinstance(value, bytes):
            return ""
        if ask.table or not column.fits(value):
            return str(value)
        python = column.python(value)
        match column.kind:
            case Kind.TEXT:
                return str(value)
            case Kind.ANY:
                return str(value)
            case Kind.BOOLEAN:
                return "1" if value else "0"
            case Kind.INTEGER if ask.is_key or -10_000 < python < 10_000:
                return str(value)
            case Kind.JSON:
                return json.dumps(python, ensure_ascii=False, indent=2)
        return f.typed(python)

    def fields(
        self,
        texts: Mapping[str, str],
        *,
        faults: Mapping[str, str] | None = None,
        values: Row | None = None,
        lookup: Callable[[str], str] = lambda table: f"/lookup/{table}",
        focus: str = "",
    ) -> list[Field]:
        """The fields with these texts. `values`: the row as it is, for files and for what cannot be typed here.

        `faults` by name are shown in the language of the form; the first faulty field is focused, else that called
        `focus`, else the first one.
        """
        faults = faults or {}
        values = values or {}
        labels = self.references.labels(
            [(ask.table, texts.get(ask.name, ""), ask.column) for ask in self.asks if ask.table and texts.get(ask.name)]
        )
        made = [self._field(ask, texts.get(ask.name, ""), faults, values, lookup, labels) for ask in self.asks]
        wanted = next((f for f in made if f.error and not f.readonly), None)
        wanted = wanted or next((f for f in made if f.name == focus), None)
        wanted = wanted or next((f for f in made if not f.readonly and f.kind != "file"), None)
        return [_focused(f) if f is wanted else f for f in made]

    def _field(
        self,
        ask: Ask,
        text: str,
        faults: Mapping[str, str],
        values: Row,
        lookup: Callable[[str], str],
        labels: Mapping[tuple[str, str], str],
    ) -> Field:
        column, value = ask.column, values.get(ask.name)
        kind = kind_of(ask, text, value)
        beyond = self._is_beyond(ask, value)
        readonly = bool(ask.fixed) or beyond
        by_system = ask.new and not text and (column.defaulted or ask.fixed == BY_SYSTEM)
        return Field(
            name=f"shown.{ask.name}" if beyond else ask.name,
            label=column.label or label(ask.name),
            kind="text" if readonly and kind == "file" else kind,
            value=self._glimpse(value) if readonly and (beyond or isinstance(value, bytes)) else text,
            error=self.t(faults[ask.name]) if ask.name in faults else "",
            hint=column.help,
            required=ask.required,
            readonly=readonly,
            options=self._options(ask, text) if kind == "choice" else (),
            lookup_url=lookup(ask.table) if ask.table else "",
            value_label=labels.get((ask.table, text), "") if ask.table else "",
            length_max=column.length_max if column.kind is Kind.TEXT and not column.choices else None,
            placeholder=self.t(_("given by the system")) if by_system else "",
            size=len(value) if isinstance(value, bytes) else None,
            removable=isinstance(value, bytes) and column.nullable,
        )

    def _is_beyond(self, ask: Ask, value: Value) -> bool:
        """Whether the value is none that its field can hold: bytes outside a file column, text in one, a novel."""
        if ask.column.kind is Kind.BINARY:
            return not (value is None or isinstance(value, bytes))
        if isinstance(value, bytes):
            return True
        return isinstance(value, str) and len(value) > _EDITABLE_CHARS_MAX

    def _glimpse(self, value: Value) -> str:
        """As much as a field can show of what cannot be typed in it."""
        return f"{value[:200]}…" if isinstance(value, str) else self.formats.text(value)

    def _options(self, ask: Ask, text: str) -> tuple[tuple[str, str], ...]:
        column = ask.column
        if column.kind is Kind.BOOLEAN:
            choices = [("1", self.formats.bool(True)), ("0", self.formats.bool(False))]
        else:
            choices = [(choice, choice) for choice in column.choices]
        if text and text not in dict(choices):
            choices.insert(0, (text, text))
        may_be_empty = column.nullable or (column.defaulted and ask.new) or not text
        empty = self.t(_("given by the system")) if column.defaulted and ask.new else "—" if column.nullable else ""
        return (("", empty), *choices) if may_be_empty else tuple(choices)

    # reading

    def read(self, given: Given, seen: Seen | None = None, *, drop: frozenset[str] = frozenset()) -> Typed:
        """What came back. `seen` is what the form showed; `drop` names fields to leave as they are.

        `values` holds what the author gives: all of a new row, of an old one only what differs from `seen`.
        """
        typed = Typed()
        for ask in self.asks:
            sent = given.get(ask.name)
            text = sent if isinstance(sent, str) else ""
            typed.texts[ask.name] = plain(text)
            if ask.fixed or ask.name in drop or self._is_unchanged(ask, given, seen):
                continue
            try:
                self._read_one(ask, given, seen, typed)
            except ValueError as fault:
                typed.faults[ask.name] = str(fault)
        return typed

    def _is_unchanged(self, ask: Ask, given: Given, seen: Seen | None) -> bool:
        if kind_of(ask, "", seen.get(ask.name) if seen else None) == "file":
            return not given.get(ask.name) and f"remove.{ask.name}" not in given
        if seen is None or ask.name not in seen:
            return False
        if ask.name not in given and kind_of(ask, "", seen.get(ask.name)) != "check":
            return True  # a field that was only shown
        sent = given.get(ask.name, "")
        text = plain(sent) if isinstance(sent, str) else ""
        if seen.is_digest(ask.name):
            return seen.agrees(ask.name, text)
        if kind_of(ask, "", seen.get(ask.name)) == "check":
            return bool(text) == bool(seen.get(ask.name))
        return text == plain(self.shown(ask, seen.get(ask.name)))

    def _read_one(self, ask: Ask, given: Given, seen: Seen | None, typed: Typed) -> None:
        """Put one value into `typed.values`. Raises ValueError with a sentence."""
        column, sent = ask.column, given.get(ask.name, "")
        if isinstance(sent, bytes) or column.kind is Kind.BINARY:
            self._read_file(ask, sent, given, typed)
            return
        if kind_of(ask, "", seen.get(ask.name) if seen else None) == "check":
            typed.values[ask.name] = column.store(bool(sent) and parse.parse_bool(sent, self.formats.language))
            return
        text = plain(sent)
        if not text.strip():
            self._read_empty(ask, seen, typed)
            return
        value = self._value(ask, text, seen.get(ask.name) if seen else None)
        if value is None and ask.required:
            raise ValueError(_("Is required."))
        typed.values[ask.name] = value

    def _read_empty(self, ask: Ask, seen: Seen | None, typed: Typed) -> None:
        """An empty field: nothing, or the backend's own default, or an empty text where nothing is not allowed."""
        column = ask.column
        if ask.new and column.defaulted:
            return
        if column.nullable:
            if not ask.new or ask.by_key:
                typed.values[ask.name] = None
        elif seen is not None and column.kind is Kind.TEXT and not column.choices and column.defaulted:
            typed.values[ask.name] = ""
        else:
            raise ValueError(_("Is required."))

    def _read_file(self, ask: Ask, sent: str | bytes, given: Given, typed: Typed) -> None:
        if not isinstance(sent, bytes) or not sent:
            if f"remove.{ask.name}" in given and ask.column.nullable:
                typed.values[ask.name] = None
            elif ask.required and ask.new:
                raise ValueError(_("Is required."))
            return
        if len(sent) > self.cell_bytes_max:
            raise ValueError(self.t(_("Is too large: {size} at most."), size=self.formats.size(self.cell_bytes_max)))
        typed.values[ask.name] = ask.column.store(sent)

    def _value(self, ask: Ask, text: str, seen: Value) -> Value:
        """`text`, which is not empty, as a store value. Raises ValueError with a sentence."""
        column, language = ask.column, self.formats.language
        if ask.table:
            return self.references.value(ask.table, column, text, by_key=ask.by_key)
        if len(text.encode()) > self.cell_bytes_max:
            raise ValueError(self.t(_("Is too large: {size} at most."), size=self.formats.size(self.cell_bytes_max)))
        match column.kind:
            case Kind.TEXT:
                return self._text(ask, text, seen)
            case Kind.INTEGER | Kind.DECIMAL:
                return column.store(parse.parse_number(text, language))
            case Kind.REAL:
                return column.store(float(parse.parse_number(text, language)))
            case Kind.BOOLEAN:
                return column.store(parse.parse_bool(text, language))
            case Kind.DATE:
                return column.store(parse.parse_date(text, language))
            case Kind.TIME:
                return column.store(parse.parse_time(text, language))
            case Kind.DATETIME:
                zone = self.formats.zone if is_aware(column, seen) else None
                return column.store(parse.parse_datetime(text, language, zone))
            case Kind.JSON:
                return column.store(self._json(text))
        return typed_plainly(column, text)

    def _text(self, ask: Ask, text: str, seen: Value) -> Value:
        """Text without the blanks around it; lines end as they did before."""
        column = ask.column
        if "\n" in text:
            text = text.rstrip()
            if isinstance(seen, str) and "\r\n" in seen:
                text = text.replace("\n", "\r\n")
        else:
            text = text.strip()
        if column.length_max and len(text) > column.length_max:
            raise ValueError(
                self.t(_("Must have at most {most} characters; it has {n}."), most=column.length_max, n=len(text))
            )
        if column.choices and text not in column.choices:
            raise ValueError(self.t(_("Must be one of: {choices}."), choices=", ".join(column.choices)))
        return column.store(text)

    def _json(self, text: str) -> Any:
        def refuse(word: str) -> Any:
            raise ValueError(self.t(_("JSON has no {word}."), word=word))

        try:
            return json.loads(text, parse_constant=refuse)
        except json.JSONDecodeError as fault:
            sentence = _("This is not JSON: look at line {line}, character {column}.")
            raise ValueError(self.t(sentence, line=fault.lineno, column=fault.colno)) from fault
        except RecursionError as fault:
            raise ValueError(_("Is nested too deeply.")) from fault


def _focused(made: Field) -> Field:
    return Field(**{**vars(made), "autofocus": True})
