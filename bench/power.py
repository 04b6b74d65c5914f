"""Power cuts: what was acknowledged, is it there when the machine comes back?

A file system in a file (ext4) holds the journal. A program writes to it and tells what was acknowledged; at a moment
of chance it is stopped, and the file is copied *without* flushing the file system in it: what the program has not
flushed itself is not in the copy, as after a power cut. The copy is repaired as at a start, mounted and looked at; the
next round goes on from it. CUTS=200 is how many of each kind. Needs root, loop devices and e2fsprogs.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.erp import Workshop
from bench.figures import Figures
from bench.power_writer import KINDS, check

_IMAGE_BYTES = 96 * 1024 * 1024
_RUN_SECONDS = (0.02, 0.4)
_START_SECONDS_MAX = 60.0


@dataclass
class Told:
    """What the writer has said: the number acknowledged at each position, and up to where records were let go."""

    acknowledged: dict[int, int] = field(default_factory=dict)
    forgotten: int = 0
    last: int = 0

    def hear(self, line: str) -> None:
        word, *rest = line.split()
        if word == "kept":
            position, number = int(rest[0]), int(rest[1])
            self.acknowledged[position] = number
            self.last = max(self.last, number)
        elif word == "forgot":
            self.forgotten = max(self.forgotten, int(rest[0]))

    def expected(self) -> dict[int, int]:
        """What must be there; forgets the rest."""
        self.acknowledged = {place: number for place, number in self.acknowledged.items() if place > self.forgotten}
        return self.acknowledged


def run(figures: Figures, workshop: Workshop) -> None:
    cuts = int(os.environ.get("CUTS", "5" if workshop.quick else "200"))
    figures.note(
        "ext4 in a file, copied while the writer is stopped in the middle of its work and never flushed by us; it is "
        "repaired, mounted, checked, and gone on from."
    )
    figures.note(
        "journal: 16 threads, one spool, segments of 500 records that are also let go. engine: the same with commands "
        "laid over the copy, which is brought up to the spool afterwards."
    )
    for kind in KINDS:
        told, lost, seconds = cut_many(kind, cuts, seed=time.time_ns())
        figures.add(f"{kind}.cuts", cuts, "cuts", summed=True)
        figures.add(f"{kind}.acknowledged", told, "writes", summed=True)
        figures.add(f"{kind}.lost", lost, "writes", summed=True)
        figures.add(f"{kind}.seconds", seconds, "s")


def cut_many(kind: str, cuts: int, *, seed: int) -> tuple[int, int, float]:
    """So many cuts in a row; writes acknowledged, writes lost, seconds."""
    chance, told = random.Random(seed), Told()
    acknowledged, lost, began = 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="brique-power-", dir="/var/tmp") as name:
        folder = Path(name)
        image = new_image(folder / "disk.img")
        for _ in range(cuts):
            before = len(told.acknowledged)
            image = _one(kind, folder, image, told, chance.uniform(*_RUN_SECONDS))
            acknowledged += len(told.acknowledged) - before
            with mounted(image, folder / "after") as disk:
                lost += check(kind, disk, told.expected())
    return acknowledged, lost, time.monotonic() - began


def new_image(path: Path, size: int = _IMAGE_BYTES) -> Path:
    """A file that holds an empty ext4 of `size` bytes."""
    with path.open("wb") as file:
        file.truncate(size)
    _call("mkfs.ext4", "-q", "-F", str(path))
    return path


def _one(kind: str, folder: Path, image: Path, told: Told, seconds: float) -> Path:
    """Let the writer work on `image` for a while, cut the power; what the disk then holds."""
    after = folder / f"cut-{time.monotonic_ns()}.img"
    with mounted(image, folder / "before") as disk:
        command = [sys.executable, "-m", "bench.power_writer", kind, str(disk), str(told.last)]
        log = folder / "writer.log"
        with log.open("wb") as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        _hear(process, told, seconds, log)
        process.send_signal(signal.SIGSTOP)
        _wait_stopped(process.pid)
        _call("cp", "--sparse=always", str(image), str(after))
        process.kill()
        for line in process.stdout:
            if line.endswith("\n"):
                told.hear(line)
        process.stdout.close()
        process.wait()
    image.unlink()
    _call("e2fsck", "-p", str(after), allowed=(0, 1))
    return after


def _hear(process: subprocess.Popen[str], told: Told, seconds: float, log: Path) -> None:
    """Listen to the writer until `seconds` after its first word."""
    assert process.stdout is not None
    first = process.stdout.readline()
    if not first:
        raise SystemExit(f"the writer said: {log.read_text()[-2000:]}")
    told.hear(first)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"the writer said: {log.read_text()[-2000:]}")
        told.hear(line)


def _wait_stopped(pid: int) -> None:
    end = time.monotonic() + _START_SECONDS_MAX
    while Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("T", "t"):
        if time.monotonic() > end:
            raise SystemExit("the writer does not stop")
        time.sleep(0.001)


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    """The folder `place` with the disk in `image`, for a block."""
    place.mkdir(exist_ok=True)
    _call("mount", "-o", "loop", str(image), str(place))
    try:
        yield place
    finally:
        _call("umount", str(place))


def _call(*command: str, allowed: tuple[int, ...] = (0,)) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in allowed:
        raise SystemExit(f"{' '.join(command)}: {done.stdout}{done.stderr}")


def can_cut() -> str:
    """Why power cuts cannot be tried here; "" when they can."""
    if os.geteuid() != 0:
        return "power cuts need root"
    missing = [name for name in ("mkfs.ext4", "e2fsck", "mount") if shutil.which(name) is None]
    if missing:
        return f"power cuts need {', '.join(missing)}"
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        try:
            with mounted(new_image(folder / "disk.img"), folder / "disk"):
                return ""
        except SystemExit as fault:
            return f"power cuts need loop devices: {fault}"
