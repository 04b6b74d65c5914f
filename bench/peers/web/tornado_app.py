from __future__ import annotations

import asyncio
import logging
import sys

import rows
import uvloop
from tornado.web import Application, RequestHandler


class One(RequestHandler):
    def get(self, key: str) -> None:
        self.write(rows.one(int(key)))


class Page(RequestHandler):
    def get(self, start: str) -> None:
        self.write(rows.page(int(start)))


class Hello(RequestHandler):
    def get(self) -> None:
        self.write({"message": "Hello, World!"})


async def main() -> None:
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    app = Application([(r"/json/(\d+)", One), (r"/page/(\d+)", Page), (r"/hello", Hello)])
    app.listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


uvloop.run(main())
