"""`brique check [FILE]`: are the views of an intranet what brique takes them for?"""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import Any

import click

from brique.app import Checked, check_views, report_json, report_lines
from brique.cli.options import DATA

_SEEDS = 1_000_000


@click.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@DATA
@click.option("--seconds", default=20.0, show_default=True, type=click.FloatRange(0.5), help="How long to try.")
@click.option("--seed", type=int, help="The seed of an earlier run. [a new one]")
@click.option("--view", "only", multiple=True, metavar="NAME", help="Only this view; may be given several times.")
@click.option("--replay", type=click.Path(exists=True, path_type=Path), help="Live the life of a report again.")
@click.option("--save", type=click.Path(path_type=Path), help="Where to write the report of a fault as JSON.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
def check(
    file: Path | None,
    data: Path,
    seconds: float,
    seed: int | None,
    only: tuple[str, ...],
    replay: Path | None,
    save: Path | None,
    as_json: bool,
) -> None:
    """Try the views of FILE (of what was started in the data folder, without it) with random changes.

    On a copy of the data, or on rows made up where there are none: the data folder is only read, and no backend is
    asked. After each change what is kept is compared with what the view makes from nothing. Tells views that are no
    functions of the data, that fail, that are slow, that read whole tables. Ends with 1 when what is kept was wrong or
    a view is no function.
    """
    seed = secrets.randbelow(_SEEDS) if seed is None else seed
    earlier: dict[str, Any] | None = json.loads(replay.read_text("utf-8")) if replay is not None else None
    tell = (lambda _: None) if as_json else (lambda text: click.echo(text, err=True))
    found: Checked = check_views(file, data, seed=seed, seconds=seconds, only=only, replay=earlier, tell=tell)
    plain = report_json(found)
    if as_json:
        click.echo(json.dumps(plain, indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(report_lines(found)))
    if found.report.mismatch is not None and replay is None:
        save = save or Path(f"brique-check-{found.report.seed}.json")
        save.write_text(json.dumps(plain, indent=2, ensure_ascii=False), "utf-8")
        click.echo(f"Written to {save}; again: brique check --replay {save}", err=True)
    sys.exit(0 if found.report.is_good else 1)
