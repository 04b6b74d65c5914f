from __future__ import annotations

import rows
from blacksheep import Application, Response, get, html, json

app = Application()


@get("/json/{key}")
async def one(key: int) -> Response:
    return json(rows.one(key))


@get("/page/{start}")
async def page(start: int) -> Response:
    return html(rows.page(start))


@get("/hello")
async def hello() -> Response:
    return json({"message": "Hello, World!"})
