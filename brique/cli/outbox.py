"""`brique outbox`: commands that have not settled, or need a person."""

from __future__ import annotations

import json
from pathlib import Path

import click

from brique.app import outbox_of
from brique.cli.options import DATA


@click.command()
@DATA
@click.option("--all", "everything", is_flag=True, help="Settled ones too.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many, the newest."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def outbox(data: Path, everything: bool, limit: int, as_json: bool) -> None:
    """List the commands that wait to be sent or that a person must decide."""
    for item in outbox_of(data, everything=everything, limit=limit):
        if as_json:
            click.echo(json.dumps(item, ensure_ascii=False))
        else:
            click.echo("  ".join([item["receipt"], f"{item['state']:<9}", item["at"], f"{item['user']:<12}"]), nl=False)
            click.echo(f"  {item['what']}  {item['reason']}")
