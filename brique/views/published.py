"""What of a view is kept at places outside: for which arguments, under which keys; and the bytes of each, made ready.

Which arguments there are is told by a table (one for each of its rows) or by a *listing*, a function of the data that
is itself a view: it is kept, and let go of, like any other.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import msgspec

from brique.clock import Clock, stamp
from brique.errors import BadConfiguration, BadInput
from brique.schema import PENDING, Kind, TableSpec, join_key
from brique.store import Classes, Reader
from brique.views.keeper import kept_name
from brique.views.making import Maker
from brique.views.offer import Offer
from brique.views.recorder import Recording
from brique.views.view import View, key_of

Each = type[Any] | str | Callable[..., Iterable[Any]] | None
KEY_BYTES_MAX, PART_BYTES_MAX = 1000, 200
"""Of a key, and of what stands between two slashes: what every kind of place can have as a name."""


@dataclass(frozen=True)
class Published:
    """A view that is kept at `places`: for each row of `table`, whose key is its `parameter`; or for each of what the
    view `listing` lists; or, without either, once."""

    view: View
    places: tuple[str, ...]
    table: str = ""
    parameter: str = ""
    listing: View | None = None

    def of_row(self, row_key: str, specs: Mapping[str, TableSpec]) -> str | None:
        """The arguments for a row; None for one without a number of its own yet, or that fits no argument."""
        if row_key.startswith(PENDING):
            return None
        try:
            value: Any = row_key
            parameter = self.view.by_name[self.parameter]
            if not parameter.table:
                [value] = specs[self.table].key_values(row_key)
                value = str(value) if parameter.kind is Kind.TEXT else value
            return key_of(self.view.arguments({self.parameter: value}))
        except (ValueError, BadInput):
            return None

    def row_of(self, arguments: str) -> str:
        """The key of the row that arguments stand for."""
        value = msgspec.json.decode(arguments)[self.parameter]
        return str(value) if self.view.by_name[self.parameter].table else join_key((value,))

    def of_item(self, item: Any) -> str:
        """The arguments for what was listed: a value, values in order, or values by name. Raises BadInput."""
        given: Mapping[str, Any]
        if isinstance(item, Mapping):
            given = item
        else:
            values = item if isinstance(item, (list, tuple)) else [item]
            if len(values) > len(self.view.parameters):
                raise BadInput(f"{item!r} has more values than {self.view.name} has arguments.")
            given = {parameter.name: value for parameter, value in zip(self.view.parameters, values, strict=False)}
        return key_of(self.view.arguments(given))

    def key(self, arguments: str) -> str:
        """The name under which it is kept: `VIEW/VALUE…`, values that are not in the address as `NAME=VALUE`; all but
        letters, digits and `-_.~` as %XX. Raises BadInput when it is too long."""
        plain = msgspec.json.decode(arguments)
        parts = [self.view.name]
        for parameter in self.view.parameters:
            if parameter.name in plain:
                text = _part(plain[parameter.name])
                parts.append(text if parameter.in_path else f"{parameter.name}={text}")
        key = "/".join(parts)
        if len(key) > KEY_BYTES_MAX or max(map(len, parts)) > PART_BYTES_MAX:
            raise BadInput(
                f"{key[:80]}… is too long for a key.", try_this=f"arguments of {PART_BYTES_MAX} bytes at most"
            )
        return key


def _part(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    quoted = quote(text, safe="")
    return {"": "%", ".": "%2E", "..": "%2E%2E"}.get(quoted, quoted)


def published_of(
    view: View, places: tuple[str, ...], each: Each, classes: Classes, specs: Mapping[str, TableSpec]
) -> Published:
    """How `view` is kept at `places`; `each` says for which arguments. Raises BadConfiguration."""
    what = f"view {view.name}"
    if _reads_user(view.function) or (callable(each) and _reads_user(each)):
        raise BadConfiguration(
            f"{what} reads db.user: what it makes belongs to one person, and cannot be published",
            try_this="publish a view that is the same for everybody",
        )
    if not view.name[:1].isascii() or not view.name[:1].isalpha():
        raise BadConfiguration(f"{what}: the name of what is published begins with a letter")
    required = [parameter for parameter in view.parameters if parameter.required]
    if each is None and len(required) == 1 and required[0].table:
        return Published(view, places, required[0].table, required[0].name)
    if each is None:
        if required:
            raise BadConfiguration(
                f"{what} is published, and nothing says for which {required[0].name}",
                try_this="each=Customer, one for each row; or each=a function of db that lists them",
            )
        return Published(view, places)
    table = classes[each].name if isinstance(each, type) and each in classes else each
    if not isinstance(table, str):
        if isinstance(each, type) or not callable(each):
            raise BadConfiguration(f"{what}: each={each!r} is no table that is served")
        return Published(view, places, listing=View(f"{view.name}#each", "/", each))
    if table not in specs or len(required) != 1:
        raise BadConfiguration(
            f"{what}: each={table} needs a table that is served, and one parameter for its key",
            try_this="each=a function of db that lists the arguments",
        )
    kinds = [column.kind for column in specs[table].key_columns]
    if not required[0].table and kinds not in ([required[0].kind], [Kind.INTEGER]):
        raise BadConfiguration(
            f"{what}: the key of {table} is no {required[0].kind} named {required[0].name}",
            try_this=f"annotate {required[0].name} with the table, or list the arguments in a function",
        )
    if required[0].table not in ("", table) or required[0].kind not in (Kind.TEXT, Kind.INTEGER):
        raise BadConfiguration(
            f"{what}: {required[0].name} cannot be the key of a row of {table}",
            try_this="list the arguments in a function: each=...",
        )
    return Published(view, places, table, required[0].name)


def _reads_user(function: Callable[..., Any]) -> bool:
    """Whether it says `db.user`, as far as its own code shows; what it calls is seen when it runs."""
    code = getattr(function, "__code__", None)
    if code is None or not code.co_argcount:
        return False
    steps = list(dis.get_instructions(code))
    return any(
        step.argval == code.co_varnames[0] and then.opname == "LOAD_ATTR" and then.argval == "user"
        for step, then in pairwise(steps)
    )


@dataclass(frozen=True, slots=True)
class Made:
    """What a view makes of some arguments at `position`; or the `fault` that it raised. `offer` for the engine, when it
    was not ready. `tables`: those that it read, when it was made anew."""

    position: int
    body: bytes = b""
    etag: str = ""
    made_at: str = ""
    offer: Offer | None = None
    fault: Exception | None = None
    tables: tuple[str, ...] = ()
    until: str = ""
    personal: bool = False


class Ready:
    """Gives the bytes of published views, for nobody in particular. One thread only."""

    def __init__(
        self,
        views: Iterable[View],
        specs: Mapping[str, TableSpec],
        *,
        clock: Clock,
        classes: Classes | None = None,
        timezone: tzinfo = UTC,
        body_bytes_max: int,
        release: str = "",
    ) -> None:
        self._views = {view.name: view for view in views}
        self.names = {view.name: kept_name(view, specs, release) for view in self._views.values()}
        self._clock = clock
        self._maker = Maker(specs, clock=clock, classes=classes, timezone=timezone, body_bytes_max=body_bytes_max)

    def get(self, reader: Reader, name: str, arguments: str, *, anew: bool = False) -> Made:
        """The bytes that are ready, as `reader` shows the store; made when there are none, or `anew`."""
        with reader.snapshot():
            kept = None if anew else reader.representations.get(self.names[name], arguments)
            if kept is not None and kept.dependencies is not None and not kept.user:
                now = stamp(self._clock.now())
                if kept.since <= now and (kept.until is None or kept.until > now):
                    return Made(kept.position, kept.body, kept.etag, kept.made_at)
            return self._made(reader, name, arguments)

    def _made(self, reader: Reader, name: str, arguments: str) -> Made:
        recording, position = Recording(), reader.seq()
        body, fault = b"", None
        try:
            body = self._maker.run(self._views[name], arguments, None, reader, recording)
        except Exception as raised:  # noqa: BLE001 - whatever a view raises is told of this key alone
            fault = raised
        tables = tuple(sorted({read.question.table for read in recording.asked}))
        until = stamp(recording.until) if recording.until else ""
        if fault is not None or recording.is_personal:
            return Made(position, fault=fault, tables=tables, until=until, personal=recording.is_personal)
        offer = self._maker.offer(self.names[name], arguments, None, body, position, recording)
        return Made(position, body, offer.etag, offer.made_at, offer, None, tables, until)
