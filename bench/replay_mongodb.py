"""Pending commands after MongoDB's return: brique beside the bare driver's best idempotent batches, in the same run, in
turns. The driver sends 1,000 updates and the mark in one transaction."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from pymongo import UpdateOne
from pymongo.write_concern import WriteConcern

from bench.erp import Workshop
from bench.figures import Figures
from bench.replay import BATCH, _rounds
from brique.backends import MARKER
from tests.mongodb import MongoServer, new_folder

_INSERTED_AT_ONCE = 10_000


class Mongo:
    """SecantusDB, flushing its commits."""

    name = "mongodb"

    def __init__(self) -> None:
        self.server = MongoServer(new_folder(), ("--sync-on-commit",))
        self.url = self.server.url("erp")

    def start(self) -> None:
        self.server.start()

    def stop(self) -> None:
        self.server.stop()
        shutil.rmtree(self.server.folder, ignore_errors=True)

    def fill(self, count: int) -> None:
        with self.server.client() as client:
            client.drop_database("erp")
            for start in range(1, count + 1, _INSERTED_AT_ONCE):
                part = range(start, min(start + _INSERTED_AT_ONCE, count + 1))
                client.erp.item.insert_many([{"_id": i, "name": f"item {i}", "stock": 0} for i in part])

    def driver(self, count: int) -> dict[str, float]:
        """Seconds that the driver alone takes."""
        with self.server.client() as client:
            item, marker = client.erp.item, client.erp[MARKER]
            marker.insert_one({"_id": "bare", "position": 0})
            began = time.perf_counter()
            for at in range(0, count, BATCH):
                part = range(at + 1, min(at + BATCH, count) + 1)
                operations = [UpdateOne({"_id": i, "stock": 0}, {"$set": {"stock": i}}) for i in part]
                with client.start_session() as session, session.start_transaction(write_concern=_CONCERN):
                    item.bulk_write(operations, session=session)
                    moved = marker.update_one(
                        {"_id": "bare", "position": at}, {"$set": {"position": part[-1]}}, session=session
                    )
                    assert moved.matched_count == 1
            return {"transactions": time.perf_counter() - began}

    def done(self, count: int) -> bool:
        with self.server.client() as client:
            found = client.erp.item.find_one({"_id": count})
            return bool(found and found["stock"])


_CONCERN = WriteConcern(w="majority", j=True)


def run(figures: Figures, workshop: Workshop) -> None:
    count, rounds = (3_000, 1) if workshop.quick else (30_000, 3)
    figures.note(
        f"{count:,} updates of a document each, with the value that their author saw, in transactions of {BATCH:,} "
        "with a mark. The server is SecantusDB with --sync-on-commit, written in Python: it is what takes the time."
    )
    kind = Mongo()
    with workshop.scratch("replay-mongodb") as folder:
        try:
            kind.start()
            _rounds(figures, kind, Path(folder), count, rounds)  # type: ignore[arg-type]
        finally:
            kind.stop()
