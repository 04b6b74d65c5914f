"""`brique`: the group of all commands, and how faults are told."""

from __future__ import annotations

import sys
from importlib.metadata import version

import click

from brique.cli import backup, check, ctl, demo, dev, new, outbox, publish, settings, spool, up, users, why
from brique.cli.tell import tell
from brique.errors import BriqueError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("brique"), prog_name="brique")
def cli() -> None:
    """The intranet that keeps working when the backend doesn't."""


for command in (
    up.up,
    dev.dev,
    new.new,
    demo.demo,
    spool.spool,
    outbox.outbox,
    publish.publish,
    users.users,
    settings.settings,
    why.why,
    check.check,
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
    except OSError as fault:  # a file or folder that cannot be read or written
        if fault.filename is None:
            raise
        tell(BriqueError(f"{fault.filename}: {fault.strerror}", try_this="look at its rights, and at the free room"))
        sys.exit(1)
