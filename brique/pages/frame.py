"""What stands around every page: menu, banners, age, languages, flashes.

A page asks `Frame(parts).context(request, title=…, current=…)` for it, names the tables that it shows, and adds its
own things. All of it is read from the copy: a frame never waits for a backend, and is bare while there is no store.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from brique.commands import may
from brique.errors import BriqueError
from brique.http import User, at, language_of
from brique.pages.format import Formats
from brique.pages.parts import Parts
from brique.pages.speaking import formats_of
from brique.pages.standing import FLASH_COOKIE
from brique.schema import State, TableSpec
from brique.views import BackendState, Copy, View, pulse

TABLES_SHOWN_MAX = 15
FLASH_SECONDS_MAX = 60
_FLASH_CHARS_MAX = 600
_FOLLOWED_MAX = 12
_NOT_SETTLED = (State.KEPT, State.SENDING)


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


LANGUAGE_NAMES = {"en": "English", "fr": "Français"}
FLASHES = {
    "kept": ("ok", _("Saved: receipt {receipt}.")),
    "applied": ("ok", _("Saved and confirmed: receipt {receipt}.")),
    "deleted": ("ok", _("The deletion is kept: receipt {receipt}.")),
    "done": ("ok", _("Done: receipt {receipt}.")),
    "again": ("info", _("This form was sent before: receipt {receipt}.")),
    "nothing": ("info", _("Nothing has changed.")),
    "withdrawn": ("ok", _("Taken back: receipt {receipt}.")),
    "dismissed": ("ok", _("Dealt with: receipt {receipt}.")),
    "decided": ("ok", _("Noted for receipt {receipt}.")),
    "many": ("ok", _("{n} dealt with.")),
    "none_chosen": ("info", _("Nothing was chosen: tick what it is about.")),
    "demo": ("info", _("The demo's database: {state}.")),
    "adopted": ("ok", _("{backend} is taken over: what waits goes on.")),
}
"""What a page may say once after it has sent the reader on: code to (kind, sentence)."""


def set_flash(response: Response, request: Request, code: str, **values: str) -> Response:
    """Have the next page say the sentence `code` of FLASHES. Only codes travel, so that nobody can plant a sentence."""
    packed = msgspec.json.encode([code, values])
    response.set_cookie(
        FLASH_COOKIE,
        base64.urlsafe_b64encode(packed).decode(),
        max_age=FLASH_SECONDS_MAX,
        path=at(request.scope, "/"),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return response


def take_flash(request: Request, response: Response) -> Response:
    """The page that was shown has said it: say it no more."""
    if FLASH_COOKIE in request.cookies and not is_partial(request):
        response.delete_cookie(FLASH_COOKIE, path=at(request.scope, "/"), httponly=True, samesite="lax")
    return response


def is_partial(request: Request) -> bool:
    """Whether a script asks for a part of the page, which it puts into the page that is there."""
    return request.headers.get("hx-request") == "true"


@dataclass(frozen=True)
class Facts:
    """What frames are made of, from one state of the store. `waiting`: commands not settled, by backend (of backends
    that are not live); `sending` all of them; `needing` those that a person must decide; `mine` the reader's own of
    these."""

    backends: Mapping[str, BackendState] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)
    sending: int = 0
    needing: int = 0
    mine: int = 0
    pulse: str = ""


class Frame:
    """The surroundings of the pages of one intranet. Cheap to make."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def context(
        self,
        request: Request,
        *,
        title: str = "",
        current: str = "",
        tables: Collection[str] | None = None,
        copy: Copy | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """Everything that `base.html` reads, and `more`.

        Args:
            current: what the menu marks: "home", "tables", "table:NAME", "view:NAME", "outbox", "status".
            tables: what the page shows, so that it refreshes itself and speaks of their backends; None: all backends.
            copy: a reader inside its snapshot, so that the frame is of the same moment as the page.
        """
        around = _Around(self.parts, request, current, tables)
        facts = self._facts(around.user, copy) if around.user is not None else Facts()
        if facts is None:
            facts, around.storeless = Facts(), True
        return {**around.context(facts), "title": title, **more}

    def _facts(self, user: User, copy: Copy | None) -> Facts | None:
        """The facts for `user`; None while there is no store."""
        try:
            with self._copy(copy) as reader:
                return facts_of(reader, None if may(user, "admin") else user.name, user.name)
        except BriqueError:
            return None

    @contextmanager
    def _copy(self, copy: Copy | None) -> Iterator[Copy]:
        if copy is not None:
            yield copy
            return
        with self.parts.borrow() as borrowed, borrowed.snapshot():
            yield borrowed


