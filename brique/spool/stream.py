"""The file `stream` in a spool's folder: its name, made once, and the names that it had before it was restored.

`brique restore` puts a file `restored` beside it. Where one is found, the spool takes a new name before anything else,
and remembers the old one with the last position that the backup knew of; see the protocol for why.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from brique.spool.disk import Disk
from brique.spool.protocol import Ancestor

FILE = "stream"
RESTORED = "restored"


class _File(msgspec.Struct):
    format: int
    name: str
    ancestors: list[tuple[str, int]] = []
    restored: str = ""


@dataclass(frozen=True)
class Stream:
    """`restored`: the content of the mark that was last acted upon, so that it is acted upon once."""

    name: str
    ancestors: tuple[Ancestor, ...] = ()
    restored: str = ""

    @property
    def names(self) -> frozenset[str]:
        """Every name that the segments in this folder may bear."""
        return frozenset({self.name, *(ancestor.name for ancestor in self.ancestors)})


def new_name() -> str:
    """A name that no other spool has."""
    return secrets.token_hex(8)


def load(disk: Disk, folder: Path) -> Stream | None:
    """What the folder's file says; None without one. Raises msgspec.DecodeError when it is damaged."""
    if FILE not in disk.names(folder):
        return None
    found = msgspec.json.decode(disk.read(folder / FILE), type=_File)
    return Stream(found.name, tuple(Ancestor(*one) for one in found.ancestors), found.restored)


def save(disk: Disk, folder: Path, stream: Stream) -> None:
    """Put `stream` into the folder's file, for good."""
    ancestors = [(one.name, one.last) for one in stream.ancestors]
    content = msgspec.json.encode(_File(1, stream.name, ancestors, stream.restored))
    disk.publish(folder / FILE, content + b"\n")


def renamed(disk: Disk, folder: Path, stream: Stream, last: Callable[[], int]) -> Stream:
    """`stream`, under a new name if it comes from a backup and has not yet got one. A crash is harmless."""
    mark = folder / RESTORED
    if RESTORED not in disk.names(folder):
        return stream
    restored = disk.read(mark).decode("utf-8", "replace") or "restored"
    if restored != stream.restored:
        stream = Stream(new_name(), (*stream.ancestors, Ancestor(stream.name, last())), restored)
        save(disk, folder, stream)
    disk.unlink(mark)
    disk.flush_folder(folder)
    return stream
