"""A small intranet over a real store, asked through the whole application: tables, views, backend, people."""

from __future__ import annotations

import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import httpx
import uvicorn
from argon2 import PasswordHasher
from starlette.applications import Starlette

from brique.app.watching import look, plain_user
from brique.commands import CommandSpec, Desk, command_spec
from brique.http import Accounts, Assets, FrontDesk, Routes, Site, account_routes, application
from brique.live import Live, LiveLimits, Watches
from brique.pages import Parts, StatusFacts, asset_files, renderer, routes
from brique.schema import BackendSpec, Change, Command, Row, State, Table, TableSpec
from brique.schema.declare import column, key, ref, specs_of
from brique.settings import Settings
from brique.store import Reader, StageWriter, Store
from brique.views import Chart, Db, Figure, Keeper, Maker, Offer, ShortList, View, Views, view_of

NOW = datetime(2026, 11, 20, 10, 43, tzinfo=UTC)
ERP = BackendSpec("erp", "", refresh_seconds=30, label="ERP")
FILES = BackendSpec("files", "", refresh_seconds=300, label="Stock.xlsx")
CITIES = ("Thiès", "Dakar", "Rufisque", "Kaolack", "Ziguinchor", "Saint-Louis", "Mbour", "Touba")
STATUSES = ("saisie", "livrée", "validée", "facturée", "annulée")


class Customer(Table, backend=ERP, name="customers", label="Clients", label_columns=("number", "name")):
    number: str = key(label="N°", length_max=10)
    name: str = column(label="Nom", length_max=40)
    city: str | None = column(label="Ville")
    blocked: bool | None = column(label="Bloqué")
    logo: bytes | None = column(label="Logo")
    site: str | None = column(label="Site")


class Order(
    Table,
    backend=ERP,
    name="orders",
    label="Commandes",
    list_columns=("number", "customer", "city", "ordered", "quantity", "amount", "status"),
):
    number: str = key(label="N°")
    customer: Customer | None = ref(label="Client")
    city: str | None = column(label="Ville")
    ordered: date | None = column(label="Date")
    quantity: int | None = column(label="Qté")
    amount: Decimal | None = column(label="Montant (FCFA)", scale=0)
    status: str | None = column(label="Statut", choices=STATUSES)
    entered: datetime | None = column(label="Saisie le")
    urgent: bool | None = column(label="Urgente")
    remark: str | None = column(label="Remarque", help="Pour le livreur")
    rate: Decimal | None = column(label="Taux")
    weight: float | None = column(label="Poids")
    extra: dict | None = column(label="Divers")  # type: ignore[type-arg]  # as a declaration writes it


class Stock(Table, backend=FILES, name="stock", label="Stock", read_only="Files are read only."):
    code: str = key(label="Code")
    shelf: str | None = column(label="Étagère")
    pieces: int | None = column(label="Pièces")


CLASSES = specs_of([Customer, Order, Stock])
SPECS: dict[str, TableSpec] = {spec.name: spec for spec in CLASSES.values()}


def picture() -> bytes:
    """A PNG of one green pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\x00\x0b\x6e\x4f")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def customer(number: int, **more: Any) -> Row:
    city = CITIES[number % 8]
    return {"number": f"C{number:06}", "name": f"Société {'ABCDEFGHI'[number % 9]}{number}", "city": city, **more}


def order(number: int, **more: Any) -> Row:
    """Order `number` with values that follow from it."""
    made = date(2022, 1, 1) + timedelta(days=number % 1700)
    return {
        "number": f"CMD{number:08}",
        "customer": f"C{number * 7919 % 40:06}",
        "city": CITIES[number % 8],
        "ordered": made.isoformat(),
        "quantity": number * 37 % 200,
        "amount": number * 1234567 % 12_000_000,
        "status": STATUSES[number % 5],
        "entered": f"{made.isoformat()}T10:41:00.000000Z",
        "urgent": number % 2,
        **more,
    }


def dashboard(db: Db) -> list[Figure | Chart | ShortList]:
    """Le commerce d'un coup d'œil."""
    months = ["2026-08", "2026-09", "2026-10"]
    return [
        Figure("CA du mois", 412_000_000, 0.08, [3.0, 4.0, 3.5, 6.0]),
        Figure("Commandes", db[Order].count(), -0.03, [1.0, 2.0], href="/tables/orders"),
        Figure("Impayés > 60 j", 37_000_000, 0.12),
        Figure("Ruptures de stock", 14, 0.0),
        Chart("Chiffre d’affaires par mois", "bar", months, [412, 368, 402]),
        ShortList("Urgentes", db[Order].where(urgent=True).limit(3), ("number", "city", "amount")),
        Chart("Par ville", "donut", data={"Dakar": 128, "Thiès": 74}),
        Chart("Charge", "line", months, series={"Stock": [1, 2, 3], "Seuil": [2, 2, 2]}),
        Chart("Clients", "hbar", data={"Touba Fer": Decimal("12.5")}),
    ]


def statement(db: Db, number: Customer) -> dict[str, Any]:
    """Le relevé d'un client."""
    rows = db[Order].where(customer=number).limit(5)
    return {"customer": number, "orders": rows, "total": db[Order].where(customer=number).sum("amount")}


