"""Visitors of the example `survive`: they come in by doors, order, and look at pages; and the MongoDB that is killed
meanwhile. Every order carries a mark of its own and every door has one visitor: all that was acknowledged is found."""

from __future__ import annotations

import http.client
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.site import Site, brique_client
from tests.mongodb import MongoServer, new_folder

APP = Path(__file__).parent.parent / "examples" / "survive" / "app.py"
DOORS = 8
_RETRY_SECONDS = 0.05


@dataclass
class Told:
    """What a visitor was told: acknowledged entries and orders, pages answered, and what was not answered."""

    entries: int = 0
    orders: list[str] = field(default_factory=list)
    pages: int = 0
    failed: int = 0
    slowest_s: float = 0.0

    @property
    def acknowledged(self) -> int:
        return self.entries + len(self.orders)


class Visitor(threading.Thread):
    """Comes in by door `number`, orders something, looks at the dashboard; again and again, until `stop`."""

    def __init__(self, port: int, number: int, *, pause_seconds: float = 0.0) -> None:
        super().__init__(name=f"visitor-{number}", daemon=True)
        self.number, self.told, self.fault = number, Told(), ""
        self._client = brique_client(port)
        self._pause = pause_seconds
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        count = 0
        try:
            while not self._stopped.wait(self._pause):
                count += 1
                mark = f"{self.number}-{count}"
                if self._post("/api/commands/enter", {"door": f"door{self.number}"}, f"in-{mark}"):
                    self.told.entries += 1
                order = {"customer": mark, "article": "bread", "quantity": 1}
                if count % 2 == 0 and self._post("/api/tables/order", order, f"order-{mark}"):
                    self.told.orders.append(mark)
                if count % 5 == 0:
                    self._look()
        except AssertionError as fault:
            self.fault = str(fault)
        finally:
            self._client.close()

    def _post(self, path: str, body: dict[str, object], token: str) -> bool:
        """Write until it is acknowledged; the token makes it one write however often it is sent."""
        began = time.monotonic()
        while True:
            try:
                answer = self._client.ask("POST", path, body, {"Idempotency-Key": token})
            except (OSError, http.client.HTTPException):
                self.told.failed += 1
                time.sleep(_RETRY_SECONDS)
                continue
            if answer.ok:
                self.told.slowest_s = max(self.told.slowest_s, time.monotonic() - began)
                return True
            self.told.failed += 1
            assert answer.status >= 500, f"{path}: {answer.status} {answer.body[:300]!r}"
            time.sleep(_RETRY_SECONDS)

    def _look(self) -> None:
        try:
            is_there = self._client.get("/").ok
        except (OSError, http.client.HTTPException):
            is_there = False
        self.told.pages += is_there
        self.told.failed += not is_there


@dataclass(frozen=True)
class Verdict:
    """What the database holds of what was acknowledged: both should be 0."""

    lost: int
    doubled: int


@dataclass
class Shop:
    """The example, served on a MongoDB of its own."""

    server: MongoServer
    site: Site

    def fill(self) -> None:
        """The two collections, before brique is started."""
        with self.server.client() as client:
            client.shop.doors.insert_many([{"_id": f"door{n}", "visitors": 0} for n in range(DOORS)])
            client.shop.create_collection("orders")

    def visitors(self, *, pause_seconds: float = 0.0) -> list[Visitor]:
        found = [Visitor(self.site.port, number, pause_seconds=pause_seconds) for number in range(DOORS)]
        for visitor in found:
            visitor.start()
        return found

    def waiting(self) -> int:
        """Commands that are not settled yet."""
        counts = self.counts()
        return counts.get("kept", 0) + counts.get("sending", 0)

    def counts(self) -> dict[str, int]:
        client = brique_client(self.site.port)
        try:
            found: dict[str, int] = client.get("/api/outbox?limit=1").json()["counts"]
            return found
        except (OSError, http.client.HTTPException, KeyError):
            return {"kept": -1}
        finally:
            client.close()

    def settle(self, seconds: float = 120.0) -> float:
        """Wait until nothing waits, and the database holds as much as was acknowledged or stops growing; how long
        that took."""
        began = time.monotonic()
        while self.waiting() != 0:
            if time.monotonic() - began > seconds:
                raise SystemExit(f"after {seconds:.0f} s commands still wait: {self.counts()}")
            time.sleep(0.01)
        return time.monotonic() - began

    def held(self) -> tuple[int, Counter[str]]:
        """(entries, orders by their mark) in the database."""
        with self.server.client() as client:
            entries = sum(int(door["visitors"]) for door in client.shop.doors.find())
            return entries, Counter(str(order["customer"]) for order in client.shop.orders.find())

    def judge(self, told: Told) -> Verdict:
        """Compare what was acknowledged with what is there."""
        entries, orders = self.held()
        missing = sum(1 for mark in told.orders if not orders[mark])
        twice = sum(count - 1 for count in orders.values())
        return Verdict(missing + max(told.entries - entries, 0), twice + max(entries - told.entries, 0))


def stop(visitors: Sequence[Visitor], seconds: float = 60.0) -> Told:
    """Let each finish what it does; what they were told, together."""
    for visitor in visitors:
        visitor.stop()
    total = Told()
    for visitor in visitors:
        visitor.join(seconds)
        if visitor.fault or visitor.is_alive():
            raise SystemExit(visitor.fault or "a visitor was not answered in time")
        total.entries += visitor.told.entries
        total.orders += visitor.told.orders
        total.pages += visitor.told.pages
        total.failed += visitor.told.failed
        total.slowest_s = max(total.slowest_s, visitor.told.slowest_s)
    return total


@contextmanager
def open_shop(options: Sequence[str] = (), *, settings: dict[str, str] | None = None) -> Iterator[Shop]:
    """The example on a server with these options: started, filled, served, and ready."""
    server = MongoServer(new_folder(), options)
    folder = Path(tempfile.mkdtemp(prefix="brique-survive-"))
    data = folder / "data"
    try:
        server.start()
        told = {"SHOP": server.url("shop"), "BRIQUE_WEB_PROCESSES": "1", **(settings or {})}
        site = Site(["up", str(APP), "--data", str(data)], data, settings=told)
        made = Shop(server, site)
        made.fill()
        with site:
            site.wait_ready()
            site.wait_loaded()
            yield made
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(server.folder, ignore_errors=True)
