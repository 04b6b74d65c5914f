"""A folder on a disk whose power fails: what was not flushed may be gone, half there, or there before older writes.

    disk = SimDisk(folder, Random(seed))       # `folder` on a tmpfs; everything below it is watched
    disk.cut_at = disk.calls + 17              # the power fails at the 17th call from now
    spool = SqliteSpool(folder / "spool", disk=disk)
    ...                                        # raises PowerCut, from then on at every call that writes
    disk.power_up()                            # the folder now holds what a machine would find; go on with new objects
    disk.close()

`disk` fits `brique.spool.Disk`. SQLite goes through its VFS (`disk.vfs`); with `default=True` that is the VFS of every
connection that names none, so that the store is on this disk too. Files outside the folder are left alone.

A call is a write, flush, truncate, removal, renaming or making of a file. `cut_at` counts them in `calls`; `kill()`
cuts at once. What holds, as on a journaling file system in its usual mode:

- A file's bytes are safe after its own flush. Of what was not flushed each write is kept, dropped or torn to some of
  its 512-byte sectors, independently of the others.
- A name (made, renamed, removed) is safe after its folder's flush, and names change in the order of the calls: after a
  cut a beginning of them has happened. SQLite flushes the folder itself for its log and journal.
- A flush that fails (`failing_flushes` counts down) loses what it should have flushed, and the next one "succeeds".

SQLite goes on trying to write when it closes its files; Python tells these faults as "unraisable" ones.

Other weather: `room` (bytes, None without limit), `is_read_only`. Both may change at any time.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import apsw

_SECTOR = 512
_numbers = itertools.count(1)


class PowerCut(Exception):
    """The power has failed; nothing reaches the disk any more."""


@dataclass(eq=False)
class _File:
    """`safe`: its bytes as flushed. `unsafe`: what was written since, (offset, bytes), or (size, None) for a cut."""

    safe: bytearray = field(default_factory=bytearray)
    unsafe: list[tuple[int, bytes | None]] = field(default_factory=list)

    def apply(self, offset: int, data: bytes | None) -> None:
        if data is None:
            del self.safe[offset:]
            return
        if len(self.safe) < offset:
            self.safe.extend(bytes(offset - len(self.safe)))
        self.safe[offset : offset + len(data)] = data

    def flush(self) -> None:
        for one in self.unsafe:
            self.apply(*one)
        self.unsafe.clear()

    def lose(self, random: Random) -> None:
        """The power fails: each unsafe write happens, or not, or in part."""
        for offset, data in self.unsafe:
            fate = random.random()
            if data is None or fate < 0.4:
                if data is not None or fate < 0.5:
                    self.apply(offset, data)
            elif fate < 0.6:
                for start in range(0, len(data), _SECTOR):
                    if random.random() < 0.5:
                        self.apply(offset + start, data[start : start + _SECTOR])
        self.unsafe.clear()


_Names = dict[Path, _File]


class SimDisk:
    """See the module. Not thread-safe."""

    def __init__(self, folder: Path, random: Random, *, default: bool = False) -> None:
        self.folder = folder
        self.calls = 0
        self.cut_at: int | None = None
        self.failing_flushes = 0
        self.room: int | None = None
        self.is_read_only = False
        self.is_dead = False
        self._random = random
        self._names: _Names = {path: _File(bytearray(path.read_bytes())) for path in _files(folder)}
        self._safe_names: _Names = dict(self._names)
        self._name_calls: list[tuple[Path, _File | None, Path | None]] = []  # (name, its file or None, name that ends)
        self.vfs: str | None = f"power-{next(_numbers)}"
        self._vfs = _Vfs(self, self.vfs, default)

    # -- weather ------------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """The power fails now."""
        self.is_dead = True

    def power_up(self) -> None:
        """Make the folder what is left of it. Nothing may have its files open any more."""
        self._happen(self._random.randrange(len(self._name_calls) + 1))
        self._name_calls.clear()
        for file in {id(file): file for file in (*self._names.values(), *self._safe_names.values())}.values():
            file.lose(self._random)
        for path in _files(self.folder, everything=True):
            path.unlink()
        for path, file in self._safe_names.items():
            path.write_bytes(file.safe)
        self._names = dict(self._safe_names)
        self.is_dead, self.cut_at, self.failing_flushes = False, None, 0

    def close(self) -> None:
        """Take the VFS away again."""
        self._vfs.unregister()

    def _call(self) -> None:
        if not self.is_dead:
            self.calls += 1
            self.is_dead = self.cut_at is not None and self.calls >= self.cut_at
        if self.is_dead:
            raise PowerCut

    def _may_write(self, more: int = 0) -> None:
        if self.is_read_only:
            raise OSError(errno.EROFS, "simulated: the disk is read only")
        if more > 0 and self.room is not None and self._used() + more > self.room:
            raise OSError(errno.ENOSPC, "simulated: the disk is full")

    def _used(self) -> int:
        return sum(path.stat().st_size for path in _files(self.folder, everything=True))

    # -- what SQLite does ---------------------------------------------------------------------------------------------

    def watched(self, name: str | None) -> Path | None:
        path = Path(name) if name else None
        return path if path is not None and path.is_relative_to(self.folder) else None

    def opened(self, path: Path) -> _File:
        """The file at `path`, made if it is not there."""
        if path not in self._names:
            self._link(path, _File())
        return self._names[path]

    def wrote(self, file: _File, offset: int, data: bytes | None) -> None:
        """A write or cut, before it happens: at the moment of the power's failing it may be under way."""
        try:
            self._call()
        except PowerCut:
            if self.calls == self.cut_at:
                file.unsafe.append((offset, data))
                self.calls += 1
            raise
        file.unsafe.append((offset, data))

    def flushed(self, path: Path, file: _File) -> bool:
        """Flush a file; False when that fails, and what it held is lost without another word."""
        self._call()
        if self.failing_flushes > 0:
            self.failing_flushes -= 1
            file.unsafe.clear()
            return False
        file.flush()
        if path.name.endswith(("-wal", "-journal")):
            self._happen_for(path.parent)
        return True

    # -- what the spool does (brique.spool.Disk) ----------------------------------------------------------------------

    def names(self, folder: Path) -> list[str]:
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def size(self, path: Path) -> int:
        return path.stat().st_size if path.exists() else 0

    def make_folder(self, path: Path) -> None:
        if not path.is_dir():
            self._call()
            self._may_write(1)
            path.mkdir()

    def make_file(self, path: Path) -> None:
        self._call()
        self._may_write(1)
        path.touch()
        self.opened(path)

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def publish(self, path: Path, content: bytes) -> None:
        aside = path.with_name(path.name + ".aside")
        self.make_file(aside)
        try:
            self._may_write(len(content))
            file = self._names[aside]
            self.wrote(file, 0, None)
            self.wrote(file, 0, content)
            aside.write_bytes(content)
            if not self.flushed(aside, file):
                raise OSError(errno.EIO, "simulated: the flush failed")
        except OSError:
            self.unlink(aside)
            raise
        self.rename(aside, path)
        self.flush_folder(path.parent)

    def rename(self, old: Path, new: Path) -> None:
        self._call()
        self._may_write()
        old.rename(new)
        file = self._names.pop(old)
        self._names[new] = file
        self._name_calls.append((new, file, old))

    def unlink(self, path: Path) -> None:
        if not path.exists():
            return
        self._call()
        self._may_write()
        path.unlink()
        self.unlinked(path)

    def flush_folder(self, folder: Path) -> None:
        self._call()
        self._happen_for(folder)

    def free_bytes(self, folder: Path) -> int:
        return 1 << 40 if self.room is None else max(0, self.room - self._used())

    # -- names --------------------------------------------------------------------------------------------------------

    def _link(self, path: Path, file: _File) -> None:
        self._names[path] = file
        self._name_calls.append((path, file, None))

    def unlinked(self, path: Path) -> None:
        self._names.pop(path, None)
        self._name_calls.append((path, None, None))

    def _happen_for(self, folder: Path) -> None:
        """All that was done to names by now is safe: a journal's order does not know folders."""
        del folder
        self._happen(len(self._name_calls))
        self._name_calls.clear()

    def _happen(self, count: int) -> None:
        for path, file, ended in self._name_calls[:count]:
            if ended is not None:
                self._safe_names.pop(ended, None)
            if file is None:
                self._safe_names.pop(path, None)
            else:
                self._safe_names[path] = file


