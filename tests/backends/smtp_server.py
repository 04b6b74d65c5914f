"""A real SMTP server as a process of its own: aiosmtpd, which keeps what it takes in a file and can be told to fail.

    python -m tests.backends.smtp_server FOLDER [PORT]

FOLDER/port says where it listens. FOLDER/mails.jsonl gets one line for each mail taken. FOLDER/mode, read at each step,
is one of: "" (works), "busy" (451 to RCPT), "later" (451 after the message), "never" (550 after the message),
"freeze" (takes the mail and stops answering for good), "die" (takes the mail and dies before it answers),
"die-before" (dies when DATA begins). An address that begins with "nobody" is refused, "login" wants AUTH.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.servers import wait_until

USER, PASSWORD = "intranet", "p@ss:word/1"


class Server:
    """The running process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.mode("")

    def start(self) -> None:
        (self.folder / "port").unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.backends.smtp_server", str(self.folder), str(self.port)]
        )
        wait_until(lambda: (self.folder / "port").exists(), 30, "the mail server")
        self.port = int((self.folder / "port").read_text())

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

    def mails(self) -> list[dict[str, Any]]:
        file = self.folder / "mails.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"


@contextmanager
def mail_server(folder: Path) -> Iterator[Server]:
    folder.mkdir(exist_ok=True)
    server = Server(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class _Handler:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def mode(self) -> str:
        return (self.folder / "mode").read_text()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody"):
            return "550 5.1.1 no such user here"
        if self.mode == "busy":
            return "451 4.7.1 greylisted, come back in a moment"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        mode = self.mode
        if mode == "later":
            return "451 4.3.0 no room just now"
        if mode == "never":
            return "550 5.7.1 looks like spam\x07 to me"
        assert isinstance(envelope.content, bytes)
        self.keep(envelope, envelope.content)
        if mode == "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
        if mode == "die":
            os._exit(9)
        return "250 2.0.0 taken"

    def keep(self, envelope: Envelope, content: bytes) -> None:
        message = message_from_bytes(content, policy=policy.default)
        html, text = message.get_body(("html",)), message.get_body(("plain",))
        taken = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": {name: str(value) for name, value in message.items()},
            "text": text.get_content() if text else "",
            "html": html.get_content() if html else "",
            "files": [[part.get_filename(), part.get_content_type()] for part in message.iter_attachments()],
            "raw": content.decode("latin-1"),
        }
        with (self.folder / "mails.jsonl").open("a") as file:
            file.write(json.dumps(taken) + "\n")


class _Smtp(SMTP):
    async def smtp_DATA(self, arg: str) -> None:
        if self.event_handler.mode == "die-before":
            os._exit(9)
        await super().smtp_DATA(arg)


def _authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    known = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=known, handled=False)


async def _serve(folder: Path, port: int) -> None:
    loop = asyncio.get_running_loop()
    handler = _Handler(folder)
    server = await loop.create_server(
        lambda: _Smtp(handler, authenticator=_authenticate, auth_require_tls=False, data_size_limit=2_000_000),
        "127.0.0.1",
        port,
    )
    aside = folder / "port.new"
    aside.write_text(str(server.sockets[0].getsockname()[1]))
    aside.rename(folder / "port")
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
