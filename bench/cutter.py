"""A wire that can be cut: a TCP relay between brique and a database, which breaks at the worst moment when told to."""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import suppress

_COMMIT = re.compile(rb"\bCOMMIT\b|\bcommitTransaction\b")
"""As PostgreSQL and MariaDB are told it, also `XA COMMIT` (and not `READ COMMITTED`); as MongoDB is."""
_ANSWER_SECONDS = 0.02  # so long a commit may take effect whose answer never arrives


def commits(data: bytes) -> bool:
    """Whether a database is told to commit in `data`."""
    return _COMMIT.search(data) is not None


class Cutter:
    """Relays `port` to `target` (both on 127.0.0.1) in a thread of its own, from `start` to `stop`."""

    def __init__(self, target: int) -> None:
        self.target, self.port = target, 0
        self.cuts = 0
        """Connections cut at a commit."""
        self._at_commit = ""
        self._server: asyncio.Server | None = None
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)

    async def _serve(self) -> int:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        self._cut_all()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def cut(self) -> None:
        """Break every connection now."""
        self._loop.call_soon_threadsafe(self._cut_all)

    def cut_at_commit(self, *, arrives: bool) -> None:
        """Break the connection of the next commit: before its answer when it `arrives`, else before itself."""
        self._at_commit = "after" if arrives else "before"

    def give_up(self) -> None:
        """Cut no commit if none has come by now."""
        self._at_commit = ""

    def _cut_all(self) -> None:
        for pair in list(self._pairs):
            for writer in pair:
                writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, far_writer)
        self._pairs.add(pair)
        try:
            await asyncio.gather(self._pass_on(reader, far_writer, pair), self._pass_back(far_reader, writer))
        finally:
            self._pairs.discard(pair)
            for end in pair:
                end.transport.abort()

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                where = self._at_commit if self._at_commit and commits(data) else ""
                if where:
                    self._at_commit = ""
                    self.cuts += 1
                    pair[0].transport.abort()  # what comes back finds nobody
                if where == "before":
                    break
                writer.write(data)
                await writer.drain()
                if where:
                    await asyncio.sleep(_ANSWER_SECONDS)
                    break
        writer.transport.abort() if not writer.is_closing() else None

    async def _pass_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()
