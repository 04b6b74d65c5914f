"""What a start decided, kept for the processes that it starts: data/run.json, for its owner's eyes only.

It holds the addresses of backends with their passwords, as the command line did.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from brique.app.intranet import Intranet
from brique.app.sources import from_data, is_declaration, load_declaration
from brique.backends import redact
from brique.errors import BadConfiguration
from brique.settings import Settings, load

_NAME = "run.json"


class Run(msgspec.Struct, frozen=True):
    """`whats`: what is served (absolute paths or URLs). `settings`: their values, as flags. `demo`: the folder of the
    demo's ERP, "" for none."""

    whats: tuple[str, ...]
    settings: dict[str, int | float | str | bool]
    title: str = ""
    marker: bool = False
    demo: str = ""
    feed: bool = False

    def intranet(self, *, kept: bool = False) -> Intranet:
        """The intranet of this run. With `kept`, what was inferred is taken from the data folder without asking the
        backends: for the processes that a start has just inferred it for."""
        if any(map(is_declaration, self.whats)):
            if len(self.whats) > 1:
                raise BadConfiguration("A Python file that declares an Intranet is served alone.")
            return load_declaration(Path(self.whats[0]))
        settings = self.loaded()
        return from_data(
            self.whats,
            settings.data,
            title=self.title,
            refresh_seconds=settings.refresh_seconds,
            marker=self.marker,
            feed=self.feed,
            kept=kept,
        )

    def loaded(self) -> Settings:
        """The settings of this run."""
        return load(dict(self.settings), environment={})


def check_run(data: Path, run: Run) -> None:
    """Raises BadConfiguration when the data folder belongs to another intranet than that of `run`."""
    known = _read(data)
    if known is not None and known.whats != run.whats:
        raise BadConfiguration(
            f"{data} holds the copy of {', '.join(map(redact, known.whats))}.",
            try_this="serve that again, or give another folder with --data",
        )


def write_run(data: Path, run: Run) -> None:
    """Keep `run`. Raises BadConfiguration as `check_run` does."""
    check_run(data, run)
    file = data / _NAME
    aside = file.with_suffix(".tmp")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as out:
        out.write(msgspec.json.encode(run))
    aside.replace(file)


def read_run(data: Path) -> Run:
    """The run kept in `data`. Raises BadConfiguration when there is none."""
    known = _read(data)
    if known is None:
        raise BadConfiguration(f"Nothing has been started in {data} yet.", try_this="brique up WHAT")
    return known


def _read(data: Path) -> Run | None:
    try:
        return msgspec.json.decode((data / _NAME).read_bytes(), type=Run)
    except FileNotFoundError:
        return None
    except (msgspec.ValidationError, msgspec.DecodeError) as fault:
        raise BadConfiguration(f"{data / _NAME} cannot be read: {fault}", try_this="remove it") from fault
