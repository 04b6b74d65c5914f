"""The wiring: the one room that knows every other, and puts them together.

Its names are fetched when they are asked for: the engine and the backends' processes need no page.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brique.app.checking import Checked, check_views, report_json, report_lines
    from brique.app.developing import fault_file
    from brique.app.doors import accounts_of, check_spool_of, declared_of, setup_link, written
    from brique.app.inline import Inline
    from brique.app.intranet import Declared, Intranet
    from brique.app.observed import Observed
    from brique.app.outbox import Act, Answer, Asked, Done, One, Outbox
    from brique.app.own import prepare_own
    from brique.app.published import Publisher
    from brique.app.roles import prepare_folder, run_backend, run_engine, run_place
    from brique.app.run_file import Run, check_run, read_run, write_run
    from brique.app.sources import url_of
    from brique.app.web import run_web
    from brique.app.why import Behind, Cause, Known, OfTable, why_at

_HOMES = {
    "checking": ("Checked", "check_views", "report_json", "report_lines"),
    "developing": ("fault_file",),
    "doors": ("accounts_of", "check_spool_of", "declared_of", "setup_link", "written"),
    "inline": ("Inline",),
    "intranet": ("Declared", "Intranet"),
    "observed": ("Observed",),
    "outbox": ("Act", "Answer", "Asked", "Done", "One", "Outbox"),
    "own": ("prepare_own",),
    "published": ("Publisher",),
    "roles": ("prepare_folder", "run_backend", "run_engine", "run_place"),
    "run_file": ("Run", "check_run", "read_run", "write_run"),
    "sources": ("url_of",),
    "web": ("run_web",),
    "why": ("Behind", "Cause", "Known", "OfTable", "why_at"),
}

__all__ = [
    "Act",
    "Answer",
    "Asked",
    "Behind",
    "Cause",
    "Checked",
    "Declared",
    "Done",
    "Inline",
    "Intranet",
    "Known",
    "Observed",
    "OfTable",
    "One",
    "Outbox",
    "Publisher",
    "Run",
    "accounts_of",
    "check_run",
    "check_spool_of",
    "check_views",
    "declared_of",
    "fault_file",
    "prepare_folder",
    "prepare_own",
    "read_run",
    "report_json",
    "report_lines",
    "run_backend",
    "run_engine",
    "run_place",
    "run_web",
    "setup_link",
    "url_of",
    "why_at",
    "write_run",
    "written",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"brique.app.{module}"), name)
    raise AttributeError(f"module 'brique.app' has no attribute {name!r}")
