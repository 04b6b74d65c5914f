"""What could not be read is set aside in the folder `damaged`, for a person to look at; nothing is thrown away."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

import msgspec

from brique.spool.disk import Disk
from brique.spool.protocol import Damage
from brique.spool.segment import BESIDE

log = logging.getLogger(__name__)
FOLDER = "damaged"
_FILES_MAX = 1000


def set_aside(disk: Disk, path: Path, reason: str) -> None:
    """Move a file that cannot be used as a segment, and what SQLite has beside it, into `damaged`."""
    folder = path.parent / FOLDER
    disk.make_folder(folder)
    taken = set(disk.names(folder))
    number = 0
    while _numbered(path.name, number) in taken:
        number += 1
    for ending in ("", *BESIDE):
        part = path.with_name(path.name + ending)
        if disk.size(part) or not ending:
            disk.rename(part, folder / (_numbered(path.name, number) + ending))
    disk.flush_folder(folder)
    disk.flush_folder(path.parent)
    log.error("segment %s of the spool cannot be used (%s): moved to %s", path.name, reason, folder)


def _numbered(name: str, number: int) -> str:
    return f"{name}.{number}" if number else name


def note(disk: Disk, folder: Path, damage: Damage, raw: bytes) -> None:
    """Write down, once, that `damage` was found, with what is left of the payload."""
    log.error("the spool is damaged: %s", damage)
    aside = folder / FOLDER
    name = f"{damage.first:012d}-{damage.position:012d}.json"
    facts = {"first": damage.first, "last": damage.position, "file": damage.file, "reason": damage.reason}
    with suppress(OSError):  # it is told in any case, and found again at the next reading
        disk.make_folder(aside)
        names = disk.names(aside)
        if name not in names and len(names) < _FILES_MAX:
            disk.publish(aside / name, msgspec.json.format(msgspec.json.encode({**facts, "payload": raw.hex()})))
