"""Compaction: an old segment that a few unsettled commands keep from being unlinked is written anew with only these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw

from brique.errors import NoRoom
from brique.spool.disk import Disk
from brique.spool.protocol import Record
from brique.spool.segment import Row, Segment, sum_of, write_aside


@dataclass(frozen=True)
class Stretch:
    """A segment that is not written to any more: its positions, how many records it holds, its bytes."""

    first: int
    last: int
    records: int
    bytes: int


@dataclass(frozen=True)
class Rewritten:
    """A segment written aside, flushed, and not yet in its place."""

    first: int
    aside: Path


def rewritten(disk: Disk, old: Segment, is_needed: Callable[[Record], bool]) -> Rewritten | None:
    """The needed records of `old` written aside, at their positions; None when it cannot be done just now.

    Damaged records are taken along as they are: that something was lost stays visible. `old` must be sealed and without
    a log; it is read over a connection of its own. Raises NoRoom.
    """
    if disk.size(old.beside("-wal")) or old.last > old.top:
        return None
    try:
        db = apsw.Connection(
            f"file:{old.path}?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI, vfs=disk.vfs
        )
        try:
            aside = write_aside(disk, old.path, old.stream, _needed(db, old.last, is_needed), compacted_to=old.last)
        finally:
            db.close(True)
    except apsw.CorruptError:
        return None  # a damaged file stays as it is
    except (apsw.Error, OSError) as fault:
        raise NoRoom(f"No room to write {old.path.name} anew: {fault}") from fault
    return Rewritten(old.first, aside)


def _needed(db: apsw.Connection, last: int, is_needed: Callable[[Record], bool]) -> Iterator[Row]:
    rows = db.execute("SELECT position, token, payload, sum FROM record WHERE position <= ? ORDER BY position", (last,))
    row: Row
    for row in rows:
        position, token, payload, told = row
        if sum_of(position, token, payload) != told or is_needed(Record(position, payload, token or "")):
            yield row
