"""Taking over the single file in which earlier versions kept the spool.

Its records are written into segments, flushed, read again and compared; then the file `stream` is published, which
makes the folder count; then the old file goes. After a crash before that moment everything is begun anew, after it only
the old file is left to be removed. Name, positions and tokens stay the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from brique.errors import BadConfiguration, NoRoom
from brique.spool import opening, stream
from brique.spool.disk import Disk
from brique.spool.limits import SpoolLimits
from brique.spool.segment import APPLICATION_ID, BESIDE, Row, Segment, create, sum_of
from brique.spool.stream import Stream

_COUNT = "SELECT count(*) FROM record WHERE position BETWEEN ? AND ?"


def take_over(disk: Disk, old: Path, folder: Path, limits: SpoolLimits) -> int:
    """Bring the records of the file `old` into `folder`, and remove it; how many. 0 when there is no such file.

    Raises BadConfiguration when `old` cannot be read or belongs to another spool than the folder, NoRoom.
    """
    if not disk.size(old):
        return 0
    try:
        db = apsw.Connection(str(old), vfs=disk.vfs)
        try:
            name, last = _look(old, db)
            known = stream.load(disk, folder)
            if known is None:
                _copy(disk, db, folder, name, last, limits)
            elif name not in known.names:
                raise BadConfiguration(
                    f"{folder} and {old} belong to different spools.", try_this="move one of them away"
                )
        finally:
            db.close(True)
    except (apsw.NotADBError, apsw.CorruptError, apsw.SQLError) as fault:
        raise BadConfiguration(
            f"{old} is not a spool that can be read: {fault}", try_this="restore it from a backup"
        ) from fault
    for ending in ("", *BESIDE):
        disk.unlink(old.with_name(old.name + ending))
    disk.flush_folder(old.parent)
    return last if known is None else 0


def _look(old: Path, db: apsw.Connection) -> tuple[str, int]:
    """The name of the spool in the old file, and the last position that it gave."""
    mark: Any = db.execute("PRAGMA application_id").fetchone()
    if mark[0] not in (0, APPLICATION_ID):
        raise BadConfiguration(f"{old} is a database of another program.", try_this="move it away")
    name: Any = db.execute("SELECT name FROM spool").fetchone()
    last: Any = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'record'").fetchone()
    return name[0], last[0] if last else 0


def _copy(disk: Disk, db: apsw.Connection, folder: Path, name: str, last: int, limits: SpoolLimits) -> None:
    for left in disk.names(folder):
        if left.removesuffix("-wal").removesuffix("-shm") in opening.segments_of(disk, folder) or ".aside" in left:
            disk.unlink(folder / left)
    lowest: Any = db.execute("SELECT min(position) FROM record").fetchone()
    first = lowest[0] if lowest[0] is not None else last + 1
    try:
        while True:
            upto = min(last, first + limits.segment_records - 1)
            path = create(disk, folder, first, name, _rows(db, first, upto))
            made = Segment(disk, path, {name}, sealed=True)
            made.last = upto
            sound, damages = opening.look_through(made)
            made.close()
            there: Any = db.execute(_COUNT, (first, upto)).fetchone()
            if sound != there[0]:
                raise BadConfiguration(
                    f"Of {there[0]} records up to position {upto}, {sound} could be taken over: {damages[:3]}",
                    try_this="look after the disk, then start again",
                )
            if upto >= last:
                break
            first = upto + 1
    except apsw.FullError as fault:
        raise NoRoom("No room to bring the spool into its new form.", try_this="free as much as it takes") from fault
    stream.save(disk, folder, Stream(name))


def _rows(db: apsw.Connection, first: int, last: int) -> Iterator[Row]:
    found: Any = db.execute(
        "SELECT position, token, payload FROM record WHERE position BETWEEN ? AND ? ORDER BY position", (first, last)
    )
    for position, token, payload in found:
        yield position, token, payload, sum_of(position, token, payload)
