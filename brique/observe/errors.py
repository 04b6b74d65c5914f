"""Errors that nobody expected, grouped by kind and kept in DATA/errors.db, so that a person can look at them.

A group is an exception's type and the innermost functions of the program that it went through: line numbers are left
out, so that a new release does not make new groups. Each group keeps its count, first and last time, and its last
traceback with local values, without the values of secrets. Keeping an error must never make another: what fails here
is logged and goes no further. Several processes write to the one file.
"""

from __future__ import annotations

import datetime
import decimal
import hashlib
import json
import linecache
import logging
import sys
import sysconfig
import threading
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PosixPath
from types import FrameType, TracebackType
from typing import Any

import apsw

from brique.clock import Clock, SystemClock, stamp
from brique.observe.secrets import HIDDEN, is_secret_name, redact

_log = logging.getLogger("brique.observe")

_FRAMES_IN_FINGERPRINT = 3
_FRAMES_KEPT = 50
_LOCALS_KEPT = 30
_TEXT_KEPT = 20_000
_VALUE_KEPT = 200
_WRITES_A_SECOND = 20  # of one group by one process; above, only counted, and written with the next
_BUSY_MS = 1000
_ITEMS_SHOWN = 10
_PLAIN = (
    bool, float, complex, type(None), decimal.Decimal, PosixPath,
    datetime.date, datetime.datetime, datetime.time, datetime.timedelta,
)  # fmt: skip
_OWN_FOLDER = str(Path(__file__).parents[1])
_LIBRARY_FOLDER = sysconfig.get_path("stdlib")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS error_group (
    fingerprint TEXT PRIMARY KEY,
    type TEXT NOT NULL,
    message TEXT NOT NULL,
    count INTEGER NOT NULL,
    first_seen TEXT NOT NULL,
    last_seen TEXT NOT NULL,
    process TEXT NOT NULL,
    release TEXT NOT NULL,
    request TEXT NOT NULL,
    place TEXT NOT NULL,
    traceback TEXT NOT NULL,
    frames TEXT NOT NULL,
    resolved_at TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS error_group_last_seen ON error_group (last_seen);
"""
_UPSERT = """
INSERT INTO error_group VALUES (:fingerprint, :type, :message, :count, :now, :now, :process, :release, :request,
                                :place, :traceback, :frames, NULL)
ON CONFLICT (fingerprint) DO UPDATE SET count = count + excluded.count, last_seen = excluded.last_seen,
    message = excluded.message, process = excluded.process, release = excluded.release, request = excluded.request,
    place = excluded.place, traceback = excluded.traceback, frames = excluded.frames, resolved_at = NULL
"""
_DROP_OLDEST = """
DELETE FROM error_group WHERE fingerprint IN
    (SELECT fingerprint FROM error_group ORDER BY last_seen DESC, fingerprint LIMIT -1 OFFSET ?)
"""
_COLUMNS = (
    "fingerprint, type, message, count, first_seen, last_seen, process, release, request, place, traceback, frames, "
    "resolved_at"
)


@dataclass(frozen=True, slots=True)
class Frame:
    """One step of a traceback; `variables` holds local values as short texts."""

    file: str
    line: int
    function: str
    source: str
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """One kind of error. Times are as `clock.stamp` writes them; `place` is file:line, innermost of the program."""

    fingerprint: str
    type: str
    message: str
    count: int
    first_seen: str
    last_seen: str
    process: str
    release: str
    request: str
    place: str
    traceback: str
    frames: tuple[Frame, ...]
    resolved_at: str | None


class Errors:
    """The errors in one file. Thread safe; `capture` never raises."""

    def __init__(
        self,
        path: Path,
        *,
        groups_max: int = 500,
        process: str = "brique",
        release: str = "",
        clock: Clock | None = None,
    ) -> None:
        self.path = path
        self.groups_max = groups_max
        self.process = process
        self.release = release
        self._clock = clock or SystemClock()
        self._lock = threading.RLock()
        self._connection: apsw.Connection | None = None
        self._written: dict[str, tuple[int, int]] = {}  # fingerprint: (second, writes in it)
        self._unwritten: dict[str, int] = {}

    def capture(self, error: BaseException, *, request: str = "") -> str:
        """Keep `error` and return its group's fingerprint. `request` says what was being done: GET /orders/10248."""
        mark = ""
        try:
            mark = fingerprint(error)
            with self._lock:
                if self._may_write(mark):
                    self._write(mark, error, request)
        except Exception as fault:  # noqa: BLE001 - see the module's text
            _log.warning("an error could not be kept: %s", fault)
            with self._lock:
                self._unwritten[mark] = self._unwritten.get(mark, 0) + 1  # counted with the next one
        return mark

    def recent(self, limit: int = 50, *, resolved: bool = False) -> list[ErrorGroup]:
        """Groups with the latest first; those that were resolved and have not come back only if asked."""
        condition = "" if resolved else "WHERE resolved_at IS NULL"
        return self._groups(f"{condition} ORDER BY last_seen DESC, fingerprint LIMIT ?", (limit,))

    def group(self, fingerprint: str) -> ErrorGroup | None:
        """One group, or None."""
        found = self._groups("WHERE fingerprint = ?", (fingerprint,))
        return found[0] if found else None

    def resolve(self, fingerprint: str) -> bool:
        """Mark a group as mended until it comes back. False when there is none open."""
        with self._lock:
            connection = self._open()
            connection.execute(
                "UPDATE error_group SET resolved_at = ? WHERE fingerprint = ? AND resolved_at IS NULL",
                (stamp(self._clock.now()), fingerprint),
            )
            return connection.changes() > 0

    def close(self) -> None:
        """Write what was only counted, and close the file."""
        with self._lock:
            if self._connection is None:
                return
            for mark, count in self._unwritten.items():
                self._connection.execute(
                    "UPDATE error_group SET count = count + ? WHERE fingerprint = ?", (count, mark)
                )
            self._unwritten.clear()
            self._connection.close()
            self._connection = None

    def _may_write(self, mark: str) -> bool:
        second = int(self._clock.monotonic())
        last, writes = self._written.get(mark, (second, 0))
        if last == second and writes >= _WRITES_A_SECOND:
            self._unwritten[mark] = self._unwritten.get(mark, 0) + 1
            return False
        if len(self._written) > self.groups_max * 2:
            self._written.clear()
        self._written[mark] = (second, writes + 1 if last == second else 1)
        return True

    def _write(self, mark: str, error: BaseException, request: str) -> None:
        frames = _frames(error)
        text = redact("".join(traceback.format_exception(error)))
        row = {
            "fingerprint": mark,
            "type": _type_name(error),
            "message": redact(str(error))[:1000],
            "count": 1 + self._unwritten.get(mark, 0),
            "now": stamp(self._clock.now()),
            "process": self.process,
            "release": self.release,
            "request": redact(request)[:1000],
            "place": _place(error),
            "traceback": text[-_TEXT_KEPT:],
            "frames": json.dumps([asdict(frame) for frame in frames]),
        }
        row = {name: _storable(value) if isinstance(value, str) else value for name, value in row.items()}
        connection = self._open()
        with connection:
            connection.execute(_UPSERT, row)
            connection.execute(_DROP_OLDEST, (self.groups_max,))
        self._unwritten.pop(mark, None)

    def _groups(self, rest: str, values: tuple[object, ...]) -> list[ErrorGroup]:
        with self._lock:
            rows = list(self._open().execute(f"SELECT {_COLUMNS} FROM error_group {rest}", values))  # noqa: S608 - ours
        return [_group(row) for row in rows]

    def _open(self) -> apsw.Connection:
        if self._connection is None:
            connection = apsw.Connection(str(self.path))
            connection.set_busy_timeout(_BUSY_MS)
            connection.execute(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _SCHEMA
            ).fetchall()  # runs lazily
            self.path.chmod(0o600)
            self._connection = connection
        return self._connection


def _group(row: tuple[Any, ...]) -> ErrorGroup:
    values = dict(zip(ErrorGroup.__slots__, row, strict=True))
    return ErrorGroup(**values | {"frames": tuple(Frame(**frame) for frame in json.loads(values["frames"]))})


def fingerprint(error: BaseException) -> str:
    """16 hexadecimal digits: the same for errors of one type that came through the same functions."""
    parts = [_type_name(error)]
    for frame, _ in _program_frames(error)[-_FRAMES_IN_FINGERPRINT:]:
        parts.append(f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}")
    return hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()[:16]


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _walk(error: BaseException) -> list[tuple[FrameType, int]]:
    """(frame, line) from the outermost to the innermost, the last ones of a very deep one."""
    return list(traceback.walk_tb(error.__traceback__))[-_FRAMES_KEPT:]


def _program_frames(error: BaseException) -> list[tuple[FrameType, int]]:
    """The frames that are neither of the standard library nor of an installed package; all of them if none is left."""
    every = _walk(error)
    own = [(frame, line) for frame, line in every if not _is_foreign(frame.f_code.co_filename)]
    return own or every


def _is_foreign(file: str) -> bool:
    if file.startswith(_OWN_FOLDER):
        return False
    return file.startswith(("<frozen", _LIBRARY_FOLDER)) or "site-packages" in file or "dist-packages" in file


def _place(error: BaseException) -> str:
    frames = _program_frames(error)
    return f"{frames[-1][0].f_code.co_filename}:{frames[-1][1]}" if frames else ""


def _frames(error: BaseException) -> list[Frame]:
    return [
        Frame(
            file=frame.f_code.co_filename,
            line=line,
            function=frame.f_code.co_qualname,
            source=redact(linecache.getline(frame.f_code.co_filename, line).strip()),
            variables=_variables(frame.f_locals),
        )
        for frame, line in _walk(error)
    ]


def _variables(values: Mapping[str, object]) -> dict[str, str]:
    shown: dict[str, str] = {}
    for name, value in list(values.items())[:_LOCALS_KEPT]:
        shown[str(name)] = HIDDEN if is_secret_name(str(name)) else _storable(redact(show(value))[:_VALUE_KEPT])
    return shown


def show(value: object, depth: int = 2) -> str:
    """A short text for plain values; only the type's name for other objects, whose own code is not run."""
    kind = type(value)
    if kind in (str, bytes):
        return repr(value[:_VALUE_KEPT])  # type: ignore[index]  # kind was looked at
    if kind is int:
        return repr(value) if value.bit_length() < 256 else "int"  # type: ignore[attr-defined]  # kind was looked at
    if kind in _PLAIN:
        return repr(value)
    if depth and kind in (list, tuple, set, frozenset):
        items = list(value)[:_ITEMS_SHOWN]  # type: ignore[call-overload]  # kind was looked at
        return f"{kind.__name__}({', '.join(show(item, depth - 1) for item in items)})"
    if depth and kind is dict:
        pairs = list(value.items())[:_ITEMS_SHOWN]  # type: ignore[attr-defined]  # kind was looked at
        return f"{{{', '.join(_show_pair(key, item, depth - 1) for key, item in pairs)}}}"
    return f"<{kind.__qualname__}>"


def _show_pair(key: object, value: object, depth: int) -> str:
    shown = HIDDEN if type(key) is str and is_secret_name(key) else show(value, depth)
    return f"{show(key, 0)}: {shown}"


def _storable(text: str) -> str:
    """Text that SQLite takes: no half of a surrogate pair."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class CaptureHandler(logging.Handler):
    """Keeps the exception of every log line that carries one, so that what is logged is also on the errors page."""

    def __init__(self, errors: Errors) -> None:
        super().__init__(level=logging.ERROR)
        self._errors = errors

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self._errors.capture(record.exc_info[1], request=str(getattr(record, "request", "")))


def watch_uncaught(errors: Errors) -> None:
    """Keep and log what ends this process or one of its threads; whoever listened before is told too."""
    before, before_in_thread = sys.excepthook, threading.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, Exception):
            errors.capture(error.with_traceback(trace), request="(end of the process)")
        before(kind, error, trace)

    def thread_hook(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and issubclass(args.exc_type, Exception):
            name = args.thread.name if args.thread is not None else "?"
            errors.capture(args.exc_value, request=f"(end of thread {name})")
        before_in_thread(args)

    sys.excepthook = hook
    threading.excepthook = thread_hook
