"""What the command line asks of a data folder."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from brique.app.intranet import Declared
from brique.app.roles import open_accounts
from brique.app.run_file import Run, read_run
from brique.app.sources import look
from brique.http import Accounts
from brique.schema import slug, write_python
from brique.spool import Recovery, check_spool


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


def check_spool_of(data: Path) -> Recovery:
    """What the spool of a data folder holds, every record read; it may be in use. Raises BadConfiguration."""
    return check_spool(read_run(data).loaded().data / "spool")


def written(what: str, url: str, title: str) -> str:
    """The inference over `url` as a Python file."""
    stem = Path(what.split("?")[0].rstrip("/")).stem or "data"
    name = slug(stem)[:28]
    return write_python(look(name, url)[1], backend=name, url=url, title=title or stem[:1].upper() + stem[1:])
