"""Engine and backend loops in one process, without the web: what the copy and the commands do, on real backends."""

from __future__ import annotations

import asyncio
import itertools
import threading
from pathlib import Path
from typing import Any

from brique.app.backend import BackendProcess
from brique.app.engine import Engine
from brique.app.intranet import Intranet
from brique.app.sources import from_data
from brique.channel import Direct
from brique.clock import SystemClock, stamp
from brique.schema import Change, Command, State, encode_command
from brique.settings import Settings
from brique.store import Reader, StoredCommand
from tests.servers import wait_until

QUICK = {
    "backend_timeout_seconds": 1.0,
    "backend_connect_seconds": 1.0,
    "probe_seconds_min": 0.1,
    "probe_seconds_max": 0.3,
    "free_disk_bytes_min": 0,
    "spool_free_bytes_min": 0,
}


class Backbone:
    """An intranet over `url`, refreshed every `refresh` seconds."""

    def __init__(self, url: str, data: Path, *, marker: bool = True, refresh: float = 0.3) -> None:
        data.mkdir(exist_ok=True)
        self.settings = Settings(data=data, **QUICK)  # type: ignore[arg-type]  # each value fits its row
        self.intranet: Intranet = from_data([url], data, refresh_seconds=refresh, marker=marker)
        self.declared = self.intranet.declared()
        [self.name] = self.declared.backends
        self._ids = itertools.count(1)
        self.start()

    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._looping = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._looping.start()
        self.engine = Engine(self.declared, self.settings, SystemClock(), self._broadcast)
        self.channel = Direct(self.engine.handle, loop=self.loop)
        self.engine.start()
        self.backend = BackendProcess(
            self.declared, self.name, self.settings, SystemClock(), self.channel, give_up=lambda: None
        )
        self.channel.subscribe(self.backend.on_event)
        self._running = threading.Thread(target=self.backend.run, daemon=True)
        self._running.start()
        self.reader = Reader(self.settings.data / "store.db", self.declared.specs)

    def _broadcast(self, topic: str, payload: dict[str, Any]) -> None:
        self.channel.broadcast(topic, payload)

    def stop(self) -> None:
        self.backend.stop()
        self._running.join(20)
        assert not self._running.is_alive(), "the backend's loop ends"
        self.engine.stop()
        self.reader.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._looping.join()
        self.loop.close()

    def wait_loaded(self, seconds: float = 20) -> None:
        wait_until(lambda: all(map(self.is_loaded, self.declared.specs)), seconds, "the first copy")

    def wait_confirmed(self, seconds: float = 15) -> None:
        """Wait for a refresh that begins from now on."""
        now = SystemClock().now()

        def is_confirmed() -> bool:
            found = self.reader.backend_states().get(self.name)
            return found is not None and found.confirmed_at is not None and found.confirmed_at >= now

        wait_until(is_confirmed, seconds, "a refresh")

    def is_loaded(self, table: str) -> bool:
        state = self.reader.table_state(table)
        return state is not None and state.loaded

    def wait_health(self, state: str, seconds: float = 15) -> None:
        wait_until(lambda: self.health() == state, seconds, f"{self.name} is {state}")

    def health(self) -> str:
        found = self.reader.backend_states().get(self.name)
        return "" if found is None else found.state

    def row(self, table: str, key: str) -> dict[str, Any] | None:
        found = self.reader.row(table, key)
        return None if found is None else found.values

    def give(self, *changes: Change, token: str = "", wait_ms: int = 0) -> dict[str, Any]:
        command = Command(
            id=f"R{next(self._ids)}",
            name="update",
            user="awa",
            role="write",
            at=stamp(SystemClock().now()),
            backend=self.name,
            changes=changes,
        )
        payload = {"command": encode_command(command), "token": token, "wait_ms": wait_ms}
        return self.channel.call("give", payload, 10)

    def settled(self, position: int, seconds: float = 15) -> StoredCommand:
        def is_settled() -> bool:
            found = self.reader.command(position)
            return found is not None and found.state.settled

        wait_until(is_settled, seconds, f"command {position} settles")
        found = self.reader.command(position)
        assert found is not None
        return found


__all__ = ["Backbone", "Change", "State"]
