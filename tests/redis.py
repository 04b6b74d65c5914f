"""A real Redis for tests, which keeps what it has acknowledged (`appendfsync always`).

def test_something(own_redis):                      # this test's own: stop, start, freeze, thaw, kill it
    url = own_redis.url()                           # redis://...
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.servers import Server, lacking


class RedisServer(Server):
    """A running Redis on its own port of 127.0.0.1; `keeps` false: what it has is gone when it is killed."""

    kind = "Redis"
    keeps = True

    def url(self, more: str = "") -> str:
        return f"redis://127.0.0.1:{self.port}/0{more}"

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5)

    def command(self) -> list[str | Path]:
        keeps = ["--appendonly", "yes", "--appendfsync", "always"] if self.keeps else ["--appendonly", "no"]
        return [
            "redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder, "--save", "", *keeps,
        ]  # fmt: skip

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.exceptions.RedisError:
            return False


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        lacking("redis-server is not installed")
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder)
    server.start()
    yield server
    server.stop()
