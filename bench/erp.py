"""The demo's ERP for benches: made once for all benches of one command, stopped and removed at its end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from brique.demo import Demo

LINES_FULL, LINES_QUICK = 1_000_000, 20_000
TODAY = date(2026, 11, 20)


class Workshop:
    """A folder for everything that benches make. BENCH_FOLDER keeps it for the next time."""

    def __init__(self, *, quick: bool) -> None:
        given = os.environ.get("BENCH_FOLDER")
        self.is_kept = bool(given)
        self.folder = Path(given) if given else Path(tempfile.mkdtemp(prefix="brique-bench-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)  # PostgreSQL runs as another user
        self.quick = quick
        self.lines = int(os.environ.get("BENCH_LINES", LINES_QUICK if quick else LINES_FULL))
        self._demo: Demo | None = None

    @property
    def demo(self) -> Demo:
        """The ERP, running."""
        if self._demo is None:
            self._demo = Demo(self.folder / f"erp-{self.lines}")
        self._demo.prepare(today=TODAY, lines=self.lines)
        return self._demo

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """A folder that is gone after the block."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Stop what runs, remove what was made."""
        if self._demo is not None and self._demo.made:
            if self.is_kept:
                self._demo.perform("stop")
            else:
                self._demo.remove()
        if not self.is_kept:
            shutil.rmtree(self.folder, ignore_errors=True)
