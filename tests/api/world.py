"""A small intranet for tests of API and exports: real engine, spool, store, SQLite backend and server stack.

The backend's process is missing: `replay()` sends what waits when a test says so, or at once while `is_live`.
`colleague` changes the backend behind its back; `refresh` copies it anew.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import apsw
import httpx
from argon2 import PasswordHasher

from brique import api
from brique.api.parts import Parts
from brique.app.engine import Engine
from brique.app.intranet import Intranet
from brique.app.watching import plain_user
from brique.backends import open_backend
from brique.channel import Direct
from brique.commands import Desk, Replay, Report, Waiting, report_to_payload
from brique.http import Accounts, Limits, Render, Site, application, plain_render
from brique.live import Live, LiveLimits, Watches
from brique.schema import Kind, TableSpec, infer
from brique.settings import Settings
from brique.store import Reader, StageWriter, Store, WriteDb
from brique.views import Views

SCHEMA = """
CREATE TABLE customer(
  code TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL, city VARCHAR(20), credit DECIMAL(12,2), since DATE,
  active BOOLEAN, rank INTEGER, ratio REAL, met DATETIME, profile JSON
);
CREATE TABLE purchase(
  number INTEGER PRIMARY KEY, customer TEXT REFERENCES customer(code), amount DECIMAL(10,2) NOT NULL,
  status TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'sent', 'paid'))
);
CREATE TABLE "Order Details"(
  "order" INTEGER NOT NULL, product TEXT NOT NULL, quantity INTEGER CHECK (quantity > 0), "limit" INTEGER,
  PRIMARY KEY ("order", product)
);
CREATE TABLE picture(id INTEGER PRIMARY KEY, name TEXT, data BLOB);
CREATE TABLE journal(line TEXT, at TEXT);
INSERT INTO customer VALUES
  ('ALFKI', 'Alfreds', 'Berlin', '1500.50', '1996-07-04', 1, 1, 0.5, '2026-11-20 10:42:00', '{"vat": {"id": "DE1"}}'),
  ('BOLID', 'Bólido, "Comidas"', 'Madrid', NULL, NULL, 0, 2, 1.25, NULL, NULL),
  ('Été 1/2', 'Café de l''Été', 'Thiès', '-0.05', '2001-02-03', 1, 9007199254740995, NULL, NULL, '[1, 2]'),
  ('EVIL', '=1+2', '@SUM(A1)', '10', '2020-01-01', 1, 4, 2, NULL, NULL),
  ('WRONG', 'Wrong types', 'Dakar', 'a lot', 'soon', 7, 'many', 'x', 'never', 'not json');
INSERT INTO purchase(number, customer, amount, status)
  VALUES (1, 'ALFKI', '10.00', 'open'), (2, 'BOLID', '20.50', 'sent'), (3, NULL, '5', 'paid');
INSERT INTO "Order Details" VALUES (1, 'tea', 2, 5), (1, 'coffee, black', 1, NULL), (2, '', 3, 7);
INSERT INTO picture VALUES (1, 'dot', x'89504e47'), (2, 'none', NULL), (3, 'text', 'not bytes');
INSERT INTO journal VALUES ('first', 'today'), (NULL, NULL);
"""
PASSWORD = "cheval agrafe pile"
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


KINDS: dict[str, dict[str, Any]] = {
    "customer": {
        "credit": {"kind": Kind.DECIMAL, "scale": 2, "precision": 12},
        "since": {"kind": Kind.DATE},
        "active": {"kind": Kind.BOOLEAN},
        "rank": {"kind": Kind.INTEGER},
        "ratio": {"kind": Kind.REAL},
        "met": {"kind": Kind.DATETIME},
        "profile": {"kind": Kind.JSON},
        "city": {"kind": Kind.TEXT, "length_max": 20},
    },
    "picture": {"data": {"kind": Kind.BINARY}},
}
"""What the columns are declared as, whatever wrong value some row holds."""


def typed(spec: TableSpec) -> TableSpec:
    """`spec` with the kinds of `KINDS`."""
    known = KINDS.get(spec.name, {})
    columns = (replace(column, **known.get(column.name, {})) for column in spec.columns)
    return spec.changed(columns=tuple(columns))


MOMENT = datetime(2026, 11, 20, 10, 42, tzinfo=UTC)


class SetClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.moment = MOMENT

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    def pass_time(self, **length: float) -> None:
        self.moment += timedelta(**length)


class Readers:
    """Lends readers; counts those that are out."""

    def __init__(self, path: Path, specs: dict[str, TableSpec]) -> None:
        self._path, self._specs = path, specs
        self._idle: list[Reader] = []
        self._lock = threading.Lock()
        self._own = threading.local()
        self._owned: list[Reader] = []
        self.out = 0

    def mine(self) -> Reader:
        """The calling thread's own reader."""
        if not hasattr(self._own, "reader"):
            self._own.reader = Reader(self._path, self._specs)
            self._owned.append(self._own.reader)
        return cast(Reader, self._own.reader)

    @contextmanager
    def borrow(self) -> Iterator[Reader]:
        with self._lock:
            reader = self._idle.pop() if self._idle else Reader(self._path, self._specs)
            self.out += 1
        try:
            yield reader
        finally:
            with self._lock:
                self.out -= 1
                self._idle.append(reader)

    def close(self) -> None:
        for reader in [*self._idle, *self._owned]:
            reader.close()


