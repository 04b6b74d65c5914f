"""A wire that can be cut: a TCP relay between brique and a database, which breaks at the worst moment when told to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress

_COMMITS = (b"COMMIT", b"commitTransaction")
_ANSWER_SECONDS = 0.02  # so long a commit may take effect whose answer never arrives


class Cutter:
    """Relays `port` to `target` (both on 127.0.0.1) in a thread of its own, from `start` to `stop`."""

    def __init__(self, target: int, *, commits: Sequence[bytes] = _COMMITS) -> None:
        self.target, self.port = target, 0
        self.cuts = 0
        """Connections cut in the middle of a commit."""
        self._commits = tuple(commits)
        self._at_commit = False
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)

    async def _serve(self) -> int:
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        return port

    def stop(self) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def cut(self) -> None:
        """Break every connection now."""
        self._loop.call_soon_threadsafe(self._cut_all)

    def cut_at_commit(self) -> None:
        """Let the next commit through, and break its connection before the answer."""
        self._at_commit = True

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
                is_last = self._at_commit and any(word in data for word in self._commits)
                if is_last:
                    self._at_commit = False
                    self.cuts += 1
                    pair[0].transport.pause_reading()
                    pair[0].close()  # what comes back finds nobody
                writer.write(data)
                await writer.drain()
                if is_last:
                    await asyncio.sleep(_ANSWER_SECONDS)
                    break
        writer.transport.abort() if not writer.is_closing() else None

    async def _pass_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()
