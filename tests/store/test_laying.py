"""Commands laid together lie as if each had been laid by itself."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from brique.schema import Change, Command, State
from brique.store import Store
from tests.store.parts import ORDERS, command, delete, give, insert, open_store, order, update


def _some(chance: random.Random, count: int) -> list[Command]:
    """Commands that make rows, change them by their temporary keys, refer to them, and change and delete old rows."""
    made: list[str] = []
    found: list[Command] = []
    for number in range(count):
        identity = f"c{number}"
        what: list[Change] = []
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            key = chance.choice([*made, "1", "2", "3", "4"])
            kind = chance.random()
            if kind < 0.4:
                made.append(f"new-{identity}")
                what.append(insert(f"new-{identity}", {chance.choice(("status", "note")): f"s{number}"}))
            elif kind < 0.8:
                what.append(update(key, {"status": "open"}, {"status": f"s{number}"}))
            elif kind < 0.9:
                what.append(insert(key, {"status": "again"}))
            else:
                what.append(delete(key, {"status": "open"}))
        found.append(command(identity, *what, user=chance.choice(("awa", "moussa"))))
    return found


def _everything(store: Store) -> list[object]:
    tables = ("command", "command_count", "overlay", "shadow", "renamed")
    found: list[object] = [
        store.connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall() for table in tables
    ]
    query = 'SELECT _key, _pending, id, customer, status, note FROM "t_orders" ORDER BY _key'
    found.append(store.connection.execute(query).fetchall())
    return found


@pytest.mark.parametrize("seed", range(12))
def test_commands_laid_together_lie_as_if_each_was_laid_by_itself(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    commands = list(enumerate(_some(chance, 30), 1))
    stores = []
    for name in ("one", "all"):
        (tmp_path / name).mkdir()
        store = open_store(tmp_path / name)
        give(store, ORDERS, [order(number, status="open") for number in (1, 2, 3, 4)])
        with store.transaction() as tx:  # a row that has got its number, which others may call by its temporary key
            tx.lay(0, command("c-old", insert("new-old", {"status": "mine"})))
            tx.settle(0, State.APPLIED, keys={"new-old": "9"})
        stores.append(store)
    one, together = stores
    for position, what in commands:
        with one.transaction() as tx:
            tx.lay(position, what)
    with together.transaction() as tx:
        tx.lay_many(commands)
    assert _everything(one) == _everything(together)
    with together.transaction() as tx:
        tx.lay_many([*commands, (31, command("c31", update("new-old", {"status": "mine"}, {"status": "theirs"})))])
    with one.transaction() as tx:
        tx.lay(31, command("c31", update("new-old", {"status": "mine"}, {"status": "theirs"})))
    assert _everything(one) == _everything(together)
    assert together.rows("orders").get("9") is not None
    for store in stores:
        store.close()


def test_a_command_may_say_twice_what_its_new_row_holds(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with store.transaction() as tx:
        tx.lay(1, command("c1", insert("new-c1", {"status": "a", "note": "n"}), insert("new-c1", {"status": "b"})))
    row = store.rows("orders").get("new-c1")
    assert row is not None
    assert (row.values["status"], row.values["note"], row.pending) == ("b", "n", 1)
    store.close()
