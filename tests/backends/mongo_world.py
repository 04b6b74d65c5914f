"""The contract's world on MongoDB: the same data in collections, and tables declared as a person would declare them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bson.decimal128 import Decimal128
from pymongo import MongoClient

from brique.backends import Backend
from brique.schema import Column, Kind, TableSpec
from brique.schema.infer import infer
from tests.backends.contract import World

VALIDATOR = {
    "$jsonSchema": {
        "required": ["name"],
        "properties": {"name": {"bsonType": "string", "maxLength": 40}},
    }
}
TICKETS = {
    "$jsonSchema": {
        "required": ["subject"],
        "properties": {
            "subject": {"bsonType": "string"},
            "net": {"bsonType": ["int", "null"], "minimum": 1},
            "customer": {"bsonType": ["int", "null"]},
            "status": {"bsonType": "string"},
        },
    }
}
NAMES = {
    "customers": {"_id": "number"},
    "Order Details": {"_id.OrderID": "order_id", "_id.ProductID": "product_id"},
    "codes": {"_id": "code"},
}
KINDS: dict[str, dict[str, Any]] = {
    "credit": {"kind": Kind.DECIMAL, "precision": 10, "scale": 2},
    "since": {"kind": Kind.DATE},
    "Unit Price": {"kind": Kind.DECIMAL, "precision": 10, "scale": 2},
}


def fill(client: MongoClient[dict[str, Any]], name: str) -> None:
    """The contract's tables as collections of the database `name`."""
    database = client[name]
    database.create_collection("customers", validator=VALIDATOR)
    database.customers.create_index("name", unique=True)
    day, moment = datetime(2024, 2, 29, tzinfo=UTC), datetime(2024, 2, 29, 8, 30, tzinfo=UTC)
    database.customers.insert_many(
        [
            {
                "_id": 1, "name": "Élan & Cie", "city": "Dakar", "credit": Decimal128("1234.50"), "since": day,
                "seen": moment, "active": True, "rate": 0.1,
            },
            {
                "_id": 2, "name": "O'Brien \"x\"", "city": None, "credit": None, "since": None,
                "seen": None, "active": None, "rate": None,
            },
        ]
    )  # fmt: skip
    database["Order Details"].insert_many(
        [
            {"_id": {"OrderID": 10248, "ProductID": 11}, "Unit Price": Decimal128("14.00"), "Qté": 12, "select": "x"},
            {"_id": {"OrderID": 10248, "ProductID": 42}, "Unit Price": Decimal128("9.80"), "Qté": 10},
        ]
    )
    database.create_collection("tickets", validator=TICKETS)
    database.keyless.insert_many([{"a": 1, "b": "x"}, {"a": 1, "b": "x"}])
    database.codes.insert_many(
        [
            {"_id": "007", "meaning": "seven"},
            {"_id": "a,b~c", "meaning": "odd"},
            {"_id": "", "meaning": "empty"},
        ]
    )
    database.command("create", "names", viewOn="customers", pipeline=[{"$project": {"name": 1}}])


class MongoWorld(World):
    """`database` is that of the backend, through a client of its own."""

    def __init__(
        self, backend: Backend, client: MongoClient[dict[str, Any]], name: str, read_only: Callable[[], Backend]
    ) -> None:
        super().__init__(backend, run=self._run, lock=self._lock, read_only=read_only, zone="Z", thousand_seconds=6.0)
        self.client, self.database = client, client[name]

    def _run(self, sql: str) -> list[tuple[object, ...]]:
        raise AssertionError(f"there is no SQL here: {sql}")

    @contextmanager
    def _lock(self, table: str) -> Iterator[None]:
        """A transaction that has written every document of the collection and is not over."""
        with self.client.start_session() as session, session.start_transaction():
            self.database[table].update_many({}, {"$set": {"locked": True}}, session=session)
            yield
            session.abort_transaction()

    def specs(self) -> dict[str, TableSpec]:
        return {spec.name: declared(spec) for spec in infer(self.backend.catalogue(), "erp")}

    def add_codes(self, count: int, meaning: str) -> None:
        for start in range(1, count + 1, 10_000):
            part = range(start, min(start + 10_000, count + 1))
            self.database.codes.insert_many([{"_id": f"c{i}", "meaning": meaning} for i in part])

    def set_city(self, city: str) -> None:
        self.database.customers.update_one({"_id": 1}, {"$set": {"city": city}})

    def city(self) -> object:
        found = self.database.customers.find_one({"_id": 1})
        assert found is not None
        return found["city"]

    def add_customer(self, number: int, name: str) -> None:
        self.database.customers.insert_one({"_id": number, "name": name})

    def delete_customer(self, number: int) -> None:
        self.database.customers.delete_one({"_id": number})

    def add_keyless(self) -> None:
        self.database.keyless.insert_one({"a": 3, "b": "new"})

    def drop(self, table: str) -> None:
        self.database.drop_collection(table)

    def make_clock_view(self) -> None:
        pipeline = [{"$addFields": {"moment": "$$NOW"}}]
        self.database.command("create", "today", viewOn="customers", pipeline=pipeline)


def declared(spec: TableSpec) -> TableSpec:
    """An inferred table with the names and kinds that its people know."""
    names = {c.name: NAMES.get(spec.source, {}).get(c.source, c.name) for c in spec.columns}
    columns = tuple(_declared(column, names[column.name]) for column in spec.columns)
    key = tuple(names[name] for name in spec.key)
    unique = tuple(tuple(names[name] for name in group) for group in spec.unique)
    return replace(spec, columns=columns, key=key, unique=unique)


def _declared(column: Column, name: str) -> Column:
    return replace(column, name=name, **KINDS.get(column.source, {}))
