"""`brique ctl`: the processes of a running brique."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from brique.cli.options import DATA
from brique.supervise import Control


@click.group()
@DATA
@click.pass_context
def ctl(context: click.Context, data: Path) -> None:
    """Look at and command the processes of a running brique."""
    context.obj = data


@ctl.command()
@click.option("--json", "as_json", is_flag=True, help="Everything, as one JSON object.")
@click.pass_obj
def status(data: Path, as_json: bool) -> None:
    """Show every process: state, pid, memory, restarts."""
    with Control(data) as control:
        found = control.status()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for process in found["processes"]:
        click.echo(_line(process))


def _line(process: dict[str, Any]) -> str:
    rss = process.get("rss_bytes") or 0
    return (
        f"{process['name']:<24} {process['state']:<9} pid {process.get('pid') or '-':<8} "
        f"{rss // 1048576:>5} MiB  restarts {process.get('restarts', 0)}"
    )


def _command(name: str, text: str) -> click.Command:
    @click.command(name, help=text)
    @click.argument("process")
    @click.pass_obj
    def act(data: Path, process: str) -> None:
        with Control(data) as control:
            getattr(control, name)(process)
        click.echo(f"{name}: {process}")

    return act


for _name, _text in (
    ("restart", "Restart a process."),
    ("start", "Start a process that was stopped."),
    ("stop", "Stop a process and leave it stopped."),
    ("incr", "One web process more."),
    ("decr", "One web process less."),
):
    ctl.add_command(_command(_name, _text))


@ctl.command()
@click.argument("process", default="")
@click.pass_obj
def reload(data: Path, process: str) -> None:
    """Start a new generation, and retire the old one when it is ready."""
    with Control(data) as control:
        click.echo("reloaded: " + ", ".join(control.reload(process)))


@ctl.command("quit")
@click.pass_obj
def quit_(data: Path) -> None:
    """Stop everything, in order."""
    with Control(data) as control:
        control.quit()
