"""Worlds that the API speaks for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from brique.api.parts import Parts
from brique.http import Render, language_of
from brique.pages.look import environment
from tests.api.world import MOMENT, Declaring, World


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def declare(declaring: Declaring) -> None:
    """Two views and two commands."""
    app = declaring.intranet

    @app.view("/by-city/{city}")
    def by_city(db, city: str, least: int = 0):  # type: ignore[no-untyped-def]  # as people write them
        """Customers of a city."""
        return {"customers": [row.name for row in db["customer"].where(city=city)], "least": least}

    @app.view("/secret", role="admin")
    def secret(db):  # type: ignore[no-untyped-def]
        return {"customers": db["customer"].count()}

    @app.view("/broken")
    def broken(db):  # type: ignore[no-untyped-def]
        raise RuntimeError("no such thing")

    @app.command(label="Move a customer")
    def move(db, code: str, city: str, rank: int | None = None):  # type: ignore[no-untyped-def]
        """Give a customer another city."""
        row = db["customer"].get(code)
        if row is None or row.city == city:
            raise app.refuse("{code} cannot move to {city}", code=code, city=city)
        db.update(row, city=city)

    @app.command(role="admin")
    def purge(db):  # type: ignore[no-untyped-def]
        """Delete the first purchase."""
        db.delete(db["purchase"].get("1"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("shared"), declare=declare, render=page_render)
    yield world
    world.close()


@pytest.fixture
def world(shared: World) -> World:
    """A world that tests only read, at its first moment."""
    shared.clock.moment = MOMENT
    return shared


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A program that may write, in the shared world."""
    async with world.client() as client:
        yield client


@pytest.fixture
def own_world(tmp_path: Path) -> Iterator[World]:
    """A world of the test's own, to write in."""
    world = World(tmp_path, declare=declare, render=page_render, settle_wait_ms=0)
    yield world
    world.close()


@pytest.fixture
async def writer(own_world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with own_world.client() as client:
        yield client


def page_render(parts: Parts) -> Render:
    """The pages' own templates, in a bare frame."""

    def render(template: str, request: Request, context: Mapping[str, Any]) -> str:
        made = environment(language_of(request), asset=lambda name: f"/-/assets/{name}")
        return made.get_template(template).render(context)

    return render
