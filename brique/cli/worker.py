"""The body of a process that the supervisor starts: `python -m brique.cli.worker ROLE [NAME] --data DIR`."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import click

from brique.app import Observed, read_run, run_backend, run_engine
from brique.cli.tell import tell
from brique.errors import BriqueError
from brique.supervise import announce_ready, inherited_sockets

log = logging.getLogger("brique.worker")


@click.command()
@click.argument("role", type=click.Choice(["engine", "backend", "web"]))
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
    if role == "engine":
        run_engine(declared, settings, announce_ready, observed=observed)
    elif role == "backend":
        run_backend(declared, name, settings, announce_ready)
    else:
        [listener] = inherited_sockets()
        token = os.environ.pop("BRIQUE_TOKEN", "")
        from brique.app import run_web
        from brique.cli.panel import Panel

        panel = Panel(Path(run.demo)) if run.demo else None
        run_web(declared, settings, listener, announce_ready, observed=observed, token=token, demo=panel)


if __name__ == "__main__":
    try:
        worker()
    except BriqueError as fault:
        tell(fault)
        sys.exit(1)
