"""A real disk of 8 MB, for tests of what happens when it is full. Only root may mount one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_disk(size: str = "8m") -> Iterator[Path]:
    """The folder of a new tmpfs. Skips loudly where it cannot be mounted; fails there when CI=true."""
    folder = Path(tempfile.mkdtemp(prefix="brique-small-"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        folder.rmdir()
        assert os.environ.get("CI") != "true", "the tests of a full disk must be run by root"
        pytest.skip("NOT TESTED, a small disk can be mounted by root only: " + mounted.stderr.decode().strip())
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


def fill(folder: Path, left: int = 0) -> None:
    """Let somebody else take all the room but `left` bytes; `unfill` gives it back."""
    with suppress(OSError), (folder / "others").open("ab", buffering=0) as file:
        while shutil.disk_usage(folder).free > left:
            file.write(bytes(4096))


def unfill(folder: Path) -> None:
    (folder / "others").unlink(missing_ok=True)
