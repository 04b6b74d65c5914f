"""Workbooks in (xlsx, xlsm, xlsb, xls, ods): read by `python-calamine` in a child process that may die.

The library holds a whole sheet in memory and ends its process when it cannot (a 5 KB file with one cell in the last
corner is enough), so it never runs in ours. The memory that the child may take follows the size of the file's content.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime, time
from pathlib import Path
from typing import IO, Any

import msgspec

from brique.errors import BadInput, NotFound
from brique.formats.protocol import Limits, RawBatch, ReadReport, Rows

_CHILD = Path(__file__).with_name("workbook_child.py")
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_BASE_MEMORY = 512 << 20
"""Address space for the interpreter and its libraries."""
_MEMORY_PER_BYTE = 10
"""What the library takes for a byte of inflated content: 3 to 5 measured."""
_PARTS_MAX = 20_000
_SMALL = 16 << 20
_FRAME_MAX = 1 << 30
_MEMORY = "it needs more memory than {n} MB: a cell may stand very far from the others, or the file is hostile"


def _extension(code: int, data: memoryview) -> object:
    text = bytes(data).decode()
    if code == 1:
        return date.fromisoformat(text)
    return datetime.fromisoformat(text) if code == 2 else time.fromisoformat(text)


_decode = msgspec.msgpack.Decoder(ext_hook=_extension).decode


def bad(path: Path, sheet: str, reason: str, limit: str = "") -> BadInput:
    """The fault of a workbook: names file, sheet and reason."""
    where = f"{path.name}, sheet {sheet!r}" if sheet else path.name
    return BadInput(f"{where}: {reason}.", file=path.name, sheet=sheet, reason=reason, limit=limit)


class WorkbookReader:
    """Workbooks in. Each call runs its own child, which ends with the iterator."""

    def sheets(self, path: Path, limits: Limits) -> list[str]:
        """See `protocol.Reader`."""
        for frame in _frames(path, limits, everything=False, only=None):
            if frame[0] == "sheets":
                return list(frame[1])
        raise bad(path, "", "it has no sheets")

    def hint(self, report: ReadReport) -> str:
        """Numbers typed as text: the point, as in the file itself."""
        return "."

    def raw(self, path: Path, limits: Limits, report: ReadReport, *, only: str | None = None) -> Rows:
        """See `protocol.Reader`."""
        report.encoding = "utf-8"
        sheet = ""
        for frame in _frames(path, limits, everything=only is None, only=only):
            if frame[0] == "sheet":
                sheet = frame[1]
            elif frame[0] == "rows":
                first, rows = frame[1], frame[2]
                yield RawBatch(sheet, range(first, first + len(rows)), rows)


def _frames(path: Path, limits: Limits, *, everything: bool, only: str | None) -> Iterator[tuple[Any, ...]]:
    """The child's frames up to its end. Raises BadInput for whatever became of it."""
    zipped, memory = _weigh(path, limits)
    orders = asdict(limits) | {"path": str(path.resolve()), "zipped": zipped, "memory_bytes": memory}
    orders |= {"all": everything, "only": only}
    sheet = ""
    with tempfile.TemporaryFile() as said, _child(orders, said) as process:
        assert process.stdout is not None
        pipe = _Pipe(process.stdout, limits.wait_seconds_max)
        while True:
            try:
                frame = pipe.frame()
            except TimeoutError as fault:
                raise bad(path, sheet, "it took too long to read", limit="wait_seconds_max") from fault
            if frame is None:
                raise bad(path, sheet, _death(process, said, limits, memory))
            what = frame[0]
            if what == "sheet":
                sheet = frame[1]
            if what == "bad":
                reason = _MEMORY.format(n=memory >> 20) if frame[1] == "memory" else frame[1]
                raise bad(path, sheet, reason)
            if what == "missing":
                raise NotFound(f"{path.name} has no sheet {frame[1]!r}.", file=path.name, sheet=frame[1])
            if what == "end":
                return
            yield frame


