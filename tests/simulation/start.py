"""What a simulated life starts with: the intranet that it serves, and the files of a first start, made once."""

from __future__ import annotations

import random
import shutil
import tempfile
from functools import cache
from pathlib import Path

from brique.app.intranet import Declared, Intranet
from tests.simulation.backends import FakeBackend, Manner
from tests.simulation.erp import Erp, tables_of
from tests.simulation.faults import Faults
from tests.simulation.files import forget
from tests.simulation.processes import Door, SimClock, SimProcess, new_settings


@cache
def declared(backends: int) -> Declared:
    intranet = Intranet("Simulation")
    for name in names_of(backends):
        backend = intranet.backend(name, "sqlite:////nowhere", refresh=20.0)
        intranet.infer(backend, tuple(tables_of(name, prefix_of(name)).values()))
    return intranet.declared()


def names_of(backends: int) -> tuple[str, ...]:
    return ("erp", "crm")[:backends]


def prefix_of(name: str) -> str:
    return "" if name == "erp" else "b_"


_TEMPLATES: dict[tuple[int, bool], dict[str, bytes]] = {}


def furnish(folder: Path, backends: int, *, search: bool) -> None:
    """Put the files of a brique that has made its first copy into `folder`."""
    files = _TEMPLATES.get((backends, search))
    if files is None:
        files = _TEMPLATES[backends, search] = _template(backends, search)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _template(backends: int, search: bool) -> dict[str, bytes]:
    """Such files: what a first start of a fair life leaves."""
    place = Path(tempfile.mkdtemp(prefix="brique-simulation-", dir=memory()))
    faults = Faults(random.Random(0))
    door = Door(declared(backends), new_settings(place), SimClock(), faults, search=search)
    engine = door.start()
    for name in names_of(backends):
        erp = Erp(tables_of(name, prefix_of(name)))
        backend = FakeBackend(
            name, erp, faults, lambda place: None, marker=False, manner=Manner(), prints=True,
            advance=lambda seconds: None, committed=lambda name, marks: None,
        )  # fmt: skip
        process = SimProcess(door, backend, lambda place: None, lambda command: "", lambda: None)
        process.refreshing._refresh()
        process.end()
    engine.store.checkpoint()
    door.kill()
    forget(place / "store.db")
    found = {
        str(path.relative_to(place)): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file() and "-shm" not in path.name
    }
    shutil.rmtree(place)
    return found


def memory() -> Path | None:
    """A folder in memory, where there is one: the simulation flushes a lot."""
    shared = Path("/dev/shm")
    return shared if shared.is_dir() else None
