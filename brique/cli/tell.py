"""How faults are told on the command line."""

from __future__ import annotations

import click

from brique.errors import BriqueError


def tell(fault: BriqueError) -> None:
    """Print a fault for people."""
    click.echo(f"Error: {filled(fault, fault.message)}", err=True)
    for name, text in getattr(fault, "fields", {}).items():
        click.echo(f"  {name}: {filled(fault, text)}", err=True)
    if fault.try_this:
        click.echo(f"Try: {filled(fault, fault.try_this)}", err=True)


def filled(fault: BriqueError, text: str) -> str:
    """A sentence of a fault, its `{name}` places filled from the facts that it carries."""
    try:
        return text.format(**fault.facts) if fault.facts else text
    except (KeyError, IndexError, ValueError):  # a brace that is none of ours: a backend's own words
        return text
