"""`brique backup`, `verify`, `restore` and `bundle`."""

from __future__ import annotations

from pathlib import Path

import click

from brique import deploy
from brique.cli.options import DATA

_PATH = click.Path(path_type=Path)


@click.command()
@DATA
@click.argument("target", type=_PATH)
def backup(data: Path, target: Path) -> None:
    """Back the data folder up into TARGET (a .tar.gz, or a folder), while brique runs."""
    _told(deploy.backup(data, target))


@click.command()
@click.argument("archive", type=_PATH)
def verify(archive: Path) -> None:
    """Check every file of a backup."""
    _told(deploy.verify(archive))


@click.command()
@click.argument("archive", type=_PATH)
@click.argument("data", type=_PATH)
def restore(archive: Path, data: Path) -> None:
    """Bring a backup back into DATA, an empty folder."""
    _told(deploy.restore(archive, data))


@click.command()
@click.argument("target", type=_PATH)
def bundle(target: Path) -> None:
    """Collect wheels into TARGET, to install brique where there is no network."""
    made = deploy.bundle(target)
    click.echo(f"{made.path}: {len(made.wheels)} wheels")


def _told(report: deploy.BackupReport) -> None:
    click.echo(f"{report.path}: {len(report.files)} files, all whole")
