"""A web process: the ASGI application of an intranet, made from all its parts. It holds no state of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware

from brique import api, pages
from brique.app.developing import WatchedViews, fault_file
from brique.app.intranet import Declared
from brique.app.observed import Observed
from brique.app.roles import ENGINE_SOCKET, engine_limits, open_accounts
from brique.app.supervised import processes_of
from brique.app.watching import plain_user
from brique.backends import TemplateLetters
from brique.channel import AsyncCaller, AsyncChannel
from brique.clock import Clock, SystemClock
from brique.commands import Desk
from brique.errors import BriqueError
from brique.http import (
    Accounts,
    Assets,
    FrontDesk,
    Limits,
    Routes,
    Shelf,
    Site,
    account_routes,
    application,
    serve,
)
from brique.live import Live, LiveLimits, Watches
from brique.observe import read_samples
from brique.pages import DemoPanel, Parts, StatusFacts
from brique.settings import Settings
from brique.store import Reader, WriteDb, choices
from brique.views import Claims, Offer, Views, Watched

_MAKERS = 2
"""So many threads make what is watched and takes long; requests have their own."""


class Readers:
    """Readers of the copy, one for each thread that asks; a thread that has ended leaves its own to the next one."""

    def __init__(self, declared: Declared, settings: Settings) -> None:
        self._declared, self._path = declared, settings.data / "store.db"
        self._local = threading.local()
        self._lock = threading.Lock()
        self._owners: list[tuple[threading.Thread, Reader]] = []
        self._on_statement = pages.note_statement if settings.developer_panel else None

    def mine(self) -> Reader:
        """The reader of the calling thread."""
        reader: Reader | None = getattr(self._local, "reader", None)
        if reader is None:
            with self._lock:
                reader = self._left_behind() or Reader(self._path, self._declared.specs)
                reader.on_statement = self._on_statement
                self._owners.append((threading.current_thread(), reader))
            self._local.reader = reader
        return reader

    def _left_behind(self) -> Reader | None:
        for place, (owner, reader) in enumerate(self._owners):
            if not owner.is_alive():
                del self._owners[place]
                return reader
        return None

    @contextmanager
    def borrow(self) -> Iterator[Reader]:
        """The same, for a block."""
        yield self.mine()

    def close(self) -> None:
        with self._lock:
            while self._owners:
                self._owners.pop()[1].close()


class Offers:
    """Hands what views have made to the engine, from any thread, without waiting; an engine that is away costs only
    that it is made again."""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller
        self._loop: asyncio.AbstractEventLoop | None = None
        self._under_way: set[Future[None]] = set()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __call__(self, offer: Offer) -> Future[None] | None:
        """Hand it over; done when the engine has answered."""
        if self._loop is None or self._loop.is_closed():
            return None
        future = asyncio.run_coroutine_threadsafe(self._hand_over(offer), self._loop)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return future

    async def _hand_over(self, offer: Offer) -> None:
        with contextlib.suppress(BriqueError):
            await self._caller.acall("offer", offer.payload())


class Web:
    """The application `asgi` over `declared`. `caller` reaches the engine; call `wake` when it broadcasts."""

    def __init__(
        self,
        declared: Declared,
        settings: Settings,
        caller: AsyncCaller,
        accounts: Accounts,
        *,
        listen: str,
        clock: Clock | None = None,
        observed: Observed | None = None,
        demo: DemoPanel | None = None,
    ) -> None:
        self.declared, self.settings, self.accounts = declared, settings, accounts
        self.clock = clock or SystemClock()
        self.observed = observed
        self.readers = Readers(declared, settings)
        self.offers = Offers(caller)
        self.claims = Claims(settings.data / "views.lock")
        self.letters = self._letters()
        self.views = self._views()
        self.live = Live(
            self.readers.mine,
            live_limits(settings),
            watches=Watches(caller.acall, plain_user),
            last_mark=self.views.last_mark,
        )
        self._makers = ThreadPoolExecutor(_MAKERS, "watched")
        self.parts = self._parts(caller, demo)
        self.asgi = self._application(listen)

    def shelf(self) -> Shelf | None:
        """Where this process keeps answers ready; None when the settings give them no room, or each page its panel."""
        if not self.settings.ready_bytes_max or self.settings.developer_panel:
            return None
        return Shelf(
            data_version=lambda: self.readers.mine().commit_mark(),
            people_version=self.accounts.version,
            clock=self.clock,
            bytes_max=self.settings.ready_bytes_max,
            on_exchange=None if self.observed is None else self.observed.exchange,
        )

    def _views(self) -> Views:
        declared = self.declared
        return (WatchedViews if self.settings.developer_panel else Views)(
            declared.views,
            declared.specs,
            self.readers.mine,
            clock=self.clock,
            classes=declared.classes,
            offer=self.offers,
            claims=self.claims,
            settings=choices(self.settings),
            timezone=declared.timezone,
            twice=bool(self.settings.views_twice),
        )

    def _parts(self, caller: AsyncCaller, demo: DemoPanel | None) -> Parts:
        declared = self.declared
        desk = Desk(
            caller=caller,
            borrow=self.readers.borrow,
            specs=declared.specs,
            commands=declared.commands,
            clock=self.clock,
            random_bits=secrets.randbits,
            wait_ms=self.settings.settle_wait_ms,
            write_db=self._write_db,
            backends=tuple(declared.backends),
        )
        return Parts(
            title=declared.title,
            languages=declared.languages,
            timezone=declared.timezone,
            specs=declared.specs,
            backends=declared.backends,
            views=self.views,
            places={name: place.label for name, place in declared.places.items()},
            commands=declared.commands,
            desk=desk,
            borrow=self.readers.borrow,
            live=self.live,
            settings=self.settings,
            clock=self.clock,
            status=self.status,
            assets=Assets(pages.asset_files()),
            demo=demo,
        )

    def _write_db(self, reader: Reader, command_id: str, user: str) -> WriteDb:
        return WriteDb(
            reader,
            self.declared.specs,
            command_id=command_id,
            classes=self.declared.classes,
            now=self.clock.now,
            timezone=self.declared.timezone,
            user=user,
            letters=self.letters,
        )

    def _letters(self) -> TemplateLetters | None:
        """What writes the mails of commands; None when the intranet sends none."""
        mails = self.declared.mails
        if mails is None:
            return None
        return TemplateLetters(mails.name, Path(mails.options["templates"]), address=self.accounts.address_of)

    def _application(self, listen: str) -> Starlette:
        parts = self.parts
        render = pages.renderer(parts)
        site = Site(listen, public_url=self.settings.public_url)
        routes = Routes()
        routes.include(account_routes(FrontDesk(self.accounts, site, render, languages=parts.languages)))
        routes.include(parts.assets.routes())
        routes.include(api.routes(parts, render))
        routes.include(pages.routes(parts))
        within = []
        if self.settings.developer_panel:
            routes = pages.watching(routes)
            within = [Middleware(pages.Panel, parts=parts, fault_file=fault_file(self.settings.data))]
        return application(
            routes,
            accounts=self.accounts,
            site=site,
            limits=Limits.of(self.settings),
            render=render,
            languages=parts.languages,
            on_error=None if self.observed is None else self._capture,
            on_exchange=None if self.observed is None else self.observed.exchange,
            lifespan=self._lifespan,
            within=within,
        )

    def _capture(self, error: BaseException, request: Any) -> None:
        assert self.observed is not None
        self.observed.errors.capture(error, request=f"{request.method} {request.url.path}")

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self.offers.start(asyncio.get_running_loop())
        yield
        self.live.close()
        self._makers.shutdown(cancel_futures=True)
        self.claims.close()
        self.readers.close()

    def wake(self, topic: str, payload: dict[str, Any]) -> None:
        """The engine has broadcast something."""
        if topic in ("changed", "backend"):
            self.live.wake()
        elif topic == "views":
            self.live.news(payload["news"])
        elif topic == "wanted":
            self.live.wanted(payload["views"], lambda watched: self._makers.submit(self._make, watched))
        elif topic == "connected":
            self.live.renew()
            self.live.wake()

    def _make(self, watched: Watched) -> None:
        """Make what followers look at, for the engine; a fault is told to it and to whoever asks for the page."""
        with contextlib.suppress(BriqueError):
            self.views.make_ready(watched)

    def status(self) -> StatusFacts:
        """How this brique is; what cannot be told within a moment is left out."""
        data = self.settings.data
        return StatusFacts(
            processes=processes_of(data),
            samples=read_samples(data / "metrics"),
            disk_free_bytes=shutil.disk_usage(data).free,
            spool_bytes=sum(_size(data / "spool", file.name) for file in (data / "spool").glob("*.db")),
            store_bytes=_size(data, "store.db"),
            errors=[] if self.observed is None else self.observed.errors.recent(20),
            version=version("brique"),
            node=socket.gethostname(),
        )


def live_limits(settings: Settings) -> LiveLimits:
    """What the settings say of followers."""
    return LiveLimits(
        followers_max=settings.live_connections_max,
        session_followers_max=settings.live_session_connections_max,
        heartbeat_seconds=settings.live_heartbeat_seconds,
        stalled_seconds_max=settings.live_stalled_seconds_max,
        wait_seconds_max=settings.live_wait_seconds_max,
        body_bytes_max=settings.live_body_bytes_max,
    )


def _size(data: os.PathLike[str], name: str) -> int:
    files = (os.path.join(data, name), os.path.join(data, name + "-wal"))  # noqa: PTH118
    return sum(os.path.getsize(file) for file in files if os.path.exists(file))  # noqa: PTH202, PTH110


def run_web(
    declared: Declared,
    settings: Settings,
    listener: socket.socket,
    on_ready: Callable[[], None],
    *,
    observed: Observed,
    token: str = "",
    demo: DemoPanel | None = None,
) -> None:
    """Serve on `listener` until SIGTERM. `token` is an administrator's API token for this run."""
    accounts = open_accounts(settings)
    if token:
        accounts.accept_for_this_run(token)
    webs: list[Web] = []

    def tell(topic: str, payload: dict[str, Any]) -> None:
        for web in webs:
            web.wake(topic, payload)

    channel = AsyncChannel(settings.data / ENGINE_SOCKET, on_event=tell, limits=engine_limits(settings))
    web = Web(declared, settings, channel, accounts, listen=settings.address[0], observed=observed, demo=demo)
    webs.append(web)
    serve(
        web.asgi,
        listener,
        on_ready=on_ready,
        on_stopping=web.live.close,
        limits=Limits.of(settings),
        trusted_proxies=tuple(filter(None, settings.trusted_proxies.replace(" ", "").split(","))),
        shelf=web.shelf(),
    )
    accounts.close()