def facts_of(copy: Copy, user: str | None, reader: str) -> Facts:
    """The facts for `reader`, with the commands of `user` only (None: of everybody)."""
    with copy.snapshot():
        backends = copy.backend_states()
        away = [state.name for state in backends.values() if state.state != "live"]
        return Facts(
            backends=backends,
            waiting={name: _not_settled(copy, user, name) for name in away},
            sending=_not_settled(copy, user, None),
            needing=copy.needing_person(user),
            mine=copy.needing_person(reader),
            pulse=pulse(copy).text(),
        )


def _not_settled(copy: Copy, user: str | None, backend: str | None) -> int:
    counts = copy.command_counts(user, backend)
    return sum(counts.get(state, 0) for state in _NOT_SETTLED)


class _Around:
    """One frame in the making."""

    def __init__(self, parts: Parts, request: Request, current: str, tables: Collection[str] | None) -> None:
        self.parts = parts
        self.request = request
        self.current = current
        self.tables = tables
        self.storeless = False
        user = request.scope.get("state", {}).get("user")
        self.user: User | None = user if isinstance(user, User) else None
        self.language = language_of(request, parts.languages)

    @cached_property
    def formats(self) -> Formats:
        return formats_of(self.language, self.parts.timezone.key)

    def at(self, path: str) -> str:
        return at(self.request.scope, path)

    def context(self, facts: Facts) -> dict[str, Any]:
        user, request = self.user, self.request
        theme = request.cookies.get("theme", "")
        assets = self.parts.assets
        return {
            "brand": self.parts.title,
            "theme": theme if theme in ("light", "dark") else "",
            "csrf": user.csrf if user is not None else "",
            "at": self.at,
            "asset": lambda name: self.at(assets.url(name)),
            "language": self.language,
            "user": user,
            "may": lambda role: user is not None and may(user, role),
            "now": self.parts.clock.now(),
            "menu": self._menu(facts) if user is not None else [],
            "banners": self._banners(facts) if user is not None else [],
            "flashes": self._flashes(),
            "account_links": self._account_links(),
            "languages": [(code, LANGUAGE_NAMES.get(code, code)) for code in self.parts.languages],
            "here": _here(request),
            "live": self._live() if user is not None else "",
            "pulse": facts.pulse,
            "pills": [],
            "back": "",
            "title": "",
        }

    def _live(self) -> str:
        tables = self.tables or ()
        names = "*" if len(tables) > _FOLLOWED_MAX else ",".join(sorted(tables))
        return self.at("/-/live") + (f"?tables={names}" if names else "")

    # menu

    def _menu(self, facts: Facts) -> list[dict[str, Any]]:
        t = self.formats.t
        specs = list(self.parts.specs.values())
        backends = [name for name in self.parts.backends if any(spec.backend == name for spec in specs)]
        groups = [{"label": t(_("Work")), "links": self._view_links()}]
        shown = _shown(specs, self.current, TABLES_SHOWN_MAX)
        for name in backends:
            links = [
                self._link(spec.label, f"/tables/{spec.name}", f"table:{spec.name}")
                for spec in specs
                if spec.backend == name and spec.name in shown
            ]
            if len(backends) == 1:
                groups[0]["links"] += links  # type: ignore[operator]  # a list, by construction
            elif links:
                groups.append({"label": self.parts.backends[name].label or name, "links": links})
        if len(shown) < len(specs):
            more = t(_("All {n} tables"), n=self.formats.number(len(specs)))
            groups[-1]["links"] += [self._link(more, "/tables", "tables")]  # type: ignore[operator]  # likewise
        groups.append({"label": t(_("Follow-up")), "links": self._follow_links(facts)})
        return groups

    def _view_links(self) -> list[dict[str, Any]]:
        user = self.user
        views = [view for view in self.parts.views.by_name.values() if user is not None and may(user, view.role)]
        home = next((view for view in views if view.path == "/"), None)
        links = [self._link(home.label if home else self.formats.t(_("Home")), "/", "home")]
        reachable = [view for view in views if view.path != "/" and in_menu(view)]
        reachable.sort(key=lambda view: view.kind != "dashboard")
        return links + [self._link(view.label, view.path, f"view:{view.name}") for view in reachable]

    def _follow_links(self, facts: Facts) -> list[dict[str, Any]]:
        t, number = self.formats.t, self.formats.number
        outbox = self._link(t(_("Outbox")), "/outbox", "outbox")
        if facts.needing or facts.sending:
            outbox["badge"] = number(facts.needing or facts.sending)
            outbox["badge_kind"] = "bad" if facts.needing else "warn"
            said = _("{n} for a person to decide") if facts.needing else _("{n} to send")
            outbox["badge_says"] = t(said, n=outbox["badge"])
        if 0 < facts.mine < facts.needing:
            mine = number(facts.mine)
            outbox["badge"] = f"{mine}/{outbox['badge']}"
            outbox["badge_says"] = f"{t(_('{n} of yours for you to decide'), n=mine)}, {outbox['badge_says']}"
        status = self._link(t(_("System status")), "/-/status", "status")
        away = sum(state.state != "live" for name, state in facts.backends.items() if name in self.parts.backends)
        if away:
            status.update(badge=number(away), badge_kind="bad")
        return [outbox, status, self._link(t(_("API")), "/api/docs", "api")]

    def _link(self, label: str, path: str, key: str) -> dict[str, Any]:
        return {"label": label, "href": self.at(path), "current": key == self.current}

    def _account_links(self) -> list[tuple[str, str]]:
        if self.user is None or self.user.via != "session":
            return []
        t = self.formats.t
        links = [(t(_("My account")), self.at("/-/account"))]
        return [*links, (t(_("Users")), self.at("/-/users"))] if may(self.user, "admin") else links

    # what is to be said

    def _banners(self, facts: Facts) -> list[tuple[str, str, str, str, str]]:
        if self.storeless:
            t = self.formats.t
            text = t(_("Its engine has not made the copy yet; try again in a moment."))
            return [(t(_("The intranet is starting.")), text, "", "", "info")]
        specs = self.parts.specs
        wanted = set(self.parts.backends)
        if self.tables is not None:
            wanted = {specs[name].backend for name in self.tables if name in specs}
        states = (state for name, state in facts.backends.items() if name in wanted and state.state != "live")
        return [self._banner(state, facts.waiting.get(state.name, 0)) for state in states]

    def _banner(self, state: BackendState, waiting: int) -> tuple[str, str, str, str, str]:
        f, t = self.formats, self.formats.t
        backend = self.parts.backends[state.name]
        since = f.since(state.since, self.parts.clock.now()) if state.since else ""
        if state.state == "slow":
            title = t(_("{backend} answers slowly {since}"), backend=backend.label or backend.name, since=since)
        else:
            title = t(_("{backend} cannot be reached {since}"), backend=backend.label or backend.name, since=since)
        action = t(_("{n} waiting"), n=f.number(waiting)) if waiting else ""
        return title.strip(), self._data_of(state.confirmed_at), action, self.at("/outbox"), "warn"

    def _data_of(self, moment: datetime | None) -> str:
        f, t = self.formats, self.formats.t
        if moment is None:
            return t(_("There is no copy of its data yet."))
        text = _("Data of {date} at {time} — reading goes on, what you enter is sent as soon as it is back.")
        return t(text, date=f.date(moment), time=f.time(moment))

    def _flashes(self) -> list[tuple[str, str]]:
        found = _unpacked(self.request.cookies.get(FLASH_COOKIE, ""))
        if found is None:
            return []
        code, values = found
        kind, sentence = FLASHES[code]
        try:
            return [(kind, self.formats.t(sentence, **values))]
        except (KeyError, IndexError):  # a cookie of another release: without its values there is nothing to say
            return []


