"""What is at a place follows the views: an intranet in this process, a real database behind, real places in front."""

from __future__ import annotations

from pathlib import Path

from tests.publish.world import world
from tests.redis import RedisServer


def test_what_changes_goes_what_comes_and_what_leaves(tmp_path: Path, own_redis: RedisServer) -> None:
    with world(tmp_path, own_redis.url()) as shop:
        shop.settled()
        assert set(shop.place()) == {
            "statement/1", "statement/2", "statement/3", "open_orders", "people/Dakar", "people/Thi%C3%A8s",
        }  # fmt: skip
        shop.sql("UPDATE orders SET status = 'shipped' WHERE id = 1")
        shop.settled()
        shop.sql(
            "INSERT INTO customer VALUES (9, 'Fatou', 'Saint-Louis')", "INSERT INTO orders VALUES (9, 9, 1, 5, 'open')"
        )
        shop.settled()
        assert b"Fatou" in shop.place()["statement/9"] and b"Fatou" in shop.place()["people/Saint-Louis"]
        shop.sql("DELETE FROM orders WHERE customer_id = 9", "DELETE FROM customer WHERE id = 9")
        shop.settled()
        assert not {"statement/9", "people/Saint-Louis"} & set(shop.place())
        assert "dearest" not in shop.place()
