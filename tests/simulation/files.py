"""The files of simulated lives, at little cost: what SQLite does again and again for the same files is done once.

A life ends and starts its processes a dozen times, on files that only this process has open. So within `cheap()`:

- SQLite keeps its locks and the index of its log in memory (its VFS `unix-excl`), as it may for one process.
- A connection to the store that is closed is kept, rolled back, for the next one that opens the same file: its
  schema is known and its statements are prepared. Nothing of a transaction survives that. What lies in the file is read
  as before, since every transaction begins by looking at the log.
- An empty store is a copy of one that the product has made.

Who removes or replaces a store's files calls `forget` first.
"""

from __future__ import annotations

import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from unittest.mock import patch

import apsw

from brique.clock import Clock
from brique.schema import TableSpec
from brique.store import Store
from brique.store import connection as connections

_BUSY_MS = 10_000
_STREAM = re.compile(rb"stream_id[0-9a-f]{16}")


class Connection(apsw.Connection):
    """One that `Kept` gets back when it is closed."""

    kept: Kept
    place: tuple[str, str]
    generation: int
    is_idle = False

    def close(self, force: bool = False) -> None:
        if not self.is_idle:
            self.kept.take_back(self)

    def close_really(self) -> None:
        super().close(True)


class Kept:
    """Connections to stores that nobody uses at the moment, by what they are for and their file."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, str], list[Connection]] = {}
        self._generations: dict[str, int] = {}

    def open(self, kind: str, path: Path) -> apsw.Connection:
        """A connection as `brique.store.connection` makes them."""
        place = kind, str(path)
        idle = self._idle.get(place)
        if idle:
            found = idle.pop()
            found.is_idle = False
            found.set_busy_timeout(_BUSY_MS)
            return found
        with patch.object(apsw, "Connection", Connection):
            made = _MAKE[kind](path)
        assert isinstance(made, Connection)
        made.kept, made.place = self, place
        made.generation = self._generations.get(place[1], 0)
        return made

    def take_back(self, connection: Connection) -> None:
        """Keep a connection that is closed, unless its file is not what it was or it is still at work."""
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        is_clean = connection.txn_state() == apsw.SQLITE_TXN_NONE and len(connection.db_names()) <= 2
        if not is_clean or connection.generation != self._generations.get(connection.place[1], 0):
            connection.close_really()
            return
        connection.set_wal_hook(None)
        connection.is_idle = True
        self._idle.setdefault(connection.place, []).append(connection)

    def forget(self, path: Path | None = None) -> None:
        """Close what is kept of one file, or of all."""
        for place in [place for place in self._idle if path is None or place[1] == str(path)]:
            for connection in self._idle.pop(place):
                connection.close_really()
        if path is None:
            self._generations.clear()
        else:
            self._generations[str(path)] = self._generations.get(str(path), 0) + 1


_MAKE = {"writer": connections.writer, "reader": connections.reader}


_KEPT = Kept()


@contextmanager
def cheap() -> Iterator[None]:
    """Inside, files cost little; see the module."""
    usual = apsw.vfs_names()[0]
    apsw.set_default_vfs("unix-excl")
    try:
        with (
            patch.object(connections, "writer", partial(_KEPT.open, "writer")),
            patch.object(connections, "reader", partial(_KEPT.open, "reader")),
        ):
            yield
    finally:
        _KEPT.forget()
        apsw.set_default_vfs(usual)


def forget(path: Path) -> None:
    """Let go of a store whose files are about to be removed or replaced."""
    _KEPT.forget(path)


def spare_sqlite() -> None:
    """Let SQLite not count its memory: for processes that do nothing else and have no file open yet."""
    with suppress(apsw.MisuseError):
        apsw.shutdown()
        apsw.config(apsw.SQLITE_CONFIG_MEMSTATUS, False)
    apsw.initialize()


_EMPTY: dict[tuple[tuple[str, ...], bool], bytes] = {}


def put_empty_store(path: Path, specs: Mapping[str, TableSpec], clock: Clock, *, search: bool) -> None:
    """What `Store` makes where there is none, with a stream of its own."""
    place = tuple(specs), search
    content = _EMPTY.get(place)
    if content is None:
        content = _EMPTY[place] = _empty_store(specs, clock, search)
    path.write_bytes(_STREAM.sub(b"stream_id" + secrets.token_hex(8).encode(), content))


def _empty_store(specs: Mapping[str, TableSpec], clock: Clock, search: bool) -> bytes:
    with tempfile.TemporaryDirectory(prefix="brique-simulation-") as folder:
        path = Path(folder) / "store.db"
        store = Store(path, specs, clock=clock, search=search)
        content = store.connection.serialize("main")
        store.close()
        forget(path)
    assert len(_STREAM.findall(content)) == 1, "the place of its stream"
    return content
