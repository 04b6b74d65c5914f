"""The body of a process that the supervisor starts: `python -m brique.cli.worker ROLE [NAME] --data DIR`."""

from __future__ import annotations

import gc
import logging
import os
import sys
from pathlib import Path

import click

from brique.app import Observed, read_run, run_backend, run_engine, run_place
from brique.cli.tell import tell
from brique.errors import BriqueError
from brique.supervise import announce_ready, inherited_sockets

log = logging.getLogger("brique.worker")
_COLLECT_AFTER = 20_000  # containers more than before


@click.command()
@click.argument("role", type=click.Choice(["engine", "backend", "place", "web"]))
@click.argument("name", default="")
@click.option("--data", type=click.Path(path_type=Path), required=True)
def worker(role: str, name: str, data: Path) -> None:
    """Run one of brique's processes until a signal."""
    os.umask(0o077)
    run = read_run(data)
    settings = run.loaded()
    process = os.environ.get("BRIQUE_PROCESS", role if not name else f"{role}-{name}")
    observed = Observed(settings, process)
    declared = run.intranet(kept=True).declared()
    _collect_seldom()
    if role == "engine":
        run_engine(declared, settings, announce_ready, observed=observed)
    elif role == "backend":
        run_backend(declared, name, settings, announce_ready)
    elif role == "place":
        run_place(declared, name, settings, announce_ready)
    else:
        [listener] = inherited_sockets()
        token = os.environ.pop("BRIQUE_TOKEN", "")
        from brique.app import run_web
        from brique.cli.panel import Panel

        panel = Panel(Path(run.demo)) if run.demo else None
        run_web(declared, settings, listener, announce_ready, observed=observed, token=token, demo=panel)


def _collect_seldom() -> None:
    """Look for garbage that refers to itself once in so many objects more, and never among what is loaded by now: by
    default Python does it ten times in a request, which is an eighth of the time that the request takes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)


if __name__ == "__main__":
    try:
        worker()
    except BriqueError as fault:
        tell(fault)
        sys.exit(1)
