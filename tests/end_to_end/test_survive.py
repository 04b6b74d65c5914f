"""The example `survive`, run as its reader would."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "survive"


def test_the_app_is_as_short_as_it_says() -> None:
    lines = (EXAMPLE / "app.py").read_text("utf-8").splitlines()
    assert len(lines) < 40
    assert f"{len(lines)} lines" in (EXAMPLE / "README.md").read_text("utf-8")


def test_nobody_notices_that_the_database_is_killed() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE / "show.py"), "4"], capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"without a database: [1-9]\d* people counted, [1-9]\d* orders accepted", done.stdout), done.stdout
    assert "0 lost, 0 doubled" in done.stdout and "0 failed" in done.stdout
