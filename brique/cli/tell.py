"""How faults are told on the command line."""

from __future__ import annotations

import click

from brique.errors import BriqueError


def tell(fault: BriqueError) -> None:
    """Print a fault for people."""
    click.echo(f"Error: {fault.message}", err=True)
    for name, text in getattr(fault, "fields", {}).items():
        click.echo(f"  {name}: {text}", err=True)
    if fault.try_this:
        click.echo(f"Try: {fault.try_this}", err=True)
