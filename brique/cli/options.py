"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

DATA = click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path("brique-data"),
    envvar="BRIQUE_DATA",
    show_default=True,
    help="The data folder, as given to `brique up`.",
)
"""Which data folder a command is about."""
