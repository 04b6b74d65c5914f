"""Answers that stand ready, in the memory of one web process: what has left before may leave again.

*Learned, not made.* Nothing is put here but answers that the ordinary application has just given, each with its
handler's word (`Standing`) for how long it stands. So what leaves from here is what the application would have sent.

*When an answer is found.* The protocol looks up the whole head of a request without its first line: a `Head`, which
the real parser has read once and the gate has identified. The head leads to places (one shared by all who send the
same wishes, one of this caller alone), the address in the first line to an `Answer` there.

*When it is given.* Once in a turn of the loop the shelf asks whether the accounts or the data have changed. An
`epoch` counts the changes of each; a head or answer of an earlier epoch is looked at again before it is used: who is
calling, and whether the answer stands. The role is compared at every request.

*What it costs.* `bytes_max` bounds all answers; those not used go first. Heads are counted, and short.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Hashable
from operator import itemgetter
from weakref import WeakValueDictionary

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from brique.clock import Clock
from brique.errors import BriqueError
from brique.http.compress import CODINGS, coding_of
from brique.http.identity import ROLES, Role, User
from brique.http.ready import FOREVER, Caller, Keep, Stamp, Standing
from brique.http.security import Exchange, log_exchange

HEADS_MAX = 2_048
PROXIES_MAX = 64
HEAD_BYTES_MAX = 4_096
ANSWER_BYTES_MAX = 1024 * 1024
_OVERHEAD_BYTES = 700
_GONE_MAX = 1_000
RANKS: dict[Role | None, int] = {None: 0, **{role: rank for rank, role in enumerate(ROLES, 1)}}

# Of no account to any answer; all other headers of a request are part of the place where its answers stand.
_IDLE = frozenset(
    (
        b"user-agent", b"referer", b"connection", b"cache-control", b"pragma", b"dnt", b"priority", b"x-forwarded-for",
        b"upgrade-insecure-requests", b"if-none-match", b"sec-gpc", b"sec-fetch-site", b"sec-fetch-mode",
        b"sec-fetch-dest", b"sec-fetch-user", b"sec-ch-ua", b"sec-ch-ua-mobile", b"sec-ch-ua-platform",
    )
)  # fmt: skip
_OF_THE_CALLER = frozenset((b"cookie", b"authorization", b"accept-language"))
# A request with one of these is never answered from here.
_NEVER = frozenset(
    (
        b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer", b"range", b"if-range",
        b"if-match", b"if-modified-since", b"if-unmodified-since", b"http2-settings",
    )
)  # fmt: skip
# Headers of an answer that are its own; the others are kept once for all answers that share them.
_OWN = frozenset((b"etag", b"content-length", b"link", b"content-location", b"brique-position", b"brique-stale"))
_NOT_IN_304 = frozenset((b"content-type", b"content-length", b"content-encoding"))


class Head:
    """The head of requests of one caller, all but the first line. `still` asks again who that is and for how long the
    answer to that holds; None: the ordinary path must look. `waits` tells of an address whether its tokens are refused
    for a while."""

    __slots__ = ("address", "by_token", "epoch", "key", "own", "rank", "shared", "still", "until", "user", "waits")

    def __init__(
        self,
        still: Callable[[], Caller | None],
        waits: Callable[[str], float],
        shared: dict[bytes, Answer],
        key: Hashable,
        address: str,
    ) -> None:
        self.still, self.shared, self.key, self.address = still, shared, key, address
        self.own: dict[bytes, Answer] = {}
        self.waits, self.by_token = waits, False
        self.epoch = -1
        self.until = 0.0
        self.rank = 0
        self.user: User | None = None


class Form:
    """What answers of a kind have in common: the headers before and after the request's id, with and without a body."""

    __slots__ = ("__weakref__", "after", "before", "before_304", "rank", "route", "stamp")

    def __init__(self, before: bytes, before_304: bytes, after: bytes, route: str, rank: int, stamp: Stamp | None):
        self.before, self.before_304, self.after = before, before_304, after
        self.route, self.rank, self.stamp = route, rank, stamp


