"""What is behind an address: the view whose kept bytes it shows, or the tables and the row that it is made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from brique.app.intranet import Declared
from brique.app.run_file import read_run
from brique.clock import Clock, SystemClock, stamp
from brique.errors import NotFound
from brique.store import Reader
from brique.views import Cause, Known, View, Why, cause_of, why

_PLACE = re.compile(r"\\\{([a-z_][a-z0-9_]*)\\\}")
_TABLE = re.compile(r"^(?:/api)?/tables/(?P<table>[^/.]+)(?:\.[a-z]+)?(?:/(?P<key>[^/]+)(?:/[^/]+)?)?$")
_HISTORY_MAX = 5


class OfTable(msgspec.Struct, frozen=True):
    """A page that is made of the copy for each reader: nothing of it is kept. `last`: the last changes of its row, or
    of the table, as far as the log reaches, newest first. `waiting`: commands that are laid over the row."""

    table: str
    label: str
    key: str
    rows: int
    confirmed_at: str
    is_there: bool
    last: tuple[Cause, ...]
    waiting: tuple[str, ...] = ()


class OfPage(msgspec.Struct, frozen=True):
    """Another page of brique's own. `tables`: when each table's rows were confirmed."""

    tables: dict[str, str | None]


class Behind(msgspec.Struct, frozen=True):
    """What is behind `address`: exactly one of the three is there."""

    address: str
    view: Why | None = None
    table: OfTable | None = None
    page: OfPage | None = None


def why_at(data: Path, address: str, *, user: str | None = None, clock: Clock | None = None) -> Behind:
    """What is behind `address` in the data folder `data`, whether brique runs there or not.

    Raises NotFound for an address that leads nowhere, BadInput for arguments that do not fit, BadConfiguration for a
    folder in which nothing has been started, EngineAway without a store.
    """
    run = read_run(data)
    declared = run.intranet(kept=True).declared()
    clock = clock or SystemClock()
    with closing(Reader(run.loaded().data / "store.db", declared.specs)) as reader:
        return behind(address, declared, reader, clock, user=user)


def behind(address: str, declared: Declared, reader: Reader, clock: Clock, *, user: str | None = None) -> Behind:
    """As `why_at`, for what is open already."""
    parts = urlsplit(address if "://" in address or address.startswith("/") else f"/{address}")
    path, given = parts.path.rstrip("/") or "/", dict(parse_qsl(parts.query))
    found = view_at(path, declared.views)
    if found is not None:
        view, places = found
        wanted = {name: text for name, text in {**given, **places}.items() if name in view.by_name}
        return Behind(address, view=why(view, wanted, reader, declared.specs, clock.now(), user=user))
    matched = _TABLE.match(path)
    if matched and matched["table"] in declared.specs:
        key = unquote(matched["key"] or "")
        return Behind(address, table=_of_table(matched["table"], "" if key == "new" else key, declared, reader))
    if path in ("/", "/tables", "/outbox", "/-/status", "/api", "/api/tables"):
        with reader.snapshot():
            moments = {name: reader.table_state(name).confirmed_at for name in declared.specs}
        return Behind(address, page=OfPage({name: stamp(at) if at else None for name, at in moments.items()}))
    views = ", ".join(view.path for view in declared.views.values()) or "none is declared"
    raise NotFound(f"Nothing answers at {path}.", try_this=f"a view ({views}), /tables/TABLE or /tables/TABLE/KEY")


def view_at(path: str, views: Mapping[str, View]) -> tuple[View, dict[str, str]] | None:
    """The view that answers at `path`, fixed addresses first, and the arguments that stand in it."""
    by_name = re.fullmatch(r"/api/views/([^/]+)", path)
    if by_name and by_name[1] in views:
        return views[by_name[1]], {}
    for view in sorted(views.values(), key=lambda view: "{" in view.path):
        pattern = _PLACE.sub(r"(?P<\1>[^/]+)", re.escape(view.path))
        matched = re.fullmatch(pattern, path)
        if matched:
            return view, {name: unquote(text) for name, text in matched.groupdict().items()}
    return None


def _of_table(table: str, key: str, declared: Declared, reader: Reader) -> OfTable:
    with reader.snapshot():
        state = reader.table_state(table)
        row = reader.row(table, key) if key else None
        log = reader.history(table, key, _HISTORY_MAX) if key else reader.last_changes(table, _HISTORY_MAX)
        laid = reader.commands_on(table, row.key) if row is not None else []
        return OfTable(
            table=table,
            label=declared.specs[table].label,
            key=key,
            rows=state.rows,
            confirmed_at=stamp(state.confirmed_at) if state.confirmed_at else "",
            is_there=state.loaded if not key else row is not None,
            last=tuple(cause_of(change, reader) for change in log),
            waiting=tuple(f"{one.command.id} ({one.command.name} of {one.command.user}, {one.state})" for one in laid),
        )


__all__ = ["Behind", "Cause", "Known", "OfPage", "OfTable", "behind", "view_at", "why_at"]
