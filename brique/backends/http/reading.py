"""Reading a list of an API page by page, with limits and without going round in circles."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin

from brique.backends.faults import refused
from brique.backends.http.declare import Http, Resource
from brique.backends.http.line import Answer, Line
from brique.backends.http.values import at, parse, row_of, told
from brique.backends.protocol import BATCH_ROWS
from brique.schema import TableSpec, Value

NO_LIST = "{table}: the answer holds no list of rows{place}."
NO_JSON = "{table}: the answer is no JSON: {reason}"
ROUND = "{table}: its pages go round in a circle."
TOO_MANY = "{table} has more than {limit} rows."
TOO_SLOW = "{table} could not be read within {seconds:g} s."
SAYS = "The API says: {reason}"
_NOT_NOW = (401, 408, 425, 429, 500, 502, 503, 504)
_SURE_SECONDS = 2.0


class Pages:
    """The lists of an API. `tags` remembers the entity tag of lists of one page, so that an unchanged one is not sent
    again."""

    def __init__(self, line: Line, http: Http) -> None:
        self.line, self.http = line, http
        self.tags: dict[str, str] = {}

    def first(self, spec: TableSpec) -> tuple[Answer | None, str | None]:
        """The first page (None: it is as its mark says), and the mark of the whole list when it has one."""
        resource = self.http.resource(spec.source)
        known = self.tags.get(spec.name, "")
        headers = {"If-None-Match": known.removeprefix("etag ")} if known.startswith("etag ") else {}
        answer = self._get(spec, resource.list, self._parameters(resource), headers)
        if answer.status == 304 and known:
            return None, known
        mark = self._mark(spec, resource, answer)
        if mark is None:
            self.tags.pop(spec.name, None)
        else:
            self.tags[spec.name] = mark
        return answer, mark

    def rows(self, spec: TableSpec, first: Answer | None = None) -> Iterator[list[tuple[Value, ...]]]:
        """All rows in batches. A row that comes on two pages, because the list moved meanwhile, counts once."""
        resource = self.http.resource(spec.source)
        places = [spec.names.index(name) for name in spec.key]
        seen: set[tuple[Value, ...]] = set()
        batch: list[tuple[Value, ...]] = []
        count = 0
        for items in self._pages(spec, resource, first):
            for item in items:
                row = row_of(spec, item)
                key = tuple(row[place] for place in places)
                if key in seen:
                    continue
                if places:
                    seen.add(key)
                count += 1
                if count > self.http.rows_max:
                    raise refused(TOO_MANY, table=spec.source, limit=self.http.rows_max)
                batch.append(row)
                if len(batch) >= BATCH_ROWS:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def _pages(self, spec: TableSpec, resource: Resource, first: Answer | None) -> Iterator[list[Any]]:
        end = time.monotonic() + self.http.read_seconds_max
        answer = first or self._get(spec, resource.list, self._parameters(resource), {})
        been: set[tuple[str, str]] = set()
        page = resource.first_page
        while True:
            parsed = self._parsed(spec, answer)
            items = self._items(spec, resource, parsed)
            yield items
            page += 1
            url, parameters = self._next(resource, answer, parsed, page if items else 0)
            if not url:
                return
            place = (url, str(sorted(parameters.items())))
            if place in been:
                raise refused(ROUND, table=spec.source)
            been.add(place)
            if time.monotonic() > end:
                raise refused(TOO_SLOW, table=spec.source, seconds=self.http.read_seconds_max)
            answer = self._get(spec, url, parameters, {})

    def _parameters(self, resource: Resource) -> dict[str, str]:
        given = dict(resource.parameters)
        if resource.page_parameter:
            given[resource.page_parameter] = str(resource.first_page)
        return given

    def _next(self, resource: Resource, answer: Answer, parsed: Any, page: int) -> tuple[str, dict[str, str]]:
        """Where the next page is, and its parameters; "" at the end. `page`: its number, 0 after an empty one."""
        link = answer.link("next")
        if link:
            return link, {}
        if resource.next:
            found = at(parsed, resource.next)
            return (urljoin(answer.url, str(found)), {}) if found else ("", {})
        if resource.cursor:
            found = at(parsed, resource.cursor)
            return (
                (resource.list, {**resource.parameters, resource.cursor_parameter: str(found)}) if found else ("", {})
            )
        if resource.page_parameter and page:
            return resource.list, {**resource.parameters, resource.page_parameter: str(page)}
        return "", {}

    def _get(self, spec: TableSpec, url: str, parameters: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        answer = self.line.ask("GET", url, headers=headers, parameters=parameters)
        if answer.status in _NOT_NOW:
            raise self.line.not_now(answer)
        if answer.status not in (200, 304):
            raise refused(SAYS, reason=told(answer.body, answer.status))
        return answer

    def _parsed(self, spec: TableSpec, answer: Answer) -> Any:
        try:
            return parse(answer.body)
        except (ValueError, RecursionError) as fault:
            raise refused(NO_JSON, table=spec.source, reason=str(fault)[:200]) from fault

    def _items(self, spec: TableSpec, resource: Resource, parsed: Any) -> list[Any]:
        items = at(parsed, resource.rows)
        if not isinstance(items, list):
            place = f" at {resource.rows}" if resource.rows else ""
            raise refused(NO_LIST, table=spec.source, place=place)
        return items

    def _mark(self, spec: TableSpec, resource: Resource, answer: Answer) -> str | None:
        """What tells this list from another: only of one that is on one page, or whose tag speaks of all of it."""
        if not resource.one_tag:
            parsed = self._parsed(spec, answer)
            if resource.page_parameter or self._next(resource, answer, parsed, 0)[0]:
                return None
        tag = answer.headers.get("etag", "")
        if tag:
            return f"etag {tag}"
        changed, now = answer.headers.get("last-modified", ""), answer.headers.get("date", "")
        try:  # it counts seconds: what changed just now may change again within the same one
            is_sure = (parsedate_to_datetime(now) - parsedate_to_datetime(changed)).total_seconds() > _SURE_SECONDS
        except (ValueError, TypeError):
            return None
        return f"changed {changed}" if is_sure else None
