"""The list of a table: searched, filtered, sorted, paged by key, from one state of the copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from brique.commands import may
from brique.errors import BadInput, NotFound
from brique.exports import SUFFIXES, Downloads, Listing, ListLimits
from brique.http import Routes, User, at, language_of, no_such_page, user_of
from brique.pages.age import Age, age_of
from brique.pages.asking import LAST, Asked, canonical, understand
from brique.pages.cells import Cells, labels_for, stands_right
from brique.pages.filters import Controls, conditions_of, controls
from brique.pages.format import Formats
from brique.pages.frame import Frame, is_partial
from brique.pages.loading import progress_of
from brique.pages.marks import mark
from brique.pages.parts import Parts
from brique.pages.render import page
from brique.pages.speaking import formats_of
from brique.pages.standing import sign_of, stand
from brique.pages.totals import total_of
from brique.schema import Column, Kind, TableSpec
from brique.views import Copy, ListPage, StoredRow, TableState, search_columns, sortable

COLUMNS_DEFAULT_MAX = 8
_PLACEHOLDER_CHARS = 20


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


def routes(parts: Parts) -> Routes:
    """The lists and their exports."""
    lists = Lists(parts)
    table = Routes()
    table.get("/tables", lists.tables, name="tables")
    for suffix in SUFFIXES:
        table.get(f"/tables/{{table}}.{suffix}", lists.exporting(suffix), name=f"table-{suffix}")
    table.get("/tables/{table}", lists.show, name="table")
    return table


def default_columns(spec: TableSpec) -> tuple[str, ...]:
    """The columns of a list when nobody has chosen any."""
    if spec.list_columns:
        return spec.list_columns
    plain = [column.name for column in spec.columns if column.kind not in (Kind.BINARY, Kind.JSON)]
    return tuple(plain[:COLUMNS_DEFAULT_MAX]) or spec.names[:COLUMNS_DEFAULT_MAX]


def link_column(spec: TableSpec, columns: Sequence[Column]) -> str:
    """The column that carries the link to the row: of the key or label, rather one that leads nowhere else."""
    names = [column.name for column in columns]
    own = [name for name in names if name not in spec.reference_of]
    for offered, wanted in ((own, spec.key), (own, spec.label_columns), (names, spec.key), (own, own)):
        for name in offered:
            if name in wanted:
                return name
    return names[0]


class Lists:
    """The handlers of lists."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.limits = ListLimits.of(parts.settings)
        self.downloads = Downloads(parts.borrow, parts.clock, parts.settings)

    def spec(self, request: Request) -> TableSpec:
        spec = self.parts.specs.get(request.path_params["table"])
        if spec is None:
            raise no_such_page()
        return spec

    def show(self, request: Request) -> Response:
        spec = self.spec(request)
        language = language_of(request, self.parts.languages)
        given = request.query_params.multi_items()
        asked = understand(spec, given, self.limits, language, self.parts.timezone)
        here = at(request.scope, f"/tables/{spec.name}")
        if not asked.is_canonical and not is_partial(request):
            return RedirectResponse(f"{here}?{asked.query_string}" if asked.pairs else here, status_code=303)
        with self.parts.borrow() as copy, copy.snapshot():
            state = copy.table_state(spec.name)
            shown = _List(self.parts, request, spec, copy, state, asked, formats_of(language, self.parts.timezone.key))
            if not state.loaded:
                return shown.loading()
            response = shown.answer()
            sign = sign_of(request, copy)
            stand(self.parts, request, response, sign, shown.age)
        if is_partial(request) and "hx-target" in request.headers:
            response.headers["HX-Push-Url"] = f"{here}?{asked.query_string}" if asked.pairs else here
        return response

    def exporting(self, suffix: str) -> Callable[[Request], Response]:
        """The handler of one format."""

        def export(request: Request) -> Response:
            spec, user = self.spec(request), user_of(request)
            language = language_of(request, self.parts.languages)
            pairs = canonical(spec, request.query_params.multi_items(), language, self.parts.timezone)
            return self.downloads.of_table(
                spec,
                [pair for pair in pairs if pair[0] != LAST],
                suffix,
                language=language,
                zone=self.parts.timezone,
                user=user.name,
            )

        return export

    def tables(self, request: Request) -> Response:
        """All tables, with their rows and ages."""
        formats = formats_of(language_of(request, self.parts.languages), self.parts.timezone.key)
        with self.parts.borrow() as copy, copy.snapshot():
            context = Frame(self.parts).context(
                request, title=formats.t(_("All tables")), current="tables", tables=self.parts.specs, copy=copy
            )
            context["groups"] = table_groups(self.parts, copy)
        return page(self.parts, request, "tables.html", context)