def _unpacked(cookie: str) -> tuple[str, dict[str, str]] | None:
    """Code and values of a flash; None for anything that is not one."""
    if not 0 < len(cookie) <= _FLASH_CHARS_MAX:
        return None
    try:
        code, values = msgspec.json.decode(base64.urlsafe_b64decode(cookie), type=tuple[str, dict[str, str]])
    except (ValueError, binascii.Error, msgspec.DecodeError):
        return None
    return (code, values) if code in FLASHES else None


def in_menu(view: View) -> bool:
    """Whether a view has an address of its own: others are reached from the row that they are about."""
    return not any(parameter.in_path for parameter in view.parameters)


def _shown(specs: Sequence[TableSpec], current: str, limit: int) -> set[str]:
    """The tables that the menu lists: all, or those with most rows (views after tables) and the one that is shown."""
    if len(specs) <= limit:
        return {spec.name for spec in specs}
    largest = sorted(specs, key=lambda spec: (spec.is_view, -spec.rows_estimate))[:limit]
    here = {spec.name for spec in specs if current == f"table:{spec.name}"}
    return {spec.name for spec in largest} | here


def _here(request: Request) -> str:
    """The address of this page, without the prefix that the intranet is mounted below."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", "")) or "/"
    query = request.scope.get("query_string", b"").decode("latin-1")
    return quote(path) + (f"?{query}" if query else "")
