"""`brique settings`: the values that hold, and where each comes from."""

from __future__ import annotations

import json

import click

from brique.settings import TABLE, load_with_origins


@click.command()
@click.option("--data", metavar="DIR", help="Folder whose brique.toml counts. [brique-data]")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def settings(data: str | None, as_json: bool) -> None:
    """Show every setting: its value, its unit, and where the value comes from."""
    loaded = load_with_origins({"data": data})
    values = loaded.settings.as_json()
    if as_json:
        click.echo(
            json.dumps({name: {"value": values[name], "from": loaded.origins[name]} for name in TABLE}, indent=2)
        )
        return
    for name, row in TABLE.items():
        click.echo(f"{name:<24} {values[name]!s:<20} {row.unit:<12} {loaded.origins[name]}".rstrip())
