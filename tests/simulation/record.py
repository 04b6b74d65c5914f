"""What all runs together have done, kept in a file: bench/results/simulate.json, or one of its own for a long run.

Each run has an entry of its own with its revision, its seeds and what they did: lives change from one revision to the
next, and a sum over them says what was tried under which. Several processes may add to one file at once: each takes
seeds that no other one has, and writes under a lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import figures
from tests.simulation.runs import Totals
from tests.simulation.simulation import COMMANDS

RESULT = figures.RESULTS / "simulate.json"
_COMMAND = "make simulate SECONDS=3600 ARGS=--accumulate"
_COUNTS = ("seeds", "commands", "steps", "checks")


@dataclass
class Record:
    """The runs kept in `path`."""

    path: Path = RESULT

    @contextmanager
    def _open(self) -> Iterator[dict[str, Any]]:
        """What is kept, to be changed: nobody else does meanwhile."""
        name = hashlib.blake2b(str(self.path.resolve()).encode(), digest_size=8).hexdigest()
        with (Path(tempfile.gettempdir()) / f"brique-simulation-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = self.read()
            yield kept
            aside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
            aside.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")
            aside.replace(self.path)

    def read(self) -> dict[str, Any]:
        kept: dict[str, Any] = json.loads(self.path.read_text("utf-8")) if self.path.exists() else {}
        kept.setdefault("spans", [])
        kept.setdefault("next_seed", 0)
        return kept

    def take(self, count: int, first: int | None = None) -> int:
        """The first of `count` seeds that nobody else takes, from `first` on."""
        with self._open() as kept:
            taken: int = max(kept["next_seed"], first or 0)
            kept["next_seed"] = taken + count
        return taken

    def keep(self, run: dict[str, Any]) -> None:
        """Keep what a run has done so far, in the place of what it had done before."""
        with self._open() as kept:
            kept["spans"] = [*(one for one in kept["spans"] if one["id"] != run["id"]), run]
            _tell(kept)

    def mended(self, seed: int) -> None:
        """The fault that made a seed break a promise was found and mended."""
        with self._open() as kept:
            for run in kept["spans"]:
                text = run["violations"].pop(str(seed), None)
                if text is not None:
                    run["mended"] = {**run.get("mended", {}), str(seed): text}
            _tell(kept)

    def merge(self, other: Path) -> None:
        """Take over the runs of another file, and where it stands with its seeds."""
        theirs = Record(other).read()
        with self._open() as kept:
            new = {run["id"]: run for run in (*kept["spans"], *theirs["spans"])}
            kept["spans"] = list(new.values())
            kept["next_seed"] = max(kept["next_seed"], theirs["next_seed"])
            _tell(kept)


def entry(revision: str, began: datetime, seconds: float, spans: Sequence[tuple[int, int]], done: Totals) -> Any:
    """A run as it is kept. `spans`: first and last of its seeds."""
    return {
        "id": f"{began.isoformat(timespec='seconds')} {os.getpid()}",
        "revision": revision,
        "seconds": round(seconds, 1),
        "ranges": [list(span) for span in _joined(spans)],
        **{name: getattr(done, name) for name in _COUNTS},
        "faults": dict(sorted(done.faults.items())),
        "states": dict(sorted(done.states.items())),
        "violations": {str(seed): text for seed, text in sorted(done.failures.items())},
    }


def _joined(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if found and found[-1][1] + 1 == first:
            found[-1] = found[-1][0], last
        else:
            found.append((first, last))
    return found


def _tell(kept: dict[str, Any]) -> None:
    """The sums, as every bench tells its figures."""
    runs = kept["spans"]
    sums = {name: sum(run[name] for run in runs) for name in _COUNTS}
    faults, states = _sum(runs, "faults"), _sum(runs, "states")
    found: list[tuple[str, float, str]] = [(name, sums[name], name) for name in ("seeds", "commands", "checks")]
    found.append(("faults", sum(faults.values()), "faults injected"))
    found.append(("violations", sum(len(run["violations"]) for run in runs), "promises broken"))
    mended = sum(len(run.get("mended", ())) for run in runs)
    found.append(("mended", mended, "faults found by earlier runs, and mended"))
    found += [(f"fault.{name.replace(' ', '_')}", count, "times") for name, count in sorted(faults.items())]
    found += [(f"state.{name}", count, "commands") for name, count in sorted(states.items())]
    kept.update(
        {
            "bench": "simulate",
            "command": _COMMAND,
            "quick": False,
            "began": kept.get("began") or datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(sum(run["seconds"] for run in runs), 1),
            "revision": runs[-1]["revision"] if runs else "",
            "machine": figures.machine(),
            "versions": figures.versions(),
            "sums": sums,
            "figures": [{"name": f"simulate.{n}", "value": v, "unit": u} for n, v, u in found],
            "notes": [
                f"The sum of {len(runs)} runs; `spans` tells them apart, with the revision and the seeds of each. A "
                f"seed is a life of {COMMANDS} commands, or three times as many where people come in crowds; a step is "
                "followed by a check of every promise.",
                "It can fail: `python -m tests.simulation --bugs` puts deliberate faults into the product, one after "
                "the other, and says how many seeds it takes to find each.",
            ],
        }
    )


def _sum(runs: Sequence[dict[str, Any]], name: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for run in runs:
        found.update(run[name])
    return found
