"""How far a stream was applied, as the backend itself says: one mark, and one for each command that was overtaken.

    mark of the stream       every command at or below it has been applied, or had settled before it moved
    mark of `stream#7`       1: the command at 7 was overtaken, and has not been applied; 2: it has, since
    mark of `stream#`        the newest position that was ever overtaken: nobody looks for such marks past it
    mark of `stream@`        the *witness*: the mark of the stream, times 2**20, and a sum over the receipt of the
                             command there (0: not known); another command at that place is another spool's
    mark of `stream!`        the *owner*: a sum over the name of the backend that the marks are of

All move in the backend's own transactions. A command waits while others overtake it when it builds on one that
belongs to another backend, or when the backend never answers to it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from zlib import crc32

from brique.backends import Backend, Session
from brique.errors import BackendAway

OVERTAKEN, LATE = 1, 2
_SUMS = 1 << 20
"""Two commands have the same sum once in a million times; positions up to 2**43 fit beside it."""


def _owner(backend: str) -> int:
    return crc32(backend.encode()) + 1


def witness_of(position: int, receipt: str) -> int:
    """What the witness says of a mark at `position`, moved by the command of that receipt ("": by none)."""
    return position * _SUMS + (crc32(receipt.encode()) % (_SUMS - 1) + 1 if receipt else 0)


class _Undone(Exception):
    """A session ends without its changes."""


class Marks:
    """The marks of `stream` in `backend`."""

    def __init__(self, backend: Backend, stream: str) -> None:
        self.backend = backend
        self._stream = stream
        self._name: str | None = None
        self._mark: int | None = None
        self._newest: int | None = None
        self._witness = self._next = 0
        self._known: dict[int, int] = {}

    def position(self) -> int:
        """The mark, 0 when there is none. Asked of the backend once, then kept as it moves. Raises BackendAway."""
        if self._mark is None:
            self._witness = self.backend.watermark(f"{self.stream}@") or 0
            self._mark = self.backend.watermark(self.stream) or 0
        return self._mark

    def is_of(self, receipt_at: Callable[[int], str | None]) -> bool:
        """Whether the command that has moved the mark is the one that this spool has there, as far as can be told:
        there may be no witness (an older brique, a move without a command), or nothing may be left in the spool.
        `receipt_at(position)`: None for nothing, "" for something that is no command. Raises BackendAway."""
        mark = self.position()
        at, known = divmod(self._witness, _SUMS)
        if at != mark or not known:
            return True
        receipt = receipt_at(mark)
        return receipt is None or (receipt != "" and witness_of(mark, receipt) == self._witness)

    @property
    def stream(self) -> str:
        """The name that the marks bear: the stream's; with the backend's behind it where another backend owns those,
        because it is, or was, over the same database. Raises BackendAway."""
        if self._name is None:
            is_own = self._owned_by() in (0, _owner(self.backend.name))
            self._name = self._stream if is_own else f"{self._stream}.{self.backend.name}"
        return self._name

    def claim(self) -> None:
        """Own the marks of the stream, if nobody does. Raises BackendAway."""
        if not self._owned_by():
            with self.backend.session() as session:
                session.move_watermark(f"{self._stream}!", 0, _owner(self.backend.name))
        self._name = None

    def _owned_by(self) -> int:
        return self.backend.watermark(f"{self._stream}!") or 0

    def doubt(self) -> None:
        """The marks may have moved without us (a lost answer, another replayer): ask again."""
        self._mark = self._newest = None
        self._known.clear()

    def is_overtaken(self, position: int) -> bool:
        """Whether the command at or below the mark was overtaken and has not been applied. Raises BackendAway."""
        if self._newest is None:
            self._newest = self.backend.watermark(f"{self.stream}#") or 0
        if position > self._newest:
            return False
        if position not in self._known:
            self._known[position] = self.backend.watermark(f"{self.stream}#{position}") or 0
        return self._known[position] == OVERTAKEN

    def move(self, session: Session, to: int, overtaken: Iterable[int], receipt: str = "") -> None:
        """Move the mark to `to` inside a transaction, past the commands at `overtaken`; `receipt`: of the command
        there, where that is known. Raises BackendAway when somebody else has moved it."""
        new = [position for position in overtaken if position > self.position()]
        done = all(session.move_watermark(f"{self.stream}#{position}", 0, OVERTAKEN) for position in new)
        if new:
            self.is_overtaken(new[-1])
            done = done and session.move_watermark(f"{self.stream}#", self._newest or 0, max(new))
        now, self._next = self.position(), witness_of(to, receipt)
        if self._witness != self._next:
            done = done and session.move_watermark(f"{self.stream}@", self._witness, self._next)
        self._check(done and session.move_watermark(self.stream, now, to))

    def put_behind(self, positions: Sequence[int]) -> None:
        """Mark commands at or below the mark as overtaken, in a transaction of its own, whatever was known of their
        positions. Raises BackendAway as `move`."""
        self.doubt()
        known = {position: self.backend.watermark(f"{self.stream}#{position}") or 0 for position in positions}
        wanted = [position for position, mark in known.items() if mark != OVERTAKEN]
        newest = self.backend.watermark(f"{self.stream}#") or 0
        if not wanted:
            return
        with self.backend.session() as session:
            done = all(session.move_watermark(f"{self.stream}#{p}", known[p], OVERTAKEN) for p in wanted)
            if max(wanted) > newest:
                done = done and session.move_watermark(f"{self.stream}#", newest, max(wanted))
            self._check(done)

    def moved(self, to: int, overtaken: Iterable[int]) -> None:
        """The transaction of `move` was committed."""
        for position in overtaken:
            if position > (self._mark or 0):
                self._known[position] = OVERTAKEN
                self._newest = max(self._newest or 0, position)
        self._mark, self._witness = to, self._next

    def late(self, session: Session, position: int) -> None:
        """Mark an overtaken command as applied, inside its transaction. Raises BackendAway as `move`."""
        self._check(session.move_watermark(f"{self.stream}#{position}", OVERTAKEN, LATE))

    def was_late(self, position: int) -> None:
        """The transaction of `late` was committed."""
        self._known[position] = LATE

    def hold(self, position: int) -> None:
        """Make sure, before the command at `position` ends otherwise than applied, that no other replayer has applied
        it: none moves the mark past it now, nor with a commit that was still under way, which this waits for. Raises
        BackendAway as `move`."""
        name, now, to = self.stream, self.position(), position
        if position <= now:
            name, now, to = f"{self.stream}#{position}", OVERTAKEN, LATE
        is_ours = False
        try:
            with self.backend.session() as session:
                is_ours = session.move_watermark(name, now, to)
                raise _Undone
        except _Undone:
            self._check(is_ours)

    def _check(self, is_ours: bool) -> None:
        if not is_ours:
            self.doubt()
            raise BackendAway(f"{self.backend.name}: somebody else is replaying the same commands")
