"""The connection that answers from the shelf: below ASGI, a whole GET head in, prebuilt bytes out.

Only the simplest of requests is answered here: one that comes whole, by itself, while the connection rests; whose head
the real parser has read before, byte for byte, and whose address has an answer on the shelf. All else goes to the real
parser and the application, unchanged: what comes in pieces or several at once, what is malformed, what is new. Two
requests of which one line each differs are read alike by the parser, for nothing in the first line changes how it
reads the rest; so a known first line before a known rest is a known request.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from brique.http.limits import Limits
from brique.http.protocol import BoundedProtocol
from brique.http.ready import Keep
from brique.http.shelf import Answer, Head, Shelf

_LINE_END = b" HTTP/1.1\r\n"
_CONDITION = re.compile(rb'\r\n[Ii]f-[Nn]one-[Mm]atch: ((?:W/)?"[\x21\x23-\x7e]{0,200}")\r\n(?![ \t])')


class FastProtocol(BoundedProtocol):
    """One connection. `shelf` and `behind_proxy` are set on a subclass by `fast`."""

    shelf: Shelf
    behind_proxy = False

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.rests = True
        self.whole = True
        self.begun = 0
        self.answered_at = 0.0
        self.heads: dict[bytes, Head] = {}
        self.address = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self.address = str(self.client[0]) if self.client else ""
        self.heads = self.shelf.heads(self.address if self.behind_proxy else "")

    # when the connection rests: every message read to its end, every answer given

    def on_message_begin(self) -> None:
        self.rests = self.whole = False
        self.begun += 1
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self.whole = True
        super().on_message_complete()
        self.rests = self.cycle.response_complete and not self.pipeline

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.rests = self.whole and self.cycle.response_complete and not self.pipeline

    # a request

    def data_received(self, data: bytes) -> None:
        if not self.rests or self.transport.is_closing():
            super().data_received(data)
            return
        started = time.perf_counter()
        found = self._find(data)
        if found is not None:
            self._give(*found, started)
            return
        self.begun = 0
        super().data_received(data)
        if self.begun == 1 and self.whole:
            self._learn(data)

    def _find(self, data: bytes) -> tuple[Answer, Head, bool] | None:
        """The answer to a request of which `data` is all, who asks, and whether he has it already."""
        cut = data.find(_LINE_END)
        if cut < 0 or data[:5] != b"GET /":
            return None
        shelf = self.shelf
        if not shelf.is_open:
            shelf.begin_turn(self.loop)
            if not shelf.is_open:
                return None
        rest = data[cut + 11 :]
        head, condition = self.heads.get(rest), b""
        if head is None:
            rest, condition = without_condition(rest)
            head = self.heads.get(rest) if condition else None
            if head is None:
                return None
        if (head.epoch != shelf.people or head.until <= shelf.now) and not shelf.identify(head):
            return None
        target = data[4:cut]
        answer = head.own.get(target) or head.shared.get(target)
        if answer is None or head.rank < answer.form.rank or answer.until <= shelf.now:
            return None
        if head.by_token and head.waits(head.address or self.address):
            return None
        if answer.epoch != shelf.epoch and not shelf.renew(answer):
            return None
        if answer.moves_at <= shelf.now and not shelf.move(answer):
            return None
        has_already = condition != b"" and condition.removeprefix(b"W/") == answer.etag.removeprefix(b"W/")
        if answer.body is None and not has_already:
            return None
        if answer.form.stamp is not None and shelf.stamped(answer.form.stamp) is None:
            return None
        return None if self._is_pressed() else (answer, head, has_already)

    def _is_pressed(self) -> bool:
        """Whether the ordinary path must see to it that this reader waits, or that there are not too many."""
        limit = self.limit_concurrency
        if self.flow.write_paused:
            return True
        return limit is not None and (len(self.connections) >= limit or len(self.tasks) >= limit)

    def _give(self, answer: Answer, head: Head, has_already: bool, started: float) -> None:
        shelf, form = self.shelf, answer.form
        stamp = b"" if form.stamp is None else form.stamp.text
        request_id = shelf.request_id()
        state = self.server_state
        opening = shelf.opening(304 if has_already else 200, state.default_headers)
        body = b"" if has_already or answer.body is None else answer.body
        own, before = (answer.own_304, form.before_304) if has_already else (answer.own, form.before)
        self.transport.write(
            b"".join(
                (
                    opening,
                    stamp or b"",
                    own,
                    before,
                    b"x-request-id: ",
                    request_id.encode(),
                    b"\r\n",
                    form.after,
                    b"\r\n",
                    body,
                )
            )
        )
        answer.used = True
        state.total_requests += 1
        self._note_use()
        seconds = time.perf_counter() - started
        status = 304 if has_already else 200
        shelf.given(
            answer, head, status=status, seconds=seconds, size=len(body), request_id=request_id, address=self.address
        )

    def _learn(self, data: bytes) -> None:
        """Have the exchange that has just begun note what may be given again."""
        cut = data.find(_LINE_END)
        if cut < 0 or data[:5] != b"GET /" or data[4:cut] != self.url or not self.cycle.keep_alive:
            return
        rest, _condition = without_condition(data[cut + 11 :])
        if b"if-none-match" in rest.lower():
            return
        self.cycle.scope["brique.keep"] = Keep(self.heads, rest, data[4:cut])  # type: ignore[typeddict-unknown-key]

    # how long an idle connection is kept

    def _note_use(self) -> None:
        self.answered_at = self.loop.time()
        if self.head_timer is not None:
            self._stop_head_timer()
        if self.timeout_keep_alive_task is None:
            self._wait_for_next(self.timeout_keep_alive)

    def _wait_for_next(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """An answer from the shelf moves no timer; here is seen how long ago the last one was."""
        left = self.answered_at + self.timeout_keep_alive - self.loop.time()
        if left > 0 and not self.transport.is_closing():
            self._wait_for_next(left)
        else:
            super().timeout_keep_alive_handler()


def without_condition(rest: bytes) -> tuple[bytes, bytes]:
    """The head without its If-None-Match line, and the one entity tag in it; as it is when there is none, or not one
    only."""
    found = _CONDITION.search(b"\r\n" + rest)
    if found is None:
        return rest, b""
    return rest[: found.start()] + rest[found.end() - 2 :], found[1]


def fast(limits: Limits, shelf: Shelf, *, behind_proxy: bool = False) -> type[FastProtocol]:
    """The connection class with these limits, over this shelf. `behind_proxy`: some peers' forwarding headers are
    taken for true, so that the same head says different things from different peers."""
    return type("FastProtocol", (FastProtocol,), {"limits": limits, "shelf": shelf, "behind_proxy": behind_proxy})
