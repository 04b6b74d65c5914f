"""One row: its fields, the rows that refer to it, what is pending on it, what has happened to it, its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import msgspec
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from brique.clock import unstamp
from brique.commands import CommandSpec, may
from brique.errors import NotFound
from brique.exports import parameter_of
from brique.http import Routes, at, language_of, no_such_page, respond, user_of
from brique.pages.age import age_of
from brique.pages.cells import Cells, labels_for, stands_right
from brique.pages.format import DASH, Formats
from brique.pages.frame import Frame
from brique.pages.images import image_type
from brique.pages.lists import count_text, default_columns, rows_html
from brique.pages.parts import Parts
from brique.pages.render import page
from brique.pages.speaking import formats_of
from brique.pages.standing import sign_of, stand
from brique.pages.story import STATES
from brique.schema import PENDING, Column, Kind, Reference, Row, TableSpec, Value
from brique.views import Copy, Filter, ListQuery, LoggedChange, StoredCommand, StoredRow, View, label_of, sortable

RELATED_TABLES_MAX = 12
RELATED_ROWS_MAX = 5
RELATED_COLUMNS_MAX = 5
HISTORY_MAX = 8
_IMAGE_BYTES_MAX = 5_000_000
_JSON_CHARS_MAX = 20_000
_WIDE_CHARS = 60


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


def routes(parts: Parts) -> Routes:
    """The pages of rows, and the files in them."""
    rows = RowPages(parts)
    table = Routes()
    table.get("/tables/{table}/{key}/{column}.bin", rows.file, name="file")
    table.get("/tables/{table}/{key}", rows.show, name="row")
    return table


@dataclass(frozen=True)
class Shown:
    """A field: `html` is empty for none; `image` is the address of a picture."""

    label: str
    html: Markup
    help: str = ""
    image: str = ""
    is_wide: bool = False


@dataclass(frozen=True)
class Related:
    """Rows of another table that refer to this one. `rows` are the first `<tr>`s; `new` the address of a form for one
    more, "" when the reader may not make one."""

    label: str
    count: str
    href: str
    heads: Sequence[tuple[str, bool]]
    rows: Markup
    is_empty: bool
    new: str


@dataclass(frozen=True)
class Pending:
    """A command that is laid over the row, or marks it."""

    href: str
    state: str
    kind: str
    user: str
    at: datetime
    reason: str


@dataclass(frozen=True)
class Past:
    """One change of the row: who made it, and (label, before, after) for each field."""

    at: datetime | None
    who: str
    what: str
    fields: Sequence[tuple[str, str, str]]


class RowPages:
    """The handlers of rows."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def spec(self, request: Request) -> TableSpec:
        spec = self.parts.specs.get(request.path_params["table"])
        if spec is None:
            raise no_such_page()
        return spec

    def show(self, request: Request) -> Response:
        spec, key = self.spec(request), request.path_params["key"]
        formats = formats_of(language_of(request, self.parts.languages), self.parts.timezone.key)
        with self.parts.borrow() as copy, copy.snapshot():
            row = copy.row(spec.name, key)
            if row is not None and row.key != key and key.startswith(PENDING):
                return RedirectResponse(at(request.scope, f"/tables/{spec.name}/{row.key}"), status_code=303)
            commands = copy.commands_on(spec.name, key)
            if row is None and not commands:
                raise _no_such_row(spec, key)
            context = _RowPage(self.parts, request, spec, copy, formats, key).context(row, commands)
            sign = "" if commands else sign_of(request, copy)
        return stand(self.parts, request, page(self.parts, request, "row.html", context), sign, context["age"])

    def file(self, request: Request) -> Response:
        """The bytes of one value, to be kept as a file; pictures that browsers draw safely also to be looked at."""
        spec, key = self.spec(request), request.path_params["key"]
        column = spec.by_name.get(request.path_params["column"])
        if column is None:
            raise no_such_page()
        with self.parts.borrow() as copy:
            row = copy.row(spec.name, key)
        value = None if row is None else row.values[column.name]
        if not isinstance(value, bytes):
            raise NotFound(_("There is no file here."), table=spec.name, key=key)
        found = image_type(value)
        media_type, suffix = found or ("application/octet-stream", "bin")
        inline = found is not None and request.query_params.get("show") == "1"
        filename = f"{_filename(spec, key, column)}.{suffix}"
        headers = {
            "Content-Disposition": f'{"inline" if inline else "attachment"}; filename="{filename}"',
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        return respond(request, value, media_type, headers=headers)


def _filename(spec: TableSpec, key: str, column: Column) -> str:
    plain = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in key)[:60]
    return f"{spec.name}-{plain}-{column.name}"


def _no_such_row(spec: TableSpec, key: str) -> NotFound:
    return NotFound(
        _("There is no such row in {table}."),
        try_this=_("It may have been deleted in the backend. Look for it in the list."),
        table=spec.label,
        key=key,
    )