@dataclass
class Declaring:
    """What a test adds to the intranet before it starts."""

    intranet: Intranet
    specs: dict[str, TableSpec]


class World:
    """The intranet over a SQLite file. `client(role)` speaks to it with an API token of that role."""

    def __init__(
        self,
        folder: Path,
        *,
        schema: str = SCHEMA,
        declare: Callable[[Declaring], None] = lambda _: None,
        reshape: Callable[[TableSpec], TableSpec] = lambda spec: typed(spec),
        marker: bool = True,
        render: Callable[[Parts], Render] | None = None,
        load: bool = True,
        **settings: Any,
    ) -> None:
        self.clock = SetClock()
        self.source = folder / "erp.db"
        self.colleague(schema)
        self.settings = Settings(data=folder, free_disk_bytes_min=0, spool_free_bytes_min=0, **settings)
        self.intranet = Intranet("Test & Co")
        self.backend_spec = self.intranet.backend("erp", str(self.source), marker=marker)
        self.backend = open_backend("erp", str(self.source), timeout=2.0, connect_timeout=2.0)
        specs = [reshape(spec) for spec in infer(self.backend.catalogue(), "erp")]
        self.intranet.infer(self.backend_spec, tuple(specs))
        declare(Declaring(self.intranet, {spec.name: spec for spec in specs}))
        self.declared = self.intranet.declared()
        self.specs = self.declared.specs
        self.rung = self.backend.prepare(marker).rung
        self._is_live = False
        self._tokens: dict[str, str] = {}
        self._ids = itertools.count(1)
        self._replaying = threading.Lock()
        self._makers = ThreadPoolExecutor(1)
        self._start()
        if load:
            self.refresh()
        self.live: Live
        self.parts = self._parts()
        self.accounts = Accounts(folder / "accounts.db", clock=self.clock, hasher=QUICK)
        self.app = self._application(render)

    def _start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.engine = Engine(self.declared, self.settings, self.clock, self._broadcast)
        self.channel = Direct(self.engine.handle, loop=self.loop)
        self.engine.start()
        self.readers = Readers(self.settings.data / "store.db", self.specs)
        self.reader = Reader(self.settings.data / "store.db", self.specs)

    @property
    def is_live(self) -> bool:
        """Whether the backend takes what waits at once, and callers wait for that."""
        return self._is_live

    @is_live.setter
    def is_live(self, is_live: bool) -> None:
        self._is_live = is_live
        self.parts.desk.wait_ms = 10_000 if is_live else self.settings.settle_wait_ms

    def _broadcast(self, topic: str, payload: dict[str, Any]) -> None:
        if topic == "views":
            self.live.news(payload["news"])
        elif topic == "wanted":
            make = self.parts.views.make_ready
            self.live.wanted(payload["views"], lambda watched: self._beside(lambda: make(watched)))
        elif topic == "commands" and self._is_live:
            threading.Thread(target=self.replay, daemon=True).start()

    def _beside(self, act: Callable[[], Any]) -> None:
        self._makers.submit(act)

    def _parts(self) -> Parts:
        classes = self.declared.classes

        def write_db(reader: Reader, command_id: str, user: str) -> WriteDb:
            return WriteDb(
                reader, self.specs, command_id=command_id, classes=classes, now=self.clock.now, timezone=UTC, user=user
            )

        views = Views(
            self.declared.views,
            self.specs,
            self.readers.mine,
            clock=self.clock,
            classes=classes,
            offer=lambda offer: self._beside(lambda: self.channel.call("offer", offer.payload(), 10)),
        )
        watches = Watches(self.channel.acall, plain_user)
        quick = LiveLimits(poll_seconds=0.02)
        self.live = Live(self.readers.mine, quick, watches=watches, last_mark=views.last_mark)
        desk = Desk(
            caller=self.channel,
            borrow=self.readers.borrow,
            specs=self.specs,
            commands=self.declared.commands,
            clock=self.clock,
            random_bits=lambda _bits: next(self._ids),
            wait_ms=self.settings.settle_wait_ms,
            write_db=write_db,
        )
        found = SimpleNamespace(
            title=self.declared.title,
            languages=self.declared.languages,
            timezone=ZoneInfo("UTC"),
            specs=self.specs,
            backends=self.declared.backends,
            views=views,
            commands=self.declared.commands,
            desk=desk,
            borrow=self.readers.borrow,
            live=self.live,
            settings=self.settings,
            clock=self.clock,
        )
        return cast(Parts, found)

    def _application(self, render: Callable[[Parts], Render] | None) -> Any:
        made = render(self.parts) if render is not None else plain_render
        return application(
            api.routes(self.parts, made),
            accounts=self.accounts,
            site=Site("intranet.test"),
            limits=Limits(body_bytes_max=100_000, request_seconds_max=30),
        )

    # -- the world outside --------------------------------------------------------------------------------------------

    def colleague(self, sql: str) -> list[tuple[Any, ...]]:
        """Work in the backend directly."""
        with closing(apsw.Connection(str(self.source))) as connection:
            return connection.execute(sql).fetchall()

    def refresh(self) -> None:
        """Copy every table, as the backend's process would."""
        for spec in self.specs.values():
            path = self.settings.data / f"stage-{spec.name}.db"
            with self.backend.snapshot() as snapshot, StageWriter(path, spec, search=True) as stage:
                for batch in snapshot.read(spec):
                    stage.add(batch)
                staged = stage.finish()
            payload = {"table": spec.name, "stage": str(path), "rows": staged.rows, "began": self.reader.settled_seq()}
            self.channel.call("load", payload, 60)
        self.confirm()

    def confirm(self) -> None:
        """The backend has confirmed all of its rows, now."""
        now = self.clock.now()

        def note() -> None:
            store: Store = self.engine.store
            with store.transaction() as tx:
                tx.confirmed("erp", list(self.specs), now)

        self.engine.writer.run(note).result(10)

    def replay(self) -> int:
        """Send what waits to the backend."""
        with self._replaying, closing(Reader(self.settings.data / "store.db", self.specs)) as reader:
            replay = Replay(
                self.backend,
                self.specs,
                stream=self.engine.spool.name(),
                rung=self.rung,
                report=self._report,
                real_key=reader.real_key,
            )
            waiting = [Waiting(item.position, item.state, item.command) for item in reader.pending_for("erp", 1000)]
            return replay.run(waiting)

    def _report(self, report: Report) -> None:
        self.channel.call("report", report_to_payload(report), 10)

    # -- callers ------------------------------------------------------------------------------------------------------

    def client(self, role: str = "write", who: str = "", **headers: str) -> httpx.AsyncClient:
        """A program with an API token of that role; another `who` is another user."""
        name = f"{role}{who}"
        if name not in self._tokens:
            self._tokens[name] = self.accounts.grant_token(name, cast(Any, role)).value
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=True),
            base_url="http://intranet.test",
            headers={"Authorization": f"Bearer {self._tokens[name]}", "Accept-Language": "en", **headers},
        )

    def close(self) -> None:
        self._makers.shutdown(cancel_futures=True)
        self.readers.close()
        self.reader.close()
        self.backend.close()
        self.engine.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
        self.accounts.close()


__all__ = ["MOMENT", "SCHEMA", "Declaring", "World"]