@contextmanager
def _child(orders: dict[str, Any], said: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """A child at work on `orders`, killed and reaped at the end whatever happens."""
    command = [sys.executable, "-P", str(_CHILD)]
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and file
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, env={**os.environ, "RUST_BACKTRACE": "0"}
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        try:
            process.stdin.write(msgspec.json.encode(orders))
            process.stdin.close()
        except BrokenPipeError:
            pass  # it died at once: the missing first frame says so
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class _Pipe:
    """Frames from a pipe, waiting at most `patience` seconds for more bytes."""

    def __init__(self, stream: IO[bytes], patience: float) -> None:
        self._file = stream.fileno()
        self._patience = patience
        self._buffer = bytearray()

    def frame(self) -> tuple[Any, ...] | None:
        """The next frame; None when the other side is gone. Raises TimeoutError."""
        head = self._take(4)
        if head is None:
            return None
        size = int.from_bytes(head, "big")
        body = self._take(size) if size <= _FRAME_MAX else None
        return None if body is None else tuple(_decode(body))

    def _take(self, size: int) -> bytes | None:
        while len(self._buffer) < size:
            self._wait()
            data = os.read(self._file, 1 << 18)
            if not data:
                return None
            self._buffer += data
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _wait(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._file, selectors.EVENT_READ)
            if not selector.select(self._patience):
                raise TimeoutError


def _death(process: subprocess.Popen[bytes], said: IO[bytes], limits: Limits, memory: int) -> str:
    """Why the child ended without saying so."""
    code = process.wait()
    said.seek(0)
    words = said.read(4000).decode("utf-8", "replace").strip()
    if code == -signal.SIGXCPU:
        return f"it took more than {limits.cpu_seconds_max} seconds of processor time"
    if code in (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGKILL, -signal.SIGBUS) or "memory" in words.lower():
        return _MEMORY.format(n=memory >> 20)
    last = words.splitlines()[-1] if words else f"exit code {code}"
    return f"the reader failed on it ({last[:200]})"


def _weigh(path: Path, limits: Limits) -> tuple[bool, int]:
    """Whether the file is a ZIP archive, and the memory that an honest file of its size may take.

    Raises BadInput for what is no workbook, too large, or declares to unpack to far more than it is.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
    except FileNotFoundError as fault:
        raise NotFound(f"There is no file {path.name}.", file=path.name) from fault
    except OSError as fault:
        raise bad(path, "", f"it cannot be read ({fault.strerror})") from fault
    if size > limits.file_bytes_max:
        raise bad(path, "", f"it has {size} bytes; at most {limits.file_bytes_max} are read", limit="file_bytes_max")
    if start == _OLE:
        return False, min(limits.memory_bytes_max, _BASE_MEMORY + 2 * _MEMORY_PER_BYTE * size)
    if size == 0:
        raise bad(path, "", "it is empty")
    if not start.startswith(_ZIP):
        raise BadInput(
            f"{path.name}: it is not a spreadsheet, whatever its name says.",
            try_this="Open it in a text editor: exports of old programs are often CSV or HTML named .xls.",
            file=path.name,
            sheet="",
        )
    inflated = _declared(path, limits, size)
    return True, min(limits.memory_bytes_max, _BASE_MEMORY + _MEMORY_PER_BYTE * inflated)


def _declared(path: Path, limits: Limits, size: int) -> int:
    """What the archive says that it unpacks to, in bytes."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as fault:
        raise bad(path, "", f"it is damaged ({fault})") from fault
    total = sum(part.file_size for part in parts)
    if len(parts) > _PARTS_MAX or total > limits.inflated_bytes_max:
        reason = f"it unpacks to {total >> 20} MB; at most {limits.inflated_bytes_max >> 20} are read"
        raise bad(path, "", reason, limit="inflated_bytes_max")
    if total > _SMALL and total > limits.ratio_max * size:
        reason = f"it unpacks to {total // max(size, 1)} times its size: it is damaged or hostile"
        raise bad(path, "", reason, limit="ratio_max")
    return total
