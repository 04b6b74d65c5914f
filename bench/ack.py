"""How many writes are acknowledged a second, flushed to disk before the answer: brique beside what people use today."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

from bench.erp import Workshop
from bench.figures import Figures
from bench.peers import servers
from bench.peers.load import Load

BRIQUE = ("journal", "threads", "engine", "socket", "http", "socket_applied", "http_applied")
PEERS = {
    "uwsgi": "uwsgi_spooler",
    "postgresql": "raw_postgresql",
    "huey": "huey_queue",
    "jetstream": "jetstream",
    "celery": "celery_queue",
    "dbos": "dbos_queue",
    "procrastinate": "procrastinate_queue",
}
_NOTES = (
    "Payload 150 bytes; each writer waits for its acknowledgement before it gives the next. Rounds are interleaved, "
    "every other one in reverse order; rates are medians, ratios the medians of the ratios of each round.",
    "journal: the spool with its group commit, in process, its writers coroutines of one loop. threads: the same with "
    "a thread for each writer. engine: coroutines again, and the command is shown over the copy before the answer. "
    "socket: the engine's process, asked through its socket. http: POST to the API of a whole brique, by wrk. In these "
    "two the backend is held by somebody, as no worker of the peers runs either; in ..._applied it takes in, exactly "
    "once, what is kept, at the same time and on the same two cores.",
    "The peers' writers are what their clients are made for: threads, and coroutines for JetStream. Each is compared "
    "with our writers in coroutines (ack64_vs_...) and in threads (threads64_vs_...).",
    "uWSGI's spooler does not flush: what it acknowledges is lost when the power fails. All others flush: PostgreSQL, "
    "Procrastinate and DBOS by its commit, Huey with fsync=True, Redis (Celery) with appendfsync always, JetStream "
    "with sync_interval always.",
)


def run(figures: Figures, workshop: Workshop) -> None:
    rounds, seconds = (1, 0.7) if workshop.quick else (5, 2.0)
    for note in _NOTES:
        figures.note(note)
    found: dict[str, list[Load]] = defaultdict(list)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="brique-ack-", dir="/var/tmp")))
        folder.chmod(0o755)
        env = {**os.environ, **stack.enter_context(servers.all_of(folder))}
        programs = {**{f"brique.{level}": ("bench.brique_ack", level) for level in BRIQUE}}
        programs |= {name: (f"bench.peers.{module}", "ack") for name, module in PEERS.items()}
        for turn in range(rounds):
            names = list(programs) if turn % 2 == 0 else list(reversed(programs))
            for writers in (1, 64):
                for name in names:
                    home = folder / f"{name}-{writers}-{turn}"
                    found[f"{name}.{writers}"].append(_one(*programs[name], home, writers, seconds, env))
    _tell(figures, found)


def _one(module: str, what: str, home: Path, writers: int, seconds: float, env: dict[str, str]) -> Load:
    command = [sys.executable, "-m", module, what, str(home), str(writers), str(seconds)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    try:
        return Load(**json.loads(done.stdout.strip().splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        raise SystemExit(f"{module} said: {done.stdout[-1000:]}{done.stderr[-3000:]}") from None


def _tell(figures: Figures, found: dict[str, list[Load]]) -> None:
    for name, loads in found.items():
        figures.add(f"{name}.rate", statistics.median(load.rate for load in loads), "writes/s")
    latencies = [f"brique.{level}.{writers}" for writers in (1, 64) for level in BRIQUE]
    for name in (*latencies, "huey.1", "huey.64"):
        figures.add(f"{name}.p50", statistics.median(load.p50 for load in found[name]), "ms")
        figures.add(f"{name}.p99", statistics.median(load.p99 for load in found[name]), "ms")
    rates = {name: [load.rate for load in loads] for name, loads in found.items()}
    for name in PEERS:
        told, compared = rates[f"{name}.64"], _ratios(rates["brique.journal.64"], rates[f"{name}.64"])
        figures.add(f"ack64_vs_{name}", statistics.median(compared), "x")
        figures.add(f"ack64_vs_{name}_least", min(compared), "x")
        for level in BRIQUE[1:]:
            compared = _ratios(rates[f"brique.{level}.64"], told)
            figures.add(f"{level}64_vs_{name}", statistics.median(compared), "x")
    for level in BRIQUE[1:]:
        compared = _ratios(rates[f"brique.{level}.64"], rates["brique.journal.64"])
        figures.add(f"{level}64_vs_journal", statistics.median(compared), "x")
    waits = {name: [load.p50 for load in loads] for name, loads in found.items()}
    figures.add("ack1_p50_vs_huey", statistics.median(_ratios(waits["brique.threads.1"], waits["huey.1"])), "x")
    figures.add("engine1_p50_vs_huey", statistics.median(_ratios(waits["brique.engine.1"], waits["huey.1"])), "x")


def _ratios(mine: list[float], theirs: list[float]) -> list[float]:
    """Round by round."""
    return [one / other for one, other in zip(mine, theirs, strict=True)]