class _RowPage:
    """One row on its way to a page."""

    def __init__(self, parts: Parts, request: Request, spec: TableSpec, copy: Copy, formats: Formats, key: str) -> None:
        self.parts, self.request, self.spec, self.copy, self.formats, self.key = (
            parts,
            request,
            spec,
            copy,
            formats,
            key,
        )
        self.user = user_of(request)
        self.backends = copy.backend_states()

    def at(self, path: str) -> str:
        return at(self.request.scope, path)

    def context(self, row: StoredRow | None, commands: Sequence[StoredCommand]) -> dict[str, Any]:
        spec = self.spec
        is_gone = row is None
        if row is None:
            base = self.copy.base(spec.name, self.key) or {}
            row = StoredRow(self.key, 0, 1, dict.fromkeys(spec.names) | base)
        related = [] if is_gone else self._related(row)
        state = self.copy.table_state(spec.name)
        return Frame(self.parts).context(
            self.request,
            title=title_of(self.copy, spec, row, self.formats),
            current=f"table:{spec.name}",
            tables=[spec.name, *(reference_spec.name for reference_spec, _reference in self._referring())],
            copy=self.copy,
            spec=spec,
            key=self.key,
            row=row,
            is_gone=is_gone,
            back=self.at(f"/tables/{spec.name}"),
            age=age_of(self.parts, self.backends, spec, state.confirmed_at),
            fields=self._fields(row),
            related=[item for item in related if not item.is_empty],
            unrelated=[item for item in related if item.is_empty],
            pending=[self._pending(command) for command in commands],
            history=self._history(),
            place=self.at(f"/tables/{spec.name}/{self.key}"),
            can_write=spec.writable and may(self.user, "write") and not is_gone,
            commands=[] if is_gone else self._commands(),
            views=[] if is_gone else self._views(),
        )

    # fields

    def _fields(self, row: StoredRow) -> list[Shown]:
        columns = self.spec.columns
        labels = labels_for(self.copy, self.spec, columns, [row])
        cells = Cells(self.spec, self.formats, self.at, labels, specs=self.parts.specs, long=True)
        return [self._field(cells, column, row.values[column.name]) for column in columns]

    def _field(self, cells: Cells, column: Column, value: Value) -> Shown:
        if value is None:
            return Shown(column.label, Markup(), column.help)
        if isinstance(value, bytes):
            return self._bytes(column, value)
        if column.kind is Kind.JSON and column.fits(value):
            return Shown(column.label, _json(str(value)), column.help, is_wide=True)
        html = cells.write(column)(value)
        if column.kind is Kind.TEXT and isinstance(value, str) and column.name not in self.spec.reference_of:
            html = _address(value) or html
            return Shown(column.label, html, column.help, is_wide=len(value) > _WIDE_CHARS or "\n" in value)
        return Shown(column.label, html, column.help)

    def _bytes(self, column: Column, value: bytes) -> Shown:
        href = self.at(f"/tables/{self.spec.name}/{self.key}/{column.name}.bin")
        html = Markup('<a href="{}" download>{} {}</a>').format(
            href, self.formats.t(_("Download")), self.formats.size(len(value))
        )
        is_image = len(value) <= _IMAGE_BYTES_MAX and image_type(value) is not None
        return Shown(column.label, html, column.help, f"{href}?show=1" if is_image else "")

    # rows that refer to it

    def _referring(self) -> list[tuple[TableSpec, Reference]]:
        found = [
            (spec, reference)
            for spec in self.parts.specs.values()
            for reference in spec.references
            if reference.table == self.spec.name
        ]
        return found[:RELATED_TABLES_MAX]

    def _related(self, row: StoredRow) -> list[Related]:
        found = []
        for spec, reference in self._referring():
            values: list[Value] = [row.values.get(name) for name in reference.target_columns]
            if row.key.startswith(PENDING) and tuple(reference.target_columns) == self.spec.key and len(values) == 1:
                values = [row.key]  # what refers to a row without a number bears its temporary key
            if None in values or not self.copy.table_state(spec.name).loaded:
                continue
            found.append(self._related_rows(spec, reference, values))
        return found

    def _related_rows(self, spec: TableSpec, reference: Reference, values: Sequence[Value]) -> Related:
        wanted = list(zip(reference.columns, values, strict=True))
        filters = tuple(Filter(name, "eq", value) for name, value in wanted)
        newest = [(name, True) for name in spec.key[-1:] if sortable(spec.by_name[name])]
        query = ListQuery(filters=filters, limit=RELATED_ROWS_MAX, sort=tuple(newest))
        found = self.copy.browse(spec.name, query)
        names = [name for name in default_columns(spec) if name not in reference.columns][:RELATED_COLUMNS_MAX]
        columns = [spec.by_name[name] for name in names or spec.names[:1]]
        several = sum(other.table == self.spec.name for other in spec.references) > 1
        label = spec.label
        if several:
            label = f"{spec.label} ({spec.by_name[reference.columns[0]].label})"
        question = urlencode([(parameter_of(name), spec.by_name[name].json(value)) for name, value in wanted])
        filled = urlencode([(name, spec.by_name[name].json(value)) for name, value in wanted])
        may_add = spec.writable and self.user.may("write")
        return Related(
            label,
            count_text(self.formats, found.count, exact=found.count_exact),
            self.at(f"/tables/{spec.name}?{question}"),
            [(column.label, stands_right(spec, column)) for column in columns],
            rows_html(self.parts, self.copy, spec, columns, found.rows, self.formats, self.at),
            not found.rows,
            self.at(f"/tables/{spec.name}/new?{filled}") if may_add else "",
        )

    # what was done to it

    def _pending(self, item: StoredCommand) -> Pending:
        word, kind = STATES[item.state]
        command = item.command
        return Pending(
            self.at(f"/outbox/{command.id}"),
            self.formats.t(word),
            kind,
            command.user,
            unstamp(command.at),
            self.formats.retell(item.reason) if item.reason else "",
        )

    def _history(self) -> list[Past]:
        return [self._past(change) for change in self.copy.history(self.spec.name, self.key, HISTORY_MAX)]

    def _past(self, change: LoggedChange) -> Past:
        t = self.formats.t
        command = self.copy.command(change.origin) if change.origin else None
        backend = self.parts.backends[self.spec.backend]
        who = command.command.user if command is not None else backend.label or backend.name
        what = t(_("made")) if change.before is None else t(_("deleted")) if change.after is None else ""
        fields = []
        if change.before is not None and change.after is not None:
            fields = self._differences(change.before, change.after, change.columns)
            if not fields:
                what = t(_("confirmed")) if change.pending_after < change.pending_before else t(_("marked"))
        return Past(change.at, who, what, fields)

    def _differences(self, before: Row, after: Row, names: frozenset[str]) -> list[tuple[str, str, str]]:
        cells = Cells(self.spec, self.formats, self.at)
        columns = [column for column in self.spec.columns if column.name in names]

        def text(column: Column, values: Mapping[str, Value]) -> str:
            return cells.text(column, values.get(column.name))[:120] or DASH

        return [(column.label, text(column, before), text(column, after)) for column in columns]

    # what can be done with it

    def _commands(self) -> list[tuple[CommandSpec, str]]:
        offered = [spec for spec in self.parts.commands.values() if spec.on == self.spec.name]
        question = urlencode({"row": self.key})
        return [(spec, self.at(f"/commands/{spec.name}?{question}")) for spec in offered if may(self.user, spec.role)]

    def _views(self) -> list[tuple[View, str]]:
        """The views about a row of this table."""
        found = []
        for view in self.parts.views.by_name.values():
            about = [parameter for parameter in view.parameters if parameter.table == self.spec.name]
            needed = [parameter for parameter in view.parameters if parameter.required]
            if len(about) == 1 and needed in ([], about) and may(self.user, view.role):
                name = about[0].name
                path = view.path.replace("{" + name + "}", self.key)
                query = "" if about[0].in_path else "?" + urlencode({name: self.key})
                found.append((view, self.at(path + query)))
        return found


