"""A real server for tests: `python -m tests.http.server_process SOCKET_FD FOLDER` serves on an inherited socket."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from argon2 import PasswordHasher
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from brique.http import Accounts, FrontDesk, Limits, Routes, Site, account_routes, application, client_address, serve

LIMITS = Limits(
    head_bytes_max=4000,
    headers_count_max=20,
    url_bytes_max=1000,
    head_seconds_max=0.5,
    write_seconds_max=0.5,
    request_seconds_max=5,
    stop_seconds_max=2,
    connections_count_max=50,
)


def main(descriptor: int, folder: Path) -> None:
    logging.basicConfig(level=logging.INFO)
    stopping = asyncio.Event()
    accounts = Accounts(folder / "accounts.db", hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    site = Site("127.0.0.1", hosts=("intranet.test",))
    routes = Routes()
    routes.include(account_routes(FrontDesk(accounts, site)))

    async def who(request: Request) -> Response:
        scope = request.scope
        host = request.headers["host"]
        return JSONResponse({"scheme": scope["scheme"], "host": host, "address": client_address(scope)})

    async def slow(request: Request) -> Response:
        await asyncio.sleep(0.7)
        return PlainTextResponse("finished")

    async def events(request: Request) -> Response:
        async def until_stopping() -> AsyncIterator[bytes]:
            yield b"data: hello\n\n"
            await stopping.wait()
            yield b"data: bye\n\n"

        return StreamingResponse(until_stopping(), media_type="text/event-stream")

    async def flood(request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 65536
            finally:
                print("flood ended", flush=True)

        return StreamingResponse(parts(), media_type="text/plain")

    async def echo(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    for path, handler in (("/who", who), ("/slow", slow), ("/events", events), ("/flood", flood)):
        routes.get(path, handler, role=None)
    routes.post("/echo", echo, role=None)
    routes.post("/ignore", who, role=None)
    app = application(routes, accounts=accounts, site=site, limits=LIMITS)
    serve(
        app,
        socket.socket(fileno=descriptor),
        on_ready=lambda: print("ready", flush=True),
        on_stopping=stopping.set,
        limits=LIMITS,
        trusted_proxies=tuple(sys.argv[3:]),
    )
    accounts.close()
    print("stopped", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
