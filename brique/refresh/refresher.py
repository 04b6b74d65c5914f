"""Bringing a backend's rows into the copy: a snapshot, staged aside, compared with what is there, handed over whole.

The work is done in the backend's own process, on a read snapshot of the store; the engine only applies the result,
in one transaction. A fault on the way leaves a stage file to delete and nothing else.

`began` ties a refresh to the commands that it can show: whatever was settled before the snapshot began is contained
in it, so the overlay of those commands goes in the same transaction that brings the rows.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from brique.backends import Backend, Snapshot
from brique.clock import Clock, stamp
from brique.errors import BackendRefused
from brique.refresh.guard import Guard
from brique.schema import Row, TableSpec
from brique.store import Reader, StageWriter, diff

log = logging.getLogger(__name__)
_LOAD_SECONDS_MAX = 6 * 3600.0
_APPLY_SECONDS_MAX = 600.0
_PROGRESS_ROWS = 50_000
_LOOK_SECONDS = 0.2


Marks = dict[str, tuple[str, int]]
"""By table: its mark in the backend, and the settlement number when that was read."""


class Send(Protocol):
    """A call to the engine."""

    def __call__(self, method: str, payload: dict[str, Any], timeout: float | None = None) -> dict[str, Any]: ...


class Changes(msgspec.Struct):
    """What a refresh found for one table: rows to put, keys to take away."""

    table: str
    upserts: list[tuple[str, Row]]
    deletes: list[str]


@dataclass
class Result:
    """What a refresh did: rows read, put and taken away, by table; nothing read when nothing had changed."""

    unchanged: bool = False
    rows: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


class Interrupted(Exception):
    """The process is asked to end; the refresh is given up, and nothing of it was applied."""


class Refresher:
    """Refresh of one backend. `folder` holds stage files; `read_seconds` is the longest wait for a batch of rows;
    `stopping` says that the process is asked to end. `readings` counts how often each table was read whole."""

    def __init__(
        self,
        backend: Backend,
        specs: Mapping[str, TableSpec],
        *,
        reader: Reader,
        folder: Path,
        send: Send,
        guard: Guard,
        clock: Clock,
        read_seconds: float,
        stopping: Callable[[], bool] = lambda: False,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self.backend, self.specs, self.reader, self.stopping = backend, specs, reader, stopping
        self.folder, self.send, self.guard, self.clock = folder, send, guard, clock
        self.read_seconds, self.has_room = read_seconds, has_room
        self._fingerprint: tuple[str | None, int] = (None, 0)
        self._marks: Marks = self._kept_marks()
        self._started = 0.0
        self.readings: Counter[str] = Counter()
        self._loads = ThreadPoolExecutor(1, thread_name_prefix="load")

    def _kept_marks(self) -> Marks:
        """The marks of the tables as they are in the copy, noted with them by the last refresh of an earlier run."""
        state = self.reader.backend_states().get(self.backend.name)
        kept = (state.facts.get("marks") or {}) if state is not None else {}
        return {table: (mark, since) for table, (mark, since) in kept.items()}

    def refresh(self) -> Result:
        """One refresh of every table. Raises BackendAway (the copy stays as it is), EngineAway, Interrupted."""
        # views last: nobody knows how long they are, and a hostile one never ends
        specs = sorted(self.specs.values(), key=lambda spec: (spec.is_view, spec.rows_estimate))
        self._started = self.clock.monotonic()
        at = stamp(self.clock.now())
        began = self.reader.settled_seq()
        with self.guard.call(self.read_seconds):
            now = self.backend.fingerprint(specs)
        known, since = self._fingerprint
        if now is not None and now == known and all(self._is_as_read(spec, since) for spec in specs):
            self._tell(Result(unchanged=True), at, began, [], specs, self._marks)
            return Result(unchanged=True)
        result = Result()
        marks: dict[str, str] = {}
        changes, loads = self._read_all(specs, result, began, marks)
        for load in loads:
            self._wait(load)
        new = {**self._marks, **{table: (mark, began) for table, mark in marks.items()}}
        for table in result.faults:
            new.pop(table, None)
        self._tell(result, at, began, changes, [spec for spec in specs if spec.name not in result.faults], new)
        self._fingerprint, self._marks = (now, began), new
        return result

    def bring(self, touched: Mapping[str, Collection[str]]) -> int:
        """Read these keys and hand over what is not as it is in the copy; how many rows. Raises as `refresh` does."""
        began = self.reader.settled_seq()
        changes: list[Changes] = []
        for table, keys in touched.items():
            spec = self.specs.get(table)
            if spec is None or not self._is_loaded(spec):
                continue
            with self.guard.call(self.read_seconds):
                rows = self.backend.fetch(spec, sorted(keys))
            upserts = [(key, row) for key, row in rows.items() if self.reader.base(table, key) != row]
            deletes = [key for key in keys if key not in rows and self.reader.base(table, key) is not None]
            if upserts or deletes:
                changes.append(Changes(table, upserts, deletes))
        if changes:
            file = self.folder / f"rows-{self.backend.name}.msgpack"
            file.write_bytes(msgspec.msgpack.encode(changes))
            self.send("rows", {"changes": str(file), "began": began}, _APPLY_SECONDS_MAX)
        return sum(len(item.upserts) + len(item.deletes) for item in changes)

    def _wait(self, load: Future[Any]) -> None:
        while not wait([load], timeout=_LOOK_SECONDS).done:
            if self.stopping():
                raise Interrupted
        load.result()

    def close(self) -> None:
        """Begin nothing more; loads under way are the engine's."""
        self._loads.shutdown(wait=False, cancel_futures=True)
        self.guard.stop()
        self.reader.close()

    def _is_loaded(self, spec: TableSpec) -> bool:
        state = self.reader.table_state(spec.name)
        return state is not None and state.loaded

    def _read_all(
        self, specs: Sequence[TableSpec], result: Result, began: int, marks: dict[str, str]
    ) -> tuple[list[Changes], list[Future[Any]]]:
        """Read every table that may have changed from one snapshot of the source: changes of those in the copy, loads
        of the others. `marks` takes what tells the tables' state."""
        changes: list[Changes] = []
        loads: list[Future[Any]] = []
        with self.guard.call(self.read_seconds):
            entered = self.backend.snapshot()
            snapshot = entered.__enter__()
        try:
            for spec in specs:
                try:
                    if self._is_as_before(snapshot, spec, marks):
                        continue
                    stage = self._stage(snapshot, spec, result)
                except BackendRefused as fault:
                    log.warning("%s: %s", spec.name, fault.message)
                    result.faults[spec.name] = fault.message
                    continue
                if self._is_loaded(spec):
                    changes.extend(self._compare(spec, stage))
                else:
                    loads.append(self._loads.submit(self._load, spec, stage, result.rows[spec.name], began))
        finally:
            with self.guard.call(self.read_seconds):
                entered.__exit__(None, None, None)
        return changes, loads

    def _is_as_before(self, snapshot: Snapshot, spec: TableSpec, marks: dict[str, str]) -> bool:
        """Whether the table need not be read: it is in the copy, and holds what it held when it was read last."""
        with self.guard.call(self.read_seconds, slow_seconds=self.read_seconds):
            mark = snapshot.mark(spec)
        if mark is None:
            self._marks.pop(spec.name, None)
            return False
        marks[spec.name] = mark
        known, since = self._marks.get(spec.name, ("", 0))
        return mark == known and self._is_as_read(spec, since)

    def _is_as_read(self, spec: TableSpec, since: int) -> bool:
        """Whether the copy holds what the refresh that began at `since` has read: it is there, and replay has put no
        rows into it since then, of which nobody can say whether they are older or newer than that reading."""
        return self._is_loaded(spec) and self.reader.read_back(spec.name) <= since

    def _stage(self, snapshot: Snapshot, spec: TableSpec, result: Result) -> Path:
        path = self.folder / f"stage-{spec.name}.db"
        path.unlink(missing_ok=True)
        self.readings[spec.name] += 1
        is_first = not self._is_loaded(spec)
        rows, told = 0, 0
        with StageWriter(path, spec, search=is_first) as stage:
            for batch in self._guarded(snapshot.read(spec)):
                if not self.has_room():
                    raise BackendRefused("The disk has no room for more of its rows.")
                stage.add(batch)
                rows += len(batch)
                if is_first and rows - told >= _PROGRESS_ROWS:
                    self._progress(spec, rows)
                    told = rows
            staged = stage.finish()
        if staged.duplicates:
            result.faults[spec.name] = (
                f"{staged.duplicates} rows were left out: another row has their key ({', '.join(staged.examples)})"
            )
        result.rows[spec.name] = staged.rows
        return path

    def _progress(self, spec: TableSpec, rows: int) -> None:
        """Say how far the first reading of a table is."""
        reading = {"table": spec.name, "rows": rows, "total": max(rows, spec.rows_estimate)}
        self.send("backend", {"name": self.backend.name, "fields": {"reading": reading}})

    def _guarded(self, batches: Iterator[list[tuple[Any, ...]]]) -> Iterator[list[tuple[Any, ...]]]:
        """`batches`, each of them waited for no longer than `read_seconds`; what is done with it takes its time."""
        while True:
            with self.guard.call(self.read_seconds, slow_seconds=self.read_seconds):
                batch = next(batches, None)
            if batch is None:
                return
            if self.stopping():
                raise Interrupted
            yield batch

    def _compare(self, spec: TableSpec, stage: Path) -> list[Changes]:
        upserts, deletes = diff(self.reader, stage, spec)
        found = Changes(spec.name, [item for batch in upserts for item in batch], [k for b in deletes for k in b])
        stage.unlink()
        return [found] if found.upserts or found.deletes else []

    def _load(self, spec: TableSpec, stage: Path, rows: int, began: int) -> None:
        payload = {"table": spec.name, "stage": str(stage), "rows": rows, "began": began}
        self.send("load", payload, _LOAD_SECONDS_MAX)
        stage.unlink(missing_ok=True)

    def _tell(
        self,
        result: Result,
        at: str,
        began: int,
        changes: list[Changes],
        confirmed: Sequence[TableSpec],
        marks: Marks,
    ) -> None:
        """Hand the result over; through a file, so that its size does not matter."""
        path = ""
        if changes:
            result.changed = {item.table: len(item.upserts) + len(item.deletes) for item in changes}
            file = self.folder / f"changes-{self.backend.name}.msgpack"
            file.write_bytes(msgspec.msgpack.encode(changes))
            path = str(file)
        self.send(
            "refreshed",
            {
                "backend": self.backend.name,
                "at": at,
                "began": began,
                "tables": [spec.name for spec in confirmed],
                "faults": result.faults,
                "unchanged": result.unchanged,
                "marks": marks,
                "seconds": round(self.clock.monotonic() - self._started, 3),
                "changes": path,
            },
            _APPLY_SECONDS_MAX,
        )


def read_changes(path: Path) -> list[Changes]:
    """The changes that a refresh left in `path`."""
    return msgspec.msgpack.decode(path.read_bytes(), type=list[Changes])
