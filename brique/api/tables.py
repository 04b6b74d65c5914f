"""Tables and rows: list, get, create, change, delete."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from brique.api import bodies
from brique.api.answers import no_such
from brique.api.context import Context, address, find_row
from brique.api.operation import JSON, MERGE_PATCH
from brique.api.outcome import Outcomes
from brique.api.rows import blob_columns, listed_json, row_etag, row_json
from brique.errors import NotFound, Stale
from brique.exports import (
    Downloads,
    Freshness,
    Listing,
    ListLimits,
    check_copied,
    disposition,
    freshness,
    parse_listing,
)
from brique.http import Standing, check_if_match, has_already, language_of, respond, stand_ready, user_of
from brique.schema import Row, TableSpec
from brique.views import Copy, ListPage, StoredRow


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


class Tables:
    """The handlers of tables and rows."""

    def __init__(self, context: Context, outcomes: Outcomes) -> None:
        self.context = context
        self.parts = context.parts
        self.outcomes = outcomes
        self._downloads = Downloads(self.parts.borrow, self.parts.clock, self.parts.settings)

    # -- reading ------------------------------------------------------------------------------------------------------

    def catalogue(self, request: Request) -> Response:
        """All tables, with how many rows they have and how old these are."""
        with self.context.snapshot() as copy:
            tables = [self._about(request, copy, spec) for spec in self.parts.specs.values()]
        return respond(request, self.context.encode({"tables": tables}), JSON)

    def _about(self, request: Request, copy: Copy, spec: TableSpec) -> dict[str, Any]:
        state = copy.table_state(spec.name)
        return {
            "name": spec.name,
            "label": spec.label,
            "backend": spec.backend,
            "url": address(request, f"/api/tables/{spec.name}"),
            "key": list(spec.key),
            "writable": spec.writable and user_of(request).may("write"),
            "read_only": spec.read_only,
            "loaded": state.loaded,
            "rows": state.rows,
            "as_of": state.confirmed_at,
            "columns": [
                {"name": column.name, "label": column.label, "kind": str(column.kind), "nullable": column.nullable}
                for column in spec.columns
            ],
        }

    def list_rows(self, request: Request) -> Response:
        """A page of rows, with links to the pages beside it."""
        spec = self.context.spec(request)
        listing = parse_listing(spec, request.query_params, ListLimits.of(self.parts.settings))
        with self.context.snapshot() as copy:
            fresh = freshness(copy, spec.name, self.context.now())
            page = copy.browse(spec.name, listing.query)
            tag = _list_etag(copy, listing, page)
        links = _Links(request, f"/api/tables/{spec.name}", listing, page)
        headers = {**fresh.headers(), "Link": links.header()}
        if has_already(request, tag):
            return respond(request, b"", JSON, etag=tag, headers=headers)
        body = self.context.encode(self._page(request, listing, page, fresh, links))
        return respond(request, body, JSON, etag=tag, headers=headers)

    def _page(
        self, request: Request, listing: Listing, page: ListPage, fresh: Freshness, links: _Links
    ) -> dict[str, Any]:
        spec, columns = listing.spec, listing.columns or listing.spec.names
        base = address(request, f"/api/tables/{spec.name}")
        return {
            "rows": [listed_json(spec, row, columns, base) for row in page.rows],
            "count": page.count,
            "count_exact": page.count_exact,
            "next": links.next,
            "previous": links.previous,
            "as_of": fresh.as_of_text,
            "age_seconds": fresh.age_seconds,
            "position": fresh.position,
        }

    def export(self, request: Request) -> Response:
        """The whole list as a file."""
        spec = self.context.spec(request)
        return self._downloads.of_table(
            spec,
            request.query_params,
            request.path_params["format"],
            language=language_of(request),
            user=user_of(request).name,
        )

    def get_row(self, request: Request) -> Response:
        """One row."""
        spec, key = self.context.spec(request), request.path_params["key"]
        with self.context.snapshot() as copy:
            fresh = freshness(copy, spec.name, self.context.now())
            row = _there(copy, spec, key)
            tag = row_etag(copy, row)
        page = address(request, f"/tables/{spec.name}/{row.key}")
        headers = {**fresh.headers(), "Link": f'<{page}>; rel="alternate"; type="text/html"'}
        if row.key != key:
            headers["Content-Location"] = address(request, f"/api/tables/{spec.name}/{row.key}")
        else:
            holds = functools.partial(self._is_unchanged, spec, key, tag)
            stand_ready(request.scope, Standing(holds, shared=True, stamp=self.context.stamp(spec.name)))
        return respond(request, self.context.encode(row_json(spec, row)), JSON, etag=tag, headers=headers)

    def _is_unchanged(self, spec: TableSpec, key: str, tag: str) -> bool:
        with self.context.snapshot() as copy:
            row = copy.row(spec.name, key)
            return row is not None and row_etag(copy, row) == tag

    def get_blob(self, request: Request) -> Response:
        """The bytes of one binary value, as a download."""
        spec, name = self.context.spec(request), request.path_params["column"]
        if name not in spec.by_name:
            raise no_such(_("There is no column {name}."), name, blob_columns(spec))
        with self.context.snapshot() as copy:
            value = _there(copy, spec, request.path_params["key"]).values[name]
        if not isinstance(value, bytes):
            raise NotFound(_("This row has no binary value there."))
        headers = {"Content-Disposition": disposition(f"{spec.name}-{name}.bin")}
        return respond(request, value, "application/octet-stream", headers=headers)

    def lookup(self, request: Request) -> Response:
        """Rows of a table that a text may mean, as key and label."""
        spec = self.context.spec(request)
        text = request.query_params.get("q", "")[:200]
        with self.context.snapshot() as copy:
            fresh = freshness(copy, spec.name, self.context.now())
            found = copy.lookup(spec.name, text, 20)
        body = self.context.encode({"rows": [{"_key": key, "_label": label} for key, label in found]})
        return respond(request, body, JSON, headers=fresh.headers())

    # -- writing ------------------------------------------------------------------------------------------------------

    async def create_row(self, request: Request) -> Response:
        """Keep a new row."""
        spec, user = self.context.spec(request), user_of(request)
        given = await bodies.read_object(request, (JSON,))
        token = bodies.token_of(request, given)
        values = bodies.store_values(spec, given, bytes_max=self.parts.settings.cell_bytes_max)
        desk = self.outcomes.desk(request)
        answer = await desk.create(user, spec.name, values, token=token, origin="api")
        return await self.outcomes.answer(request, answer, created=True)

    async def change_row(self, request: Request) -> Response:
        """Keep a change of a row, given as a merge patch."""
        spec, user = self.context.spec(request), user_of(request)
        given = await bodies.read_object(request, (MERGE_PATCH, JSON))
        token = bodies.token_of(request, given)
        key = request.path_params["key"]
        known = await self.outcomes.is_known(user, token)
        key, now = self._before(request, spec, key, known=known)
        values = bodies.store_values(spec, given, now, bytes_max=self.parts.settings.cell_bytes_max)
        seen = {name: now[name] for name in values if name in now}
        desk = self.outcomes.desk(request)
        answer = await desk.update(user, spec.name, key, seen=seen, given=values, token=token, origin="api")
        if answer is None:
            return self._unchanged(request, spec, key)
        return await self.outcomes.answer(request, answer)

    async def delete_row(self, request: Request) -> Response:
        """Keep the deletion of a row."""
        spec, user, token = self.context.spec(request), user_of(request), bodies.token_of(request)
        key = request.path_params["key"]
        known = await self.outcomes.is_known(user, token)
        key, now = self._before(request, spec, key, known=known)
        seen = now if request.headers.get("if-match") and not known else None
        desk = self.outcomes.desk(request)
        answer = await desk.delete(user, spec.name, key, seen=seen, token=token, origin="api")
        return await self.outcomes.answer(request, answer)

    def _before(self, request: Request, spec: TableSpec, key: str, *, known: bool) -> tuple[str, Row]:
        """The row's own key, and its values as the caller is taken to have seen them.

        Raises NotFound, and Stale (facts `theirs`, `etag`) when If-Match names another state. A command that is
        `known` by its token is given again as it was: its row has changed by itself.
        """
        with self.context.snapshot() as copy:
            row = find_row(copy, spec, key)
            if known:
                return key, row.values if row is not None else {}
            row = _there(copy, spec, key)
            etag = row_etag(copy, row)
        try:
            check_if_match(request, etag)
        except Stale as fault:
            facts = {"theirs": row.values, "table": spec.name, "key": row.key, "etag": etag}
            raise Stale(fault.message, try_this=fault.try_this, **facts) from fault
        return row.key, row.values

    def _unchanged(self, request: Request, spec: TableSpec, key: str) -> Response:
        """The answer to a change that changes nothing."""
        with self.context.snapshot() as copy:
            row = _there(copy, spec, key)
            tag = row_etag(copy, row)
        body = {"receipt": None, "state": "unchanged", "table": spec.name, "key": row.key, "row": row_json(spec, row)}
        url = address(request, f"/api/tables/{spec.name}/{row.key}")
        return self.context.json({**body, "url": url}, headers={"ETag": tag})


def _there(copy: Copy, spec: TableSpec, key: str) -> StoredRow:
    row = find_row(copy, spec, key)
    if row is None:
        check_copied(copy, spec.name)
        raise NotFound(_("There is no row with the key {key}."), table=spec.name, key=key[:80])
    return row


def _list_etag(copy: Copy, listing: Listing, page: ListPage) -> str:
    """Weak: the age in the body is not part of it."""
    digest = hashlib.blake2b(digest_size=12)
    parts: Sequence[object] = (
        copy.stream_id(),
        listing.columns,
        listing.as_query_string(),
        listing.query.limit,
        page.count,
        page.count_exact,
        page.next,
        page.previous,
        [(row.key, row.version, row.pending) for row in page.rows],
    )
    digest.update(repr(parts).encode())
    return f'W/"{digest.hexdigest()}"'


class _Links:
    """The pages beside a page, and its other forms."""

    def __init__(self, request: Request, path: str, listing: Listing, page: ListPage) -> None:
        self._base = address(request, path)
        self._listing = listing
        self.next = self._to(after=page.next) if page.next else None
        self.previous = self._to(before=page.previous) if page.previous else None

    def _to(self, suffix: str = "", **changes: str | None) -> str:
        query = self._listing.as_query_string(**changes)
        return f"{self._base}{suffix}?{query}" if query else f"{self._base}{suffix}"

    def header(self) -> str:
        """The Link header (RFC 8288)."""
        first = self._to(after=None, before=None)
        links = [(self.next, 'rel="next"'), (self.previous, 'rel="prev"'), (first, 'rel="first"')]
        whole = {"after": None, "before": None, "limit": None}
        links.append((self._to(".csv", **whole), 'rel="alternate"; type="text/csv"'))
        return ", ".join(f"<{url}>; {rest}" for url, rest in links if url)
