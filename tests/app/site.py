"""An intranet that runs in this process, asked over HTTP without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from brique import Inline, Intranet
from brique.settings import Settings
from brique.store import StoredCommand
from tests.app.backbone import QUICK
from tests.servers import wait_until

TOKEN = "only-for-this-test"
SECONDS = 30.0


class Running:
    """A running intranet, and an administrator who asks it."""

    def __init__(self, site: Inline) -> None:
        self.site = site

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.site.asgi)
            headers = {"Authorization": f"Bearer {TOKEN}", **more.pop("headers", {})}
            base = "http://127.0.0.1"
            async with httpx.AsyncClient(transport=transport, base_url=base, headers=headers, timeout=60) as client:
                return await client.request(method, path, **more)

        return asyncio.run(asked())

    def run(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Give a command; its receipt."""
        answer = self.ask("POST", f"/api/commands/{command}", json=arguments, headers={"Prefer": "wait=0"})
        assert answer.is_success, answer.text
        return dict(answer.json())

    def loaded(self, *tables: str) -> None:
        for table in tables:
            wait_until(lambda t=table: self.ask("GET", f"/api/tables/{t}").is_success, SECONDS, f"the copy of {table}")

    def command(self, receipt: str) -> StoredCommand:
        reader = self.site.web.readers.mine()
        found = reader.command(receipt)
        assert found is not None, receipt
        return found

    def commands(self) -> list[StoredCommand]:
        """All of them, oldest first."""
        return list(reversed(self.site.web.readers.mine().outbox(limit=100)))

    def settled(self, receipt: str) -> StoredCommand:
        wait_until(lambda: self.command(receipt).state.settled, SECONDS, f"the end of {receipt}")
        return self.command(receipt)


@contextmanager
def running(intranet: Intranet, data: Path, **settings: Any) -> Iterator[Running]:
    """`intranet` with its engine, its backends and its pages."""
    values: dict[str, Any] = {**QUICK, **settings}
    with Inline(intranet, data, settings=Settings(data=data, **values)) as site:
        site.accounts.accept_for_this_run(TOKEN)
        yield Running(site)
