"""A file on its way to whoever asked for it: made in one thread, sent as it is read, given up when the reader leaves.

Theory of operation. The copy may be read by one thread at a time, and a snapshot must end in any case; so one thread
borrows the copy, makes the file and gives the copy back, whatever happens. (The threads are few and kept: each may
have a reader of its own.) It hands pieces to the event
loop, a few ahead of what the reader has taken, and waits beyond that. Nothing is sent before the first piece is
there: what is wrong by then is answered as any fault. What goes wrong later cuts the connection, so that no half file
is taken for a whole one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from datetime import tzinfo
from functools import partial

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from brique.clock import Clock
from brique.errors import Busy, TooMuch
from brique.exports.export import Export, export, parse_export
from brique.exports.listing import Parameters, ValueParser
from brique.schema import TableSpec
from brique.settings import Settings
from brique.views import Copy

log = logging.getLogger("brique.exports")
AT_ONCE_MAX = 8
"""Files in the making in one process: each holds a thread and a snapshot of the copy."""
SECONDS_MAX = 3600.0
"""Longest time for one file: as long as it lasts, the store's log cannot be made shorter."""
_AHEAD_MAX = 4
_PIECE_BYTES_MAX = 256 * 1024

Borrow = Callable[[], AbstractContextManager[Copy]]


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


@dataclass(frozen=True)
class _Failed:
    fault: BaseException


class _End:
    """No more pieces."""


class _Left:
    """The reader has gone."""


_Item = Export | bytes | _Failed | type[_End] | type[_Left]


class Downloads:
    """Exports of one process. `borrow` gives a copy for a block, to any thread."""

    def __init__(
        self,
        borrow: Borrow,
        clock: Clock,
        settings: Settings,
        *,
        at_once_max: int = AT_ONCE_MAX,
        seconds_max: float = SECONDS_MAX,
    ) -> None:
        self._borrow, self._clock, self._settings = borrow, clock, settings
        self._line = _Line(at_once_max, seconds_max)

    def of_table(
        self,
        spec: TableSpec,
        parameters: Parameters,
        suffix: str,
        *,
        language: str,
        zone: tzinfo | None = None,
        user: str = "",
        value_parser: ValueParser | None = None,
    ) -> Download:
        """The answer that sends all rows of `spec` that an address asks for. Raises BadInput for the address."""
        listing, options = parse_export(spec, parameters, value_parser)
        make = partial(
            export,
            spec=spec,
            listing=listing,
            suffix=suffix,
            language=language,
            now=self._clock.now(),
            zone=zone,
            user=user,
            options=options,
            rows_max=self._settings.export_rows_max,
        )
        return self.of(make)

    def of(self, make: Callable[[Copy], Export]) -> Download:
        """The answer that sends what `make` makes of a copy, inside a snapshot of it."""
        return Download(self._borrow, make, self._line)


class _Line:
    """The few threads that make files, and how long one file may take."""

    def __init__(self, at_once_max: int, seconds_max: float) -> None:
        self.slots = threading.BoundedSemaphore(at_once_max)
        self.threads = ThreadPoolExecutor(at_once_max, thread_name_prefix="export")
        self.seconds_max = seconds_max


class Download(Response):
    """A Starlette response. Raises Busy, when it is called, if too many files are being made."""

    def __init__(self, borrow: Borrow, make: Callable[[Copy], Export], line: _Line) -> None:
        super().__init__()
        self._borrow, self._make, self._line = borrow, make, line

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._line.slots.acquire(blocking=False):
            raise Busy(_("Too many files are being made at once."), try_this=_("Try again in a moment."))
        try:
            await self._send(scope, receive, send)
        finally:
            self._line.slots.release()

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        pump = _Pump(self._borrow, self._make, self._line, alone=scope["method"] == "HEAD")
        left = asyncio.create_task(_until_left(receive))
        left.add_done_callback(pump.leave)
        try:
            self._line.threads.submit(pump.run)
            head = await pump.next()
            piece = await pump.next()
            if not isinstance(head, Export):
                return
            await send({"type": "http.response.start", "status": 200, "headers": _raw(head)})
            while isinstance(piece, bytes):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                piece = await pump.next()
            if piece is _End:
                await send({"type": "http.response.body", "body": b""})
        finally:
            pump.stop()
            left.cancel()


def _raw(made: Export) -> list[tuple[bytes, bytes]]:
    headers = {"Content-Type": made.media_type, **made.headers}
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Pump:
    """The thread, and the few pieces between it and the event loop. `alone`: only the head is wanted."""

    def __init__(self, borrow: Borrow, make: Callable[[Copy], Export], line: _Line, *, alone: bool) -> None:
        self._borrow, self._make, self._alone = borrow, make, alone
        self._deadline = time.monotonic() + line.seconds_max
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[_Item] = asyncio.Queue()
        self._room = threading.Semaphore(_AHEAD_MAX)
        self._stopped = threading.Event()

    async def next(self) -> _Item:
        """The export, then its pieces, then `_End`; `_Left` at any time. Raises what the thread met."""
        item = await self._queue.get()
        self._room.release()
        if isinstance(item, _Failed):
            raise item.fault
        return item

    def leave(self, listening: asyncio.Task[None]) -> None:
        """The reader has gone, or is no longer listened to."""
        if not listening.cancelled() and listening.exception() is not None:
            log.debug("the reader cannot be heard: %s", listening.exception())
        self.stop()
        self._queue.put_nowait(_Left)

    def stop(self) -> None:
        """End the thread at its next piece."""
        self._stopped.set()
        self._room.release()

    def run(self) -> None:
        """Make the file; called in the thread."""
        last: _Item = _End
        try:
            with self._borrow() as copy, copy.snapshot():
                self._pour(copy)
        except BaseException as fault:  # noqa: BLE001  (raised again where the answer is made)
            last = _Failed(fault)
        self._hand(last)

    def _pour(self, copy: Copy) -> None:
        made = self._make(copy)
        with closing(made.pieces) as pieces:
            if not self._hand(made) or self._alone:
                return
            for piece in pieces:
                if time.monotonic() > self._deadline:
                    raise TooMuch(_("The file took too long."), try_this=_("Narrow the list with filters."))
                for start in range(0, len(piece), _PIECE_BYTES_MAX):
                    if not self._hand(piece[start : start + _PIECE_BYTES_MAX]):
                        return

    def _hand(self, item: _Item) -> bool:
        """Hand one item over once there is room; False when nobody wants it any more."""
        if self._stopped.is_set():
            return False
        self._room.acquire()
        if self._stopped.is_set():
            return False
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)
            return True
        return False
