"""`brique publish`: what views keep at places outside for other programs, and whether it is right.

It ends with 0, 1 after a fault, and 3 when `check` has found anything that is otherwise than it should be.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from brique.app import Publisher
from brique.cli.options import DATA
from brique.cli.tell import shown
from brique.errors import BadInput

IS_WRONG = 3
_SHOWN_MAX = 20


@click.group()
def publish() -> None:
    """What views keep at places outside (Redis, MongoDB, CouchDB, PostgreSQL, folders) for other programs."""


@publish.command("list")
@DATA
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(data: Path, as_json: bool) -> None:
    """List the places, and how many keys each published view has there."""
    with Publisher(data) as publisher:
        lines = publisher.lines()
    for line in lines:
        if as_json:
            click.echo(json.dumps({"name": line.name, "url": line.url, "views": line.views}, ensure_ascii=False))
            continue
        click.echo(shown(f"{line.name}  {line.url}"))
        for view, keys in line.views.items():
            click.echo(shown(f"  {view:<30} {keys:>9} keys"))


@publish.command()
@DATA
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def status(data: Path, as_json: bool) -> None:
    """Show how each place is: up or down, how much is due there, and how long that has waited."""
    with Publisher(data) as publisher:
        lines = publisher.lines()
    for line in lines:
        if as_json:
            click.echo(json.dumps(asdict(line), ensure_ascii=False, default=str))
            continue
        behind = f"{line.due} due, behind by {line.behind_seconds:.0f} s" if line.due else "nothing due"
        click.echo(shown(f"{line.name:<20} {line.state or 'not asked yet':<14} {line.keys:>9} keys  {behind}"))
        if line.faults:
            click.echo(shown(f"  {line.faults} that cannot be made"))
        if line.error:
            click.echo(shown(f"  {line.error}"))


@publish.command()
@DATA
@click.argument("place")
@click.option("--view", default="", metavar="NAME", help="This view alone.")
def rebuild(data: Path, place: str, view: str) -> None:
    """Compare all that is at PLACE, remove what does not belong there, and send everything again."""
    with Publisher(data) as publisher:
        count = publisher.rebuild(place, view)
    click.echo(f"{count} keys are sent again: brique publish status")


@publish.command()
@DATA
@click.argument("places", nargs=-1, metavar="[PLACE]...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def check(data: Path, places: tuple[str, ...], as_json: bool) -> None:
    """Compare places (all of them by default) with what the views make from nothing, key by key, and change nothing."""
    is_wrong = False
    with Publisher(data) as publisher:
        if not publisher.names:
            raise BadInput("Nothing is published here.", try_this="app.place(...), and publish= at a view")
        for name in places or publisher.names:
            found = publisher.check(name)
            is_wrong = is_wrong or bool(found.wrong)
            if as_json:
                click.echo(json.dumps({"place": name, **asdict(found)}, ensure_ascii=False))
                continue
            click.echo(f"{name}: {found.right} right, {found.due} on their way, {len(found.wrong)} wrong")
            for key, what in found.wrong[:_SHOWN_MAX]:
                click.echo(shown(f"  {what:<8} {key}"))
            if len(found.wrong) > _SHOWN_MAX:
                click.echo(f"  and {len(found.wrong) - _SHOWN_MAX} more: --json shows them")
    if is_wrong:
        raise SystemExit(IS_WRONG)
