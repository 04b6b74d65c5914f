"""What is watched is made in the transaction that touches it; everything else when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from brique.store.db import cells as counting
from brique.views import Db, Keeper, Maker, cells, view_of
from brique.views import watched as watching
from tests.views.world import CLASSES, SPECS, Order, World, order, world

runs: list[str] = []


def due(db: Db, number: int) -> Any:
    runs.append(f"due {number}")
    return db[Order].where(customer=number).sum("amount")


def share(db: Db) -> Any:
    return 12 // db[Order].count()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[World]:
    views = {function.__name__: view_of(f"/{function.__name__}", function, CLASSES) for function in (due, share)}
    with world(tmp_path / "store.db", views) as made:
        made.store._listeners.clear()
        made.keeper = Keeper(views, made.store, maker=Maker(SPECS, clock=made.clock, classes=CLASSES))
        runs.clear()
        yield made


def kept(world: World, name: str, **arguments: Any) -> Any:
    found = world.views.kept(name, arguments)
    return None if found is None else json.loads(found.body)


def test_what_is_watched_is_ready_when_the_change_is_seen(shop: World) -> None:
    shop.write("orders", order(1), order(2, customer=8))
    for number in (7, 8):
        shop.views.get("due", {"number": number})
    shop.keeper.watch("due", {"number": 7})
    shop.write("orders", order(1, amount=300), order(2, customer=8, amount=300))
    assert (kept(shop, "due", number=7), kept(shop, "due", number=8)) == ("3.00", None)
    shop.keeper.unwatch("due", {"number": 7})
    shop.write("orders", order(1, amount=400))
    assert kept(shop, "due", number=7) is None


def test_a_watched_view_that_fails_does_not_fail_the_change(shop: World) -> None:
    shop.write("orders", order(1))
    assert json.loads(shop.views.get("share").body) == 12
    shop.keeper.watch("share", {})
    shop.remove("orders", "1")
    assert kept(shop, "share") is None
    stale = shop.views.get("share")
    assert (json.loads(stale.body), stale.stale_error[:17]) == (12, "ZeroDivisionError")


def test_what_is_too_much_for_one_transaction_is_made_in_later_ones(
    shop: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "AT_ONCE_MAX", 2)
    shop.write("orders", *[order(number, customer=number) for number in range(1, 6)])
    for number in range(1, 6):
        shop.views.get("due", {"number": number})
        shop.keeper.watch("due", {"number": number})
    shop.write("orders", *[order(number, customer=number, amount=700) for number in range(1, 6)])
    assert sum(kept(shop, "due", number=number) == "7.00" for number in range(1, 6)) == 2
    left = []
    for _ in range(2):
        with shop.store.transaction() as tx:
            left.append(shop.keeper.catch_up(tx))
    assert left == [1, 0]
    assert all(kept(shop, "due", number=number) == "7.00" for number in range(1, 6))


def test_a_rolled_back_change_leaves_what_was_ready(shop: World) -> None:
    shop.write("orders", order(1))
    shop.views.get("due", {"number": 7})
    shop.keeper.watch("due", {"number": 7})
    with pytest.raises(KeyError), shop.store.transaction() as tx:
        tx.apply_base("orders", [], ["1"])
        shop.keeper.on_changes(tx, tx.changes)
        raise KeyError
    assert kept(shop, "due", number=7) == "1.00"


def test_totals_make_room_for_others_and_stay_right(shop: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "CELLS_MAX", 5)
    monkeypatch.setattr(counting, "ROWS_MIN", 1)
    shop.write("orders", *[order(number, customer=number) for number in range(1, 13)])
    for number in range(1, 13):
        shop.views.get("due", {"number": number})
    for number in range(1, 13):  # once a question had many rows, its totals are kept
        shop.write("orders", order(20 + number, customer=number))
        shop.views.get("due", {"number": number})
    assert 1 < len(shop.reader.representations.cells()) <= 5
    shop.write("orders", *[order(number, customer=number, amount=700) for number in range(1, 13)])
    assert [json.loads(shop.views.get("due", {"number": number}).body) for number in range(1, 13)] == ["8.00"] * 12
