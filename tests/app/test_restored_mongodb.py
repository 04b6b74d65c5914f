"""brique is put back from its backup, over a MongoDB that stands alone and knows itself what it has taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from brique import Intranet
from brique.app.sources import from_data
from brique.deploy import backup, restore
from brique.schema import State
from tests.app.site import Running, running
from tests.mongodb import MongoServer


def served(url: str, data: Path) -> Intranet:
    data.mkdir(exist_ok=True)
    return from_data([url], data, refresh_seconds=0.5, marker=True)


def ask(site: Running, method: str, path: str, body: dict[str, Any]) -> str:
    answer = site.ask(method, f"/api/tables/item{path}", json=body, headers={"Prefer": "wait=0"})
    assert answer.is_success, answer.text
    return str(answer.json()["receipt"])


def test_what_was_sent_after_the_backup_is_not_sent_twice(lone_mongodb: MongoServer, tmp_path: Path) -> None:
    url = lone_mongodb.make_database()
    client = lone_mongodb.client(url)
    items: Any = client.get_default_database()["item"]
    items.insert_many([{"_id": "A", "name": "Apple", "n": 1}, {"_id": "B", "name": "Pear", "n": 1}])
    items.insert_many([{"_id": "C", "name": "Plum", "n": 1}, {"_id": "D", "name": "Fig", "n": 1}])
    with running(served(url, tmp_path / "data"), tmp_path / "data") as site:
        site.loaded("item")
        assert site.settled(ask(site, "PATCH", "/A", {"name": "Apricot"})).state is State.APPLIED
        lone_mongodb.freeze()
        old = [
            ask(site, "PATCH", "/A", {"name": "Ananas"}),
            ask(site, "PATCH", "/B", {"n": 2}),
            ask(site, "DELETE", "/C", {}),
            ask(site, "POST", "", {"id": "E", "name": "Elder", "n": 1}),
        ]
        waits = ask(site, "PATCH", "/D", {"n": 2})
        backup(tmp_path / "data", tmp_path / "backup.tar.gz")
        site.ask("POST", f"/api/outbox/{waits}/withdraw")
        lone_mongodb.thaw()
        assert {site.settled(receipt).state for receipt in old} == {State.APPLIED}
        assert site.settled(ask(site, "PATCH", "/A", {"name": "Apple again"})).state is State.APPLIED
        assert site.settled(ask(site, "PATCH", "/E", {"n": 5})).state is State.APPLIED
    items.update_one({"_id": "B"}, {"$set": {"n": 1}})  # somebody else, meanwhile
    restore(tmp_path / "backup.tar.gz", tmp_path / "restored")
    with running(served(url, tmp_path / "restored"), tmp_path / "restored") as site:
        assert {receipt: site.settled(receipt).state for receipt in old} == dict.fromkeys(old, State.APPLIED)
        assert site.settled(waits).state is State.APPLIED, "it had not been sent"
        site.loaded("item")
        new = [ask(site, "PATCH", "/A", {"n": 3}), ask(site, "POST", "", {"id": "F", "name": "Fir", "n": 1})]
        assert {site.settled(receipt).state for receipt in new} == {State.APPLIED}
    found = {item["_id"]: (item["name"], item["n"]) for item in items.find()}
    assert found == {
        "A": ("Apple again", 3), "B": ("Pear", 1), "D": ("Fig", 2), "E": ("Elder", 5), "F": ("Fir", 1),
    }  # fmt: skip
    client.close()
