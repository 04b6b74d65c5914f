"""`python tornado_app.py PORT`: followers that wait, as Tornado holds them."""

import asyncio
import logging
import sys

from tornado.iostream import StreamClosedError
from tornado.web import Application, RequestHandler

waiting: set[asyncio.Queue[bytes]] = set()


class Follow(RequestHandler):
    async def get(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        mine: asyncio.Queue[bytes] = asyncio.Queue(10)
        waiting.add(mine)
        try:
            self.write(b"retry: 2000\n\n")
            await self.flush()
            while True:
                self.write(await mine.get())
                await self.flush()
        except StreamClosedError:
            pass
        finally:
            waiting.discard(mine)


async def main() -> None:
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    Application([("/follow", Follow)]).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
