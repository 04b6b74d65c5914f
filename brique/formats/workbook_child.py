"""The child process that opens a workbook: `python -P workbook_child.py` with its orders on standard input.

It shares nothing with the parent but a pipe, sets its own limits before it touches the file, and may die: by an abort
of the library, for memory, for time. Frames on standard output: four bytes of length, then MessagePack:
`["sheets", [names]]`, then for each sheet `["sheet", name]`, `["rows", first row, rows]`…, at the end `["end"]`;
or `["bad", reason]` (or `["missing", name]`) and nothing more.
Dates travel as extension 1, moments 2, times 3 (ISO text).

It is run by its path, not as part of the package, so that it starts in tens of milliseconds.
"""

from __future__ import annotations

import os
import re
import resource
import sys
import zipfile
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from struct import pack
from typing import Any

import msgspec

_SAFE = 2.0**53
_BLOCK = 1 << 20
_FRAME_CELLS = 50_000
_FRAME_ROWS = 2_000
_DOCTYPE = re.compile(rb"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)
Ext = msgspec.msgpack.Ext
_encode = msgspec.msgpack.Encoder().encode


class Bad(Exception):
    """The file is not what it should be; the text says why."""


def send(*frame: object) -> None:
    data = _encode(frame)
    sys.stdout.buffer.write(pack(">L", len(data)) + data)
    sys.stdout.buffer.flush()


def confine(orders: dict[str, Any]) -> None:
    """Take the limits on: address space, processor time, no files, no core dump, low priority."""
    memory, cpu = orders["memory_bytes"], orders["cpu_seconds_max"]
    for what, soft in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 1 << 16),  # standard error only
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_AS, memory),
    ):
        _, hard = resource.getrlimit(what)
        # the kernel kills without a word at the hard limit: leave time for the signal that says why
        wanted = soft + 2 if what == resource.RLIMIT_CPU else soft
        top = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(what, (min(soft, top), top))
    os.nice(5)


def inspect(path: Path, orders: dict[str, Any]) -> None:
    """Inflate every part once, keeping nothing: no part is larger than it says, and no XML brings its own entities."""
    left = orders["inflated_bytes_max"]
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.flag_bits & 1:
                raise Bad("it is protected by a password")
            size, tail = 0, b""
            is_xml = info.filename.lower().endswith((".xml", ".rels"))
            with archive.open(info) as part:
                while block := part.read(_BLOCK):
                    size += len(block)
                    if size > info.file_size or size > left:
                        raise Bad("it unpacks to more than it says: it is damaged or hostile")
                    if is_xml and _DOCTYPE.search(tail + block):
                        raise Bad("it declares XML entities of its own, which no spreadsheet needs")
                    tail = block[-16:]
            left -= size


def _date(value: date) -> object:
    return Ext(1, value.isoformat().encode())


def _moment(value: datetime) -> object:
    return Ext(2, value.isoformat().encode())


def _time(value: time) -> object:
    return Ext(3, value.isoformat().encode())


def _real(value: float) -> object:
    return int(value) if value.is_integer() and -_SAFE <= value <= _SAFE else value


def _span(value: timedelta) -> object:
    seconds = round(value.total_seconds())
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    return f"{sign}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


_CONVERT: dict[type, Callable[[Any], object]] = {
    float: _real,
    date: _date,
    datetime: _moment,
    time: _time,
    timedelta: _span,
}


def cells(row: Sequence[Any], chars_max: int) -> list[object]:
    """One row, ready to travel: whole numbers as such, emptiness as None."""
    ready: list[object] = []
    for value in row:
        kind = type(value)
        if kind is str:
            if len(value) > chars_max:
                raise Bad(f"a cell holds {len(value)} characters; at most {chars_max} are read")
            ready.append(value or None)
        else:
            ready.append(_CONVERT[kind](value) if kind in _CONVERT else value)
    return ready


def give(sheet: Any, orders: dict[str, Any], left: int) -> int:
    """Send the rows of one sheet; return how many cells may still come."""
    rows_max, columns_max = orders["rows_max"], orders["columns_max"]
    width = sheet.width
    if width > columns_max:
        raise Bad(f"it has {width} columns; at most {columns_max} are read (a cell may stand far to the right)")
    height = max(sheet.height, sheet.total_height)  # the empty rows above a cell that stands far down come too
    if height > rows_max:
        raise Bad(f"it has {height} rows; at most {rows_max} are read (a cell may stand far down)")
    left -= height * width
    if left < 0:
        raise Bad(f"it has more than {orders['cells_max']} cells")
    size = max(1, min(_FRAME_ROWS, _FRAME_CELLS // max(width, 1)))
    kept: list[list[object]] = []
    number = first = 0
    for number, row in enumerate(sheet.iter_rows(), 1):
        if not kept:
            first = number
        kept.append(cells(row, orders["cell_chars_max"]))
        if len(kept) >= size:
            send("rows", first, kept)
            kept = []
    if kept:
        send("rows", first, kept)
    return left


def main() -> None:
    orders = msgspec.json.decode(sys.stdin.buffer.read())
    confine(orders)
    import python_calamine  # after the limits, so that they hold for it from its first byte

    path = Path(orders["path"])
    try:
        if orders["zipped"]:
            inspect(path, orders)
        send("opened")
        book = python_calamine.CalamineWorkbook.from_path(path)
        names = [
            meta.name
            for meta in book.sheets_metadata
            if meta.visible == python_calamine.SheetVisibleEnum.Visible
            and meta.typ == python_calamine.SheetTypeEnum.WorkSheet
        ]
        if len(names) > orders["sheets_max"]:
            raise Bad(f"it has {len(names)} sheets; at most {orders['sheets_max']} are read")
        send("sheets", names)
        wanted = names if orders["all"] else [orders["only"]] if orders["only"] is not None else []
        left = orders["cells_max"]
        for name in wanted:
            if name not in names:
                send("missing", name)
                return
            send("sheet", name)
            left = give(book.get_sheet_by_name(name), orders, left)
        send("end")
    except Bad as fault:
        send("bad", str(fault))
    except python_calamine.PasswordError:
        send("bad", "it is protected by a password")
    except MemoryError:
        send("bad", "memory")
    except (python_calamine.CalamineError, zipfile.BadZipFile, zipfile.LargeZipFile, OSError, ValueError) as fault:
        send("bad", f"it is damaged or not a spreadsheet ({fault})")
    except (EOFError, NotImplementedError, zipfile.zlib.error) as fault:  # type: ignore[attr-defined]  # zipfile holds it
        send("bad", f"it is damaged ({fault})")


if __name__ == "__main__":
    main()
