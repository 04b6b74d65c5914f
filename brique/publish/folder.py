"""A folder: a file for each key, `statement/7.json`, put beside and renamed over; its writer holds a lock.

The head is `!head.json`. Files may be read by whoever may read the folder.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

import msgspec

from brique.errors import BackendAway
from brique.publish.protocol import HEAD, Fenced, Head, Item
from brique.views import etag_of

_SUFFIX, _ASIDE = ".json", ".!"
_LOCK = "!lock"
Answer = TypeVar("Answer")


class FolderPlace:
    """The folder of `folder:/path`."""

    kind = "folder"
    value_bytes_max = 64 * 1024**2

    def __init__(self, name: str, url: str, *, timeout: float, connect_timeout: float) -> None:
        self.name = name
        path = unquote(url.partition(":")[2])
        self.path = Path(path.removeprefix("//") if path.startswith("///") else path)
        self._lock: int | None = None

    def head(self) -> Head:
        return self._doing(self._head)

    def _head(self) -> Head:
        self.path.stat()
        try:
            return Head.of(msgspec.json.decode((self.path / f"{HEAD}{_SUFFIX}").read_bytes(), type=dict[str, object]))
        except FileNotFoundError:
            return Head()
        except msgspec.DecodeError as fault:
            raise BackendAway(f"{self.name}: {HEAD}{_SUFFIX} cannot be read: {fault}") from fault

    def take(self, known: Head, new: Head) -> None:
        self._doing(self._take_lock)
        if self.head().epoch != known.epoch:
            raise Fenced(f"{self.name}: another brique has taken it.")
        self._doing(lambda: self._put_head(new))

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        handle = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            os.close(handle)
            raise BackendAway(f"{self.name}: another process writes there") from fault
        self._lock = handle

    def put(self, items: Sequence[Item], head: Head) -> None:
        if self._lock is None or self.head().epoch != head.epoch:
            raise Fenced(f"{self.name}: another brique has taken it.")
        self._doing(lambda: self._put(items, head))

    def _put(self, items: Sequence[Item], head: Head) -> None:
        touched: set[Path] = set()
        for item in items:
            path = self._path(item.key)
            touched.add(path.parent)
            if item.body is None:
                with suppress(FileNotFoundError):
                    path.unlink()
            else:
                self._write(path, item.body)
        self._flush(touched)
        self._put_head(head)

    def _put_head(self, head: Head) -> None:
        self._write(self.path / f"{HEAD}{_SUFFIX}", msgspec.json.encode({**head.texts(), "epoch": head.epoch}))
        self._flush([self.path])

    def _write(self, path: Path, body: bytes) -> None:
        self._make(path.parent)
        aside = path.with_name(f"{path.name[:200]}{_ASIDE}")
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as out:
            out.write(body)
            out.flush()
            os.fchmod(handle, self.path.stat().st_mode & 0o666)
            os.fsync(handle)
        aside.replace(path)

    def _make(self, folder: Path) -> None:
        if not folder.is_dir():
            self._make(folder.parent)
            folder.mkdir(exist_ok=True)
            folder.chmod(self.path.stat().st_mode & 0o777)

    def _flush(self, folders: Iterable[Path]) -> None:
        for folder in folders:
            with suppress(FileNotFoundError):
                handle = os.open(folder, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)

    def inventory(self) -> Iterator[tuple[str, str]]:
        """Each file is read: its ETag is that of what it holds."""
        self._doing(self.path.stat)
        for path in self.path.rglob(f"*{_SUFFIX}"):
            parts = path.relative_to(self.path).as_posix().removesuffix(_SUFFIX).split("/")
            key = "/".join([*map(_part_of, parts[:-1]), parts[-1]])
            with suppress(FileNotFoundError):
                if key != HEAD:
                    yield key, etag_of(self._doing(path.read_bytes))

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        found = {}
        for key in keys:
            with suppress(FileNotFoundError):
                found[key] = self._path(key).read_bytes()
        return found

    def _path(self, key: str) -> Path:
        """Where a key is. Keys hold no `.` or `..` between slashes, and nothing else that leads out of the folder."""
        parts = key.split("/")
        assert key and not {"", ".", ".."} & set(parts), key
        return self.path.joinpath(*map(_folder_of, parts[:-1]), parts[-1] + _SUFFIX)

    def tidy(self, before: str) -> None:
        """Remove what a crash has left half written, and folders of which nothing is left."""
        for path in self.path.rglob(f"*{_ASIDE}"):
            with suppress(OSError):
                path.unlink()
        for folder, _folders, _files in os.walk(self.path, topdown=False):
            if Path(folder) != self.path:
                with suppress(OSError):
                    Path(folder).rmdir()

    def abort(self) -> None:
        """A call to the file system cannot be aborted: the process is given up."""

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _doing(self, work: Callable[[], Answer]) -> Answer:
        try:
            return work()
        except FileNotFoundError as fault:
            if not self.path.is_dir():
                raise BackendAway(f"{self.name}: there is no folder {self.path}") from fault
            raise
        except OSError as fault:
            raise BackendAway(f"{self.name}: {fault.strerror}: {fault.filename or self.path}") from fault


def _folder_of(part: str) -> str:
    """The folder of a part of a key: none has the name that a file may have."""
    return f"{part.removesuffix(_SUFFIX)}%2Ejson" if part.endswith(_SUFFIX) else part


def _part_of(folder: str) -> str:
    return f"{folder.removesuffix('%2Ejson')}{_SUFFIX}" if folder.endswith("%2Ejson") else folder
