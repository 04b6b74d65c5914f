"""The wiring: the one room that knows every other, and puts them together."""

from brique.app.doors import accounts_of, declared_of, outbox_of, setup_link, written
from brique.app.inline import Inline
from brique.app.intranet import Declared, Intranet
from brique.app.observed import Observed
from brique.app.roles import prepare_folder, run_backend, run_engine
from brique.app.run_file import Run, read_run, write_run
from brique.app.sources import url_of
from brique.app.web import run_web

__all__ = [
    "Declared",
    "Inline",
    "Intranet",
    "Observed",
    "Run",
    "accounts_of",
    "declared_of",
    "outbox_of",
    "prepare_folder",
    "read_run",
    "run_backend",
    "run_engine",
    "run_web",
    "setup_link",
    "url_of",
    "write_run",
    "written",
]
