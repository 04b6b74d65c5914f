"""Notices a view that reads what nobody tracks: files, sockets, processes, other databases.

What a view makes is kept until what it read changes; of a file or a web page brique would never learn that it has.
Python's audit events tell; the hook is installed when the first view runs and looks only at threads that run one.
Not seen: `time`, `random` and their like (see `chance`), and files opened before the view began.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
import threading
import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from brique.errors import BadConfiguration

_CALLS = {
    "open": "a file",
    "os.listdir": "a folder",
    "os.scandir": "a folder",
    "glob.glob": "a folder",
    "pathlib.Path.glob": "a folder",
    "pathlib.Path.rglob": "a folder",
    "sqlite3.connect": "a database",
    "socket.connect": "the network",
    "socket.bind": "the network",
    "socket.getaddrinfo": "the network",
    "socket.gethostbyname": "the network",
    "socket.sendto": "the network",
    "subprocess.Popen": "another program",
    "os.system": "another program",
    "os.exec": "another program",
    "os.posix_spawn": "another program",
    "os.fork": "another process",
    "urllib.Request": "the network",
    "ftplib.connect": "the network",
    "smtplib.connect": "the network",
    "http.client.connect": "the network",
}


class _Running(threading.local):
    view = ""
    fault: BadConfiguration | None = None


_running = _Running()
_install = threading.Lock()
_installed = False


def _own_folders() -> tuple[str, ...]:
    """Folders whose files belong to the program: code, time zones, packages' data."""
    found = {sys.prefix, sys.base_prefix, sys.exec_prefix, *zoneinfo.TZPATH, *site.getsitepackages()}
    found.update(path for name, path in sysconfig.get_paths().items() if name != "data")
    found.add(str(Path(__file__).resolve().parents[1]))
    return tuple(sorted(path.rstrip(os.sep) + os.sep for path in found if path and path != os.sep))


OWN = _own_folders()
"""Where the program itself lies: what is there is nobody's view."""


@contextmanager
def watched(view: str) -> Iterator[None]:
    """Raise BadConfiguration, naming `view` and the call, when the block reads what is not tracked.

    Raised where the call is made, and once more at the end should the view have swallowed it.
    """
    _ensure_installed()
    outer, _running.view, _running.fault = _running.view, view, None
    try:
        yield
        if _running.fault is not None:
            raise _running.fault
    finally:
        _running.view, _running.fault = outer, None


def _ensure_installed() -> None:
    global _installed
    with _install:
        if not _installed:
            sys.addaudithook(_hook)
            _installed = True


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _running.view or event not in _CALLS:
        return
    if event == "open" and not _reads_data(arguments):
        return
    if event == "os.listdir" and _importing():
        return
    view, _running.view = _running.view, ""  # what is said below must not be watched itself
    try:
        shown = repr(arguments[0])[:200] if arguments and not event.startswith("socket.") else repr(arguments[1:])[:200]
        fault = BadConfiguration(
            f"View {view} reads {_CALLS[event]}, which is not tracked: {event}({shown}){_place()}. "
            "What it makes would be kept when that changes.",
            try_this="let a backend bring the data into a table, and read the table",
            view=view,
            call=event,
            place=_place().removeprefix(" in "),
        )
    finally:
        _running.view = view
    _running.fault = fault
    raise fault


def _place() -> str:
    """` in sales.py:41`: the line of the view's own code that led to the call; "" when there is none."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and (frame.f_code.co_filename.startswith(OWN) or frame.f_code.co_filename[:1] == "<"):
        frame = frame.f_back
    return "" if frame is None else f" in {Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def _reads_data(arguments: tuple[Any, ...]) -> bool:
    """Whether an `open` reads a file that is not part of the program itself."""
    path, _, flags = (*arguments, None, None, None)[:3]
    if isinstance(flags, int) and flags & os.O_ACCMODE == os.O_WRONLY:
        return False  # a log
    if not isinstance(path, (str, bytes, os.PathLike)):
        return False  # a descriptor that is open already
    text = os.fsdecode(path)
    if text.startswith(OWN) or os.path.abspath(text).startswith(OWN):  # noqa: PTH100 - links stay as they are
        return False
    return not _importing()


def _importing() -> bool:
    """Whether the import machinery (or a traceback that shows source) is what opens the file."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib") or name.endswith(("linecache.py", "tokenize.py")):
            return True
        frame = frame.f_back
    return False
