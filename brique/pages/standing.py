"""Whole pages that stand ready: what their bytes depend on besides their address and their reader, and what of them
moves on by itself.

A page of a list, a row or a view is made from the copy, so it stands as long as nothing that any page shows has
changed there (`bearings`). Two things move without a change: the age of the data, which is written anew from second to
second, and the day. A page that tells of something under way (a backend that is away, a pending row, a sentence said
once) does not stand at all: it is soon another.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from brique.http import Standing, is_learning, language_of, stand_ready
from brique.pages.format import Formats
from brique.pages.speaking import formats_of
from brique.views import Copy, bearings

if TYPE_CHECKING:
    from brique.pages.age import Age
    from brique.pages.parts import Parts

FLASH_COOKIE = "brique_flash"
_AGES = re.compile(rb'<time datetime="([^"]+)" data-age="\d+">[^<]*</time>')
_UNDER_WAY = (b' class="pending"', b' class="conflict"')


class Signs:
    """The bearings of the copy, taken once for each state of it. To be used on the loop."""

    def __init__(self) -> None:
        self._mark: object = None
        self._sign = ""

    def now(self, copy: Copy) -> str:
        """The bearings outside a snapshot."""
        mark = copy.commit_mark()
        if mark != self._mark:
            self._sign = bearings(copy)
            self._mark = mark
        return self._sign


class Ageing:
    """A page in which the ages of data are written anew."""

    def __init__(self, page: bytes, formats: Formats) -> None:
        self._formats = formats
        self._between = []
        self._moments = []
        end = 0
        for found in _AGES.finditer(page):
            self._between.append(page[end : found.start()])
            self._moments.append((found[1], datetime.fromisoformat(found[1].decode())))
            end = found.end()
        self._rest = page[end:]

    def at(self, now: float) -> tuple[bytes, float]:
        """The page at the moment `now` (a timestamp), and the moment from which on it is another."""
        parts, until, moment = [], float("inf"), datetime.fromtimestamp(now, UTC)
        for before, (text, confirmed) in zip(self._between, self._moments, strict=True):
            seconds = max(0, int((moment - confirmed).total_seconds()))
            until = min(until, confirmed.timestamp() + seconds + 1)
            said = f'" data-age="{seconds}">{self._formats.age(seconds)}</time>'
            parts += [before, b'<time datetime="', text, said.encode()]
        return b"".join([*parts, self._rest]), until


def sign_of(request: Request, copy: Copy) -> str:
    """Inside the snapshot that a page is made from: what it is to be compared with later; "" when it will not stand."""
    if not is_learning(request.scope) or FLASH_COOKIE in request.cookies:
        return ""
    if any(state.state != "live" for state in copy.backend_states().values()):
        return ""
    return bearings(copy)


def stand(
    parts: Parts,
    request: Request,
    response: Response,
    sign: str,
    age: Age | None,
    *,
    holds: Callable[[], bool] | None = None,
    until: datetime | None = None,
) -> Response:
    """Say of `response`, made where the bearings were `sign`, how long it stands; `holds` is asked besides."""
    page = bytes(response.body)
    if not sign or response.status_code != 200 or any(text in page for text in _UNDER_WAY):
        return response
    if age is not None and (age.late or age.moment is None):
        return response
    ends = [_midnight(parts)]
    ends += [moment for moment in (until, age.late_at if age is not None else None) if moment is not None]

    def stands() -> bool:
        with parts.borrow() as copy:
            if parts.signs.now(copy) != sign:
                return False
        return holds is None or holds()

    formats = formats_of(language_of(request, parts.languages), parts.timezone.key)
    standing = Standing(stands, until=min(ends).timestamp(), moving=Ageing(page, formats))
    stand_ready(request.scope, standing)
    return response


def _midnight(parts: Parts) -> datetime:
    """The next one where the intranet's people are."""
    today = parts.clock.now().astimezone(parts.timezone).date()
    return datetime.combine(today + timedelta(days=1), time(), parts.timezone)
