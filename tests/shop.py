"""A small database for tests and documents: customers, their orders, and the orders' lines with a composite key."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

SHOP = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, name VARCHAR(60) NOT NULL, city TEXT);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customer (id),
    order_date INTEGER,
    amount DECIMAL(12, 2) NOT NULL DEFAULT 0,
    status TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'shipped'))
);
CREATE TABLE "order line" (
    order_id INTEGER NOT NULL REFERENCES orders (id),
    line INTEGER NOT NULL,
    article TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    PRIMARY KEY (order_id, line)
);
INSERT INTO customer VALUES (1, 'Aminata Sow', 'Thiès'), (2, 'Moussa Diop', 'Dakar'), (3, 'Awa Ndiaye', NULL);
INSERT INTO orders VALUES
    (1, 1, 1261118, 120.5, 'open'), (2, 1, 1261119, 80, 'shipped'),
    (3, 2, 1261119, 40.25, 'open'), (4, 2, 1261120, 12, 'open');
INSERT INTO "order line" VALUES (1, 1, 'Cement', 10), (1, 2, 'Sand', 2), (2, 1, 'Nails', 40), (3, 1, 'Cement', 3);
"""


def make_shop(path: Path) -> Path:
    """Write the shop to `path`, a file that is not there yet."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SHOP)
    return path
