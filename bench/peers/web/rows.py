"""Rows of the bench's file, for the peers that bring no database layer of their own; and their page."""

from __future__ import annotations

import os
import sqlite3
import threading
from typing import Any

import jinja2

_local = threading.local()
_COLUMNS = "id, name, price, stock, note, body"
PAGE = jinja2.Environment(autoescape=True).from_string("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Articles</title></head>
<body><header><a href="/">Shop</a><nav>{% for n in range(20) %}<a href="/shelf/{{ n }}">Shelf {{ n }}</a>{% endfor %}</nav>
</header><main><h1>Articles from {{ start }}</h1><table><thead><tr><th>Id</th><th>Name</th><th>Price</th><th>Stock</th>
<th>Note</th></tr></thead><tbody>{% for row in rows %}<tr class="row"><td><a href="/articles/{{ row.id }}">{{ row.id }}</a>
</td><td data-label="Name">{{ row.name }}</td><td data-label="Price" class="num">{{ "%.2f"|format(row.price) }}</td>
<td data-label="Stock" class="num">{{ row.stock }}</td><td data-label="Note">{{ row.note }}</td></tr>{% endfor %}</tbody>
</table></main></body></html>""")


def _connection() -> sqlite3.Connection:
    if not hasattr(_local, "connection"):
        _local.connection = sqlite3.connect(f"file:{os.environ['BENCH_DB']}?mode=ro", uri=True)
        _local.connection.row_factory = sqlite3.Row
    return _local.connection


def one(key: int) -> dict[str, Any]:
    return dict(_connection().execute(f"SELECT {_COLUMNS} FROM article WHERE id = ?", (key,)).fetchone())


def page(start: int) -> str:
    query = f"SELECT {_COLUMNS} FROM article WHERE id >= ? ORDER BY id LIMIT 20"
    return PAGE.render(start=start, rows=[dict(row) for row in _connection().execute(query, (start,))])
