"""Random changes and random reads of a shop; each representation given is compared with the view run from nothing."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from brique.errors import BriqueError
from brique.schema import Change, Row, State, Value
from brique.store import StageWriter
from brique.views import Db, Keeper, Offer, View, ViewFailed, view_of
from brique.views.encode import body_of
from brique.views.view import key_of
from tests.views.shop_views import ALL
from tests.views.world import CLASSES, SPECS, World

VIEWS: dict[str, View] = {function.__name__: view_of(f"/{function.__name__}", function, CLASSES) for function in ALL}
_STATES: tuple[Value, ...] = ("open", "sent", "Open", "paid", None, 5)
_AMOUNTS: tuple[Value, ...] = (0, 100, 100, 250, -30, 2**62, None, "12,50", 1.5)
_WEIGHTS: tuple[Value, ...] = (1, 1.0, 0.1, 0.2, 1e16, None, "heavy")
_RATES: tuple[Value, ...] = ("5", "6500015", "4499984:", None, "what")  # 0, 1.5, -1.5 in sortable form
_DAYS: tuple[Value, ...] = ("2026-11-18", "2026-11-19", "2026-11-20", "2026-12-01", None, "20261119")
_NAMES: tuple[Value, ...] = ("Ndiaye", "ndiaye", "Éva", "eva B", "", "Sow")


class Mismatch(AssertionError):
    """A representation differs from its view run from nothing."""


class Simulation:
    """One run. `seed` decides all of it."""

    def __init__(self, path: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        self.path = path
        self.world = World(path / f"store-{seed}.db", VIEWS)
        self.step = 0
        self.commands: dict[int, str] = {}

    def run(self, steps: int) -> None:
        operations = (
            [self.upsert] * 12 + [self.remove] * 4 + [self.move_key] * 2 + [self.roll_back] + [self.lay] * 4
            + [self.settle] * 4 + [self.let_go] + [self.reload] + [self.pass_time] * 2 + [self.hold] * 2
            + [self.release] * 3 + [self.restart]
        )  # fmt: skip
        try:
            for self.step in range(steps):
                self.random.choice(operations)()
                for _ in range(self.random.randint(0, 6)):
                    self.read()
            self.release()
            for _ in range(200):
                self.read()
        finally:
            self.world.close()

    # changes

    def pick(self, values: tuple[Value, ...]) -> Value:
        return self.random.choice(values)

    def an_order(self, number: int) -> Row:
        some = [None, 1, 1.0, 2, 3]
        return {
            "number": number,
            "customer": self.random.choice(some),
            "product": self.pick(("a", "b", None)),
            "ordered": self.pick(_DAYS),
            "amount": self.pick(_AMOUNTS),
            "weight": self.pick(_WEIGHTS),
            "rate": self.pick(_RATES),
            "status": self.pick(_STATES),
        }

    def a_row(self) -> tuple[str, Row]:
        kind = self.random.random()
        if kind < 0.7:
            return "orders", self._changed(self.an_order(self.random.randint(1, 6)))
        if kind < 0.85:
            number = self.random.randint(1, 3)
            return "customers", {"number": number, "name": self.pick(_NAMES), "city": self.pick(("Praia", None))}
        code = self.random.choice("ab")
        return "products", {"code": code, "name": self.pick(_NAMES), "price": self.pick((100, 250, None))}

    def _changed(self, new: Row) -> Row:
        """Often only one column of the row that is there differs: masks matter then."""
        held = self.world.store.reader.row("orders", str(new["number"]))
        if held is None or self.random.random() < 0.3:
            return new
        name = self.random.choice([name for name in new if name != "number"])
        return {**held.values, name: new[name]}

    def upsert(self) -> None:
        with self.world.store.transaction() as tx:
            for _ in range(self.random.choice((1, 1, 1, 3))):
                table, row = self.a_row()
                tx.apply_base(table, [(SPECS[table].key_of(row), row)])

    def remove(self) -> None:
        table = self.random.choice(("orders", "orders", "customers", "products"))
        key = self.random.choice("ab") if table == "products" else str(self.random.randint(1, 6))
        self.world.remove(table, key)

    def move_key(self) -> None:
        """A row gets another key: gone here, there in the same transaction."""
        held = self.world.store.reader.row("orders", str(self.random.randint(1, 6)))
        if held is not None:
            number = self.random.randint(1, 6)
            with self.world.store.transaction() as tx:
                tx.apply_base("orders", [(str(number), {**held.values, "number": number})], [held.key])

    def roll_back(self) -> None:
        try:
            with self.world.store.transaction() as tx:
                table, row = self.a_row()
                tx.apply_base(table, [(SPECS[table].key_of(row), row)])
                if self.random.random() < 0.5:
                    self.world.keeper.on_changes(tx, tx.changes)
                raise KeyError
        except KeyError:
            pass

    def lay(self) -> None:
        key = str(self.random.randint(1, 6))
        held = self.world.store.reader.row("orders", key)
        kind = self.random.random()
        if held is None or kind < 0.25:
            position = self.world.position + 1
            after = {**self.an_order(0), "number": None}
            self.commands[self.world.command(Change("orders", f"new-c{position}", None, after))] = "new"
        elif kind < 0.4:
            self.commands[self.world.command(Change("orders", key, held.values, None))] = "old"
        else:
            name = self.random.choice(("status", "amount", "customer"))
            new = self.an_order(0)[name]
            self.commands[self.world.command(Change("orders", key, {name: held.values[name]}, {name: new}))] = "old"

    def settle(self) -> None:
        if not self.commands:
            return
        position = self.random.choice(list(self.commands))
        kind = self.commands.pop(position)
        state = self.random.choice((State.APPLIED, State.APPLIED, State.REFUSED, State.CONFLICT, State.WITHDRAWN))
        keys = {}
        if kind == "new" and state is State.APPLIED:
            keys = {f"orders/new-c{position}": str(self.random.randint(7, 9))}
        with self.world.store.transaction() as tx:
            tx.settle(position, state, keys=keys)
            if state in (State.REFUSED, State.CONFLICT) and self.random.random() < 0.5:
                tx.dismiss(position)

    def let_go(self) -> None:
        with self.world.store.transaction() as tx:
            tx.let_go(["orders"], self.world.store.settled_seq())

    def reload(self) -> None:
        """All rows of a table anew, as a first load or a full refresh does it."""
        table = self.random.choice(("orders", "products"))
        spec = SPECS[table]
        writer = StageWriter(self.path / "stage.db", spec)
        rows: list[Row]
        if table == "orders":
            rows = [self.an_order(number) for number in range(1, 7) if self.random.random() < 0.7]
        else:
            rows = [{"code": code, "name": self.pick(_NAMES), "price": 100} for code in "ab"]
        writer.add([tuple(row[name] for name in spec.names) for row in rows])
        staged = writer.finish()
        load = self.world.store.begin_load(table, staged.path, staged.rows)
        while load.step():
            pass

    def pass_time(self) -> None:
        self.world.clock.pass_by(minutes=self.random.choice((1, 59, 60, 600, 1440, -120)))

    def hold(self) -> None:
        """From now on, what is made reaches the engine late."""
        if self.world.held is None:
            self.world.held = []

    def release(self) -> None:
        offers: list[Offer] = self.world.held or []
        self.world.held = None
        self.random.shuffle(offers)
        for offer in offers:
            self.world.take(offer)

    def restart(self) -> None:
        self.world.store._listeners.clear()
        self.world.keeper = Keeper(VIEWS, self.world.store)

    # reads

    def read(self) -> None:
        view = self.random.choice(list(VIEWS.values()))
        arguments = {parameter.name: self.argument(parameter.name) for parameter in view.parameters}
        user = self.random.choice(("ana", "bea"))
        expected = self.from_nothing(view, arguments, user)
        self.world.clock.seconds += 10  # failures are not remembered from one read to the next
        try:
            found = self.world.views.get(view.name, arguments, user)
            given: object = "failed" if found.stale_error else found.body
        except ViewFailed:
            given = "failed"
        except BriqueError as fault:
            given = str(fault)
        if given != expected:
            raise Mismatch(f"seed {self.seed} step {self.step}: {view.name}{arguments}: {given!r} is not {expected!r}")

    def argument(self, name: str) -> str:
        if name == "text":
            return self.random.choice(("nd", "e", "É"))
        return str(self.random.randint(1, 3) if name == "customer" else self.random.randint(1, 8))

    def from_nothing(self, view: View, arguments: dict[str, Any], user: str) -> object:
        with self.world.reader.snapshot() as reader:
            db = Db(reader, SPECS, classes=CLASSES, now=self.world.clock.now, user=user)
            try:
                result = view.run(db, view.arguments(arguments))
                return body_of(result, dashboard=False, what="a view", bytes_max=10**6)
            except BriqueError as fault:
                return str(fault)
            except ZeroDivisionError:
                return "failed"
            finally:
                db.close()


__all__ = ["VIEWS", "Mismatch", "Simulation", "key_of"]
