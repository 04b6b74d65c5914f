"""`brique`: the group of all commands, and how faults are told."""

from __future__ import annotations

import sys
from importlib.metadata import version

import click

from brique.cli import backup, ctl, demo, new, outbox, up, users
from brique.errors import BriqueError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("brique"), prog_name="brique")
def cli() -> None:
    """The intranet that keeps working when the backend doesn't."""


for command in (
    up.up,
    new.new,
    demo.demo,
    outbox.outbox,
    users.users,
    ctl.ctl,
    backup.backup,
    backup.verify,
    backup.restore,
    backup.bundle,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line; a fault is two lines, what broke and what to try, and exit status 1."""
    try:
        cli()
    except BriqueError as fault:
        tell(fault)
        sys.exit(1)


def tell(fault: BriqueError) -> None:
    """Print a fault for people."""
    click.echo(f"Error: {fault.message}", err=True)
    for name, text in getattr(fault, "fields", {}).items():
        click.echo(f"  {name}: {text}", err=True)
    if fault.try_this:
        click.echo(f"Try: {fault.try_this}", err=True)