@dataclass(frozen=True)
class TableFacts:
    """A table as a list of tables shows it."""

    spec: TableSpec
    state: TableState | None
    age: Age


def table_groups(parts: Parts, copy: Copy) -> list[tuple[str, list[TableFacts]]]:
    """(label of the backend, its tables) for each backend that has any."""
    backends = copy.backend_states()
    groups: list[tuple[str, list[TableFacts]]] = []
    for name, backend in parts.backends.items():
        rows = []
        for spec in parts.specs.values():
            if spec.backend == name:
                state = _state(copy, spec.name)
                confirmed_at = state.confirmed_at if state is not None else None
                rows.append(TableFacts(spec, state, age_of(parts, backends, spec, confirmed_at)))
        if rows:
            groups.append((backend.label or name, rows))
    return groups


def _state(copy: Copy, table: str) -> TableState | None:
    """The state of a table; None while the engine has not made room for it."""
    try:
        return copy.table_state(table)
    except NotFound:
        return None


class _List:
    """One list on its way to a page."""

    def __init__(
        self,
        parts: Parts,
        request: Request,
        spec: TableSpec,
        copy: Copy,
        state: TableState,
        asked: Asked,
        formats: Formats,
    ) -> None:
        self.parts, self.request, self.spec, self.copy = parts, request, spec, copy
        self.state, self.asked, self.formats = state, asked, formats
        self.user: User = user_of(request)
        self.backends = copy.backend_states()

    def at(self, path: str) -> str:
        return at(self.request.scope, path)

    @property
    def age(self) -> Age:
        return age_of(self.parts, self.backends, self.spec, self.state.confirmed_at)

    @property
    def listing(self) -> Listing:
        return self.asked.listing

    def loading(self) -> Response:
        """The page of a table whose first copy is not there yet."""
        context = self._context(progress=progress_of(self.spec, self.state, self.backends))
        return page(self.parts, self.request, "list_loading.html", context)

    def answer(self) -> Response:
        found, fault = self._browse()
        names = [name for name in self.listing.columns or default_columns(self.spec) if name in self.spec.by_name]
        columns = [self.spec.by_name[name] for name in names]
        more = controls(self.spec, self.asked, columns, self.formats, self.parts.timezone, self.copy, self.at)
        context = self._context(
            pills_count=self._count(found),
            controls=more,
            action=self.at(f"/tables/{self.spec.name}"),
            search=self.listing.query.search,
            placeholder=self._placeholder(),
            heads=[self._head(column) for column in columns],
            body=self._body(columns, found.rows),
            foot=self._foot(columns, found) if found.rows else "",
            has_rows=bool(found.rows),
            is_narrowed=conditions_of(self.listing),
            paging=self._paging(found),
            chooser=[(column.name, column.label, column.name in names) for column in self.spec.columns],
            chooser_kept=[pair for pair in self.asked.pairs if pair[0] not in ("columns", LAST)],
            exports=self._exports(),
            can_create=self.spec.writable and may(self.user, "write"),
            asked_faults=self._faults(fault),
        )
        status = 422 if self.asked.faults and not is_partial(self.request) else 200
        return page(self.parts, self.request, "list.html", context, status)

    def _browse(self) -> tuple[ListPage, BadInput | None]:
        """The page of the list; its first one, and the fault, when the one asked for is not there any more."""
        query = replace(self.listing.query, pending_first=True)
        if self.asked.is_last:
            query = replace(query, after=None, before="")
        try:
            return self.copy.browse(self.spec.name, query), None
        except BadInput as fault:
            query = replace(query, after=None, before=None)
            return self.copy.browse(self.spec.name, query), fault

    def _context(self, **more: Any) -> dict[str, Any]:
        spec = self.spec
        faults = self.backends[spec.backend].facts.get("faults") if spec.backend in self.backends else None
        told = faults.get(spec.name, "") if isinstance(faults, Mapping) else ""
        context = Frame(self.parts).context(
            self.request,
            title=spec.label,
            current=f"table:{spec.name}",
            tables=[spec.name],
            copy=self.copy,
            spec=spec,
            age=self.age,
            fault=told or self.state.fault,
            reloading=self.state.loaded and self.state.loading,
        )
        return {**context, **more}

    # around the rows

    def _count(self, found: ListPage) -> str:
        return count_text(self.formats, found.count, exact=found.count_exact)

    def _placeholder(self) -> str:
        """What the search box looks at, in words."""
        shown = default_columns(self.spec)
        searched = search_columns(self.spec)
        names = [name for name in shown if name in searched] or list(searched)
        labels = [self.spec.by_name[name].label for name in names[:3]]
        while len(labels) > 1 and sum(map(len, labels)) > _PLACEHOLDER_CHARS:
            labels.pop()
        return self.formats.t(_("Search {columns}…"), columns=", ".join(labels).lower()) if labels else ""

    def _head(self, column: Column) -> dict[str, Any]:
        """A column's head; its link sorts upwards, then downwards, then not."""
        now, way = self.listing.sort, ""
        if now is not None and now[0] == column.name:
            way = "descending" if now[1] else "ascending"
        following: dict[str, str | None] = {
            "": column.name,
            "ascending": f"-{column.name}",
            "descending": None,
        }
        href = ""
        if sortable(column):
            href = self._address(self.listing.as_query_string(sort=following[way]))
        return {"label": column.label, "href": href, "sort": way, "num": stands_right(self.spec, column)}

    def _address(self, query: str) -> str:
        return self.at(f"/tables/{self.spec.name}") + (f"?{query}" if query else "")

    def _paging(self, found: ListPage) -> dict[str, str]:
        ask = self.listing.as_query_string
        paging = dict.fromkeys(("first", "previous", "next", "last"), "")
        if found.previous is not None:
            paging["first"] = self._address(ask(after=None, before=None))
            paging["previous"] = self._address(ask(before=found.previous))
        if found.next is not None:
            paging["next"] = self._address(ask(after=found.next))
            whole = ask(after=None, before=None)
            paging["last"] = self._address(f"{whole}&{LAST}=1" if whole else f"{LAST}=1")
        shown, rows = self.formats.number(len(found.rows)), self._count(found)
        if found.previous is None and found.next is not None:
            paging["note"] = self.formats.t(_("rows 1 to {n} of {rows}"), n=shown, rows=rows)
        elif found.previous is None:
            paging["note"] = rows
        else:
            paging["note"] = self.formats.t(_("{n} of {rows}"), n=shown, rows=rows)
        return paging

    def _exports(self) -> list[tuple[str, str]]:
        kept = [pair for pair in self.asked.pairs if pair[0] not in ("after", "before", "limit", LAST)]
        separated = [("_separator", "semicolon")] if self.formats.decimal == "," else []
        made = []
        for label, suffix, also in (("Excel (.xlsx)", "xlsx", []), ("CSV", "csv", separated), ("JSON", "json", [])):
            query = urlencode([*kept, *also])
            made.append((label, self.at(f"/tables/{self.spec.name}.{suffix}") + (f"?{query}" if query else "")))
        return made

    def _faults(self, fault: BadInput | None) -> list[str]:
        """What of the question could not be used, in words."""
        t, said = self.formats.t, []
        if self.asked.message:
            told = {name: str(value) for name, value in self.asked.facts.items()}
            said.append(_filled(t(self.asked.message), told))
            said += [f"{self._label(name)}{t(': ')}{t(text)}" for name, text in self.asked.faults.items()]
            if self.asked.try_this:
                said.append(_filled(t(self.asked.try_this), told))
        if fault is not None:
            said.append(t(fault.message))
        return said

    def _label(self, parameter: str) -> str:
        column = self.spec.by_name.get(parameter) or self.spec.by_name.get(parameter.rpartition("__")[0])
        return column.label if column is not None else parameter

    # the rows

    def _body(self, columns: Sequence[Column], rows: Sequence[StoredRow]) -> Markup:
        """The rows as HTML, made here and not in the template: a page has a thousand cells."""
        return rows_html(self.parts, self.copy, self.spec, columns, rows, self.formats, self.at)

    def _foot(self, columns: Sequence[Column], found: ListPage) -> Markup:
        cells = [total_of(self.spec, column, found.rows) for column in columns]
        first = next((index for index, cell in enumerate(cells) if index and cell is not None), None)
        if first is None:
            return Markup()
        cell = Cells(self.spec, self.formats, self.at)
        is_all = found.next is None and found.previous is None
        label = self.formats.t(_("Total")) if is_all else self.formats.t(_("Total of this page"))
        made = [Markup('<tr><th scope="row" colspan="{}">{}</th>').format(first, label)]
        for column, total in zip(columns[first:], cells[first:], strict=True):
            shown = Markup() if total is None else cell.plain(column)(total)
            made.append(Markup('<td class="num" data-label="{}">{}</td>').format(column.label, shown))
        return Markup("").join([*made, Markup("</tr>")])


