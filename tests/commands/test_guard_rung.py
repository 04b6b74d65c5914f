"""A backend that itself knows which commands it has taken, on a real server without transactions: a new row that has
been changed since is still our own."""

from __future__ import annotations

from typing import Any

from brique.backends import Rung, open_backend
from brique.commands import Outcome, Replay, Report, Waiting
from brique.schema import Change, Command, State, infer
from tests.mongodb import MongoServer


class Bench:
    """A database with one document, and what replay says of it."""

    def __init__(self, server: MongoServer) -> None:
        self.url = server.make_database()
        self.client = server.client(self.url)
        self.items: Any = self.client.get_default_database()["item"]
        self.items.insert_one({"_id": "A", "name": "Apple"})
        self.backend = open_backend("erp", self.url, timeout=5.0, connect_timeout=5.0)
        self.specs = {spec.name: spec for spec in infer(self.backend.catalogue(), "erp")}
        self.outcomes: dict[int, Outcome] = {}

    def replay(self) -> Replay:
        prepared = self.backend.prepare(True)
        assert prepared.rung is Rung.GUARD
        return Replay(
            self.backend,
            self.specs,
            stream="s",
            rung=prepared.rung,
            report=self.report,
            real_key=lambda _, key: key,
            transactions=False,
        )

    def report(self, report: Report) -> None:
        self.outcomes.update({outcome.position: outcome for outcome in report.outcomes})

    def close(self) -> None:
        self.backend.close()
        self.client.close()


def new(position: int, key: str, name: str, state: State = State.KEPT) -> Waiting:
    change = Change("item", key, None, {"id": key, "name": name})
    return Waiting(position, state, Command(f"R{position}", "create", "awa", "write", "", "erp", (change,)))


def test_a_new_row_that_was_changed_before_its_answer_came_is_ours(lone_mongodb: MongoServer) -> None:
    bench = Bench(lone_mongodb)
    try:
        bench.replay().run([new(1, "B", "Banana")])
        bench.outcomes.clear()  # the answer was lost
        bench.items.update_one({"_id": "B"}, {"$set": {"name": "Blackberry"}})
        bench.replay().run([new(1, "B", "Banana", State.SENDING)])
        assert bench.outcomes[1].state is State.APPLIED
        assert bench.items.find_one({"_id": "B"})["name"] == "Blackberry"
    finally:
        bench.close()


def test_a_key_that_somebody_else_has_taken_is_a_conflict(lone_mongodb: MongoServer) -> None:
    bench = Bench(lone_mongodb)
    try:
        bench.replay().run([new(1, "A", "Apricot"), new(2, "C", "Cherry")])
        assert bench.outcomes[1].state is State.CONFLICT
        assert bench.outcomes[1].theirs["item/A"] is not None
        assert bench.outcomes[2].state is State.APPLIED
    finally:
        bench.close()
