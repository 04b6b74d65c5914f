"""The data as plain Python: `db[Order].where(customer=number).sum("amount")`. Read-only; `WriteDb` collects changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, TypeVar, cast, overload
from weakref import WeakSet

import apsw

from brique.errors import BadConfiguration, BadInput
from brique.schema import PENDING, Column, Kind, Table, TableSpec, Value, from_python, join_key, to_python
from brique.store.db import cells, clocks
from brique.store.db.access import Access, Stored
from brique.store.db.cells import PARTS_MAX, CellSpec, Counted, Total, key_of, part_of
from brique.store.db.chosen import DEFAULTS, Chosen
from brique.store.db.record import Record, Values, make, spec_of, values_of
from brique.store.db.rows import Rows
from brique.store.db.tracking import Forgetful, Read, Recorder
from brique.store.reader import Reader

T = TypeVar("T", bound=Table)
Classes = Mapping[type[Table], TableSpec]
"""The table of each declared class."""
Known = dict[str, Access]
"""What was worked out of each table, by name: several Dbs over the same specs and classes may share one."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Db:
    """One reading of the data, by one thread, for one run of a function.

    Read inside `reader.snapshot()`, and end with `close()`: then everything that it gives is of one moment. (Outside,
    each question sees the store of its own moment.) `recorder` is told what is read. `keep_totals`: look up those of
    many rows where they are kept, and tell it of others. `now` gives the time (aware), which `db.now` and `db.today`
    cut to steps in `timezone`.
    """

    def __init__(
        self,
        reader: Reader,
        specs: Mapping[str, TableSpec],
        *,
        classes: Classes | None = None,
        known: Known | None = None,
        recorder: Recorder | None = None,
        now: Callable[[], datetime] = _utc_now,
        timezone: tzinfo = UTC,
        user: Any = None,
        keep_totals: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.recorder: Recorder = recorder or Forgetful()
        self._reader = reader
        self._specs = specs
        self._classes = classes or {}
        self._by_table = {spec.name: cls for cls, spec in self._classes.items()}
        self._accesses: Known = {} if known is None else known
        self._clock = now
        self._moment: datetime | None = None
        self._timezone = timezone
        self._user = user
        self._settings = DEFAULTS if settings is None else settings
        self._cells = keep_totals
        self._open: WeakSet[Iterator[tuple[Value, ...]]] = WeakSet()

    @overload
    def __getitem__(self, table: type[T]) -> Rows[T]: ...
    @overload
    def __getitem__(self, table: str) -> Rows[Any]: ...
    def __getitem__(self, table: type[T] | str) -> Rows[Any]:
        """The rows of a table, by its class or its name."""
        return Rows(self, self._access(table))

    @property
    def user(self) -> Any:
        """Who asks. What a view makes of it is kept for this user alone."""
        self.recorder.personal()
        return self._user

    @property
    def settings(self) -> Chosen:
        """The settings that this intranet runs with, by name: `db.settings.page_rows`."""
        return Chosen(self._settings, self.recorder)

    def now(self, step: str | timedelta) -> datetime:
        """The time (aware, in the intranet's zone), cut to `step` ("30s", "5m", "1h"): the answer holds so long."""
        since, until = clocks.step(self._now(), clocks.seconds_of(step), self._timezone)
        self.recorder.clock(since, until)
        return since

    def today(self) -> date:
        """The day in the intranet's zone; what is made of it holds until midnight."""
        since, until = clocks.day(self._now(), self._timezone)
        self.recorder.clock(since, until)
        return since.date()

    def close(self) -> None:
        """End reads that were left half-way, so that the snapshot can end."""
        for found in tuple(self._open):
            found.close()  # type: ignore[attr-defined]  # generators all
        self._open.clear()

    # inside

    def _kept_totals(self, cell: CellSpec) -> list[tuple[tuple[Value, ...], int, int, int]] | None:
        """(group, rows, numbers, sum) of a total that is kept; None when it is to be counted."""
        found = self._reader.representations.totals(cell.id) if self._cells else []
        if not found:
            return None
        by_group = [(key_of(part), rows, numbers, total) for part, rows, numbers, total in found]
        return [total for total in by_group if bool(total[0]) == bool(cell.columns)]

    def _count(self, cell: CellSpec, totals: Iterable[tuple[tuple[Value, ...], int, int, int]]) -> None:
        """These totals have been counted: they may be worth keeping."""
        if self._cells:
            totals = tuple(totals)
            if len(totals) <= PARTS_MAX and sum(total[1] for total in totals) >= cells.ROWS_MIN:
                kept = tuple(Total(part_of(key), rows, n, str(total)) for key, rows, n, total in totals)
                self.recorder.counted(Counted(cell, kept))

    def _now(self) -> datetime:
        if self._moment is None:
            self._moment = self._clock()
        return self._moment

    def _access(self, table: type[Table] | str) -> Access:
        name = table if isinstance(table, str) else self._classes[table].name if table in self._classes else ""
        known = self._accesses.get(name)
        if known is None:
            spec = self._specs.get(name)
            if spec is None:
                wanted = table if isinstance(table, str) else table.__name__
                raise BadConfiguration(f"there is no table {wanted}", try_this=f"one of {', '.join(self._specs)}")
            known = self._accesses[name] = Access(spec, self._by_table.get(name, Record))
        return known

    def _fetch(self, sql: str, parameters: Sequence[Value]) -> list[tuple[Value, ...]]:
        """The rows of a SELECT that gives few."""
        return list(self._reader.query(sql, parameters))

    def _query(self, sql: str, parameters: Sequence[Value]) -> Iterator[tuple[Value, ...]]:
        """The rows of a SELECT as they come. Left half-way, it holds the snapshot until it is dropped or `close`."""
        found = self._reader.query(sql, parameters)

        def rows() -> Iterator[tuple[Value, ...]]:
            try:
                yield from found
            finally:
                if isinstance(found, apsw.Cursor):
                    found.close()

        reading = rows()
        self._open.add(reading)
        return reading

    def _stored_row(self, access: Access, key: str) -> Stored | None:
        laid = self._laid(access.spec.name)
        if key in laid:
            return laid[key]
        sql = f"SELECT {access.select} FROM {access.relation} WHERE _key = ?"  # noqa: S608 - names are quoted
        found = self._fetch(sql, [key])
        return Stored.of(found[0]) if found else None

    def _real_key(self, table: str, key: str) -> str:
        """The key that a temporary one has become in the meantime."""
        return self._reader.real_key(table, key) if key.startswith(PENDING) else key

    def _laid(self, table: str) -> Mapping[str, Stored | None]:
        """Rows of `table` as this run's own changes leave them, by key; None for a deleted one."""
        return {}

    def _row(self, access: Access, stored: Stored, read: Read) -> Table:
        mask = read.mask
        return make(
            access.cls,
            Values(access.spec, access.places, stored.values, mask),
            key=stored.key,
            version=stored.version,
            pending=stored.pending,
            mask=mask,
            follow=lambda row, name: self._follow(row, name, read),
        )

    def _follow(self, row: Table, name: str, read: Read) -> Table | None:
        spec = spec_of(row)
        reference = self._access(spec.name).references.get(name)
        if reference is None:
            raise BadConfiguration(f"{spec.name} has no reference {name!r}")
        held = [values_of(row).stored(column) for column in reference.columns]
        target = self._access(reference.table)
        wanted = {column: target.spec.by_name[column] for column in reference.target_columns}
        values: dict[str, Value] = {}
        for source, column, value in zip(reference.columns, wanted.values(), held, strict=True):
            mine = spec.by_name[source]
            if value is not None and (mine.kind, mine.scale) != (column.kind, column.scale):
                value = _converted(to_python(mine.kind, value, mine.scale), column.kind, column.scale)
            values[column.name] = value
        if any(value is None for value in values.values()):
            return None
        if set(values) == set(target.spec.key):
            key = join_key(tuple(values[name] for name in target.spec.key))
            plain = all(map(_links, (spec.by_name[source] for source in reference.columns), wanted.values(), held))
            via = (read, reference.columns) if plain and reference.target_columns == target.spec.key else None
            return cast("Table | None", Rows[Any](self, target)._get(key, via))
        python = {name: wanted[name].python(value) for name, value in values.items()}
        try:
            return cast("Table | None", Rows[Any](self, target).where(**python).first())
        except BadInput:  # a value that does not fit its column points nowhere
            return None


def _links(mine: Column, target: Column, value: Value) -> bool:
    """Whether the row that refers by `value` is found again by the key of the row it refers to."""
    if mine.kind is not target.kind:
        return False
    if mine.kind is Kind.TEXT:
        return isinstance(value, str) and not value.startswith(PENDING)
    return mine.kind is Kind.INTEGER and type(value) is int


def _converted(value: Any, kind: Any, scale: int | None) -> Value:
    """A value of another kind of number as the target writes it; None when no row can hold it."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, float):
        value = Decimal(repr(value))
    try:
        return from_python(kind, value, scale)
    except ValueError:
        return None
