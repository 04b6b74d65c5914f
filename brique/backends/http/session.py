"""Writing to an API, one request for each change. Nothing can be rolled back: a session carries one command.

With idempotency keys (`guard`) whatever is in doubt is simply sent again under the same key. Without, a change looks
at the row first and compares, so that a second try knows its own work; a new row whose key the API gives, and a call,
cannot be told apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import msgspec

from brique.backends.faults import NOT_NOW, away, refused
from brique.backends.http.declare import Http, Resource
from brique.backends.http.line import Answer, Line
from brique.backends.http.values import at, body_of, parse, row_of, store, told
from brique.backends.protocol import Applied, Tag
from brique.errors import BackendAway
from brique.schema import Change, Effect, Row, TableSpec, Value, join_key

SAYS = "The API says: {reason}"
NEVER = "This API takes no {what} here."
NO_KEY = "{backend}: the row was made, and the API did not say under which key."
NOT_DONE = "{backend}: it has been taken, and is not done yet."
NO_PLACE = "A row with the key {key} has no address of its own in an API."
_ANSWER_CHARS_MAX = 10_000
"""Of each value that a call is answered with; it is kept with the command."""
_ANSWER_VALUES_MAX = 100
_NOT_NOW = (401, 408, 425, 429, 503)
_DOUBTFUL = (500, 502, 504)


class HttpSession:
    """One command's requests."""

    def __init__(self, line: Line, http: Http) -> None:
        self._line, self._http = line, http
        self._tag: Tag | None = None
        self._sent = 0

    def identify(self, tag: Tag) -> None:
        self._tag, self._sent = tag, 0

    def look(self, spec: TableSpec, key: tuple[Value, ...]) -> Row | None:
        found = self.seen(spec, key)
        return None if found is None else found[0]

    def seen(self, spec: TableSpec, key: tuple[Value, ...]) -> tuple[Row, str] | None:
        """The row and its entity tag ("" when it has none); None when there is none."""
        resource = self._http.resource(spec.source)
        answer = self._line.ask("GET", self._item(spec, resource, key))
        if answer.status in (404, 410):
            return None
        if answer.status in (*_NOT_NOW, *_DOUBTFUL):
            raise self._line.not_now(answer)
        if answer.status != 200:
            raise refused(SAYS, reason=told(answer.body, answer.status))
        item = at(self._parsed(answer), resource.row)
        return dict(zip(spec.names, row_of(spec, item), strict=True)), answer.headers.get("etag", "")

    def insert(self, spec: TableSpec, row: Row) -> Row:
        resource = self._http.resource(spec.source)
        if resource.create not in ("POST", "PUT"):
            raise refused(NEVER, what="new rows")
        has_key = all(row.get(name) is not None for name in spec.key)
        body = body_of(spec, row, decimals=self._http.decimals)
        if resource.create == "PUT" and has_key:
            url = self._item(spec, resource, tuple(row[name] for name in spec.key))
            answer = self._write("PUT", url, body, {"If-None-Match": "*"})
        else:
            answer = self._write("POST", resource.list, body)
        self._check(answer)
        if has_key:
            return {name: row[name] for name in spec.key}
        return self._given(spec, resource, answer)

    def update(self, spec: TableSpec, key: tuple[Value, ...], before: Row, after: Row) -> int:
        resource = self._http.resource(spec.source)
        found = self._unchanged(spec, key, before)
        if found is None:
            return 0
        now, tag = found
        wanted = after if resource.change == "PATCH" else {**now, **after}
        if resource.change not in ("PATCH", "PUT"):
            raise refused(NEVER, what="changes")
        body = body_of(spec, wanted, decimals=self._http.decimals)
        answer = self._write(resource.change, self._item(spec, resource, key), body, _if_match(tag))
        return self._changed(answer, spec, key, before)

    def delete(self, spec: TableSpec, key: tuple[Value, ...], before: Row) -> int:
        resource = self._http.resource(spec.source)
        if not resource.delete:
            raise refused(NEVER, what="deletions")
        found = self._unchanged(spec, key, before)
        if found is None:
            return 0
        answer = self._write("DELETE", self._item(spec, resource, key), None, _if_match(found[1]))
        return self._changed(answer, spec, key, before)

    def call(self, effect: Effect) -> Row:
        """POST the arguments to the path that the effect names."""
        if "://" in effect.name or effect.name.startswith("//") or ".." in effect.name.split("/"):
            raise refused("{name} is no path of this API.", name=effect.name)
        answer = self._write("POST", effect.name, msgspec.json.encode(effect.arguments))
        self._check(answer)
        try:
            found = parse(answer.body)
        except ValueError:
            return {}
        plain = list(found.items())[:_ANSWER_VALUES_MAX] if isinstance(found, Mapping) else []
        return {name: told for name, value in plain if (told := _short(value)) is not None or value is None}

    def apply(self, changes: Sequence[tuple[TableSpec, Change]]) -> list[Applied]:
        return [self._apply(spec, change) for spec, change in changes]

    def _apply(self, spec: TableSpec, change: Change) -> Applied:
        if change.before is None:
            return Applied(1, self.insert(spec, change.after or {}))
        key = spec.key_values(change.key)
        if change.after is None:
            return Applied(self.delete(spec, key, change.before), {})
        return Applied(self.update(spec, key, change.before, change.after), {})

    def move_watermark(self, stream: str, previous: int, position: int) -> bool:
        return False

    # inside

    def _unchanged(self, spec: TableSpec, key: tuple[Value, ...], before: Row) -> tuple[Row, str] | None:
        """The row and its tag, if it is there and still as the author saw it."""
        found = self.seen(spec, key)
        if found is None:
            return None
        now = found[0]
        return found if all(now.get(name) == value for name, value in before.items()) else None

    def _write(self, method: str, url: str, body: bytes | None, more: Mapping[str, str] | None = None) -> Answer:
        headers = dict(more or {})
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._tag is not None:
            self._sent += 1
            headers["Idempotency-Key"] = self._tag.id if self._sent == 1 else f"{self._tag.id}.{self._sent}"
        try:
            answer = self._line.ask(method, url, headers=headers, content=body)
        except BackendAway as fault:
            if fault.facts.get("sent"):
                fault.facts["at_commit"] = True
            raise
        if answer.status in _NOT_NOW or (answer.status == 409 and "retry-after" in answer.headers):
            raise self._line.not_now(answer)
        if answer.status in _DOUBTFUL:
            gone = away(NOT_NOW, backend=self._line.backend, reason=told(answer.body, answer.status))
            gone.facts["at_commit"] = True
            raise gone
        if answer.status == 202 and self._http.idempotent:
            gone = away(NOT_DONE, backend=self._line.backend)
            gone.facts["at_commit"] = True
            raise gone
        return answer

    def _check(self, answer: Answer) -> None:
        if not 200 <= answer.status < 300:
            raise refused(SAYS, reason=told(answer.body, answer.status))

    def _changed(self, answer: Answer, spec: TableSpec, key: tuple[Value, ...], before: Row) -> int:
        """Rows changed. 409 says either that the row is another by now, or no: the row itself tells which."""
        if answer.status in (404, 410, 412):
            return 0
        if answer.status == 409 and self._unchanged(spec, key, before) is None:
            return 0
        self._check(answer)
        return 1

    def _given(self, spec: TableSpec, resource: Resource, answer: Answer) -> Row:
        """The key columns of a new row: from the answer, else from where it says that the row is."""
        try:
            item = at(parse(answer.body), resource.created or resource.row)
        except ValueError:
            item = None
        found = {column.name: store(column, at(item, column.source)) for column in spec.key_columns}
        if any(value is None for value in found.values()) and len(spec.key) == 1:
            last = unquote(urlsplit(answer.headers.get("location", "")).path.rstrip("/").rpartition("/")[2])
            [column] = spec.key_columns
            found = {column.name: spec.key_values(join_key((last,)))[0] if last else None}
        if any(value is None for value in found.values()):
            gone = away(NO_KEY, backend=self._line.backend)
            gone.facts["at_commit"] = True
            raise gone
        return found

    def _item(self, spec: TableSpec, resource: Resource, key: tuple[Value, ...]) -> str:
        """The address of a row. Raises BackendRefused for a key that would lead elsewhere: to the list, or above it."""
        if any(str(value) in ("", ".", "..") for value in key):
            raise refused(NO_PLACE, key=", ".join(repr(str(value)) for value in key))
        parts = {name: quote(str(value), safe="") for name, value in zip(spec.key, key, strict=True)}
        text = join_key(key)
        plain = next(iter(parts.values())) if len(parts) == 1 else quote(text, safe="~,")
        return resource.item_path.format_map({"key": plain, "row_key": quote(text, safe="~,"), **parts})

    def _parsed(self, answer: Answer) -> Any:
        try:
            return parse(answer.body)
        except (ValueError, RecursionError) as fault:
            raise refused(SAYS, reason=f"no JSON: {str(fault)[:200]}") from fault


def _short(value: Any) -> Value:
    """A plain value of a call's answer, no longer than can be kept; None for any other."""
    if isinstance(value, str):
        return value[:_ANSWER_CHARS_MAX]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    return value if isinstance(value, int | float) else None


def _if_match(tag: str) -> dict[str, str]:
    return {"If-Match": tag} if tag else {}
