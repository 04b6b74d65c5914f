"""`brique new --from WHAT intranet.py`: write down as Python what brique infers."""

from __future__ import annotations

from pathlib import Path

import click

from brique.app import url_of, written
from brique.errors import BadConfiguration


@click.command()
@click.option("--from", "what", required=True, metavar="WHAT", help="A database or files, as for `brique up`.")
@click.option("--title", default="", help="Name of the intranet.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@click.argument("file", type=click.Path(path_type=Path))
def new(what: str, title: str, force: bool, file: Path) -> None:
    """Write the inference over WHAT down as FILE, Python that type-checks and that `brique up FILE` serves."""
    if file.exists() and not force:
        raise BadConfiguration(f"{file} is there already.", try_this="another name, or --force")
    if file.suffix != ".py" or not file.parent.is_dir():
        raise BadConfiguration(
            f"{file} cannot be written.", try_this="a name that ends in .py, in a folder that exists"
        )
    url = url_of(what)
    text = written(what, url, title)
    file.write_text(text, "utf-8")
    click.echo(f"{file}: {text.count('class ')} tables. Serve them with: brique up {file}")
