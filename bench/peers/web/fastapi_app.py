from __future__ import annotations

from typing import Any

import rows
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

app = FastAPI()


@app.get("/json/{key}")
async def one(key: int) -> dict[str, Any]:
    return rows.one(key)


@app.get("/page/{start}", response_class=HTMLResponse)
async def page(start: int) -> str:
    return rows.page(start)


@app.get("/hello")
async def hello() -> dict[str, str]:
    return {"message": "Hello, World!"}
