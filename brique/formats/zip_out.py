"""A ZIP archive written straight to a socket: nothing is ever sought or patched.

Small parts are written with their sizes; a part of unknown length is followed by a data descriptor. No part may reach
4 GiB (not every reader takes the ZIP64 form of a streamed part), but their sum may: then the directory, and only it,
takes the ZIP64 form.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from struct import pack

from brique.errors import TooMuch

_LIMIT = 0xFFFFFFFF
_UTF8, _DESCRIPTOR = 0x800, 0x8
_DATE = 0x21  # 1 January 1980: the same rows make the same bytes
PART_BYTES_MAX = _LIMIT - 1


@dataclass(frozen=True)
class _Entry:
    name: bytes
    flags: int
    crc: int
    packed: int
    size: int
    offset: int


class ZipStream:
    """Turns parts into the bytes of an archive. `offset`: how many bytes stand before it in the same file."""

    def __init__(self, *, level: int = 1, offset: int = 0) -> None:
        self._level = level
        self._offset = offset
        self._entries: list[_Entry] = []
        self._name: bytes | None = None
        self._start = self._crc = self._size = self._packed = 0
        self._deflate = self._deflator()

    def _deflator(self) -> zlib._Compress:
        return zlib.compressobj(self._level, zlib.DEFLATED, -15, 9)

    def part(self, name: str, data: bytes) -> bytes:
        """A whole part."""
        assert self._name is None, "end() the open part first"
        deflate = self._deflator()
        packed = deflate.compress(data) + deflate.flush()
        entry = _Entry(name.encode(), _UTF8, zlib.crc32(data), len(packed), len(data), self._offset)
        self._entries.append(entry)
        return self._sent(_local(entry) + packed)

    def begin(self, name: str) -> bytes:
        """Open a part whose length is not known yet; `feed` and `end` follow."""
        assert self._name is None, "end() the open part first"
        self._name, self._start = name.encode(), self._offset
        self._crc = self._size = self._packed = 0
        self._deflate = self._deflator()
        return self._sent(_local(_Entry(self._name, _UTF8 | _DESCRIPTOR, 0, 0, 0, self._start)))

    def feed(self, data: bytes) -> bytes:
        """More of the open part; may give no bytes yet. Raises TooMuch at 4 GiB: begin another part before."""
        if self._size + len(data) > PART_BYTES_MAX:
            raise TooMuch("A part of an archive cannot hold 4 GiB.", limit=PART_BYTES_MAX)
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        return self._packed_bytes(self._deflate.compress(data))

    def flush(self) -> bytes:
        """What the compressor holds back, so that a reader sees it now; costs a few bytes."""
        return self._packed_bytes(self._deflate.flush(zlib.Z_SYNC_FLUSH))

    @property
    def size(self) -> int:
        """Bytes of the open part before compression."""
        return self._size

    def end(self) -> bytes:
        """Close the open part."""
        assert self._name is not None, "begin() a part first"
        tail = self._packed_bytes(self._deflate.flush())
        entry = _Entry(self._name, _UTF8 | _DESCRIPTOR, self._crc, self._packed, self._size, self._start)
        self._entries.append(entry)
        self._name = None
        return tail + self._sent(pack("<4sLLL", b"PK\x07\x08", entry.crc, entry.packed, entry.size))

    def finish(self) -> bytes:
        """The directory: nothing may follow."""
        assert self._name is None, "end() the open part first"
        start, count = self._offset, len(self._entries)
        directory = b"".join(map(_central, self._entries))
        size = len(directory)
        tail = b""
        if start >= _LIMIT or size >= _LIMIT or count >= 0xFFFF:
            tail = pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, start)
            tail += pack("<4sLQL", b"PK\x06\x07", 0, start + size, 1)
        tail += pack(
            "<4sHHHHLLH",
            b"PK\x05\x06",
            0,
            0,
            min(count, 0xFFFF),
            min(count, 0xFFFF),
            min(size, _LIMIT),
            min(start, _LIMIT),
            0,
        )
        return self._sent(directory + tail)

    def _packed_bytes(self, data: bytes) -> bytes:
        self._packed += len(data)
        return self._sent(data)

    def _sent(self, data: bytes) -> bytes:
        self._offset += len(data)
        return data


def _local(entry: _Entry) -> bytes:
    sizes = (entry.crc, entry.packed, entry.size)
    head = pack("<4sHHHHHLLLHH", b"PK\x03\x04", 20, entry.flags, 8, 0, _DATE, *sizes, len(entry.name), 0)
    return head + entry.name


def _central(entry: _Entry) -> bytes:
    far = entry.offset >= _LIMIT
    extra = pack("<HHQ", 1, 8, entry.offset) if far else b""
    head = pack(
        "<4sHHHHHHLLLHHHHHLL",
        b"PK\x01\x02",
        45 if far else 20,
        45 if far else 20,
        entry.flags,
        8,
        0,
        _DATE,
        entry.crc,
        entry.packed,
        entry.size,
        len(entry.name),
        len(extra),
        0,
        0,
        0,
        0,
        min(entry.offset, _LIMIT),
    )
    return head + entry.name + extra
