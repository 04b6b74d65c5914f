"""How an answer comes to stand ready: what its handler says of it, and how it is caught on its way out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from brique.http.identity import Role, User

if TYPE_CHECKING:
    from brique.http.shelf import Head

FOREVER = float("inf")
Caller = tuple[User | None, float]
"""Who is calling, and until when (seconds of the clock) that holds while nothing changes in the accounts."""


class Stamp:
    """Headers that move on while an answer stands, such as the age of its data. One for all answers that share it."""

    names: frozenset[bytes] = frozenset()

    def __init__(self) -> None:
        self.turn = -1
        self.text = b""

    def lines(self, now: float, epoch: int) -> bytes:
        """The headers as they are sent, each with its line end. Raises BriqueError when nothing can be said."""
        raise NotImplementedError


class Moving(Protocol):
    """A body parts of which move on while the answer stands."""

    def at(self, now: float) -> tuple[bytes, float]:
        """The body at a moment, not compressed, and the moment from which on it is another."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """A handler's word that its answer may be given again, without being asked, to the same request.

    `holds` is asked on the loop, after a change of the data and before the answer is given again: it takes
    microseconds. `shared`: the answer is the same for all who may see it, whatever their cookies and language.
    `until` is the moment (seconds of the clock) from which on it does not stand. `stamp`, `moving`: see there.
    """

    holds: Callable[[], bool]
    role: Role | None = None
    shared: bool = False
    until: float = FOREVER
    stamp: Stamp | None = None
    moving: Moving | None = None


def _nobody_waits(_address: str) -> float:
    return 0.0


class Keep:
    """What one exchange on the ordinary path notes on its way, in `scope["brique.keep"]`: the gate, the table of
    routes and the handler write here, the answer is caught last."""

    __slots__ = (
        "address",
        "block",
        "body",
        "headers",
        "heads",
        "rank",
        "route",
        "standing",
        "status",
        "still",
        "target",
        "user",
        "waits",
    )

    def __init__(self, heads: dict[bytes, Head], block: bytes, target: bytes) -> None:
        self.heads, self.block, self.target = heads, block, target
        self.standing: Standing | None = None
        self.still: Callable[[], Caller | None] | None = None
        self.user: User | None = None
        self.waits: Callable[[str], float] = _nobody_waits
        self.address = ""
        self.route = ""
        self.rank = 0
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body: bytes | None = None


def is_learning(scope: Scope) -> bool:
    """Whether it is of use to say that the answer to this request stands."""
    return "brique.keep" in scope


def stand_ready(scope: Scope, standing: Standing) -> None:
    """Say of the answer to this request that it stands; without a shelf nothing happens."""
    keep: Keep | None = scope.get("brique.keep")
    if keep is not None:
        keep.standing = standing


def stand_down(scope: Scope) -> None:
    """Take that back: what this request asks for is not its answer alone, but to wait or to follow."""
    keep: Keep | None = scope.get("brique.keep")
    if keep is not None:
        keep.standing = None


class Learning:
    """Outermost of the application: catches the answers to exchanges that the connection wants to learn from, and
    hands them to `take`."""

    def __init__(self, app: ASGIApp, take: Callable[[Keep, list[tuple[bytes, bytes]]], None]) -> None:
        self.app = app
        self.take = take

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        keep: Keep | None = scope.get("brique.keep")
        if keep is None:
            await self.app(scope, receive, send)
            return
        pieces = 0

        async def sending(message: Message) -> None:
            nonlocal pieces
            if message["type"] == "http.response.start":
                keep.status = message["status"]
                keep.headers = [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers", ())]
            elif message["type"] == "http.response.body":
                pieces += 1
                keep.body = message.get("body", b"") if pieces == 1 and not message.get("more_body") else None
            await send(message)

        headers = list(scope["headers"])
        await self.app(scope, receive, sending)
        self.take(keep, headers)
