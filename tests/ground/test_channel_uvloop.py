"""The channel on the event loop that the web processes run on; the engine's end is on asyncio's own."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import uvloop

from brique.channel import AsyncChannel, serve


def test_a_call_from_uvloop_is_answered(tmp_path: Path) -> None:
    ready, stop = threading.Event(), threading.Event()

    async def handle(method: str, payload: dict[str, Any]) -> dict[str, Any]:
        return {"method": method, **payload}

    async def engine() -> None:
        server = await serve(tmp_path / "engine.sock", handle)
        ready.set()
        await asyncio.to_thread(stop.wait, 10)
        await server.close(grace_seconds=0.2)

    async def call() -> dict[str, Any]:
        channel = AsyncChannel(tmp_path / "engine.sock")
        try:
            return await channel.acall("echo", {"x": 1}, 5.0)
        finally:
            await channel.aclose()

    thread = threading.Thread(target=asyncio.run, args=(engine(),))
    thread.start()
    assert ready.wait(5)
    try:
        assert uvloop.run(call()) == {"method": "echo", "x": 1}
    finally:
        stop.set()
        thread.join()
