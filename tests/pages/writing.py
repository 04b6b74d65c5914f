"""A small intranet over HTTP for tests of forms, outbox and status: real spool, store and SQLite backend.

Nothing is sent unless a test says `world.replay()`: until then the backend is as good as away.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from html import unescape
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import msgspec
from argon2 import PasswordHasher

from brique import pages
from brique.channel import Direct
from brique.commands import Adopt, Again, CommandSpec, Desk, Dismiss, Give, Move, command_spec
from brique.errors import EngineAway, Refused
from brique.http import Accounts, Assets, FrontDesk, Routes, Site, account_routes, application
from brique.live import Live
from brique.schema import BackendSpec, Change, Table, decode_command
from brique.settings import Settings
from brique.store import Reader, WriteDb
from brique.views import Views
from tests.commands import world as commands_world

PASSWORD = "cheval agrafe pile"
SCHEMA = """
CREATE TABLE client(number TEXT PRIMARY KEY NOT NULL, name VARCHAR(20) NOT NULL, city TEXT);
CREATE TABLE orders(
  id INTEGER PRIMARY KEY, client TEXT NOT NULL REFERENCES client(number), ordered DATE, quantity INTEGER NOT NULL,
  amount DECIMAL(12,2), weight REAL, urgent BOOLEAN NOT NULL, status VARCHAR(10) NOT NULL DEFAULT 'open',
  at DATETIME, note TEXT, extra JSON, paper BLOB, CHECK (quantity BETWEEN 1 AND 1000));
CREATE TABLE line(orders INTEGER NOT NULL REFERENCES orders(id), position INTEGER NOT NULL, text TEXT NOT NULL,
  PRIMARY KEY (orders, position));
INSERT INTO client VALUES ('C002775', 'Société E2775', 'Dakar'), ('C000001', 'Société A', 'Thiès'),
  ('C000002', 'Société B', 'Thiès');
INSERT INTO orders VALUES (7, 'C002775', '2026-11-19', 10, 640000.5, 1.25, 1, 'open', '2026-11-20 10:41:00.123456',
  'Livrer avant midi.', '{"a":[1,2]}', x'89504e47'),
  (8, 'C000001', '2026-11-20', 3, NULL, NULL, 0, 'open', NULL, NULL, NULL, NULL);
