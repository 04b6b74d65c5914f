"""`brique up WHAT...`: serve an intranet over what exists."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from brique.app import Run, check_run, declared_of, prepare_folder, prepare_own, setup_link, url_of, write_run
from brique.errors import BadConfiguration
from brique.observe import configure_logs
from brique.settings import Settings, load
from brique.supervise import Control, Supervisor, SupervisorAway, Watcher, listeners_from_systemd, open_listener


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="WHAT...")
@click.option("--listen", metavar="HOST:PORT", help="Address to serve on. [127.0.0.1:8000]")
@click.option("--data", metavar="DIR", help="Folder for everything that brique keeps. [brique-data]")
@click.option("--token", envvar="BRIQUE_TOKEN", help="An administrator's API token, for this run only.")
@click.option("--title", default="", help="Name of the intranet. [of the first WHAT]")
@click.option("--refresh", "refresh_seconds", type=float, metavar="SECONDS", help="Pause between refreshes. [30]")
@click.option("--marker", is_flag=True, help="Allow the table brique_cursor in the databases: replay is exactly-once.")
@click.option("--feed", is_flag=True, help="Allow triggers that tell of changes as they are committed (PostgreSQL).")
@click.option("--web", "web_processes", type=int, metavar="N", help="Processes that answer requests. [2]")
def up(
    what: tuple[str, ...],
    listen: str | None,
    data: str | None,
    token: str | None,
    title: str,
    refresh_seconds: float | None,
    marker: bool,
    feed: bool,
    web_processes: int | None,
) -> None:
    """Serve an intranet over WHAT: a SQLite file, a URL (postgresql://, mysql://, mongodb://, odbc://), a CSV, XLSX or
    ODS file, a folder of them, or a Python file that declares an Intranet."""
    settings = load(
        {"listen": listen, "data": data, "refresh_seconds": refresh_seconds, "web_processes": web_processes}
    )
    serve(Run(tuple(map(url_of, what)), settings.as_json(), title, marker, feed=feed), token=token or "")


def serve(run: Run, *, token: str = "", beside: Callable[[], None] | None = None) -> None:
    """Start everything that `run` needs, print where it is, and keep it running until a signal. `beside` is called when
    all is about to start."""
    settings = run.loaded()
    os.umask(0o077)  # also of every process and file below: the copy is as confidential as the backends
    configure_logs(level=settings.log_level, form=settings.log_format, process="supervisor")
    _check_alone(settings.data)
    check_run(settings.data, run)
    declared = declared_of(run)
    prepare_folder(settings.data)
    for statement in prepare_own(declared, settings.data):
        click.echo(f"native.db: {statement}")
    write_run(settings.data, run)
    host, port = settings.address
    listeners = listeners_from_systemd(os.environ) or [open_listener(host, port)]
    address = _address(settings, listeners[0].getsockname())
    click.echo(f"{declared.title}: {len(declared.specs)} tables of {', '.join(declared.backends)}")
    click.echo(f"Open {setup_link(settings.data, address) or address}")
    groups = _groups(settings, list(declared.backends), list(declared.places), token)
    if beside is not None:
        beside()
    environment = {name: value for name, value in os.environ.items() if name != "BRIQUE_TOKEN"}  # for web alone
    asyncio.run(Supervisor(settings.data, groups, listeners=listeners, environment=environment).run())


def _check_alone(data: Path) -> None:
    """Raises BadConfiguration when a brique runs on `data`, before anything of it is touched: a new link for the first
    visit, say, would end the one that its administrator has before him."""
    with contextlib.suppress(SupervisorAway), Control(data) as control:
        pid = control.status()["supervisor"]["pid"]
        raise BadConfiguration(
            f"brique already runs on {data} (process {pid})",
            try_this=f"brique ctl --data {data} quit, or another folder with --data",
        )


def _address(settings: Settings, name: tuple[object, ...]) -> str:
    """Where people find it: the public address, or the socket's own."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    host, port = str(name[0]), name[1]
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104
    return f"http://{shown}:{port}"


def _groups(settings: Settings, backends: list[str], places: list[str], token: str) -> list[list[Watcher]]:
    """What is started, in this order; stopped in the opposite one: no more requests, then no more replay, then the
    engine, which everything else hands its last words to."""
    data = str(Path(settings.data).resolve())

    def worker(*role: str) -> tuple[str, ...]:
        return (sys.executable, "-m", "brique.cli.worker", *role, "--data", data)

    kept = partial(
        Watcher, ready=True, ready_seconds=settings.ready_seconds, graceful_seconds=settings.graceful_seconds
    )
    web = kept(
        name="web",
        argv=worker("web"),
        env={"BRIQUE_TOKEN": token} if token else {},
        count=settings.web_processes,
        scalable=True,
        listens=True,
    )
    return [
        [kept(name="engine", argv=worker("engine"))],
        [kept(name=f"backend-{name}", argv=worker("backend", name), ready=False) for name in backends],
        [kept(name=f"place-{name}", argv=worker("place", name), ready=False) for name in places],
        [web],
    ]
