"""`python starlette_app.py PORT`: followers that wait, as Starlette's answers hold them under uvicorn and uvloop."""

import asyncio
import sys
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

waiting: set[asyncio.Queue[bytes]] = set()


async def follow(_: Request) -> StreamingResponse:
    async def events() -> AsyncIterator[bytes]:
        mine: asyncio.Queue[bytes] = asyncio.Queue(10)
        waiting.add(mine)
        try:
            yield b"retry: 2000\n\n"
            while True:
                yield await mine.get()
        finally:
            waiting.discard(mine)

    return StreamingResponse(events(), media_type="text/event-stream")


if __name__ == "__main__":
    app = Starlette(routes=[Route("/follow", follow)])
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", log_level="error", access_log=False)