def title_of(copy: Copy, spec: TableSpec, row: StoredRow, formats: Formats) -> str:
    """How a row is called on its page: where only other rows name it, by their labels."""
    label = label_of(spec, row)
    if label == row.key and row.key.startswith(PENDING):
        return formats.t(_("New row"))
    names = spec.label_columns or spec.key
    if not names or any(name not in spec.reference_of for name in names):
        return label
    labels = labels_for(copy, spec, [spec.by_name[name] for name in names], [row])
    return " · ".join(str(labels.get(name, {}).get(row.values[name]) or row.values[name]) for name in names)


def _json(text: str) -> Markup:
    pretty = msgspec.json.format(text[:_JSON_CHARS_MAX], indent=2) if len(text) <= _JSON_CHARS_MAX else text
    return Markup("<pre>{}</pre>").format(pretty[: _JSON_CHARS_MAX * 2])


def _address(text: str) -> Markup | None:
    """A text that is a web or mail address, as a link."""
    if len(text) > 500 or any(letter.isspace() for letter in text):
        return None
    if text.startswith(("https://", "http://")):
        return Markup('<a href="{}" rel="noopener noreferrer" target="_blank">{}</a>').format(text, text)
    name, sign, host = text.partition("@")
    if sign and name and "." in host and "@" not in host and all(c.isalnum() or c in ".-_+" for c in name + host):
        return Markup('<a href="mailto:{}">{}</a>').format(text, text)
    return None
