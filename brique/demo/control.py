"""The demo as its command line and the panel on the status page handle it: prepare, start, stop, freeze, kill.

Every method may be called from any process at any time: what changes something holds a lock file, what only looks
takes none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path

import psycopg
from psycopg import sql

from brique.demo.colleague import Colleague
from brique.demo.data import LINES, SEED, Plan
from brique.demo.load import VERSION, Made, Progress, load_postgres, made
from brique.demo.locks import locked
from brique.demo.server import DemoServer, State
from brique.errors import BadConfiguration, BadInput

PREPARE_SECONDS_MAX = 900
"""How long a second `brique demo` waits for the first one to make the data."""

ROLE = "intranet"

ACTIONS: dict[State, tuple[str, ...]] = {
    "running": ("freeze", "stop", "kill"),
    "frozen": ("thaw", "stop", "kill"),
    "stopped": ("start",),
}
"""What a person can do in each state; any action is harmless in the others."""


@dataclass(frozen=True)
class Panel:
    """What the status page shows: nothing here asks the database, so a frozen one costs no wait."""

    state: State
    actions: tuple[str, ...]
    pid: int | None
    port: int
    folder: str


class Demo:
    """The demo ERP in `folder`.

    Raises:
        BadConfiguration: PostgreSQL is missing (`try_this` holds the command that installs it) or does not start.
        NotAllowed: the folder belongs to another user.
    """

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder.absolute()
        self.server = DemoServer(self.folder, port)

    @property
    def url(self) -> str:
        """The ERP's database, for the intranet."""
        return self.server.url

    @property
    def made(self) -> bool:
        """Whether this folder holds a demo's server; its data may still be in the making."""
        return self.server.made

    def state(self) -> State:
        return self.server.state() if self.server.made else "stopped"

    def prepare(
        self, *, today: date, lines: int | None = None, seed: int | None = None, progress: Progress | None = None
    ) -> Made:
        """Make what is missing, and return what the ERP holds; the server runs afterwards.

        Data that are whole stay as they are (with everything that people changed in them), unless `lines` or `seed`
        ask for others or another version of brique made them. A load that was cut off begins again.
        """
        tell = progress or (lambda step, done, total: None)
        if lines is not None and lines < 1:
            raise BadInput("The demo needs at least one order line", fields={"lines": "Must be 1 or more."})
        with locked(self.folder / "prepare.lock", PREPARE_SECONDS_MAX):
            tell("server", 0, 1)
            self.server.make()
            self.server.move_when_port_is_taken()
            self.server.start()
            self._make_role_and_database()
            tell("server", 1, 1)
            found = made(self.server.admin_url())
            if found and found.version == VERSION and lines in (None, found.lines) and seed in (None, found.seed):
                return found
            plan = Plan(today, SEED if seed is None else seed, lines or LINES)
            self._make_database_anew()
            load_postgres(self.server.admin_url(), plan, role=ROLE, progress=progress)
            return Made(plan.seed, plan.lines, plan.today)

    def write_intranet(self, *, again: bool = False) -> Path:
        """The Python file that declares the demo's intranet, written into the folder unless it is there already.

        It is the user's to change; `again` puts ours back.
        """
        path = self.folder / "intranet.py"
        if again or not path.exists():
            aside = path.with_name("intranet.py.new")
            aside.write_bytes((files("brique.demo") / "intranet.py.txt").read_bytes())
            aside.rename(path)
        return path

    def start(self) -> None:
        """Start the ERP, or thaw it. Its data must have been prepared."""
        if not self.made:
            raise BadConfiguration(f"There is no demo in {self.folder}", try_this="brique demo")
        self.server.start()

    def stop(self) -> None:
        self.server.stop()

    def kill(self) -> None:
        self.server.kill()

    def freeze(self) -> None:
        self.server.freeze()

    def thaw(self) -> None:
        self.server.thaw()

    def remove(self) -> None:
        """Delete the ERP and its data."""
        with locked(self.folder / "prepare.lock", PREPARE_SECONDS_MAX):
            self.server.remove()

    def perform(self, action: str) -> State:
        """Do one of ACTIONS by its name and return the new state. Raises BadInput for another name.

        Takes up to a minute (start, stop): call it in a thread when a loop must go on.
        """
        known: dict[str, Callable[[], None]] = {
            "start": self.start, "stop": self.stop, "kill": self.kill, "freeze": self.freeze, "thaw": self.thaw,
        }  # fmt: skip
        if action not in known:
            raise BadInput(f"The demo cannot {action!r}", try_this=f"one of {', '.join(known)}")
        known[action]()
        return self.state()

    def panel(self) -> Panel:
        """What there is to show and to do now."""
        state = self.state()
        return Panel(state, ACTIONS[state], self.server.pid, self.server.port, str(self.folder))

    def colleague(self) -> Colleague:
        """Somebody who works in the ERP itself."""
        return Colleague(self.server.url)

    def _make_role_and_database(self) -> None:
        with psycopg.connect(self.server.admin_url("postgres"), autocommit=True) as connection:
            role = sql.Identifier(ROLE)
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,)).fetchone():
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
            secret = sql.Literal(self.server.password)
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, secret))
            if not connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", (self.server.database,)
            ).fetchone():
                self._create_database(connection)

    def _make_database_anew(self) -> None:
        with psycopg.connect(self.server.admin_url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(self.server.database)))
            self._create_database(connection)

    def _create_database(self, connection: psycopg.Connection) -> None:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(self.server.database))
        )
