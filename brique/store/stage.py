"""Rows of a source set down in a file of their own by a backend's process, for the engine to load or to diff."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import apsw
import msgspec

from brique.schema import TableSpec, Value, join_key
from brique.store import search
from brique.store.layout import quoted, search_columns

log = logging.getLogger(__name__)
_EXAMPLES_MAX = 20


@dataclass(frozen=True, slots=True)
class Staged:
    """What a stage holds. `duplicates`: rows left out because an earlier one has their key; `examples` such keys."""

    path: Path
    rows: int
    duplicates: int = 0
    examples: tuple[str, ...] = ()


class StageWriter:
    """Writes one table's rows, in the order given; `finish` makes the file ready.

    A table without a key gets one from its values: a digest of the row, numbered when rows are equal. With `search`
    the folded text for the search index is made here, so that the engine does not have to (first loads want it,
    diffs do not). The file is not safe against a crash and need not be.
    """

    def __init__(self, path: Path, spec: TableSpec, *, search: bool = False) -> None:
        path.unlink(missing_ok=True)
        self._path = path
        self._spec = spec
        self._search = search
        self._db = apsw.Connection(str(path))
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute("PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE; PRAGMA cache_size=-65536")
        columns = ", ".join(map(quoted, spec.names))
        self._db.execute(
            f"CREATE TABLE row(_id INTEGER PRIMARY KEY, _key TEXT, {columns}{', _search' if search else ''})"
        )
        holes = ", ".join("?" * (1 + len(spec.names) + search))
        self._insert = f"INSERT INTO row VALUES (NULL, {holes})"  # noqa: S608
        self._places = [spec.names.index(name) for name in search_columns(spec)]
        self._key = self._key_maker()
        self._rows = 0
        self.result: Staged | None = None
        """What `finish` said."""
        self._db.execute("BEGIN")

    def _key_maker(self) -> Callable[[tuple[Value, ...]], str]:
        names, key = self._spec.names, self._spec.key
        if not key:
            encode = msgspec.msgpack.Encoder().encode
            return lambda row: hashlib.blake2b(encode(row), digest_size=12).hexdigest()
        if len(key) == 1:
            place = names.index(key[0])
            return lambda row: str(row[place]) if type(row[place]) is int else join_key((row[place],))
        places = [names.index(name) for name in key]
        return lambda row: join_key(tuple([row[place] for place in places]))

    def add(self, batch: Sequence[tuple[Value, ...]]) -> None:
        """Add rows: store values in the order of `spec.columns`."""
        key, places, document = self._key, self._places, search.document
        rows: list[tuple[Any, ...]]
        if self._search:
            rows = [(key(row), *row, document(tuple([row[place] for place in places]))) for row in batch]
        else:
            rows = [(key(row), *row) for row in batch]
        self._db.executemany(self._insert, rows)
        self._rows += len(rows)

    def finish(self) -> Staged:
        """Close the file, with duplicate keys sorted out."""
        if not self._spec.key:
            self._number_equals()
        # Not a unique index: without a journal a statement must not fail.
        self._db.execute("CREATE INDEX row_key ON row(_key)")
        duplicates, examples = self._drop_duplicates()
        self._db.execute("COMMIT")
        self._db.close()
        if duplicates:
            log.warning("%s: %d rows left out, their keys were there: %s", self._spec.name, duplicates, examples[:3])
        self.result = Staged(self._path, self._rows - duplicates, duplicates, examples)
        return self.result

    def _number_equals(self) -> None:
        self._db.execute(
            "WITH n AS (SELECT _id AS i, row_number() OVER (PARTITION BY _key ORDER BY _id) AS k FROM row) "
            "UPDATE row SET _key = _key || '.' || n.k FROM n WHERE n.i = row._id AND n.k > 1"
        )

    def _drop_duplicates(self) -> tuple[int, tuple[str, ...]]:
        examples = self._db.execute(
            "SELECT _key FROM row GROUP BY _key HAVING count(*) > 1 LIMIT ?", (_EXAMPLES_MAX,)
        ).fetchall()
        if not examples:
            return 0, ()
        self._db.execute(
            "DELETE FROM row WHERE EXISTS (SELECT 1 FROM row AS r WHERE r._key = row._key AND r._id < row._id)"
        )
        return self._db.changes(), tuple(str(key) for (key,) in examples)

    def abandon(self) -> None:
        """Close and remove the file."""
        self._db.close()
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> StageWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        if kind is not None:
            self.abandon()
        elif self.result is None:
            self.finish()
