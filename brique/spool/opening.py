"""Opening a spool's folder: which segments are there, which are sound, where to go on.

Positions are never given twice. So where the newest segment is lost, the next one begins beyond what it can have held:
a number that is skipped costs nothing, one that is given twice costs a write.
"""

from __future__ import annotations

from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import apsw
import msgspec

from brique.spool import damaged, stream
from brique.spool.disk import Disk
from brique.spool.limits import SpoolLimits
from brique.spool.protocol import Damage
from brique.spool.recovery import Recovery
from brique.spool.segment import ASIDE, BESIDE, NotASegment, Segment, first_of
from brique.spool.stream import Stream

IN_USE = "in-use"
"""A file that names the segment that is being written to, from its first record until the spool is closed."""
_OWN = {stream.FILE, stream.RESTORED, IN_USE, damaged.FOLDER}
_ROW_BYTES_MIN = 8  # a record takes more than that in a file


def segments_of(disk: Disk, folder: Path) -> list[str]:
    """The file names of the segments, oldest first."""
    return [name for name in disk.names(folder) if first_of(name) is not None]


def tidy(disk: Disk, folder: Path, found: Recovery) -> None:
    """Remove what a crash has left half made, and note what does not belong here."""
    names = disk.names(folder)
    segments = {name for name in names if first_of(name) is not None}
    for name in names:
        if name in segments or name in _OWN:
            continue
        base = next((name.removesuffix(ending) for ending in BESIDE if name.endswith(ending)), name)
        if base in segments:
            continue
        if ASIDE in name or first_of(base) is not None:
            with suppress(OSError):  # on a disk that is read only
                disk.unlink(folder / name)
            found.removed.append(name)
        else:
            found.foreign.append(name)


def stream_of(disk: Disk, folder: Path, found: Recovery) -> Stream | None:
    """The stream that the folder says it is, or else its newest segment; None for a new spool."""
    try:
        known = stream.load(disk, folder)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        found.notes.append(f"the file {stream.FILE!r} cannot be read ({fault}): it was set aside and made again")
        damaged.set_aside(disk, folder / stream.FILE, str(fault))
        known = None
    if known is not None:
        return known
    for name in reversed(segments_of(disk, folder)):
        with suppress(NotASegment, apsw.Error):
            segment = Segment(disk, folder / name, any_name(), sealed=False, looking=True)
            segment.close()
            found.notes.append(f"the file {stream.FILE!r} was not there: the name is that of {name}")
            return Stream(segment.stream)
    return None


class _Any(Container[str]):
    def __contains__(self, _: object) -> bool:
        return True


def any_name() -> Container[str]:
    """For segments of whatever stream."""
    return _Any()


@dataclass
class Opened:
    """The sound segments, oldest first, each with its `last`; the last position that may have been given out; and what
    is lost before the oldest of them."""

    segments: list[Segment]
    last: int
    lost: Damage | None


def open_all(
    disk: Disk, folder: Path, names: Container[str], found: Recovery, limits: SpoolLimits, *, looking: bool = False
) -> Opened:
    """Open the segments of `folder`, of the streams `names`; only the newest may be written to.

    What cannot be opened is put into `found` and, unless `looking`, set aside. Where the newest cannot be, it may have
    held as many records as a segment may, or as fit into its size.
    """
    segments: list[Segment] = []
    lost: list[str] = []
    beyond = 0
    files = segments_of(disk, folder)
    for name in files:
        is_newest = name == files[-1]
        path = folder / name
        size = disk.size(path) + disk.size(path.with_name(name + "-wal"))
        try:
            segment = Segment(disk, path, names, sealed=not is_newest, looking=looking, log_pages=limits.log_pages)
        except NotASegment as fault:
            if is_newest and size:
                beyond = _first(name) + max(size // _ROW_BYTES_MIN, limits.segment_records) - 1
            elif is_newest:
                beyond = _first(name) - 1
                found.notes.append(f"{name} is empty: the power failed before anything was kept in it")
            if size or not is_newest:
                lost.append(name)
                found.missing.append(f"{name} ({fault})")
            if not looking:
                damaged.set_aside(disk, path, str(fault))
            continue
        if segments:
            segments[-1].last = segment.first - 1  # what is beyond was left by a commit that failed
        segments.append(segment)
        found.wal_frames += segment.wal_frames
    if segments and beyond > segments[-1].last:
        segments[-1].last = beyond
    last = segments[-1].last if segments else beyond
    return Opened(segments, last, _lost_before(segments, lost, last))


def _first(name: str) -> int:
    first = first_of(name)
    assert first is not None, "it is a segment's name"
    return first


def _lost_before(segments: list[Segment], lost: list[str], last: int) -> Damage | None:
    if not lost or (segments and segments[0].first < _first(lost[0])):
        return None
    return Damage(_first(lost[0]), segments[0].first - 1 if segments else last, "its segment is lost", lost[0])


def look_through(segment: Segment) -> tuple[int, list[Damage]]:
    """Read a segment whole: how many records are sound, and what is damaged."""
    sound, damages, after = 0, [], segment.first - 1
    while after < segment.last:
        batch = list(segment.read(after, 5000))
        if not batch:
            break
        for one in batch:
            if isinstance(one, Damage):
                damages.append(one)
            else:
                sound += 1
        after = batch[-1].position
    return sound, damages
