from __future__ import annotations

from typing import Any

import rows
from litestar import Litestar, MediaType, get


@get("/json/{key:int}")
async def one(key: int) -> dict[str, Any]:
    return rows.one(key)


@get("/page/{start:int}", media_type=MediaType.HTML)
async def page(start: int) -> str:
    return rows.page(start)


@get("/hello")
async def hello() -> dict[str, str]:
    return {"message": "Hello, World!"}


app = Litestar([one, page, hello])