INSERT INTO line VALUES (7, 1, 'Bois'), (7, 2, 'Clous');
"""
ERP = BackendSpec("erp", "sqlite:///erp.db", label="ERP")


class Order(Table, backend=ERP, source="orders"):
    """Only for the command below: the specs themselves are inferred."""

    id: int
    status: str


def ship(db: WriteDb, order: Order, carrier: str, parcels: int = 1) -> None:
    """Marks an order as shipped."""
    if order.status != "open":
        raise Refused("This order is not open any more.")
    db.update(order, status=carrier[:10])


class World(commands_world.World):
    """The intranet. `engine_away`: the engine does not answer. `demo`: the switch of the status page."""

    def __init__(self, folder: Path, *, marker: bool = True, demo: pages.DemoPanel | None = None) -> None:
        super().__init__(folder, marker=marker)
        self.engine_away = False
        self.demo = demo
        self.settings = Settings(data=folder, cell_bytes_max=100_000)
        self.accounts = Accounts(
            folder / "accounts.db", hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        )
        for name, role in (("awa", "admin"), ("walid", "write"), ("rita", "read")):
            self.accounts.create_user(name, PASSWORD, role)  # type: ignore[arg-type]  # the three roles
        self.caller = Direct(self.handle)
        self.facts = pages.StatusFacts(version="1.0", node="srv1")
        self.declared = {Order: self.specs["orders"]}
        self.commands: dict[str, CommandSpec] = {"ship": command_spec(ship, self.declared, title="Ship")}
        self.app = self._application()
        self.state_of_backend(state="live")

    def erp(self, sql: str) -> list[tuple[object, ...]]:
        return super().erp(SCHEMA if sql is commands_world.SCHEMA else sql)

    def close(self) -> None:
        super().close()
        if hasattr(self, "caller"):
            self.caller.close()
            self.accounts.close()

    async def handle(self, method: str, payload: dict[str, Any]) -> dict[str, Any]:
        """The engine, as far as the desk asks."""
        if self.engine_away:
            raise EngineAway("The engine does not answer.", try_this="try again in a moment")
        if method == "known":
            return self.ledger.known(payload["user"], payload["token"])
        if method == "give":
            again = msgspec.convert(payload["again"], Again) if "again" in payload else None
            receipt = self.ask(Give(decode_command(payload["command"]), payload["token"], again=again))
            assert receipt is not None
            return {**asdict(receipt), "state": "kept"}
        if method == "move":
            self.ask(msgspec.convert(payload, Move))
        elif method == "dismiss":
            self.ask(msgspec.convert(payload, Dismiss))
        elif method == "adopt":
            self.ledger.adopt(msgspec.convert(payload, Adopt))
        return {}

    def given_by(self, user: str, **values: object) -> str:
        """The receipt of a change of order 7 that `user` has given."""
        before = {name: (self.values("orders", "7") or {})[name] for name in values}
        command = self.command(Change("orders", "7", before, dict(values)), user=user)
        return self.given(Give(command)).command.id

    def state_of_backend(self, **fields: Any) -> None:
        with self.store.transaction() as tx:
            tx.backend_state("erp", **fields)

    @contextmanager
    def borrow(self) -> Iterator[Reader]:
        reader = Reader(self.folder / "store.db", self.specs)
        try:
            yield reader
        finally:
            reader.close()

    def _application(self) -> Any:
        views = Views({}, self.specs, lambda: self.reader, clock=self.clock, classes={}, offer=lambda _: None)
        desk = Desk(
            caller=self.caller,
            borrow=self.borrow,
            specs=self.specs,
            commands=self.commands,
            clock=self.clock,
            random_bits=secrets.randbits,
            wait_ms=0,
            write_db=lambda reader, name, user: WriteDb(
                reader, self.specs, command_id=name, classes=self.declared, now=self.clock.now, user=user
            ),
        )
        assets = Assets(pages.asset_files())
        self.parts = parts = pages.Parts(
            title="Intranet",
            languages=("en", "fr"),
            timezone=ZoneInfo("Africa/Dakar"),
            specs=self.specs,
            backends={"erp": ERP},
            views=views,
            commands=self.commands,
            desk=desk,
            borrow=self.borrow,
            live=Live(lambda: self.reader),
            settings=self.settings,
            clock=self.clock,
            status=lambda: self.facts,
            assets=assets,
            demo=self.demo,
        )
        render = pages.renderer(parts)
        site = Site("intranet.test")
        routes = Routes()
        routes.include(account_routes(FrontDesk(self.accounts, site, render)))
        routes.include(assets.routes())
        routes.include(pages.routes(parts))
        return application(routes, accounts=self.accounts, site=site, render=render)


HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')


def hidden(html: str, action: str = "") -> dict[str, str]:
    """The unseen fields of the form that is sent to `action`, or of the first one of the page itself."""
    forms = re.findall(r"<form[^>]*action=\"([^\"]*)\"[^>]*>(.*?)</form>", html.partition("<main")[2], re.S)
    body = next(body for target, body in forms if target.endswith(action))
    return {name: unescape(value) for name, value in HIDDEN.findall(body)}


def fields(html: str) -> dict[str, str]:
    """What a browser would send of the form's fields, as they stand."""
    main = html.partition("<main")[2]
    found = {
        name: unescape(value)
        for name, value in re.findall(r'<input type="text" id="field-[^"]*" name="([^"]+)"[^>]*? value="([^"]*)"', main)
    }
    for name, text in re.findall(r'<textarea id="[^"]*" name="([^"]+)"[^>]*>\n?(.*?)</textarea>', main, re.S):
        found[name] = unescape(text).replace("\n", "\r\n")
    for name, options in re.findall(r'<select id="[^"]*" name="([^"]+)"[^>]*>(.*?)</select>', main, re.S):
        values = re.findall(r'<option value="([^"]*)"( selected)?', options)
        found[name] = unescape(next((value for value, chosen in values if chosen), values[0][0]))
    for name, tail in re.findall(r'<input type="checkbox" id="field-[^"]*" name="([^"]+)"([^>]*)>', main):
        if "checked" in tail:
            found[name] = "1"
    for name, side, tail in re.findall(r'type="radio" name="([^"]+)" value="([^"]+)"([^>]*)>', main):
        if "checked" in tail:
            found[name] = side
    return found


class Browser(httpx.AsyncClient):
    """A browser as far as forms need one. No redirect is followed by itself."""

    def __init__(self, app: Any, language: str = "en") -> None:
        super().__init__(
            transport=httpx.ASGITransport(app, client=("10.0.0.7", 5555)),
            base_url="http://intranet.test",
            headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Language": language},
        )

    async def send(self, *args: Any, **values: Any) -> httpx.Response:
        return await super().send(*args, **values)

    async def form(self, path: str) -> tuple[httpx.Response, dict[str, str]]:
        """The page and what its form would send."""
        page = await self.get(path)
        assert page.status_code == 200, page.text
        return page, {**hidden(page.text, path.partition("?")[0]), **fields(page.text)}

    async def submit(self, path: str, values: dict[str, str], files: Any = None) -> httpx.Response:
        return await self.post(path, data=values, files=files, headers={"Origin": "http://intranet.test"})

    async def press(self, page: httpx.Response, action: str, **values: str) -> httpx.Response:
        """Send the small form that leads to `action`."""
        return await self.submit(action, {**hidden(page.text, action), **values})


@asynccontextmanager
async def signed_in(world: World, name: str = "walid", language: str = "en") -> AsyncIterator[Browser]:
    async with Browser(world.app, language) as browser:
        answer = await browser.submit("/-/sign-in", {"name": name, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        yield browser


def seen_of(values: dict[str, str]) -> Any:
    return json.loads(values["_seen"])