def _filled(sentence: str, values: Mapping[str, str]) -> str:
    """`sentence` with those of its places filled that have a value; it may hold what somebody typed."""
    for name, value in values.items():
        sentence = sentence.replace("{" + name + "}", value)
    return sentence


def count_text(formats: Formats, count: int, *, exact: bool) -> str:
    """`1,000,000 rows`, `≥ 10,000 rows`."""
    t, number = formats.t, formats.number(count)
    if not exact:
        return t(_("≥ {n} rows"), n=number)
    return t(_("1 row")) if count == 1 else t(_("{n} rows"), n=number)


def rows_html(
    parts: Parts,
    copy: Copy,
    spec: TableSpec,
    columns: Sequence[Column],
    rows: Sequence[StoredRow],
    formats: Formats,
    at: Callable[[str], str],
) -> Markup:
    """`<tr>`s for `rows`: the link to each row, its mark when it is pending, references by their labels."""
    cells = Cells(spec, formats, at, labels_for(copy, spec, columns, rows), specs=parts.specs)
    linked = link_column(spec, columns)
    place = at(f"/tables/{spec.name}/")
    heads, writes = [], []
    for column in columns:
        num = ' class="num"' if stands_right(spec, column) else ""
        heads.append(f'<td{num} data-label="{escape(column.label)}">')
        writes.append(cells.unlinked(column) if column.name == linked else cells.write(column))
    names = [column.name for column in columns]
    at_link = names.index(linked)
    made: list[str] = []
    for row in rows:
        kind = ("", ' class="pending"', ' class="conflict"')[row.pending]
        made.append(f'<tr id="row-{row.key}"{kind}>')
        values = row.values
        for index, name in enumerate(names):
            value = values[name]
            inner = "" if value is None else writes[index](value)
            if index == at_link:
                inner = _linked(inner, place + row.key, row)
                if row.pending:
                    inner = f"{inner} {mark(copy, spec, row, formats, at)}"
            made.append(f"{heads[index]}{inner}</td>")
        made.append("</tr>\n")
    return Markup("".join(made))  # noqa: S704  (every part was escaped or made by us)


def _linked(inner: str, href: str, row: StoredRow) -> str:
    if not inner and row.pending:
        return ""
    return f'<a data-row href="{href}">{inner or "—"}</a>'


__all__ = ["Controls", "Lists", "count_text", "default_columns", "routes", "rows_html", "table_groups"]
