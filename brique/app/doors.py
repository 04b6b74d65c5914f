"""What the command line asks of a data folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from brique.app.intranet import Declared
from brique.app.roles import open_accounts
from brique.app.run_file import Run, read_run
from brique.app.sources import look
from brique.http import Accounts
from brique.schema import Command, State, slug, write_python
from brique.store import Reader, StoredCommand


def declared_of(run: Run) -> Declared:
    """Everything that `run` serves, resolved; asks its backends what they hold."""
    return run.intranet().declared()


def setup_link(data: Path, address: str) -> str:
    """The one-time address where the first visitor becomes the administrator; "" when there are users already."""
    accounts = accounts_at(data)
    token = accounts.new_setup_token()
    accounts.close()
    return f"{address}/-/setup?token={quote(token)}" if token else ""


def accounts_of(data: Path) -> Accounts:
    """The accounts of a data folder that has been used. Raises BadConfiguration."""
    return open_accounts(read_run(data).loaded())


def accounts_at(data: Path) -> Accounts:
    """The accounts in `data`, made when they are not there."""
    return Accounts(data / "accounts.db")


def outbox_of(data: Path, *, everything: bool, limit: int) -> list[dict[str, Any]]:
    """The newest commands as plain data: those that have not settled or need a person, or all."""
    run = read_run(data)
    reader = Reader(run.loaded().data / "store.db", run.intranet(kept=True).declared().specs)
    try:
        states = () if everything else (State.KEPT, State.SENDING, *(s for s in State if s.needs_person))
        found = reader.outbox(states, dismissed=None if everything else False, limit=limit)
        return [_plain(item) for item in found]
    finally:
        reader.close()


def _plain(item: StoredCommand) -> dict[str, Any]:
    command = item.command
    return {
        "receipt": command.id,
        "state": str(item.state),
        "at": command.at,
        "user": command.user,
        "backend": command.backend,
        "what": f"{command.name} " + ", ".join(_asked(command)),
        "tries": item.tries,
        "reason": item.reason,
    }


def _asked(command: Command) -> list[str]:
    """The rows that a command changes, and what it calls beside."""
    rows = [f"{change.table}/{change.key}" for change in command.changes]
    return rows + [f"{effect.name}()" for effect in command.effects]


def written(what: str, url: str, title: str) -> str:
    """The inference over `url` as a Python file."""
    stem = Path(what.split("?")[0].rstrip("/")).stem or "data"
    name = slug(stem)[:28]
    return write_python(look(name, url)[1], backend=name, url=url, title=title or stem[:1].upper() + stem[1:])
