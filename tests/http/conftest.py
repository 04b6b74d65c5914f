"""An intranet of three routes with real accounts on disk, asked in process through the whole stack."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from brique.errors import BadInput, NoRoom
from brique.http import (
    AccountLimits,
    Accounts,
    Assets,
    Exchange,
    FrontDesk,
    Limits,
    Routes,
    Site,
    account_routes,
    application,
    requires,
)

PASSWORD = "cheval agrafe pile"
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class SetClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 20, 10, 42, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    def pass_time(self, **length: float) -> None:
        self.moment += timedelta(**length)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


def open_accounts(path: Path, clock: SetClock, **limits: Any) -> Accounts:
    return Accounts(path, clock=clock, hasher=QUICK, limits=AccountLimits(**limits))


@pytest.fixture
def accounts(tmp_path: Path, clock: SetClock) -> Iterator[Accounts]:
    accounts = open_accounts(tmp_path / "data" / "accounts.db", clock)
    yield accounts
    accounts.close()


@pytest.fixture
def people(accounts: Accounts) -> Accounts:
    """Accounts with one user of each role: rita reads, walid writes, awa administers."""
    accounts.create_user("awa", PASSWORD, "admin")
    accounts.create_user("walid", PASSWORD, "write")
    accounts.create_user("rita", PASSWORD, "read")
    return accounts


@dataclass
class World:
    """The application and what it reported."""

    accounts: Accounts
    clock: SetClock
    routes: Routes
    app: Starlette
    errors: list[BaseException] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)


LIMITS = Limits(body_bytes_max=10_000, request_seconds_max=0.3)


def build(accounts: Accounts, clock: SetClock, *, site: Site | None = None, limits: Limits = LIMITS) -> World:
    site = site or Site("intranet.test")
    desk = FrontDesk(accounts, site)
    routes = Routes()
    routes.include(account_routes(desk))
    routes.include(Assets({"app.css": b"body { color: black }\n" * 100, "mark.png": b"\x89PNG"}).routes())
    routes.include(sample_routes())
    world = World(accounts, clock, routes, Starlette())
    world.app = application(
        routes,
        accounts=accounts,
        site=site,
        limits=limits,
        on_error=lambda exception, _request: world.errors.append(exception),
        on_exchange=world.exchanges.append,
    )
    return world


def sample_routes() -> Routes:
    routes = Routes()

    async def home(request: Request) -> Response:
        user = request.state.user
        return JSONResponse({"user": user.name, "role": user.role, "via": user.via, "csrf": user.csrf})

    async def save(request: Request) -> Response:
        form = await request.form()
        return JSONResponse({"saved": {key: value for key, value in form.items() if isinstance(value, str)}})

    def in_thread(request: Request) -> Response:
        return PlainTextResponse("threaded " * 300)

    async def broken(request: Request) -> Response:
        raise RuntimeError("a secret of ours: hunter2")

    async def unfit(request: Request) -> Response:
        raise BadInput("Two fields are wrong {x", fields={"city/town": "Type a name.", "n": "{x.__class__}"})

    async def full(request: Request) -> Response:
        raise NoRoom("The disk is full.")

    async def slow(request: Request) -> Response:
        import asyncio

        await asyncio.sleep(30)
        raise AssertionError

    async def stream(request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            for number in range(3):
                yield b"part %d\n" % number * 1000

        return StreamingResponse(parts(), media_type="text/plain")

    async def read_all(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    @requires("admin")
    async def strict(request: Request) -> Response:
        return PlainTextResponse("strict")

    routes.get("/", home)
    routes.post("/save", save)
    routes.get("/thread", in_thread)
    routes.get("/broken", broken)
    routes.get("/unfit", unfit)
    routes.get("/full", full)
    routes.get("/slow", slow)
    routes.get("/stream", stream)
    routes.put("/upload", read_all)
    routes.route(("POST",), "/big", read_all, role="write", body_bytes_max=50_000)
    routes.get("/strict", strict)
    routes.get("/tables/{table}/{key}", home, name="row")
    routes.get("/api/things", home)
    routes.post("/api/things", read_all)
    routes.delete("/api/things", home, role="admin")
    routes.get("/-/health", lambda request: PlainTextResponse("ok"), role=None)
    return routes


@pytest.fixture
def world(people: Accounts, clock: SetClock) -> World:
    return build(people, clock)


class Browser(httpx.AsyncClient):
    """A browser as far as these tests need one: cookies, HTML wanted, no redirect followed, Origin on POST."""

    def __init__(self, app: Any, base: str = "http://intranet.test", **headers: str) -> None:
        super().__init__(
            transport=httpx.ASGITransport(app, client=("10.0.0.7", 5555)),
            base_url=base,
            headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Language": "en", **headers},
        )
        self.origin = base

    async def send_form(self, path: str, **fields: str) -> httpx.Response:
        return await self.post(path, data=fields, headers={"Origin": self.origin})

    async def sign_in(self, name: str, password: str = PASSWORD, **fields: str) -> httpx.Response:
        return await self.send_form("/-/sign-in", name=name, password=password, **fields)

    async def csrf(self) -> str:
        page = await self.get("/-/account")
        found = re.search(r'name="_csrf" value="([^"]+)"', page.text)
        assert found, page.text
        return found[1]


@pytest.fixture
async def browser(world: World) -> AsyncIterator[Browser]:
    async with Browser(world.app) as browser:
        yield browser
