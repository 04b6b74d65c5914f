"""One connection to a server whose every call ends in time, even when the server is frozen.

Limits of the server end what the server can end. What it cannot, because it is stopped or the network swallows
everything, the watchdog does: it cuts our own end of the connection, and the driver, which waits for an answer, gets
the end of the stream. Connecting happens in a thread of its own, since looking a name up cannot be interrupted.

What is particular to a kind of server, its `Driver`, is handed in.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Generic, Protocol, TypeVar

from brique.backends.faults import ABORTED, CLOSED, LOST, NO_CONNECTION, SLOW, away
from brique.backends.watchdog import Watchdog
from brique.errors import BackendAway, BackendRefused

Handle = TypeVar("Handle")
Handle_co = TypeVar("Handle_co", covariant=True)
Told = BackendAway | BackendRefused
Explain = Callable[[Exception, float], Told]
"""(what the driver raised, the seconds that the call had) -> the fault as brique says it."""


class Wire(Protocol[Handle_co]):
    """An open connection, as its driver has it."""

    @property
    def handle(self) -> Handle_co:
        """What a call gets to work with."""

    def is_open(self) -> bool:
        """As far as the driver knows; nothing is asked."""

    def is_fresh(self) -> bool:
        """Whether something new may begin on it: a server that closed it while it was idle has said so there."""

    def cut(self, is_over: Callable[[], bool]) -> None:
        """From any thread: whatever waits for an answer gets the end. May first try what is gentler, until `is_over()`
        says that the call has ended."""

    def end(self) -> None:
        """Say goodbye and close; may wait for the server. Raises nothing."""

    def drop(self) -> None:
        """Close without waiting for the server. Raises nothing; may be called twice."""


class Driver(Protocol[Handle_co]):
    """How connections are made, and what a fault means."""

    @property
    def faults(self) -> tuple[type[Exception], ...]:
        """What it raises when the server says no, or the connection is lost."""

    breaks: tuple[type[Exception], ...]
    """What else it raises when nothing more can be understood on the connection; OSError is always meant too."""
    shows_cause: bool
    """Whether what it raised may be chained to the fault: the text may hold what nobody is to see."""

    def connect(self, seconds: float) -> Wire[Handle_co]:
        """A new connection; called in a thread of its own. Raises `faults`, `breaks`."""

    def explain(self, fault: Exception, seconds: float, *, opening: bool = False) -> Told:
        """The fault as brique says it. `opening`: no connection was there yet, so that nothing was asked."""

    def is_broken(self, fault: Exception) -> bool:
        """Whether the connection is of no more use after one of `faults`."""

    def said(self, fault: Exception) -> str:
        """The text of a fault, on one line, without secrets."""


class Line(Generic[Handle]):
    """One connection, opened when needed. One thread at a time, but for `abort`."""

    def __init__(self, backend: str, driver: Driver[Handle], *, connect_timeout: float, watchdog: Watchdog) -> None:
        self.backend = backend
        self.connect_timeout = connect_timeout
        self._driver = driver
        self._watchdog = watchdog
        self._lock = threading.RLock()
        self._wire: Wire[Handle] | None = None
        self._opening: _Opening[Handle] | None = None
        self._cut = ""
        self._calls = 0
        self._turn = 0
        self._closed = False
        self.opened = 0
        """How often a connection was opened: what was learnt on another one is to be learnt again."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other threads out for several calls."""
        with self._lock:
            yield

    @contextmanager
    def call(self, seconds: float, *, begun: int = 0, explain: Explain | None = None) -> Iterator[Handle]:
        """What the driver works with, for one call that may take `seconds`. Raises BackendAway, BackendRefused.

        `begun`: the number (`opened`) of the connection on which something was begun that goes on now: it never goes
        on on another one. `explain`: says what a fault means in place of the driver.
        """
        driver = self._driver
        breaks: tuple[type[Exception], ...] = (OSError, *driver.breaks)
        with self._lock:
            if self._calls == 0:
                self._cut, self._turn = "", self._turn + 1
            self._calls += 1
            turn = self._turn
            try:
                wire = self._same(begun) if begun else self._open()
                with self._watchdog.call(seconds, lambda: self._end(SLOW, turn)):
                    yield wire.handle
                self._fail_if_cut(seconds)
            except driver.faults as fault:
                told = self._told(fault, seconds, explain)
                raise told from (fault if driver.shows_cause else None)
            except breaks as fault:
                self.drop()
                told = away(self._cut or LOST, backend=self.backend, seconds=seconds, reason=driver.said(fault))
                raise told from (fault if driver.shows_cause else None)
            except BackendAway:
                if self._cut:
                    self.drop()
                raise
            finally:
                self._calls -= 1

    def _told(self, fault: Exception, seconds: float, explain: Explain | None) -> Told:
        is_broken = self._driver.is_broken(fault)
        if self._cut or is_broken:
            self.drop()
        if self._cut:
            return away(self._cut, backend=self.backend, seconds=seconds)
        return (explain or self._driver.explain)(fault, seconds)

    def _fail_if_cut(self, seconds: float) -> None:
        """A call that was cut has failed, whatever it had before: the connection is of no more use."""
        if self._cut:
            raise away(self._cut, backend=self.backend, seconds=seconds)

    @property
    def is_open(self) -> bool:
        return self._wire is not None and self._wire.is_open()

    def is_still(self, begun: int) -> bool:
        """Whether the connection on which something was begun is still there."""
        return self.is_open and self.opened == begun

    def leave(self, seconds: float, begun: int, work: Callable[[Handle], object]) -> None:
        """End what was begun, by `work`, if it goes on; a connection that cannot is dropped, which ends it too."""
        if not self.is_still(begun):
            return
        try:
            with self.call(seconds, begun=begun) as handle:
                work(handle)
        except (BackendAway, BackendRefused):
            self.drop()

    def abort(self) -> None:
        """From another thread: the call in progress fails at once."""
        turn, opening = self._turn, self._opening
        self._end(ABORTED, turn)
        if opening is not None:
            opening.abandon()

    def _end(self, why: str, turn: int) -> None:
        """Cut the call of that turn, if it still goes on."""

        def is_over() -> bool:
            return not self._calls or self._turn != turn

        if is_over():
            return
        self._cut = self._cut or why
        wire = self._wire
        if wire is not None:
            wire.cut(is_over)

    def drop(self) -> None:
        """Close the connection without waiting for the server; the next call opens another one."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.drop()

    def close(self) -> None:
        """Close for good."""
        self._closed = True
        with self._lock:
            wire = self._wire
            if wire is not None and wire.is_open():
                with self._watchdog.call(_GOODBYE_SECONDS, lambda: wire.cut(lambda: False)):
                    wire.end()
            self.drop()

    def _same(self, begun: int) -> Wire[Handle]:
        if self._wire is None or not self.is_still(begun):
            raise away(LOST, backend=self.backend, reason="what was begun on it is over")
        return self._wire

    def _open(self) -> Wire[Handle]:
        if self._closed:
            raise away(CLOSED, backend=self.backend)
        wire = self._wire
        if wire is not None and (self._calls > 1 or (wire.is_open() and wire.is_fresh())):
            return wire
        self.drop()
        seconds = self.connect_timeout
        self._opening = opening = _Opening(lambda: self._driver.connect(seconds))
        try:
            made = None if self._cut else opening.wait(seconds)
        except self._driver.faults as fault:
            told = self._driver.explain(fault, seconds, opening=True)
            raise told from (fault if self._driver.shows_cause else None)
        finally:
            self._opening = None
        if made is None:
            raise away(ABORTED if self._cut else NO_CONNECTION, backend=self.backend, seconds=seconds)
        self._wire = made
        self.opened += 1
        self._fail_if_cut(seconds)  # given up while nobody could see the connection
        return made


_GOODBYE_SECONDS = 2.0


class _Opening(Generic[Handle]):
    """A connection being made in a thread of its own; given up, it is closed as soon as it is there."""

    def __init__(self, connect: Callable[[], Wire[Handle]]) -> None:
        self._connect = connect
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._abandoned = False
        self._made: Wire[Handle] | None = None
        self._fault: Exception | None = None

    def wait(self, seconds: float) -> Wire[Handle] | None:
        """The connection; None when it was not there in time, or was given up. Raises what the driver does."""
        threading.Thread(target=self._run, name="backend-connect", daemon=True).start()
        self._over.wait(seconds)
        with self._lock:
            if self._fault is not None:
                raise self._fault
            if self._made is None:
                self._abandoned = True
            return self._made

    def abandon(self) -> None:
        self._over.set()

    def _run(self) -> None:
        made: Wire[Handle] | None = None
        fault: Exception | None = None
        try:
            made = self._connect()
        except Exception as why:  # noqa: BLE001  (raised again in the thread that waits)
            fault = why
        with self._lock:
            if self._abandoned:
                if made is not None:
                    made.drop()
                return
            self._made, self._fault = made, fault
        self._over.set()


class Sockets:
    """Copies of a driver's sockets, to be cut from any thread: a number that is used again harms nobody."""

    def __init__(self, *copies: socket.socket) -> None:
        self._copies = list(copies)
        self._lock = threading.Lock()

    @classmethod
    def of(cls, number: int) -> Sockets:
        """The socket with that number in this process."""
        return cls(socket.socket(fileno=os.dup(number)))

    def are_quiet(self) -> bool:
        """Whether nothing came in while nobody asked: a server that closes an idle connection says so there."""
        poll = select.poll()
        with self._lock:
            for one in self._copies:
                poll.register(one, select.POLLIN)
            return not poll.poll(0)

    def cut(self) -> None:
        """Shut both ways of each: reads end, writes fail, in whatever thread."""
        with self._lock:
            self._shut()

    def close(self) -> None:
        """Cut them, and let the copies go."""
        with self._lock:
            self._shut()
            for one in self._copies:
                one.close()
            self._copies = []

    def _shut(self) -> None:
        for one in self._copies:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
