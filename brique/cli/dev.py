"""`brique dev FILE`: like `brique up`, for who writes the file: it is loaded anew when it changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from brique.app import Run, fault_file, url_of
from brique.cli.up import serve
from brique.errors import BadConfiguration, BriqueError
from brique.settings import load
from brique.supervise import Control, SupervisorAway

LOOK_SECONDS = 0.5
TRIAL_SECONDS_MAX = 30.0
_FILES_MAX = 2_000
_SUFFIXES = (".py", ".html", ".txt")
_NOT_HERE = ("node_modules", "__pycache__", "site-packages")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--listen", metavar="HOST:PORT", help="Address to serve on. [127.0.0.1:8000]")
@click.option("--data", metavar="DIR", help="Folder for everything that brique keeps. [brique-data]")
@click.option("--token", envvar="BRIQUE_TOKEN", help="An administrator's API token, for this run only.")
def dev(file: Path, listen: str | None, data: str | None, token: str | None) -> None:
    """Serve the intranet that FILE declares, and load it anew when it, or a file beside it, changes.

    A version that cannot be loaded changes nothing: the last good one goes on, and the pages of administrators and this
    terminal say what is wrong. Below each page a panel tells administrators how it came about. Each view is run twice
    and compared, and each of its calls is looked at: what reads the clock, chance, files or the network is told.
    """
    if file.suffix != ".py":
        raise BadConfiguration(f"{file} is no Python file.", try_this=f"brique new --from {file} intranet.py")
    given = {"listen": listen, "data": data, "web_processes": 1, "developer_panel": 1, "views_twice": 1}
    settings = load(given)
    run = Run((url_of(str(file)),), settings.as_json())
    fault_file(settings.data).unlink(missing_ok=True)
    serve(run, token=token or "", beside=lambda: Reloader(Path(run.whats[0]), settings.data).start())


class Reloader:
    """Looks at `file` and those beside it, and has the processes on `data` load them anew."""

    def __init__(self, file: Path, data: Path, tell: Callable[[str], None] = click.echo) -> None:
        self.file, self.data, self._tell = file, data, tell
        self._seen = self._look()
        self._shape: dict[str, Any] | None = None

    def start(self) -> None:
        """In a thread that ends with the process."""
        threading.Thread(target=self._run, name="reloader", daemon=True).start()

    def _run(self) -> None:
        self._shape = self._trial()
        while True:
            time.sleep(LOOK_SECONDS)
            now = self._look()
            if now == self._seen:
                continue
            changed = sorted({path for path, _ in set(now.items()) ^ set(self._seen.items())})
            self._seen = now
            try:
                self._reload(changed)
            except SupervisorAway:
                return
            except BriqueError as fault:  # the old generation goes on
                self._broken(f"{fault.message}\nTry: {fault.try_this}")

    def _look(self) -> dict[Path, tuple[int, int]]:
        """When each file was last written, and its length."""
        found: dict[Path, tuple[int, int]] = {}
        for folder, names, files in os.walk(self.file.parent):
            here = Path(folder)
            names[:] = [n for n in names if n[0] != "." and n not in _NOT_HERE and not _is_foreign(here / n, self.data)]
            for name in files:
                path = here / name
                if path.suffix in _SUFFIXES and len(found) < _FILES_MAX:
                    try:
                        status = path.stat()
                    except OSError:
                        continue
                    found[path] = (status.st_mtime_ns, status.st_size)
        return found

    def _trial(self) -> dict[str, Any] | None:
        """What the file declares now; None, and the fault is told, when it cannot be loaded."""
        command = [sys.executable, "-m", "brique.cli.trial", str(self.file)]
        try:
            done = subprocess.run(  # noqa: S603 - the user's own file, as he asked
                command, capture_output=True, text=True, timeout=TRIAL_SECONDS_MAX, check=False
            )
        except subprocess.TimeoutExpired:
            self._broken(f"{self.file} was not loaded within {TRIAL_SECONDS_MAX:g} s.")
            return None
        if done.returncode:
            self._broken(done.stderr.strip())
            return None
        shape: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return shape

    def _broken(self, text: str) -> None:
        self._tell(f"{text}\nThe last good version goes on.")
        file = fault_file(self.data)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)

    def _reload(self, changed: list[Path]) -> None:
        """Web first: a new generation that is not ready is given up, and everything is as it was."""
        began = time.monotonic()
        shape = self._trial()
        if shape is None:
            return
        before, self._shape = self._shape or shape, shape
        if set(shape["backends"]) != set(before["backends"]):
            self._broken("Backends have come or gone: stop `brique dev` (Ctrl+C) and start it again.")
            return
        with Control(self.data) as control:
            control.reload("web")
            control.restart("engine")
            for name in shape["backends"] if shape != before else ():
                control.restart(f"backend-{name}")
        fault_file(self.data).unlink(missing_ok=True)
        names = ", ".join(path.name for path in changed[:3]) + (" …" if len(changed) > 3 else "")
        self._tell(f"{names}: loaded anew in {time.monotonic() - began:.1f} s")


def _is_foreign(folder: Path, data: Path) -> bool:
    """Whether a folder is brique's own, or an environment of Python."""
    return folder.resolve() == data.resolve() or (folder / "pyvenv.cfg").exists()