class Answer:
    """One answer. `body` None: only that nothing has changed is known."""

    __slots__ = (
        "body", "coding", "epoch", "etag", "form", "holds", "moves_at", "moving", "own", "own_304", "place", "size",
        "target", "until", "used",
    )  # fmt: skip

    def __init__(self, form: Form, standing: Standing, place: dict[bytes, Answer], target: bytes) -> None:
        self.form, self.place, self.target = form, place, target
        self.holds, self.until, self.moving = standing.holds, standing.until, standing.moving
        self.moves_at = FOREVER if standing.moving is None else 0.0
        self.coding = ""
        self.epoch = -1
        self.used = False
        self.own = self.own_304 = self.etag = b""
        self.body: bytes | None = None
        self.size = 0


class Shelf:
    """The answers of one process. To be used on its loop only.

    `data_version` and `people_version` give something that is different after every commit; they are asked once in a
    turn of the loop.
    """

    def __init__(
        self,
        *,
        data_version: Callable[[], Hashable],
        people_version: Callable[[], Hashable],
        clock: Clock,
        bytes_max: int,
        on_exchange: Callable[[Exchange], None] | None = None,
    ) -> None:
        self._data_version, self._people_version, self._clock = data_version, people_version, clock
        self.on_exchange = on_exchange
        self._bytes_max = bytes_max
        self._heads: dict[str, dict[bytes, Head]] = {"": {}}
        self._places: WeakValueDictionary[Hashable, _Place] = WeakValueDictionary()
        self._forms: WeakValueDictionary[Hashable, Form] = WeakValueDictionary()
        self._order: deque[Answer] = deque()
        self._gone = 0
        self._seen: tuple[Hashable, Hashable] = (None, None)
        self._ids, self._next_id = "", 0
        self._default: list[tuple[bytes, bytes]] | None = None
        self._openings: dict[int, bytes] = {}
        self.bytes = 0
        self.is_open = False
        self.turn = self.epoch = self.people = 0
        self.now = 0.0
        self.hits = 0

    # the turn

    def begin_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look at the clock and for changes, once for all requests of this turn of the loop."""
        loop.call_soon(self._end_turn)
        self.turn += 1
        before, self.now = self.now, self._clock.now().timestamp()
        if self.now < before:
            self._clear()  # the clock was set back: what was to hold until some moment would hold too long
        try:
            seen = (self._data_version(), self._people_version())
        except BriqueError:
            self._seen = (None, None)
            return
        if seen[0] != self._seen[0]:
            self.epoch += 1
        if seen[1] != self._seen[1]:
            self.people += 1
        self._seen = seen
        self.is_open = True

    def _end_turn(self) -> None:
        self.is_open = False

    # finding

    def heads(self, proxy: str = "") -> dict[bytes, Head]:
        """The heads known of connections from a `proxy` whose forwarding headers are taken for true, or of all that
        come directly."""
        known = self._heads.get(proxy)
        if known is None:
            known = {}
            if len(self._heads) < PROXIES_MAX:
                self._heads[proxy] = known
        return known

    def identify(self, head: Head) -> bool:
        """Ask again who is calling; False when the ordinary path must."""
        caller = head.still()
        if caller is None:
            return False
        user, until = caller
        if user != head.user or head.epoch < 0:
            head.own = self._place(("own", head.key, user))
            head.user = user
            head.rank = RANKS[user.role] if user is not None else 0
            head.by_token = user is not None and user.via == "token"
        head.epoch, head.until = self.people, until
        return True

    def renew(self, answer: Answer) -> bool:
        """Ask an answer of an earlier state of the data whether it stands; one that does not goes."""
        try:
            if answer.holds():
                answer.epoch = self.epoch
                return True
        except BriqueError:
            return False
        self._drop(answer)
        return False

    def move(self, answer: Answer) -> bool:
        """Make the body of an answer anew that moves on by itself, as the application would have it now."""
        assert answer.moving is not None
        body, answer.moves_at = answer.moving.at(self.now)
        if answer.coding:
            packed = CODINGS[answer.coding](body)
            if len(packed) >= len(body):
                self._drop(answer)
                return False
            body = packed
        answer.body = body
        answer.own = b"content-length: %d\r\n" % len(body)
        return True

    def stamped(self, stamp: Stamp) -> bytes | None:
        """The headers of `stamp` for this turn; None when they cannot be told."""
        if stamp.turn != self.turn:
            try:
                stamp.text = stamp.lines(self.now, self.epoch)
            except BriqueError:
                return None
            stamp.turn = self.turn
        return stamp.text

    def opening(self, status: int, default: list[tuple[bytes, bytes]]) -> bytes:
        """The first line of an answer and the server's own headers, which are made anew each second."""
        if default is not self._default:
            self._default = default
            lines = b"".join(b"%s: %s\r\n" % pair for pair in default)
            self._openings = {code: STATUS_LINE[code] + lines for code in (200, 304)}
        return self._openings[status]

    def request_id(self) -> str:
        """Sixteen random digits; drawn many at a time."""
        at = self._next_id
        if at >= len(self._ids):
            self._ids, at = os.urandom(8 * 256).hex(), 0
        self._next_id = at + 16
        return self._ids[at : at + 16]

    def given(
        self, answer: Answer, head: Head, *, status: int, seconds: float, size: int, request_id: str, address: str
    ) -> None:
        """An answer has left: count it, log it."""
        self.hits += 1
        exchange = Exchange("GET", answer.form.route, status, seconds, size, request_id)
        if self.on_exchange is not None:
            self.on_exchange(exchange)
        log_exchange(exchange, answer.target, head.user, head.address or address)

    # learning

    def take(self, keep: Keep, headers: list[tuple[bytes, bytes]]) -> None:
        """Keep the answer to an exchange on the ordinary path, if its handler has said that it stands."""
        standing, still = keep.standing, keep.still
        if standing is None or still is None or keep.body is None or keep.status not in (200, 304):
            return
        if len(keep.body) > ANSWER_BYTES_MAX or len(keep.block) > HEAD_BYTES_MAX:
            return
        head = keep.heads.get(keep.block) or self._new_head(keep, headers, still)
        if head is None or not self.identify(head):
            return
        if head.user != keep.user and not standing.shared:
            return  # whom it was made for is not any more who he was
        place = head.shared if standing.shared else head.own
        answer = self._answer(keep, standing, place)
        if answer is None:
            return
        known = place.get(keep.target)
        if known is not None:
            if keep.status == 304 and known.body is not None and known.etag == answer.etag:
                return
            self._drop(known)
        place[keep.target] = answer
        self._order.append(answer)
        self.bytes += answer.size
        self._evict()

    def _new_head(
        self, keep: Keep, headers: list[tuple[bytes, bytes]], still: Callable[[], Caller | None]
    ) -> Head | None:
        names = {name for name, _value in headers}
        if names & _NEVER or any(name == b"connection" and value.lower() != b"keep-alive" for name, value in headers):
            return None
        key = _wishes(headers)
        wishes = tuple(pair for pair in key if pair[0] not in _OF_THE_CALLER)
        address = "" if keep.heads is self._heads[""] else keep.address
        head = Head(still, keep.waits, self._place(("shared", wishes)), key, address)
        if len(keep.heads) >= HEADS_MAX:
            del keep.heads[next(iter(keep.heads))]
        keep.heads[keep.block] = head
        return head

    def _place(self, key: Hashable) -> dict[bytes, Answer]:
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = _Place()
        return place

    def _answer(self, keep: Keep, standing: Standing, place: dict[bytes, Answer]) -> Answer | None:
        """The answer as it was sent, cut where the next one will differ; None for one that no other may get."""
        moving = standing.stamp.names if standing.stamp is not None else frozenset[bytes]()
        parts = _Parts()
        for name, value in keep.headers:
            if name in (b"set-cookie", b"connection", b"transfer-encoding"):
                return None
            if name not in moving:
                parts.add(name, value)
        if not parts.has_id or (keep.status == 200 and not parts.has_length):
            return None
        rank = max(keep.rank, RANKS[standing.role])
        before, before_304, after = b"".join(parts.before), b"".join(parts.before_304), b"".join(parts.after)
        key = (before, before_304, after, keep.route, rank, standing.stamp)
        form = self._forms.get(key)
        if form is None:
            form = self._forms[key] = Form(*key)
        answer = Answer(form, standing, place, keep.target)
        answer.own, answer.own_304, answer.etag = b"".join(parts.own), b"".join(parts.own_304), parts.etag
        if keep.status == 200:
            answer.body = keep.body
        answer.coding = parts.coding
        if answer.moving is not None and answer.own != b"content-length: %d\r\n" % len(keep.body or b""):
            return None  # it has more of its own than moves
        answer.size = len(keep.body or b"") + len(answer.own) + len(answer.own_304) + _OVERHEAD_BYTES
        return answer

    # letting go

    def _drop(self, answer: Answer) -> None:
        if answer.place.get(answer.target) is answer:
            del answer.place[answer.target]
            self.bytes -= answer.size
            answer.size = 0
            answer.body = None
            self._gone += 1
            if self._gone > _GONE_MAX and self._gone * 2 > len(self._order):
                self._order = deque(kept for kept in self._order if kept.size)
                self._gone = 0

    def _clear(self) -> None:
        for answer in list(self._order):
            self._drop(answer)
        self.people += 1

    def _evict(self) -> None:
        """Let the longest unused go until all fit; one that was used since the last look is spared once."""
        while (order := self._order) and (self.bytes > self._bytes_max or not order[0].size):
            answer = order.popleft()
            if not answer.size:
                self._gone -= 1
                continue
            if answer.used:
                answer.used = False
                order.append(answer)
            else:
                order.appendleft(answer)
                self._drop(answer)


