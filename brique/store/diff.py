"""What a snapshot of the source changes: the stage file against the source rows that the store has.

The source row of a key is its shadow where pending changes lie over it, else its visible row. Values are compared with
their types: 1, 1.0 and "1" differ, NULL equals NULL. Runs in the backend's process, on a read snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import apsw

from brique.schema import Row, TableSpec
from brique.store import connection as connections
from brique.store.layout import Layout, quoted
from brique.store.ledger import unpacked
from brique.store.reader import Reader
from brique.store.rows import same_row

_BATCH = 1_000


class Diff(NamedTuple):
    """Batches of rows to write and of keys to remove. Exhaust or drop both; they read the stage file as they go."""

    upserts: Iterator[list[tuple[str, Row]]]
    deletes: Iterator[list[str]]


def diff(reader: Reader, stage: Path, spec: TableSpec, *, batch: int = _BATCH) -> Diff:
    """How to bring the store's source rows of `spec` to those of the stage.

    The comparison is done before this returns, in one read transaction on the store: what comes later in the store
    does not count. Memory: a number for each row that differs.
    """
    db = connections.reader(stage)
    db.execute("ATTACH ? AS store", (f"file:{quote(str(reader.path.resolve()))}?mode=ro",))
    db.execute("BEGIN")
    found = connections.first(db, "SELECT generation FROM store.table_state WHERE table_name = ?", (spec.name,))
    changed, gone = _compare(db, Layout(spec, found[0])) if found else (_all(db), [])
    db.execute("COMMIT")
    db.execute("DETACH store")
    return Diff(_upserts(db, spec, changed, batch), _batches(gone, batch))


def _all(db: apsw.Connection) -> list[int]:
    return [identity for (identity,) in db.execute("SELECT _id FROM row")]


def _compare(db: apsw.Connection, layout: Layout) -> tuple[list[int], list[str]]:
    names = layout.spec.names
    differ = " OR ".join(
        f"s.{quoted(name)} IS NOT t.{quoted(name)} OR typeof(s.{quoted(name)}) <> typeof(t.{quoted(name)})"
        for name in names
    )
    target = f"store.{layout.table}"
    over = {
        key: unpacked(base)
        for key, base in db.execute("SELECT key, base FROM store.shadow WHERE table_name = ?", (layout.spec.name,))
    }
    changed = db.execute(
        f"SELECT s._id, s._key FROM row AS s LEFT JOIN {target} AS t ON t._key = s._key "  # noqa: S608
        f"WHERE t._key IS NULL OR {differ}"
    )
    rows = [identity for identity, key in changed if key not in over]
    gone = [
        key
        for (key,) in db.execute(
            f"SELECT t._key FROM {target} AS t WHERE NOT EXISTS (SELECT 1 FROM row AS s WHERE s._key = t._key)"  # noqa: S608
        )
        if key not in over
    ]
    columns = ", ".join(map(quoted, names))
    for key, base in over.items():
        found = connections.first(db, f"SELECT _id, {columns} FROM row WHERE _key = ?", (key,))  # noqa: S608
        if found is None:
            gone += [key] if base is not None else []
        elif base is None or not same_row(dict(zip(names, found[1:], strict=True)), base):
            rows.append(found[0])
    return rows, gone


def _upserts(db: apsw.Connection, spec: TableSpec, changed: list[int], batch: int) -> Iterator[list[tuple[str, Row]]]:
    columns = ", ".join(map(quoted, spec.names))
    query = f"SELECT _key, {columns} FROM row WHERE _id = ?"  # noqa: S608
    for start in range(0, len(changed), batch):
        part = [connections.first(db, query, (identity,)) for identity in changed[start : start + batch]]
        yield [(record[0], dict(zip(spec.names, record[1:], strict=True))) for record in part]


def _batches(keys: list[str], batch: int) -> Iterator[list[str]]:
    for start in range(0, len(keys), batch):
        yield keys[start : start + batch]
