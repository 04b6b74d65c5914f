"""What a web process hands to the engine: bytes that it has made, with what they depend on; or that a view failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from brique.store import CellSpec, Total
from brique.views.notes import Note


class Offer(msgspec.Struct, frozen=True, array_like=True):
    """One computation, made on the store as it was at `position`.

    `view` is the view's name with its fingerprint, `arguments` the identity of the representation (see `identity`),
    `since` and `until` UTC stamps between which it holds ("" for always). With an `error` there is no body: the last
    good bytes are marked with it. `used`: (view, arguments) of representations read lately, to spare when room is made.
    `cells`: totals of many rows that it has counted. `took_us`: how long the view ran. `gone`: it says
    that there is nothing, and what it has read is in `notes`, as with an error. `settings`: those read, and
    what tells their values from others.
    """

    view: str
    arguments: str
    body: bytes
    etag: str
    position: int
    made_at: str
    notes: tuple[Note, ...] = ()
    user: str = ""
    since: str = ""
    until: str = ""
    error: str = ""
    used: tuple[tuple[str, str], ...] = ()
    cells: tuple[tuple[CellSpec, tuple[Total, ...]], ...] = ()
    took_us: int = 0
    gone: bool = False
    settings: tuple[tuple[str, bytes], ...] = ()

    def payload(self) -> dict[str, Any]:
        """For the channel."""
        return {"offer": msgspec.msgpack.encode(self)}


def offer_from(payload: Mapping[str, Any]) -> Offer:
    """The offer in a payload of the channel. Raises msgspec.DecodeError."""
    return msgspec.msgpack.decode(payload["offer"], type=Offer)


def identity(arguments: str, user: str) -> str:
    """Arguments and, for what belongs to one user, whose it is."""
    return f"{arguments}\x1f{user}" if user else arguments
