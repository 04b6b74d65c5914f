"""The whole running application over the nasty database, and callers of every kind: nobody, sessions, API tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from brique.app import Inline, Intranet, url_of
from brique.app.sources import from_data
from brique.http import Role, Route
from brique.http.routes import Table as RouteTable
from brique.schema import TableSpec
from brique.settings import Settings
from brique.views import Chart, Figure, ShortList
from tests.security.nasty import MARK, MARKUP, make_nasty
from tests.servers import wait_until

ROLES: tuple[Role, ...] = ("read", "write", "admin")
PASSWORD = "cheval agrafe pile"
HTML = "text/html,application/xhtml+xml,*/*;q=0.8"
BASE = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Caller:
    """Who asks: `role` None for nobody. `csrf` is the secret of a session, "" for a token."""

    name: str
    role: Role | None
    headers: dict[str, str]
    csrf: str = ""


class World:
    """`ask` and `send` speak to the application as one of `callers`."""

    def __init__(self, site: Inline) -> None:
        self.site = site
        self.callers: dict[str, Caller] = {"nobody": Caller("nobody", None, {})}
        for role in ROLES:
            site.accounts.create_user(f"{role}er", PASSWORD, role)
            self.callers[f"session-{role}"] = self.session(f"{role}er", role)
            token = site.accounts.grant_token("t", role, owner=f"{role}er").value
            self.callers[f"token-{role}"] = Caller(f"token-{role}", role, {"Authorization": f"Bearer {token}"})

    def session(self, name: str, role: Role) -> Caller:
        opened = self.site.accounts.open_session(name)
        cookie = f"brique_{self.site.accounts.instance}={opened.id}"
        return Caller(f"session-{role}", role, {"Cookie": cookie}, opened.csrf)

    @property
    def specs(self) -> dict[str, TableSpec]:
        return dict(self.site.declared.specs)

    @property
    def routes(self) -> list[Route]:
        """Every row of the application's table, which must be its only route."""
        [table] = self.site.asgi.routes
        assert isinstance(table, RouteTable)
        return list(table.routes)

    def request(
        self, who: str | Caller, method: str, path: str, *, headers: dict[str, str] | None = None, **rest: Any
    ) -> httpx.Response:
        """One answer; whatever it is, it holds no traceback and is no mistake of ours (status 500)."""
        caller = self.callers[who] if isinstance(who, str) else who

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.site.asgi, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=BASE, timeout=30) as client:
                sent = {"Accept": HTML, "Accept-Language": "en", **caller.headers, **(headers or {})}
                return await client.request(method, path, headers=sent, **rest)

        answer = asyncio.run(ask())
        assert answer.status_code != 500, (who, method, path, answer.text[:2000])
        assert "Traceback (most recent call last)" not in answer.text[:10_000]
        return answer

    def get(self, path: str, who: str | Caller = "session-admin", **rest: Any) -> httpx.Response:
        return self.request(who, "GET", path, **rest)

    def api(self, path: str, who: str = "token-admin", **rest: Any) -> httpx.Response:
        return self.request(who, "GET", path, headers={"Accept": "application/json"}, **rest)

    def post(
        self, path: str, form: dict[str, str] | None = None, who: str | Caller = "session-admin", **rest: Any
    ) -> httpx.Response:
        """A form sent as a page of ours would, with the secret of its session."""
        caller = self.callers[who] if isinstance(who, str) else who
        return self.request(caller, "POST", path, data={"_csrf": caller.csrf, **(form or {})}, **rest)

    def keys(self, table: str, limit: int = 100) -> list[str]:
        rows = self.api(f"/api/tables/{table}", params={"limit": str(limit)}).json()["rows"]
        return [row["_key"] for row in rows]

    def is_loaded(self) -> bool:
        reader = self.site.web.readers.mine()
        return all(reader.table_state(name).loaded for name in self.site.declared.specs)


def declare(intranet: Intranet) -> None:
    """Views, a dashboard and commands whose words come from the data."""

    @intranet.view("/labels/{label}", title=f"<i>{MARK}</i> labels")
    def labels(db: Any, label: str) -> dict[str, Any]:
        sales = list(db["sale"].order_by("id"))
        return {"asked": label, f"<b>{MARK}</b>": [sale.label for sale in sales][:40], "rows": sales[:5]}

    @intranet.view("/for-admins", role="admin", title="Secrets")
    def secrets(db: Any) -> dict[str, Any]:
        return {"secret": "for administrators only"}

    @intranet.dashboard("/drawn", title=f"<u>{MARK}</u>")
    def drawn(db: Any) -> list[Any]:
        data = {sale.label: float(sale.amount or 0) for sale in db["sale"].order_by("id")}
        kinds: tuple[Any, ...] = ("bar", "line", "area", "donut", "hbar")
        charts = [Chart(MARKUP[n], kind, data=data, href=f"javascript:{MARK}()") for n, kind in enumerate(kinds)]
        figures = [Figure(text, text, series=(1, 2), href=f"javascript:{MARK}()") for text in MARKUP]
        lists = [ShortList(MARKUP[0], db["sale"].limit(30), href="/tables/sale")]
        rows = [ShortList(MARKUP[1], [{name: name for name in MARKUP}])]
        return [*charts, *figures, *lists, *rows]

    @intranet.command(label=f"Note <s>{MARK}</s>")
    def remark(db: Any, sale: int, text: str = MARKUP[0]) -> None:
        """<script>zqx(0)</script>"""
        if text == "no":
            raise intranet.refuse(MARKUP[0])
        db.update(db["sale"][sale], note=text)

    @intranet.command(role="admin")
    def reign(db: Any, sale: int) -> None:
        db.update(db["sale"][sale], note="reigned")


@contextmanager
def running(folder: Path, *, declared: bool = True, **settings: Any) -> Iterator[World]:
    """The application over a new nasty database in `folder`, all of its tables copied."""
    path = make_nasty(folder / "nasty.db")
    intranet = from_data([url_of(str(path))], folder / "data", title=f"<b>{MARK}</b> & Co")
    if declared:
        declare(intranet)
    values = {"spool_free_bytes_min": 0, "free_disk_bytes_min": 0, "settle_wait_ms": 2000, **settings}
    with Inline(intranet, folder / "data", settings=Settings(data=folder / "data", **values)) as site:
        world = World(site)
        wait_until(world.is_loaded, 60, "every table is copied")
        yield world
