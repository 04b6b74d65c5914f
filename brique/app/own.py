"""The file of brique's own tables, brought in line with their declarations before anything starts."""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path

from brique.app.intranet import Declared
from brique.backends import NATIVE_FILE, make_native
from brique.clock import Clock, SystemClock, stamp
from brique.errors import BadConfiguration
from brique.schema import NATIVE
from brique.store import Reader

log = logging.getLogger(__name__)


def prepare_own(declared: Declared, data: Path, *, clock: Clock | None = None) -> list[str]:
    """Make the tables that the intranet declares without a backend, or add to them what is new; the statements run.

    Raises BadConfiguration when a declaration says of a table that is there something that cannot be added to it, or
    when the file was there before and is gone. To be called while nothing else has the file open.
    """
    if NATIVE not in declared.backends:
        return []
    path = data / NATIVE_FILE
    if not path.exists():
        _check_never_there(declared, data)
    done = make_native(path, declared.of_backend(NATIVE).values(), stamp=stamp((clock or SystemClock()).now()))
    for statement in done:
        log.info("%s: %s", path, statement)
    return done


def _check_never_there(declared: Declared, data: Path) -> None:
    store = data / "store.db"
    if not store.exists():
        return
    with closing(Reader(store, declared.specs)) as reader:
        if NATIVE in reader.backend_states():
            raise BadConfiguration(
                f"{data / NATIVE_FILE} was there and is gone: it holds the tables that exist nowhere else.",
                try_this="restore it from a backup; or make it anew and empty: touch native.db",
            )
