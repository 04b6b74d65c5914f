"""Many people at one row at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.world import Declaring, World

pytestmark = pytest.mark.anyio


def declare(declaring: Declaring) -> None:
    @declaring.intranet.command()
    def count(db, code: str):  # type: ignore[no-untyped-def]  # as people write it
        """Somebody came in."""
        row = db["customer"].get(code)
        db.update(row, rank=row.rank + 1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, declare=declare)
    yield world
    world.close()


async def test_a_counter_pressed_by_many_at_once_counts_each_of_them(world: World) -> None:
    async with world.client("write") as client:
        answers = await asyncio.gather(*(client.post("/api/commands/count", json={"code": "ALFKI"}) for _ in range(24)))
        assert [answer.status_code for answer in answers] == [202] * 24
        shown = (await client.get("/api/tables/customer/ALFKI")).json()
        assert shown["rank"] == 25
    world.replay()
    assert world.colleague("SELECT rank FROM customer WHERE code = 'ALFKI'") == [(25,)]
    async with world.client("admin") as admin:
        counts = (await admin.get("/api/outbox")).json()["counts"]
    assert counts == {"applied": 24}


async def test_of_two_who_change_one_column_the_second_is_told_before_anything_is_kept(world: World) -> None:
    async with world.client("write") as client:
        etag = (await client.get("/api/tables/customer/ALFKI")).headers["etag"]

        async def change(city: str) -> httpx.Response:
            headers = {"If-Match": etag}
            return await client.patch("/api/tables/customer/ALFKI", json={"city": city}, headers=headers)

        answers = await asyncio.gather(*(change(city) for city in ("Bonn", "Ulm", "Kiel", "Jena")))
    assert sorted(answer.status_code for answer in answers) == [202, 412, 412, 412]
    world.replay()
    async with world.client("admin") as admin:
        assert (await admin.get("/api/outbox")).json()["counts"] == {"applied": 1}
