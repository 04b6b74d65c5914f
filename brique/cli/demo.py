"""`brique demo`: a realistic old ERP with a million order lines, and an intranet over it; and ways to break the ERP."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from brique.app import Run
from brique.cli.up import serve
from brique.demo import Demo
from brique.errors import BadConfiguration
from brique.settings import load

_STEPS = {
    "server": "Making a PostgreSQL server",
    "rows": "Writing the ERP's rows",
    "rules": "Adding its keys and rules",
    "statistics": "Collecting its statistics",
}
_FOLDER = Path("demo-data")


@click.group(invoke_without_command=True)
@click.option("--folder", type=click.Path(path_type=Path), default=_FOLDER, show_default=True)
@click.option("--lines", type=int, help="Order lines to make. [1000000]")
@click.option("--seed", type=int, help="Another seed makes another company.")
@click.option("--listen", metavar="HOST:PORT", help="Address to serve on. [127.0.0.1:8000]")
@click.option("--token", envvar="BRIQUE_TOKEN", help="An administrator's API token, for this run only.")
@click.pass_context
def demo(
    context: click.Context, folder: Path, lines: int | None, seed: int | None, listen: str | None, token: str | None
) -> None:
    """Make a realistic ERP, run it as a database of its own, and serve an intranet over it.

    The ERP is a process apart: stop, freeze and start it from another terminal, or from the status page, and see what
    the intranet does.
    """
    context.obj = Demo(folder)
    if context.invoked_subcommand is not None:
        return
    _prepare(context.obj, lines, seed)
    settings = load({"data": str(folder / "brique"), "listen": listen})
    declaration = context.obj.write_intranet()
    program = "brique" if shutil.which("brique") else os.path.relpath(sys.argv[0])
    click.echo(f"In another terminal: {program} demo freeze | stop | start | thaw | edit")
    run = Run((str(declaration.resolve()),), settings.as_json(), demo=str(folder.resolve()))
    serve(run, token=token or "")


def _prepare(made: Demo, lines: int | None, seed: int | None) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, transient=True) as progress:
        tasks: dict[str, int] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = int(progress.add_task(_STEPS.get(step, step), total=total))
            progress.update(tasks[step], completed=done, total=total)  # type: ignore[arg-type]  # rich's TaskID is an int

        facts = made.prepare(today=datetime.now(UTC).date(), lines=lines, seed=seed, progress=show)
    click.echo(f"The ERP runs: {facts.lines:,} order lines. Its database: {made.folder}".replace(",", " "))


def _known(context: click.Context) -> Demo:
    found: Demo = context.obj
    if not found.made:
        raise BadConfiguration(f"There is no demo in {found.folder}.", try_this="brique demo")
    return found


def _action(name: str, text: str) -> click.Command:
    @click.command(name, help=text)
    @click.pass_context
    def act(context: click.Context) -> None:
        found = _known(context)
        found.perform(name)
        click.echo(f"The ERP is {found.state()}.")

    return act


for _name, _text in (
    ("stop", "Stop the ERP: connections are refused."),
    ("kill", "Kill the ERP, as a power cut does."),
    ("freeze", "Freeze the ERP: it accepts connections and never answers."),
    ("thaw", "Let a frozen ERP go on."),
    ("start", "Start the ERP again (or thaw it)."),
):
    demo.add_command(_action(_name, _text))


@demo.command()
@click.pass_context
def state(context: click.Context) -> None:
    """Say whether the ERP is running, frozen or stopped."""
    click.echo(_known(context).state())


@demo.command()
@click.option("--times", default=1, show_default=True, help="How many rows to change.")
@click.pass_context
def edit(context: click.Context, times: int) -> None:
    """Change rows in the ERP itself, as a colleague at its green screen does."""
    for change in _known(context).colleague().busy(times):
        click.echo(f"{change.table} {change.key}: {change.column} {change.before} -> {change.after}")


@demo.command()
@click.pass_context
def reset(context: click.Context) -> None:
    """Stop the ERP and remove the demo's folder."""
    found = _known(context)
    click.confirm(f"Remove {found.folder} with everything in it?", abort=True)
    found.remove()
