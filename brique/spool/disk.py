"""The disk as the spool sees it, so that a test can hand in one whose power fails.

SQLite does its own reading and writing, through the virtual file system named `vfs`. Everything else that must survive
a crash goes through these few calls.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Protocol


class Disk(Protocol):
    """Files by path. Every fault is an OSError. `vfs`: the name of SQLite's file system on it (None: the usual)."""

    vfs: str | None

    def names(self, folder: Path) -> list[str]:
        """What is in `folder`, sorted; nothing when it is not there."""
        ...

    def size(self, path: Path) -> int:
        """Size in bytes; 0 for a file that is not there."""
        ...

    def make_folder(self, path: Path) -> None:
        """Make `path`, for its owner alone, and flush its name. It may be there already."""
        ...

    def make_file(self, path: Path) -> None:
        """Make an empty file, for its owner alone (SQLite gives the files beside it the same mode)."""
        ...

    def read(self, path: Path) -> bytes:
        """The whole file."""
        ...

    def publish(self, path: Path, content: bytes) -> None:
        """Make `path` hold `content`, whole or not at all: written aside, flushed, renamed, folder flushed."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Rename in one step, over what is there. Not flushed."""
        ...

    def unlink(self, path: Path) -> None:
        """Remove a file, if it is there. Not flushed."""
        ...

    def flush_folder(self, folder: Path) -> None:
        """Put the folder's list of names on the disk, so that new, renamed and removed files survive a power cut."""
        ...

    def free_bytes(self, folder: Path) -> int:
        """Room left on the disk of `folder`."""
        ...


class RealDisk:
    """The operating system's own."""

    vfs: str | None = None

    def names(self, folder: Path) -> list[str]:
        try:
            return sorted(os.listdir(folder))  # noqa: PTH208 - names alone are wanted
        except FileNotFoundError:
            return []

    def size(self, path: Path) -> int:
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return 0

    def make_folder(self, path: Path) -> None:
        if not path.is_dir():
            path.mkdir(mode=0o700)
            self.flush_folder(path.parent)

    def make_file(self, path: Path) -> None:
        path.touch(mode=0o600)

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def publish(self, path: Path, content: bytes) -> None:
        aside = path.with_name(path.name + ".aside")
        try:
            with aside.open("wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.rename(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        self.flush_folder(path.parent)

    def rename(self, old: Path, new: Path) -> None:
        old.rename(new)

    def unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def flush_folder(self, folder: Path) -> None:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def free_bytes(self, folder: Path) -> int:
        return shutil.disk_usage(folder).free
