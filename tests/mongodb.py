"""A real MongoDB for tests: SecantusDB, which speaks its protocol, and mongod where one is installed.

    def test_something(mongodb):                        # shared by the session: don't stop it
        url = mongodb.make_database()                   # fresh and empty: mongodb://...
    def test_the_backend_stops(own_mongodb):            # this test's own: stop, start, freeze, thaw, kill it

SecantusDB loses what it has acknowledged when it is killed, unless it is started with `--sync-on-commit`; the servers
of these fixtures are. Accounts are asked for: the URL is the superuser's, make lesser ones with `make_reader`.
"""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from tests import servers
from tests.servers import Server, lacking, wait_until

PROGRAM = Path(sys.executable).with_name("secantusd-py")
SECRET = "s3cret-of-the-tests"


class MongoServer(Server):
    """A running server on its own port of 127.0.0.1. `options` are those of `secantusd-py`."""

    kind = "SecantusDB"

    def __init__(self, folder: Path, options: Sequence[str] = ("--sync-on-commit",), *, accounts: bool = False) -> None:
        super().__init__(folder)
        self.options = list(options)
        self._accounts = accounts

    def url(self, database: str = "test", user: str = "root", more: str = "") -> str:
        who = f"{user}:{SECRET}@" if self._accounts else ""
        source = "&authSource=admin" if self._accounts else ""
        return f"mongodb://{who}127.0.0.1:{self.port}/{database}?appName=tests{source}{more}"

    def make_database(self) -> str:
        """The URL of a database that nobody has used."""
        return self.url(f"test_{next(self._names)}")

    def client(self, url: str = "") -> MongoClient[dict[str, Any]]:
        """A plain client, past the backend."""
        return MongoClient(url or self.url(), tz_aware=True, uuidRepresentation="standard", retryWrites=False)

    def make_reader(self, database: str) -> str:
        """The URL of `database` for a new account that may only read it."""
        name = f"reader_{next(self._names)}"
        with self.client() as client:
            client.admin.command("createUser", name, pwd=SECRET, roles=[{"role": "read", "db": database}])
        return self.url(database, name)

    def command(self) -> list[str]:
        data = self.folder / "data"
        return [str(PROGRAM), "--port", str(self.port), "--storage-path", str(data), *self.options]

    def make_accounts(self) -> None:
        """Make the superuser, while nobody has to say who he is."""
        self._accounts = False
        self.start()
        with self.client() as client:
            client.admin.command("createUser", "root", pwd=SECRET, roles=["root"])
        self.stop()
        self.options.append("--auth")
        self._accounts = True

    def answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
            with self.client() as client:
                client.admin.command("ping")
        except OperationFailure:
            return True
        except (OSError, PyMongoError):
            return False
        return True


class Mongod(MongoServer):
    """MongoDB's own server, as a replica set of one."""

    kind = "MongoDB"

    def command(self) -> list[str]:
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        return ["mongod", "--port", str(self.port), "--dbpath", str(data), "--replSet", "rs", "--bind_ip", "127.0.0.1"]

    def start(self) -> None:
        super().start()
        with MongoClient[dict[str, Any]](self.url(more="&directConnection=true")) as client:
            try:
                client.admin.command("replSetInitiate")
            except OperationFailure as fault:
                if fault.code != 23:
                    raise
            wait_until(lambda: bool(client.admin.command("hello")["isWritablePrimary"]), 60, "a primary")

    def make_accounts(self) -> None:
        """Without accounts: a replica set with accounts needs a key file."""


def serve(server: MongoServer) -> Iterator[MongoServer]:
    """Run a server for a block; its folder goes with it."""
    if not PROGRAM.exists():
        lacking("SecantusDB is not installed (try: pip install secantusdb)")
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)


def new_folder() -> Path:
    return servers.new_folder("mongodb")


HAS_MONGOD = shutil.which("mongod") is not None


@pytest.fixture(scope="session", params=["secantus", "mongod"] if HAS_MONGOD else ["secantus"])
def mongodb(request: pytest.FixtureRequest) -> Iterator[MongoServer]:
    """The session's server: make databases in it, but leave it running. `mongod` too where it is installed."""
    if request.param == "mongod":
        for mongod in serve(Mongod(new_folder())):
            mongod.start()
            yield mongod
        return
    for server in serve(MongoServer(new_folder())):
        server.make_accounts()
        server.start()
        yield server


@pytest.fixture
def own_mongodb() -> Iterator[MongoServer]:
    """A server for one test (about 0.5 s), without accounts: stop it, freeze it, kill it."""
    for server in serve(MongoServer(new_folder(), ("--sync-on-commit", "--enable-test-commands"))):
        server.start()
        yield server


@pytest.fixture
def lone_mongodb() -> Iterator[MongoServer]:
    """A server that stands alone, for one test: without transactions, as such a mongod is."""
    for server in serve(MongoServer(new_folder(), ("--standalone", "--sync-on-commit", "--enable-test-commands"))):
        server.start()
        yield server


@pytest.fixture
def lossy_mongodb() -> Iterator[MongoServer]:
    """A server that acknowledges before it has flushed: killed, it has forgotten the last writes."""
    for server in serve(MongoServer(new_folder(), ())):
        server.start()
        yield server
