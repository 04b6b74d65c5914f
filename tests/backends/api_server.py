"""A real JSON API as a process of its own, on uvicorn, that can be told to fail.

    python -m tests.backends.api_server FOLDER [PORT] [--keys]

FOLDER/port says where it listens; FOLDER/state.json holds the rows, so that they outlive a crash, and FOLDER/log.jsonl
every request. With --keys it honours Idempotency-Key. FOLDER/mode, read at each request, is one of: "" (works),
"die-after" (does what is asked, dies before it answers), "freeze-after" (and stops answering for good), "busy" (503,
Retry-After: 1), "broken" (500), "away" (redirects elsewhere), "loop" (every page leads to itself), "huge", "text".

/items has a Link header, /cursor a cursor, /numbered counted pages, /next the next address in the body.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.servers import wait_until

TOKEN = "s3cret-token"
ROWS = [
    {"id": n, "name": f"Row {n}", "price": n + 0.5, "open": n % 2 == 0, "at": {"city": "Dakar"}} for n in range(1, 8)
]


class Server:
    def __init__(self, folder: Path, *, keys: bool) -> None:
        self.folder, self.keys = folder, keys
        self.process: subprocess.Popen[bytes] | None = None
        with closing(socket.create_server(("127.0.0.1", 0))) as probe:
            self.port = probe.getsockname()[1]
        (folder / "state.json").write_text(json.dumps({"rows": ROWS, "next": 100, "done": {}}))
        self.mode("")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        more = ["--keys"] if self.keys else []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.backends.api_server", str(self.folder), str(self.port), *more]
        )
        wait_until(self._answers, 30, "the API")

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/ready", timeout=1, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def mode(self, mode: str) -> None:
        (self.folder / "mode").write_text(mode)

    def rows(self) -> list[dict[str, Any]]:
        return list(json.loads((self.folder / "state.json").read_text())["rows"])

    def change(self, identity: int, **values: Any) -> None:
        """As somebody else would."""
        state = json.loads((self.folder / "state.json").read_text())
        for row in state["rows"]:
            if row["id"] == identity:
                row.update(values)
        (self.folder / "state.json").write_text(json.dumps(state))

    def requests(self) -> list[dict[str, Any]]:
        file = self.folder / "log.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@contextmanager
def api_server(folder: Path, *, keys: bool = False) -> Iterator[Server]:
    folder.mkdir(exist_ok=True)
    server = Server(folder, keys=keys)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class _Api:
    def __init__(self, folder: Path, *, keys: bool) -> None:
        self.folder, self.keys = folder, keys

    @property
    def mode(self) -> str:
        return (self.folder / "mode").read_text()

    def load(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "state.json").read_text()))

    def keep(self, state: dict[str, Any]) -> None:
        aside = self.folder / "state.new"
        aside.write_text(json.dumps(state))
        aside.rename(self.folder / "state.json")

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        headers = dict(request.headers)
        entry = {"method": request.method, "url": str(request.url), "headers": headers, "body": body.decode()}
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")
        mode = self.mode
        if request.url.path.endswith("/ready"):
            return JSONResponse({})
        if headers.get("authorization") not in (None, f"Bearer {TOKEN}"):
            return JSONResponse({"title": "Who are you?"}, 401)
        if mode == "busy":
            return JSONResponse({"title": "Too busy"}, 503, headers={"Retry-After": "1"})
        if mode == "broken":
            return JSONResponse({"detail": "Oops"}, 500)
        if mode == "away":
            return RedirectResponse("http://127.0.0.1:9/secret")
        if mode == "huge":
            return Response(b"[" + b"1," * 3_000_000 + b"1]", media_type="application/json")
        if mode == "text":
            return Response("<html>login</html>", media_type="text/html")
        made = self.read(request) if request.method in ("GET", "HEAD") else self.write(request, body)
        if request.method not in ("GET", "HEAD"):
            if mode == "die-after":
                os._exit(9)
            if mode == "freeze-after":
                os.kill(os.getpid(), signal.SIGSTOP)
        return made

    def read(self, request: Request) -> Response:
        rows = self.load()["rows"]
        _, _, kind, *rest = request.url.path.split("/")
        if rest:
            found = next((row for row in rows if str(row["id"]) == rest[0]), None)
            return JSONResponse(found, headers={"ETag": _tag(found)}) if found else JSONResponse({"title": "Gone"}, 404)
        at = int(request.query_params.get("page", request.query_params.get("cursor", "1")))
        page, more = rows[3 * at - 3 : 3 * at], len(rows) > 3 * at
        here = str(request.url).partition("?")[0]
        if kind == "whole":
            tag = _tag(rows)
            if request.headers.get("if-none-match") == tag:
                return Response(status_code=304, headers={"ETag": tag})
            return JSONResponse(rows, headers={"ETag": tag})
        if kind == "cursor":
            return JSONResponse({"data": {"items": page}, "cursor": str(at + 1) if more else None})
        if kind == "next":
            following = f"?page={at + 1}" if more or self.mode == "loop" else None
            return JSONResponse({"data": page, "next": "?page=1" if self.mode == "loop" else following})
        if kind == "numbered":
            return JSONResponse(page)
        link = f'<{here}?page={at + 1}>; rel="next", <{here}?page=1>; rel="first"' if more else ""
        return JSONResponse(page, headers={"Link": link})

    def write(self, request: Request, body: bytes) -> Response:
        state = self.load()
        key = request.headers.get("idempotency-key", "")
        if self.keys and key in state["done"]:
            status, answer = state["done"][key]
            return JSONResponse(answer, status)
        given = json.loads(body) if body else {}
        answer, status = self.change(request, state, given)
        if self.keys and key:
            state["done"][key] = [status, answer]
        self.keep(state)
        headers = {"Location": f"/v1/items/{answer['id']}"} if status == 201 else {}
        return JSONResponse(answer, status, headers=headers)

    def change(self, request: Request, state: dict[str, Any], given: dict[str, Any]) -> tuple[dict[str, Any], int]:
        _, _, kind, *rest = request.url.path.split("/")
        rows = state["rows"]
        if kind == "jobs":
            state["jobs"] = state.get("jobs", 0) + 1
            return {"job": state["jobs"], **given}, 200
        if request.method == "POST":
            if given.get("name") == "bad":
                return {"title": "Not that name", "errors": {"name": "is bad"}}, 422
            made = {"id": given.get("id") or state["next"], **given}
            state["next"] += 1
            rows.append(made)
            return made, 201
        found = next((row for row in rows if str(row["id"]) == rest[0]), None)
        if found is None and request.method == "PUT":
            rows.append(given)
            return given, 201
        if found is None:
            return {"title": "Gone"}, 404
        if request.headers.get("if-match") not in (None, _tag(found)):
            return {"title": "Changed"}, 412
        if request.method == "DELETE":
            rows.remove(found)
        else:
            found.update(given)
        return found, 200


def _tag(value: Any) -> str:
    return '"' + hashlib.blake2b(json.dumps(value).encode(), digest_size=8).hexdigest() + '"'


if __name__ == "__main__":
    api = _Api(Path(sys.argv[1]), keys="--keys" in sys.argv)
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
    site = Starlette(routes=[Route("/{path:path}", api.answer, methods=methods)])
    uvicorn.run(site, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
