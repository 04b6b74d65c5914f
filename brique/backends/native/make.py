"""Making the tables that brique owns, and adding to them what their declarations have gained.

What is there is compared with what is declared. New tables, columns and unique sets are added, all in one transaction
and after a copy of the file has been put aside. Anything else (another type, a column that is gone, a column that may
no longer be empty) is refused with what to do: nothing is ever dropped here, and no value is ever converted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import apsw

from brique.backends import values as raw
from brique.backends.sqlite.catalogue import ask, columns_of, quoted
from brique.errors import BadConfiguration, NoRoom
from brique.schema import Column, Reference, TableSpec, native_type

KEPT_COPIES_MAX = 10
BUSY_MS = 10_000
_FOLDER = "native-before"
_UNIQUE = "brique_unique"


def make(path: Path, specs: Iterable[TableSpec], *, stamp: str) -> list[str]:
    """Bring the file at `path` in line with `specs`; what was done, one SQL statement each (empty: nothing to do).

    The file is made when it is not there. `stamp` names the copy that is put aside before anything is changed.
    Raises BadConfiguration for a change that is not an addition, and NoRoom; then the file is as it was.
    """
    tables = _in_order(specs)
    is_new = not path.exists()
    if is_new:
        path.touch(mode=0o600)
    try:
        with closing(apsw.Connection(str(path))) as connection:
            connection.set_busy_timeout(BUSY_MS)
            connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL").fetchall()
            statements = [sql for spec in tables.values() for sql in _missing(connection, spec, tables)]
            if statements:
                if not is_new and _has_tables(connection):
                    _put_aside(connection, path, stamp)
                _run(connection, statements)
            return statements
    except apsw.FullError as fault:
        raise NoRoom(f"{path}: the disk has no room for the new tables", try_this="free some room") from fault
    except (apsw.NotADBError, apsw.CorruptError, apsw.CantOpenError, apsw.IOError, apsw.BusyError) as fault:
        raise BadConfiguration(f"{path} cannot be used: {fault}", try_this="restore it from a backup") from fault


def _in_order(specs: Iterable[TableSpec]) -> dict[str, TableSpec]:
    """The tables by name. Raises BadConfiguration when two would be one table of the file."""
    tables: dict[str, TableSpec] = {}
    sources: dict[str, str] = {}
    for spec in specs:
        other = sources.setdefault(spec.source.lower(), spec.name)
        if other != spec.name or spec.source.lower().startswith(("sqlite_", "brique_")):
            raise BadConfiguration(f"the table {spec.source} of {spec.name} is taken", try_this='source="..."')
        tables[spec.name] = spec
    return tables


def _has_tables(connection: apsw.Connection) -> bool:
    return bool(ask(connection, "SELECT 1 FROM sqlite_schema LIMIT 1"))


def _run(connection: apsw.Connection, statements: Sequence[str]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements:
            connection.execute(statement)
        connection.execute("COMMIT")
    except apsw.ConstraintError as fault:
        connection.execute("ROLLBACK")
        raise BadConfiguration(
            f"native.db: {fault}", try_this="make the rows that are there fit first, then declare it"
        ) from fault
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _put_aside(connection: apsw.Connection, path: Path, stamp: str) -> None:
    """A copy of the file, flushed, before it is changed; the oldest copies go."""
    folder = path.parent / _FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    target = folder / f"native-{stamp.replace(':', '').replace('-', '')[:15]}.db"
    aside = target.with_suffix(".tmp")
    aside.unlink(missing_ok=True)
    aside.touch(mode=0o600)
    with closing(apsw.Connection(str(aside))) as copy, copy.backup("main", connection, "main") as copying:
        while not copying.done:
            copying.step(4096)
    handle = os.open(aside, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    aside.replace(target)
    for old in sorted(folder.glob("native-*.db"))[:-KEPT_COPIES_MAX]:
        old.unlink()


def _missing(connection: apsw.Connection, spec: TableSpec, tables: Mapping[str, TableSpec]) -> list[str]:
    """The statements that make what `spec` declares and the file does not have."""
    held = {entry.name.lower(): entry for entry in columns_of(connection, spec.source)}
    if not held:
        return [_create(spec, tables), *(_index(spec, names) for names in spec.unique)]
    declared = {column.source.lower() for column in spec.columns}
    gone = [entry.name for key, entry in held.items() if key not in declared]
    if gone:
        raise _no(
            spec,
            f"the column {gone[0]} is not declared any more",
            "declare it again; to be rid of it and of what it holds, stop brique and run "
            f"""sqlite3 native.db 'ALTER TABLE {quoted(spec.source)} DROP COLUMN {quoted(gone[0])}'""",
        )
    known_key = [entry.name.lower() for entry in sorted(held.values(), key=lambda e: e.key_place) if entry.key_place]
    if known_key != [column.source.lower() for column in spec.key_columns]:
        raise _no(spec, f"its key was {', '.join(known_key)}", "declare it as it was, or a new table beside it")
    statements = []
    for column in spec.columns:
        entry = held.get(column.source.lower())
        if entry is None:
            statements.append(_add(connection, spec, column, tables))
        else:
            _check_same(
                spec, column, entry.declared, entry.default, is_required=entry.not_null or bool(entry.key_place)
            )
    _check_references(connection, spec, tables, set(held))
    return statements + _new_indexes(connection, spec)


def _check_same(spec: TableSpec, column: Column, declared: str, default: str | None, *, is_required: bool) -> None:
    """Raises BadConfiguration when a column that is there was declared otherwise."""
    wanted = native_type(column)
    if declared.upper() != wanted.upper():
        raise _no(
            spec,
            f"{column.name} was kept as {declared or 'any value'}, and is declared as {wanted or 'any value'} now",
            "declare it as it was; or declare a new column, copy the values with a command, and let the old one be",
        )
    if is_required == column.nullable and column.name not in spec.key:
        was, now = ("could not", "may") if is_required else ("could", "may not")
        what = f"{column.name} {was} be empty so far, and {now} be empty now"
        raise _no(spec, what, "declare it as it was; or declare a new column beside it")
    if (default or "NULL") != (_literal(column) if column.default is not None else "NULL"):
        raise _no(spec, f"the default of {column.name} was {default or 'none'}", "declare it as it was")


def _check_references(
    connection: apsw.Connection, spec: TableSpec, tables: Mapping[str, TableSpec], held: set[str]
) -> None:
    """Raises BadConfiguration for a reference that would have to be kept by columns that are there without it."""
    rows = ask(connection, 'SELECT id, "from", "table" FROM pragma_foreign_key_list(?)', (spec.source,))
    kept: dict[int, set[str]] = {}
    for number, source, _ in rows:
        kept.setdefault(number, set()).add(source.lower())
    for reference in _inside(spec, tables):
        columns = {spec.by_name[name].source.lower() for name in reference.columns}
        if columns <= held and columns not in kept.values():
            raise _no(
                spec,
                f"{', '.join(reference.columns)} held no reference to {reference.table} so far",
                "declare a new column for it, and copy the values with a command",
            )


def _new_indexes(connection: apsw.Connection, spec: TableSpec) -> list[str]:
    wanted = {_index_name(spec, names): names for names in spec.unique}
    sql = "SELECT name FROM sqlite_schema WHERE type = 'index' AND lower(tbl_name) = lower(?) AND name LIKE ?"
    there = {name for (name,) in ask(connection, sql, (spec.source, f"{_UNIQUE}%"))}
    for name in sorted(there - set(wanted)):
        raise _no(
            spec,
            f"{name.removeprefix(f'{_UNIQUE}:{spec.source}:')} was unique",
            f"declare it so again; or stop brique and run sqlite3 native.db 'DROP INDEX {quoted(name)}'",
        )
    return [_index(spec, names) for name, names in wanted.items() if name not in there]


def _no(spec: TableSpec, what: str, try_this: str) -> BadConfiguration:
    return BadConfiguration(f"The native table {spec.name} has rows of another shape: {what}.", try_this=try_this)


def _create(spec: TableSpec, tables: Mapping[str, TableSpec]) -> str:
    """The statement that makes a table. The number of a row that is gone is never given again (AUTOINCREMENT): what
    was written about that row must not come to speak of another."""
    is_numbered = spec.key_given_by_backend
    parts = []
    for column in spec.columns:
        own_key = " PRIMARY KEY AUTOINCREMENT" if is_numbered and column.name in spec.key else ""
        parts.append(f"{_column(column)}{own_key}")
    if not is_numbered:
        parts.append(f"PRIMARY KEY ({_names(spec, spec.key)})")
    parts += [f"FOREIGN KEY ({_names(spec, ref.columns)}) {_references(ref, tables)}" for ref in _inside(spec, tables)]
    return f"CREATE TABLE {quoted(spec.source)} ({', '.join(parts)})"


def _add(connection: apsw.Connection, spec: TableSpec, column: Column, tables: Mapping[str, TableSpec]) -> str:
    if not column.nullable and column.default is None:
        raise _no(
            spec,
            f"the new column {column.name} may not be empty, and the rows that are there hold nothing in it",
            f"give it a default: column(default=...), or let it be empty: {column.name}: ... | None",
        )
    references = [ref for ref in _inside(spec, tables) if column.name in ref.columns]
    if any(len(ref.columns) > 1 for ref in references):
        raise _no(spec, f"{column.name} is part of a reference of several columns", "declare it in a new table")
    tail = "".join(f" {_references(ref, tables)}" for ref in references)
    if references and column.default is not None:
        raise _no(spec, f"the new reference {column.name} has a default", "let it be empty instead")
    return f"ALTER TABLE {quoted(spec.source)} ADD COLUMN {_column(column)}{tail}"


def _column(column: Column) -> str:
    sql = f"{quoted(column.source)} {native_type(column)}".rstrip()
    if not column.nullable:
        sql += " NOT NULL"
    return sql if column.default is None else f"{sql} DEFAULT {_literal(column)}"


def _inside(spec: TableSpec, tables: Mapping[str, TableSpec]) -> list[Reference]:
    """The references to tables of the same file: only they can be kept by it."""
    return [reference for reference in spec.references if reference.table in tables]


def _references(reference: Reference, tables: Mapping[str, TableSpec]) -> str:
    target = tables[reference.table]
    return f"REFERENCES {quoted(target.source)} ({_names(target, reference.target_columns)})"


def _index_name(spec: TableSpec, names: Sequence[str]) -> str:
    return f"{_UNIQUE}:{spec.source}:{','.join(spec.by_name[name].source for name in names)}"


def _index(spec: TableSpec, names: Sequence[str]) -> str:
    return f"CREATE UNIQUE INDEX {quoted(_index_name(spec, names))} ON {quoted(spec.source)} ({_names(spec, names)})"


def _names(spec: TableSpec, names: Sequence[str]) -> str:
    return ", ".join(quoted(spec.by_name[name].source) for name in names)


def _literal(column: Column) -> str:
    """The default of a column as an SQL literal."""
    value = raw.writer(column)(column.default)
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value).replace("'", "''")
    return f"'{text}'"
