"""The spool on one machine: a folder of segments, each a SQLite file in WAL mode, flushed at every commit.

What is always true:

- A record is written once. Nothing is updated or deleted, which would need room on a disk that may have none: room is
  made by unlinking whole segments, which needs none.
- On return of `append` SQLite has flushed its log (`synchronous=FULL`), and the file's name was flushed before anything
  was kept in it.
- Segments follow each other: each ends where the next one's name says that it begins.

**After a failed flush** nothing that the operating system says about that file is believed any more: Linux reports a
failed fsync once, marks the pages clean, and says "flushed" the next time although they never reached the disk. So a
commit that failed (for anything but a full disk, where SQLite knows what it did) is answered with NoRoom, and before
the next one a *new segment* is begun, a new file with pages of its own, at the position after the last one that was
acknowledged. The old connection is closed and the old file read again, whole, against its checksums. What the failed
commit may have left in it lies beyond where the next segment begins and does not count.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

import apsw

from brique.errors import BadConfiguration, Busy, NoRoom, TooMuch
from brique.spool import damaged, opening, segment, stream, takeover
from brique.spool.compaction import Rewritten, Stretch, rewritten
from brique.spool.disk import Disk, RealDisk
from brique.spool.limits import MIB, SpoolLimits
from brique.spool.protocol import Ancestor, Damage, Entry, Record
from brique.spool.recovery import Recovery
from brique.spool.segment import Row, Segment, sum_of
from brique.spool.stream import Stream

log = logging.getLogger(__name__)
_OPEN_MAX = 64  # segments that are held open at once
_UNKNOWN_MAX = 10_000
_FREE_SOME = "free some space on the disk of the data folder"


class SqliteSpool:
    """The spool in `folder`, made when it is not there. `recovery` says what was found.

    `takes_over`: the single file of an earlier version, which goes into the folder (see `takeover`).
    Raises BadConfiguration when the folder cannot be used, NoRoom when there is no room to open it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        limits: SpoolLimits | None = None,
        takes_over: Path | None = None,
        disk: Disk | None = None,
    ) -> None:
        self.folder = folder
        self.limits = limits or SpoolLimits()
        self.recovery = Recovery()
        self._disk: Disk = disk or RealDisk()
        self._is_closed = False
        self._is_doubtful = False
        self._in_use = ""
        self._unknown: set[str] = set()
        self._noted: set[int] = set()
        self._sealed: list[Segment] = []
        try:
            self._disk.make_folder(folder)
            self._open(takes_over)
        except (apsw.FullError, OSError, apsw.IOError, apsw.ReadOnlyError, apsw.CantOpenError) as fault:
            self.close()
            raise NoRoom(f"The spool in {folder} cannot be opened: {fault}", try_this=_FREE_SOME) from fault
        except BaseException:
            self.close()
            raise

    # -- opening ------------------------------------------------------------------------------------------------------

    def _open(self, takes_over: Path | None) -> None:
        disk, folder, found = self._disk, self.folder, self.recovery
        if takes_over is not None:
            found.taken_over = takeover.take_over(disk, takes_over, folder, self.limits)
        opening.tidy(disk, folder, found)
        known = opening.stream_of(disk, folder, found)
        self._stream = known or Stream(stream.new_name())
        opened = opening.open_all(disk, folder, self._stream.names, found, self.limits)
        self._sealed, self._last, self._lost = opened.segments, opened.last, opened.lost
        before = self._stream
        self._stream = stream.renamed(disk, folder, before, self.last)
        if known is None or found.notes:
            stream.save(disk, folder, self._stream)
        self._choose_active(is_restored=self._stream is not before)
        self._sum_up()

    def _choose_active(self, *, is_restored: bool) -> None:
        """Go on in the newest segment if it is sound, else in a new one."""
        found = self.recovery
        newest = self._sealed[-1] if self._sealed else None
        if newest is not None and not newest.is_sealed:
            found.damages += opening.look_through(newest)[1]
            was_in_use = opening.IN_USE in self._disk.names(self.folder)
            found.was_closed = not was_in_use
            marked = self._disk.read(self.folder / opening.IN_USE).decode("utf-8", "replace") if was_in_use else ""
            if marked == newest.path.name and not self._had_log(newest):
                found.notes.append(f"the log of {marked} is gone although it was in use, and what it held with it")
            if not (found.damages or is_restored or newest.last != newest.top):
                self._active = self._sealed.pop()
                return
        self._active = self._begin(self._last + 1)
        if newest is not None:
            newest.seal()

    def _had_log(self, newest: Segment) -> bool:
        return newest.wal_frames > 0 or self._disk.size(newest.beside("-wal")) > 0

    def _begin(self, first: int) -> Segment:
        path = segment.create(self._disk, self.folder, first, self._stream.name)
        return Segment(self._disk, path, {self._stream.name}, sealed=False, log_pages=self.limits.log_pages)

    def _sum_up(self) -> None:
        found = self.recovery
        segments = [*self._sealed, self._active]
        if self._lost is not None:
            found.damages.insert(0, self._lost)
        for one in self._sealed:
            if one.last > one.top and not any(one.top < damage.position for damage in found.damages):
                found.damages.append(Damage(one.top + 1, one.last, "missing from its file", one.path.name))
        found.stream, found.segments = self._stream.name, len(segments)
        found.first, found.last = segments[0].first, self._last
        found.records = sum(one.count for one in segments) - sum(
            damage.position - damage.first + 1 for damage in found.damages if damage is not self._lost
        )
        found.bytes = self.size_bytes()
        where = {one.path.name: one for one in segments}
        for damage in found.damages:
            self._note(damage, where.get(damage.file))

    # -- keeping ------------------------------------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry], *, urgent: bool = False) -> list[int]:
        if self._is_closed:
            raise Busy("The spool is closed.", try_this="try again in a moment")
        if not entries:
            return []
        if not urgent:
            self._check_limits(entries)
        if self._is_doubtful:
            self._regain_trust()
        positions, rows = self._placed(entries)
        if rows:
            self._make_way()
            self._write(rows)
        return positions

    def _check_limits(self, entries: Sequence[Entry]) -> None:
        limits, wanted = self.limits, 0
        for entry in entries:
            size = len(entry.payload)
            if size > limits.payload_bytes_max:
                raise TooMuch(
                    f"A command of {size // 1024} KiB is more than command_bytes_max "
                    f"({limits.payload_bytes_max // 1024} KiB) allows.",
                    try_this="send it in parts",
                )
            wanted += size
        free = self._disk.free_bytes(self.folder)
        if free < limits.free_bytes_min + 2 * wanted:
            raise NoRoom(
                f"The disk of {self.folder} has {free // 1024} KiB left: the write was not kept.",
                try_this="free some space; what was acknowledged before is safe and goes on being sent",
            )
        if self.size_bytes() + wanted > limits.bytes_max:
            raise NoRoom(
                f"The spool holds {self.size_bytes() // MIB} MiB, as much as spool_bytes_max allows; nothing was kept.",
                try_this="wait until what waits has been sent, or raise spool_bytes_max",
            )

    def _placed(self, entries: Sequence[Entry]) -> tuple[list[int], list[Row]]:
        """The position of each entry, and the rows to be written."""
        positions, rows = [], []
        fresh: dict[str, int] = {}
        position = self._last
        for entry in entries:
            token = entry.token or None
            if token is not None:
                known = fresh.get(token) or self._position_of(token)
                if known:
                    positions.append(known)
                    continue
            position += 1
            if token is not None:
                fresh[token] = position
            positions.append(position)
            rows.append((position, token, entry.payload, sum_of(position, token, entry.payload)))
        return positions, rows

    def _position_of(self, token: str) -> int:
        if token in self._unknown:
            return 0
        known = self.find(token)
        return known.position if known is not None else 0

    def _write(self, rows: Sequence[Row]) -> None:
        active = self._active
        try:
            active.append(rows)
        except apsw.FullError as fault:
            raise NoRoom("The disk is full: the write was not kept.", try_this=_FREE_SOME) from fault
        except apsw.BusyError as fault:
            raise Busy("The spool is held by another program.", try_this="try again in a moment") from fault
        except apsw.Error as fault:
            self._is_doubtful = True
            log.error("the disk failed under %s: %s", active.path.name, fault)
            raise NoRoom(f"The write could not be kept on disk: {fault}", try_this="look after the disk") from fault
        except BaseException:
            self._is_doubtful = True
            raise
        self._last = rows[-1][0]
        self._unknown.clear()
        if self._in_use != active.path.name:
            self._mark_in_use()

    def _mark_in_use(self) -> None:
        self._in_use = self._active.path.name
        with suppress(OSError):  # without it, a log that is lost is not told
            self._disk.publish(self.folder / opening.IN_USE, self._in_use.encode())

    def _make_way(self) -> None:
        """Begin a new segment when the newest is full; without room for one it goes on growing."""
        active, limits = self._active, self.limits
        if active.bytes < limits.segment_bytes and active.last - active.first + 1 < limits.segment_records:
            return
        if active.last < active.first:
            return
        with suppress(apsw.Error, OSError):
            self._roll()

    def _roll(self) -> None:
        """Begin a new segment after the last position. Raises apsw.Error, OSError; then nothing has changed."""
        old, new = self._active, self._begin(self._last + 1)
        old.last = self._last
        self._active = new
        self._sealed.append(old)
        old.seal()
        for one in self._sealed[:-_OPEN_MAX]:
            one.close()

    def _regain_trust(self) -> None:
        """Begin anew in a file of its own, and see what the old one is worth. Raises NoRoom."""
        old, is_empty = self._active, self._last < self._active.first
        try:
            if is_empty:
                self._begin_again(old)
            else:
                self._roll()
        except (apsw.Error, OSError) as fault:
            raise NoRoom(
                f"The disk does not take writes: {fault}", try_this="look after the disk; brique goes on by itself"
            ) from fault
        self._is_doubtful = False
        if is_empty:
            return
        damages = opening.look_through(old)[1]
        self.recovery.damages += damages
        for damage in damages:
            self._note(damage)
        log.warning(
            "the spool goes on in %s; the last file was read again: %d damages", self._active.path, len(damages)
        )

    def _begin_again(self, old: Segment) -> None:
        """Put a new file in the place of the newest segment, which holds nothing that counts: a second one beside it
        would have its name. Raises apsw.Error, OSError."""
        old.close()
        for ending in segment.BESIDE:
            self._disk.unlink(old.beside(ending))
        self._active = self._begin(old.first)

    # -- reading ------------------------------------------------------------------------------------------------------

    def read(self, after: int, limit: int) -> Iterator[Record | Damage]:
        left = limit
        if self._lost is not None and after < self._lost.position and left > 0:
            yield self._note(self._lost)
            left -= 1
        for one in chain(list(self._sealed), (self._active,)):
            if one.last <= after or left <= 0:
                continue
            for found in one.read(max(after, one.first - 1), left):
                yield self._note(found, one) if isinstance(found, Damage) else found
                left -= 1
                after = found.position

    def _note(self, damage: Damage, where: Segment | None = None) -> Damage:
        if damage.first not in self._noted:
            self._noted.add(damage.first)
            raw = where.raw(damage.first) if where is not None and damage.first == damage.position else b""
            damaged.note(self._disk, self.folder, damage, raw)
        return damage

    def find(self, token: str) -> Record | None:
        for one in chain((self._active,), reversed(self._sealed)):
            found = one.find(token)
            if found is not None:
                return found
        if len(self._unknown) < _UNKNOWN_MAX:
            self._unknown.add(token)
        return None

    # -- letting go ---------------------------------------------------------------------------------------------------

    def forget(self, upto: int) -> int:
        if self._active.first <= self._active.last <= upto:
            with suppress(apsw.Error, OSError):  # a full disk: the newest segment stays
                self._roll()
        count = 0
        try:
            while self._sealed and self._sealed[0].last <= upto:
                self._sealed[0].unlink()
                count += self._sealed.pop(0).count
            if self._lost is not None and self._lost.position <= upto:
                self._lost = None
            if count:
                self._disk.flush_folder(self.folder)
        except OSError as fault:
            log.warning("segments of the spool could not be removed: %s", fault)
        return count

    def stretches(self) -> list[Stretch]:
        """The segments that are not written to any more, oldest first."""
        return [Stretch(one.first, one.last, one.count, one.bytes) for one in self._sealed]

    def rewrite(self, first: int, is_needed: Callable[[Record], bool]) -> Rewritten | None:
        """Write aside the segment that begins at `first` with only what is needed of it; None when it is gone.

        The spool is not changed, so that this may run in another thread. Raises NoRoom. Hand the result to `replace`.
        """
        found = next((one for one in list(self._sealed) if one.first == first), None)
        return rewritten(self._disk, found, is_needed) if found is not None else None

    def replace(self, made: Rewritten) -> int:
        """Put what `rewrite` has made in the place of its segment; how many bytes that frees."""
        for place, old in enumerate(self._sealed):
            if old.first == made.first:
                old.close()
                self._disk.rename(made.aside, old.path)
                self._disk.flush_folder(self.folder)
                new = Segment(self._disk, old.path, self._stream.names, sealed=True)
                new.last = old.last
                self._sealed[place] = new
                return old.bytes - new.bytes
        self._disk.unlink(made.aside)
        return 0

    # -- what is known of it ------------------------------------------------------------------------------------------

    def last(self) -> int:
        return self._last

    def skip_to(self, position: int) -> None:
        if position <= self._last:
            return
        before, self._last = self._last, position
        try:
            self._roll()
        except (apsw.Error, OSError) as fault:
            self._last = before
            raise NoRoom(f"The spool cannot go on: {fault}", try_this=_FREE_SOME) from fault

    @property
    def payload_bytes_max(self) -> int:
        return self.limits.payload_bytes_max

    def name(self) -> str:
        return self._stream.name

    def ancestors(self) -> tuple[Ancestor, ...]:
        return self._stream.ancestors

    def size_bytes(self) -> int:
        return sum(one.bytes for one in self._sealed) + self._active.bytes

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        with suppress(OSError):  # read only: it will be said that it was not closed in order
            if opening.IN_USE in self._disk.names(self.folder):
                self._disk.unlink(self.folder / opening.IN_USE)
                self._disk.flush_folder(self.folder)  # before the log goes, which would look like a loss
        segments = [*self._sealed, self._active] if hasattr(self, "_active") else self._sealed
        for one in segments:
            with suppress(apsw.Error):
                one.close()


def check_spool(folder: Path, *, disk: Disk | None = None) -> Recovery:
    """Read the spool in `folder` whole, every record against its checksum, and say what was found; changes nothing.

    It may be in use meanwhile. Raises BadConfiguration when there is none.
    """
    disk = disk or RealDisk()
    found = Recovery()
    if not opening.segments_of(disk, folder):
        raise BadConfiguration(f"There is no spool in {folder}.", try_this="name the data folder with --data")
    known = stream.load(disk, folder)
    names = known.names if known is not None else opening.any_name()
    found.was_closed = opening.IN_USE not in disk.names(folder)
    opened = opening.open_all(disk, folder, names, found, SpoolLimits(), looking=True)
    if opened.lost is not None:
        found.damages.append(opened.lost)
    for one in opened.segments:
        sound, damages = opening.look_through(one)
        one.close()
        found.records += sound
        found.damages += damages
        found.bytes += one.bytes
    found.stream = known.name if known is not None else ""
    found.segments = len(opened.segments)
    found.first, found.last = opened.segments[0].first if opened.segments else 1, opened.last
    return found