def _files(folder: Path, *, everything: bool = False) -> Iterator[Path]:
    for path in list(folder.rglob("*")):
        if path.is_file() and (everything or not path.name.endswith("-shm")):
            yield path


class _Vfs(apsw.VFS):
    def __init__(self, disk: SimDisk, name: str, default: bool) -> None:
        self._disk, self.base = disk, apsw.vfs_names()[0]
        super().__init__(name, self.base, makedefault=default)

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        plain = name.filename() if isinstance(name, apsw.URIFilename) else name
        path = self._disk.watched(plain)
        if path is not None and not path.exists():
            if not flags[0] & apsw.SQLITE_OPEN_CREATE:
                raise apsw.CantOpenError(f"there is no {path.name}")
            self._disk._call()
            if self._disk.is_read_only:
                raise apsw.CantOpenError("simulated: the disk is read only")
        return _VfsFile(self, path, name, flags)

    def xDelete(self, name: str, syncdir: bool) -> None:
        path = self._disk.watched(name)
        if path is not None:
            self._disk._call()
        super().xDelete(name, syncdir)
        if path is not None:
            self._disk.unlinked(path)
            if syncdir:
                self._disk.flush_folder(path.parent)


class _VfsFile(apsw.VFSFile):
    def __init__(self, vfs: _Vfs, path: Path | None, name: Any, flags: list[int]) -> None:
        super().__init__(vfs.base, name, flags)
        self._disk, self._path = vfs._disk, path
        self._file = self._disk.opened(path) if path is not None else None

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._file is not None:
            assert self._path is not None
            try:
                self._disk._may_write(offset + len(data) - self._path.stat().st_size)
            except OSError as fault:
                raise (apsw.FullError if fault.errno == errno.ENOSPC else apsw.ReadOnlyError)(str(fault)) from fault
            self._disk.wrote(self._file, offset, bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        if self._file is not None:
            self._disk.wrote(self._file, size, None)
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        if self._file is not None:
            assert self._path is not None
            if not self._disk.flushed(self._path, self._file):
                fault = apsw.IOError("simulated: the flush failed")
                fault.extendedresult = apsw.SQLITE_IOERR_FSYNC  # type: ignore[attr-defined]  # read by apsw
                raise fault
            return
        super().xSync(flags)
