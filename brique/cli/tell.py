"""How faults are told on the command line."""

from __future__ import annotations

import re

import click

from brique.errors import BriqueError


def tell(fault: BriqueError) -> None:
    """Print a fault for people."""
    click.echo(shown(f"Error: {filled(fault, fault.message)}"), err=True)
    for name, text in getattr(fault, "fields", {}).items():
        click.echo(shown(f"  {name}: {filled(fault, text)}"), err=True)
    if fault.try_this:
        click.echo(shown(f"Try: {filled(fault, fault.try_this)}"), err=True)


def shown(text: str) -> str:
    """`text` without anything that a terminal would act on, whoever wrote it: a database, a file, a colleague."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)


def filled(fault: BriqueError, text: str) -> str:
    """A sentence of a fault, its `{name}` places filled from the facts that it carries; plain names only, because it
    may hold a backend's own words."""
    return _PLACE.sub(lambda found: str(fault.facts.get(found[1], found[0])), text)


_PLACE = re.compile(r"\{(\w+)\}")