def by_city(db: Db, city: str, since: date | None = None) -> list[dict[str, Any]]:
    """Commandes d'une ville."""
    wanted = db[Order].where(city=city)
    rows = wanted.where(ordered__ge=since) if since else wanted
    return [{"city": city, "orders": rows.count(), "amount": rows.sum("amount")}]


def broken(db: Db) -> dict[str, Any]:
    if db[Order].where(status="annulée").count() > 100:
        raise RuntimeError("too many <cancelled>")
    return {"cancelled": db[Order].where(status="annulée").count()}


def secret(db: Db) -> dict[str, int]:
    return {"margin": db[Order].count()}


def ship(db: Any, order: Order, carrier: str) -> None:
    """Livrer une commande."""
    db.update(order, status="livrée")


class ShopClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    def pass_by(self, **span: float) -> None:
        self.moment += timedelta(**span)


PASSWORD = "cheval agrafe pile"


class Shop:
    """Store, views and pages in one process. Rows are written as refreshes and replay do."""

    def __init__(self, folder: Path, *, views: bool = True, languages: tuple[str, ...] = ("fr", "en")) -> None:
        self.folder = folder
        self.clock = ShopClock()
        self.store = Store(folder / "store.db", SPECS, clock=self.clock)
        made = views_of() if views else {}
        self.keeper = Keeper(made, self.store, maker=Maker(SPECS, clock=self.clock, classes=CLASSES))
        self._lock = threading.Lock()
        self._local = threading.local()
        self._readers: list[Reader] = []
        self.views = Views(made, SPECS, self.reader, clock=self.clock, classes=CLASSES, offer=self.take)
        watches = Watches(self.ask, plain_user)
        quick = LiveLimits(poll_seconds=0.02)
        self.live = Live(self.reader, quick, watches=watches, last_mark=self.views.last_mark)
        self.accounts = Accounts(
            folder / "accounts.db", clock=self.clock, hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        )
        self.parts = self._parts(languages)
        self.position = 0
        self.app = self._app()

    def _parts(self, languages: tuple[str, ...]) -> Parts:
        command: CommandSpec = command_spec(ship, CLASSES, title="Livrer")
        return Parts(
            title="Intranet",
            languages=languages,
            timezone=ZoneInfo("Africa/Dakar"),
            specs=SPECS,
            backends={"erp": ERP, "files": FILES},
            views=self.views,
            commands={command.name: command},
            desk=cast(Desk, None),
            borrow=self.borrow,
            live=self.live,
            settings=Settings(data=self.folder),
            clock=self.clock,
            status=StatusFacts,
            assets=Assets(asset_files()),
        )

    def _app(self) -> Starlette:
        render = renderer(self.parts)
        table = Routes()
        site = Site("intranet.test")
        table.include(account_routes(FrontDesk(self.accounts, site, render, languages=self.parts.languages)))
        table.include(self.parts.assets.routes())
        table.include(routes(self.parts))
        self.routes = table
        return application(table, accounts=self.accounts, site=site, render=render, languages=self.parts.languages)

    def reader(self) -> Reader:
        """This thread's."""
        if not hasattr(self._local, "reader"):
            self._local.reader = Reader(self.folder / "store.db", SPECS)
            self._readers.append(self._local.reader)
        found: Reader = self._local.reader
        return found

    @contextmanager
    def borrow(self) -> Iterator[Reader]:
        yield self.reader()

    async def ask(self, _method: str, payload: dict[str, Any]) -> dict[str, Any]:
        """What the engine does when it is told what is watched."""
        with self._lock:
            known = look(self.keeper, payload)
            with self.store.transaction() as tx:
                self.keeper.catch_up(tx)
        self.live.news(self.keeper.take_news()[0])
        return known

    def take(self, offer: Offer) -> None:
        with self._lock, self.store.transaction() as tx:
            self.keeper.accept(tx, offer.payload())

    # what happens

    def loaded(self) -> None:
        with self._lock, self.store.transaction() as tx:
            for name in SPECS:
                tx.loaded(name)

    def confirm(self, moment: datetime | None = None) -> None:
        with self._lock, self.store.transaction() as tx:
            for name in ("erp", "files"):
                tables = [spec.name for spec in SPECS.values() if spec.backend == name]
                tx.confirmed(name, tables, moment or self.clock.now())

    def write(self, table: str, *rows: Row) -> None:
        """Upsert source rows."""
        spec = SPECS[table]
        full = [{name: row.get(name) for name in spec.names} for row in rows]
        with self._lock, self.store.transaction() as tx:
            tx.apply_base(table, [(spec.key_of(row), row) for row in full])
        self.live.news(self.keeper.take_news()[0])

    def fill(self, orders: int = 60, customers: int = 40) -> None:
        """A loaded shop with that many rows, confirmed half a minute ago."""
        self.loaded()
        self.write("customers", *(customer(number) for number in range(customers)))
        self.write("orders", *(order(number) for number in range(1, orders + 1)))
        self.write("stock", {"code": "A1", "shelf": "E1", "pieces": 7})
        self.confirm(self.clock.now() - timedelta(seconds=30))

    def lay(self, *changes: Change, user: str = "walid", name: str = "update") -> str:
        """A command over the copy; its receipt."""
        self.position += 1
        receipt = f"01TEST{self.position:04}"
        stamp = self.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        command = Command(receipt, name, user, "write", stamp, "erp", changes)
        with self._lock, self.store.transaction() as tx:
            tx.lay(self.position, command)
        return receipt

    def settle(self, state: State, reason: str = "", **more: Any) -> None:
        """The last command ends."""
        with self._lock, self.store.transaction() as tx:
            tx.settle(self.position, state, reason=reason, **more)

    def backend(self, name: str, **fields: Any) -> None:
        with self._lock, self.store.transaction() as tx:
            tx.backend_state(name, **fields)

    def stage(self, table: str, rows: list[Row]) -> Path:
        spec = SPECS[table]
        path = self.folder / f"{table}.stage"
        with StageWriter(path, spec, search=True) as writer:
            writer.add([tuple(row.get(name) for name in spec.names) for row in rows])
            writer.finish()
        return path

    # people

    def browser(self, role: str = "write", language: str = "en") -> httpx.AsyncClient:
        """A signed-in browser; its session is in the cookie."""
        name = {"read": "rita", "write": "walid", "admin": "awa"}[role]
        if name not in {person.name for person in self.accounts.list_users()}:
            self.accounts.create_user(name, PASSWORD, role)  # type: ignore[arg-type]
        opened = self.accounts.open_session(name, agent="test", address="10.0.0.7", replaces="")
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, client=("10.0.0.7", 5555)),
            base_url="http://intranet.test",
            headers={"Accept": "text/html,*/*;q=0.8", "Accept-Language": language},
            cookies={f"brique_{self.accounts.instance}": opened.id},
        )

    @contextmanager
    def serving(self) -> Iterator[str]:
        """The address of the shop on a real port, for a real browser."""
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(self.app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            self.live.close()
            server.should_exit = True
            thread.join(10)
            listener.close()

    def close(self) -> None:
        for reader in self._readers:
            reader.close()
        self.store.close()
        self.accounts.close()


def views_of() -> dict[str, View]:
    made = [
        view_of("/", dashboard, CLASSES, title="Tableau de bord", kind="dashboard"),
        view_of("/customers/{number}/statement", statement, CLASSES, title="Relevé"),
        view_of("/by-city", by_city, CLASSES, title="Par ville"),
        view_of("/broken", broken, CLASSES, title="Annulées"),
        view_of("/secret", secret, CLASSES, title="Marges", role="admin"),
    ]
    return {view.name: view for view in made}


@contextmanager
def shop(folder: Path, **options: Any) -> Iterator[Shop]:
    made = Shop(folder, **options)
    try:
        yield made
    finally:
        made.close()
