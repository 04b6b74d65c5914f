"""Files as a backend: each sheet of each file is a table that can only be read.

A table's schema is the name of its file, its name that of the file (and sheet, where there are several). A file that
is missing, or is being written, is a fault of its tables alone; the others are read on. Nothing is kept open. A link
that leads out of the folder is passed over: who may write to a share must not choose what brique reads elsewhere.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path

from brique import formats
from brique.backends.faults import READ_ONLY_FILE, away, refused
from brique.backends.protocol import SAMPLE_ROWS, Prepared, Rung, Session
from brique.backends.suspects import confirm
from brique.clock import Clock, SystemClock
from brique.errors import BackendAway, BackendRefused, BadInput, NotFound
from brique.schema import Catalogue, Column, Kind, Row, SourceColumn, SourceTable, TableSpec, Value

YOUNG_SECONDS = 1.0
"""A file changed more recently may still be being written: it is looked at again after `LOOK_SECONDS`."""
LOOK_SECONDS = 0.2
RACY_SECONDS = 2.0
"""A file system may give two changes within this time the same time stamp."""
GONE = "{backend}: {path} is not there."
BEING_WRITTEN = "{file} is being written: it is read when it is whole."
MISSING = "The file {file} is not there."
ABORTED = "{backend}: the call was given up."

State = tuple[int, int, int]


class FolderBackend:
    """The files directly in a folder, or one file. `path` may be either."""

    def __init__(
        self, name: str, path: Path, *, limits: formats.Limits | None = None, clock: Clock | None = None
    ) -> None:
        self.name = name
        self.path = path
        self._limits = limits or formats.Limits()
        self._clock = clock or SystemClock()
        self._aborted = threading.Event()
        self._closed = False

    def ping(self, timeout: float) -> None:
        self._files()

    def _files(self) -> list[Path]:
        """The files that can be read, by name."""
        if self._closed or not self.path.exists():
            raise away(GONE, backend=self.name, path=self.path)
        if self.path.is_file():
            return [self.path]
        try:
            return sorted(
                file
                for file in self.path.iterdir()
                if file.suffix.lower() in formats.READABLE
                and not file.name.startswith((".", "~$"))
                and self._is_ours(file)
            )
        except OSError as fault:
            raise away("{backend}: {reason}", backend=self.name, reason=str(fault)) from fault

    def _is_ours(self, file: Path) -> bool:
        """Whether it is a file, and lies within the folder when its links are followed."""
        return file.is_file() and file.resolve().is_relative_to(self.path.resolve())

    def _file(self, spec: TableSpec) -> Path:
        """The file of a table. Raises BackendAway, BackendRefused when it is not there."""
        self._files()
        if self.path.is_file():
            return self.path
        file = self.path / spec.source_schema
        if Path(spec.source_schema).name != spec.source_schema or not self._is_ours(file):
            raise refused(MISSING, file=spec.source_schema or spec.source)
        return file

    def catalogue(self) -> Catalogue:
        self._aborted.clear()
        tables = [table for file in self._files() for table in self._tables(file)]
        return confirm(Catalogue(tuple(tables)), _in_samples(tables))

    def _tables(self, file: Path) -> list[SourceTable]:
        try:
            self._wait_until_whole(file)
            found = formats.infer(file, limits=self._limits)
            return [self._table(file, schema, alone=len(found) == 1) for schema in found]
        except (BadInput, NotFound, BackendRefused) as fault:
            if self.path.is_file():
                raise BackendAway(f"{self.name}: {fault.message}", try_this=fault.try_this) from fault
            return []

    def _table(self, file: Path, schema: formats.SheetSchema, *, alone: bool) -> SourceTable:
        by_name = {field.name: field for field in schema.fields}
        return SourceTable(
            name=file.stem if alone else f"{file.stem} {schema.source}",
            schema=file.name,
            columns=tuple(map(_source_column, schema.fields)),
            key=tuple(by_name[name].source for name in schema.key),
            comment="\n".join(schema.title),
            read_only=READ_ONLY_FILE,
            rows_estimate=schema.rows,
            sample=self._sample(file, schema),
        )

    def _sample(self, file: Path, schema: formats.SheetSchema) -> tuple[tuple[Value, ...], ...]:
        rows: list[tuple[Value, ...]] = []
        with closing(formats.read(file, schema.source, schema.fields, limits=self._limits)) as batches:
            for batch in batches:
                rows += batch
                if len(rows) >= SAMPLE_ROWS:
                    break
        return tuple(rows[:SAMPLE_ROWS])

    def fingerprint(self, tables: Sequence[TableSpec]) -> str | None:
        names = {spec.source_schema for spec in tables}
        states = []
        for name in sorted(names):
            state = _state(self.path if self.path.is_file() else self.path / name)
            if state is None or self._clock.now().timestamp() - state[1] / 1e9 < RACY_SECONDS:
                return None
            states.append((name, *state))
        return repr(states)

    @contextmanager
    def snapshot(self) -> Iterator[FolderSnapshot]:
        self._aborted.clear()
        self._files()
        yield FolderSnapshot(self)

    def rows(self, spec: TableSpec) -> Iterator[list[tuple[Value, ...]]]:
        """All rows of a table in batches."""
        try:
            file = self._file(spec)
            self._wait_until_whole(file)
            fields = self._fields(file, spec)
            with closing(formats.read(file, self._sheet(file, spec), fields, limits=self._limits)) as batches:
                for batch in batches:
                    if self._aborted.is_set():
                        raise away(ABORTED, backend=self.name)
                    yield batch
        except (BadInput, NotFound, BackendRefused) as fault:
            if self.path.is_file():
                raise BackendAway(f"{self.name}: {fault.message}", try_this=fault.try_this) from fault
            if isinstance(fault, BackendRefused):
                raise
            raise BackendRefused(fault.message, try_this=fault.try_this) from fault

    def _sheet(self, file: Path, spec: TableSpec) -> str:
        """The sheet that a table's name means."""
        sheets = formats.sheets(file, limits=self._limits)
        for sheet in sheets:
            if spec.source in (f"{file.stem} {sheet}", sheet):
                return sheet
        if spec.source == file.stem and sheets:
            return sheets[0]
        raise refused("There is no table {table}.", table=spec.source)

    def _fields(self, file: Path, spec: TableSpec) -> tuple[Column, ...]:
        """The columns with how the file writes them, which a declared table does not say."""
        if all(column.source_type or column.kind is Kind.TEXT for column in spec.columns):
            return spec.columns
        sheet = self._sheet(file, spec)
        found = next((s for s in formats.infer(file, limits=self._limits) if s.source == sheet), None)
        styles = {field.source: field.source_type for field in found.fields} if found else {}
        return tuple(
            replace(column, source_type=column.source_type or styles.get(column.source, "")) for column in spec.columns
        )

    def _wait_until_whole(self, file: Path) -> None:
        """Raises BackendRefused when somebody is writing to the file."""
        before = _state(file)
        if before is None:
            raise refused(MISSING, file=file.name)
        if self._clock.now().timestamp() - before[1] / 1e9 < YOUNG_SECONDS:
            time.sleep(LOOK_SECONDS)
            if _state(file) != before:
                raise refused(BEING_WRITTEN, file=file.name)

    def fetch(self, spec: TableSpec, keys: Sequence[str]) -> dict[str, Row]:
        wanted = set(keys)
        found: dict[str, Row] = {}
        for batch in self.rows(spec):
            for values in batch:
                row = dict(zip(spec.names, values, strict=True))
                key = spec.key_of(row)
                if key in wanted:
                    found[key] = row
        return found

    def session(self) -> AbstractContextManager[Session]:
        raise refused(READ_ONLY_FILE)

    def watermark(self, stream: str) -> int | None:
        return None

    def prepare(self, marker: bool) -> Prepared:
        return Prepared(Rung.NONE, READ_ONLY_FILE)

    def abort(self) -> None:
        self._aborted.set()

    def close(self) -> None:
        self._closed = True


class FolderSnapshot:
    """The files as they are found: each is whole, but they are not of one moment."""

    fingerprint: str | None = None

    def __init__(self, backend: FolderBackend) -> None:
        self._backend = backend

    def mark(self, spec: TableSpec) -> str | None:
        """The size, time and place of the table's file."""
        return self._backend.fingerprint([spec])

    def read(self, spec: TableSpec) -> Iterator[list[tuple[Value, ...]]]:
        return self._backend.rows(spec)


def _state(file: Path) -> State | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def _source_column(field: Column) -> SourceColumn:
    return SourceColumn(
        name=field.source, type=field.source_type, kind=field.kind, nullable=field.nullable, scale=field.scale
    )


class _in_samples:  # noqa: N801 - called like a function
    """Whether values stand in a column, judged by its sample when that is the whole table."""

    def __init__(self, tables: Sequence[SourceTable]) -> None:
        self._tables = {(table.schema, table.name): table for table in tables}

    def __call__(self, table: str, schema: str, column: str, values: Sequence[Value]) -> bool:
        found = self._tables[schema, table]
        if len(found.sample) < found.rows_estimate:
            return False
        at = [made.name for made in found.columns].index(column)
        return set(values) <= {row[at] for row in found.sample}