class _Place(dict[bytes, Answer]):
    """A dict that may be held weakly: it lives as long as a head leads to it, or an answer stands in it."""

    __slots__ = ("__weakref__",)


def _wishes(headers: list[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """What of a head answers may depend on, in order of name; of the codings that it takes the one that it gets."""
    told = [pair for pair in headers if pair[0] not in _IDLE and pair[0] != b"accept-encoding"]
    coding = coding_of(next((value.decode("latin-1") for name, value in headers if name == b"accept-encoding"), ""))
    return (*sorted(told, key=itemgetter(0)), (b"accept-encoding", coding.encode()))


class _Parts:
    """The lines of an answer's head, in order, in the parts that are kept."""

    def __init__(self) -> None:
        self.own: list[bytes] = []
        self.own_304: list[bytes] = []
        self.before: list[bytes] = []
        self.before_304: list[bytes] = []
        self.after: list[bytes] = []
        self.etag = b""
        self.coding = ""
        self.has_id = self.has_length = False

    def add(self, name: bytes, value: bytes) -> None:
        line = b"%s: %s\r\n" % (name, value)
        if name == b"etag":
            self.etag = value
        if name == b"content-length":
            self.has_length = True
        if name == b"content-encoding":
            self.coding = value.decode("latin-1")
        if name == b"x-request-id":
            self.has_id = True
        elif name in _OWN:
            self.own.append(line)
            if name not in _NOT_IN_304:
                self.own_304.append(line)
        elif self.has_id:
            self.after.append(line)
        else:
            self.before.append(line)
            if name not in _NOT_IN_304:
                self.before_304.append(line)
