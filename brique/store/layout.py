"""How the store lies on disk: names, quoting and the statements that make its tables.

Theory of operation. The rows of a table T live in a *generation*: the SQLite table `t_T:N` with its indexes and its
search index `t_T:N:search`. `table_state.generation` says which one counts; a reader looks there inside its snapshot,
so a reload is built aside as N+1 and published by one small transaction. The view `t_T` shows the rows that count, for
people with a SQLite shell. Columns carry no type: SQLite then keeps values exactly as given, wrong ones too. Text is
sorted by NOCASE (ASCII letters only), everything else by SQLite's own order: NULL, numbers, text, bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import msgspec

from brique.schema import Column, Kind, TableSpec

FORMAT = 6
"""Number of this layout of the meta tables, kept in `PRAGMA user_version`."""
_ROWS = 1
"""Number of the layout of copies: another one means loading anew, which a backend that is away would make wait."""

_DEEDS = """
CREATE TABLE deed(
  seq INTEGER, position INTEGER, at TEXT NOT NULL, what TEXT NOT NULL, by TEXT NOT NULL, origin TEXT NOT NULL,
  address TEXT NOT NULL, other TEXT NOT NULL, PRIMARY KEY(seq, position)
) WITHOUT ROWID;
CREATE INDEX deed_command ON deed(position, what);
CREATE INDEX command_failed ON command(fingerprint, dismissed, user, backend, state, position) WHERE fingerprint <> '';
"""
_FRESH = """
CREATE TABLE fresh(id INTEGER PRIMARY KEY, table_name TEXT NOT NULL, seq INTEGER NOT NULL, keys TEXT NOT NULL);
CREATE INDEX fresh_seq ON fresh(table_name, seq);
"""
_FRESH_2 = """
INSERT INTO fresh(table_name, seq, keys) SELECT table_name, seq, json_group_array(key) FROM fresh_2 GROUP BY 1, 2;
DROP TABLE fresh_2;
"""
_KEPT = """
CREATE TABLE representation(
  name TEXT, arguments TEXT, etag TEXT NOT NULL, body_id INTEGER NOT NULL, content_type TEXT NOT NULL DEFAULT '',
  position INTEGER NOT NULL, dependencies BLOB, last_good INTEGER NOT NULL DEFAULT 1, error TEXT NOT NULL DEFAULT '',
  user TEXT NOT NULL DEFAULT '', since TEXT NOT NULL DEFAULT '', until TEXT, made_at TEXT NOT NULL,
  used_at TEXT NOT NULL, size INTEGER NOT NULL, PRIMARY KEY(name, arguments)
) WITHOUT ROWID;
CREATE TABLE body(id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TRIGGER body_goes AFTER DELETE ON representation BEGIN DELETE FROM body WHERE id = old.body_id; END;
CREATE INDEX representation_used ON representation(used_at, size);
CREATE INDEX representation_until ON representation(until) WHERE until IS NOT NULL;
CREATE TABLE dependency(
  table_name TEXT, scheme TEXT, value BLOB, name TEXT, arguments TEXT,
  PRIMARY KEY(table_name, scheme, value, name, arguments)
) WITHOUT ROWID;
CREATE INDEX dependency_of ON dependency(name, arguments);
CREATE TABLE pattern(id INTEGER PRIMARY KEY, name TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE cell(id BLOB PRIMARY KEY, table_name TEXT NOT NULL, question BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE cell_total(id BLOB, part BLOB, rows INTEGER NOT NULL, numbers INTEGER NOT NULL, total NOT NULL,
  PRIMARY KEY(id, part)) WITHOUT ROWID;
"""
_MAKING = """
ALTER TABLE representation ADD COLUMN cause INTEGER NOT NULL DEFAULT 0;
ALTER TABLE representation ADD COLUMN took_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE representation ADD COLUMN makes INTEGER NOT NULL DEFAULT 1;
"""
_PUBLISHED = """
CREATE TABLE publication(
  name TEXT, arguments TEXT, place TEXT, view TEXT NOT NULL, key TEXT NOT NULL, due INTEGER NOT NULL DEFAULT 0,
  etag TEXT NOT NULL DEFAULT '', until TEXT, absent TEXT NOT NULL DEFAULT '', error TEXT NOT NULL DEFAULT '',
  PRIMARY KEY(name, arguments, place)
) WITHOUT ROWID;
CREATE UNIQUE INDEX publication_key ON publication(place, key);
CREATE INDEX publication_due ON publication(place, due) WHERE due > 0;
CREATE INDEX publication_until ON publication(place, until) WHERE until IS NOT NULL;
CREATE INDEX publication_absent ON publication(absent) WHERE absent <> '';
CREATE INDEX publication_error ON publication(place, error) WHERE error <> '';
"""
UPGRADES = {
    1: """
ALTER TABLE command ADD COLUMN tables TEXT NOT NULL DEFAULT '';
ALTER TABLE command ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';
"""
    + _DEEDS,
    2: """
ALTER TABLE fresh RENAME TO fresh_2;
"""
    + _FRESH
    + _FRESH_2,
    3: "DROP TABLE representation; DROP TABLE dependency;" + _KEPT,
    4: _MAKING,
    5: _PUBLISHED,
}
"""What makes the next layout of each older one."""

META = (
    """
CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE table_state(
  table_name TEXT PRIMARY KEY, generation INTEGER NOT NULL, loaded INTEGER NOT NULL DEFAULT 0,
  rows INTEGER NOT NULL DEFAULT 0, confirmed_at TEXT, shape BLOB NOT NULL,
  fault TEXT NOT NULL DEFAULT '', loading TEXT NOT NULL DEFAULT '',
  rows_done INTEGER NOT NULL DEFAULT 0, rows_total INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE sample(table_name TEXT PRIMARY KEY, generation INTEGER NOT NULL, grams BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE backend_state(
  name TEXT PRIMARY KEY, state TEXT NOT NULL DEFAULT 'live', since TEXT, confirmed_at TEXT,
  last_error TEXT NOT NULL DEFAULT '', next_try TEXT, rung TEXT NOT NULL DEFAULT '',
  rung_reason TEXT NOT NULL DEFAULT '', facts BLOB
) WITHOUT ROWID;
CREATE TABLE change(
  seq INTEGER PRIMARY KEY, table_name TEXT NOT NULL, key TEXT, before BLOB, after BLOB,
  at TEXT NOT NULL, origin INTEGER, pending_before INTEGER NOT NULL DEFAULT 0, pending_after INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX change_key ON change(table_name, key);
CREATE TABLE command(
  position INTEGER PRIMARY KEY, id TEXT NOT NULL, backend TEXT NOT NULL, user TEXT NOT NULL, at TEXT NOT NULL,
  state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', tries INTEGER NOT NULL DEFAULT 0, next_try TEXT,
  settled_seq INTEGER, settled_at TEXT, dismissed INTEGER NOT NULL DEFAULT 0, theirs BLOB, keys BLOB,
  tables TEXT NOT NULL DEFAULT '', fingerprint TEXT NOT NULL DEFAULT '', payload BLOB NOT NULL
);
CREATE INDEX command_id ON command(id);
CREATE INDEX command_user ON command(user, position);
CREATE INDEX command_state ON command(state, position);
CREATE INDEX command_waiting ON command(backend, position) WHERE state IN ('kept', 'sending');
CREATE INDEX command_settled ON command(settled_at) WHERE settled_at IS NOT NULL;
CREATE TABLE command_count(
  state TEXT, backend TEXT, user TEXT, n INTEGER NOT NULL, PRIMARY KEY(state, backend, user)
) WITHOUT ROWID;
CREATE TABLE overlay(
  table_name TEXT, key TEXT, position INTEGER, ordinal INTEGER, mark INTEGER NOT NULL DEFAULT 0,
  settled_seq INTEGER, before BLOB, after BLOB, PRIMARY KEY(table_name, key, position, ordinal)
) WITHOUT ROWID;
CREATE INDEX overlay_position ON overlay(position);
CREATE INDEX overlay_settled ON overlay(table_name, settled_seq) WHERE settled_seq IS NOT NULL;
CREATE TABLE shadow(table_name TEXT, key TEXT, base BLOB, PRIMARY KEY(table_name, key)) WITHOUT ROWID;
CREATE TABLE renamed(table_name TEXT, old TEXT, key TEXT NOT NULL, PRIMARY KEY(table_name, old)) WITHOUT ROWID;
"""
    + _DEEDS
    + _FRESH
    + _KEPT
    + _MAKING
    + _PUBLISHED
)


def quoted(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def sortable(column: Column) -> bool:
    """Whether lists can be sorted by `column` (it has an index)."""
    return column.kind not in (Kind.BINARY, Kind.JSON)


def collated(column: Column) -> bool:
    """Whether `column` is compared without regard to the case of ASCII letters."""
    return column.kind in (Kind.TEXT, Kind.ANY)


def search_columns(spec: TableSpec) -> tuple[str, ...]:
    """The columns that the search box looks at: texts and the key."""
    return tuple(
        column.name
        for column in spec.columns
        if column.kind in (Kind.TEXT, Kind.ANY) or (column.name in spec.key and column.kind is not Kind.BINARY)
    )


def shape(spec: TableSpec, search: bool) -> bytes:
    """What decides whether kept rows of `spec` can still be used: another shape means loading anew."""
    columns = [[c.name, c.source, c.kind.value, c.scale, c.decoder, c.source_type, sortable(c)] for c in spec.columns]
    return msgspec.msgpack.encode([_ROWS, spec.backend, spec.source_schema, spec.source, columns, spec.key, search])


@dataclass(frozen=True)
class Layout:
    """Names and statements of one generation of one table. `table` and `search` are quoted already."""

    spec: TableSpec
    generation: int
    searchable: bool = True

    @cached_property
    def table_name(self) -> str:
        return f"t_{self.spec.name}:{self.generation}"

    @cached_property
    def table(self) -> str:
        return quoted(self.table_name)

    @cached_property
    def search_name(self) -> str:
        return f"{self.table_name}:search"

    @cached_property
    def search(self) -> str:
        return quoted(self.search_name)

    @cached_property
    def columns(self) -> str:
        return ", ".join(quoted(name) for name in self.spec.names)

    @cached_property
    def select(self) -> str:
        """`SELECT _id, _key, _version, _pending, columns… FROM table`."""
        return f"SELECT _id, _key, _version, _pending, {self.columns} FROM {self.table}"  # noqa: S608

    @cached_property
    def search_columns(self) -> tuple[str, ...]:
        return search_columns(self.spec)

    @cached_property
    def search_places(self) -> tuple[int, ...]:
        """Where the search columns stand among the columns."""
        return tuple(self.spec.names.index(name) for name in self.search_columns)

    @cached_property
    def matching(self) -> str:
        """`select` for the first rows that the search index gives: bind what to match and how many."""
        ids = f"SELECT rowid FROM {self.search} WHERE {self.search} MATCH ? LIMIT ?"  # noqa: S608
        return f"{self.select} WHERE _id IN ({ids})"

    def index(self, column: str) -> str:
        """The quoted name of the index on `column`."""
        return quoted(f"{self.table_name}:{column}")

    def term(self, column: str) -> str:
        """`column` as it is sorted and compared."""
        return quoted(column) + (" COLLATE NOCASE" if collated(self.spec.by_name[column]) else "")

    def create_table(self) -> str:
        return (
            f"CREATE TABLE {self.table}(_id INTEGER PRIMARY KEY, _key TEXT NOT NULL, _version INTEGER NOT NULL, "
            f"_pending INTEGER NOT NULL DEFAULT 0, {self.columns})"
        )

    def create_search(self) -> str:
        return (
            f"CREATE VIRTUAL TABLE {self.search} USING fts5(text, tokenize='trigram case_sensitive 1', detail=none, "
            f"content='', contentless_delete=1)"
        )

    def create_indexes(self) -> list[str]:
        """One statement for each index, the unique one on the key first."""
        statements = [
            f"CREATE UNIQUE INDEX {self.index('_key')} ON {self.table}(_key)",
            f"CREATE INDEX {self.index('_pending')} ON {self.table}(_pending) WHERE _pending > 0",
        ]
        statements += [
            f"CREATE INDEX {self.index(column.name)} ON {self.table}({self.term(column.name)})"
            for column in self.spec.columns
            if sortable(column)
        ]
        return statements

    def show(self) -> list[str]:
        """Statements that make this generation the one that the view `t_T` shows."""
        view = quoted(f"t_{self.spec.name}")
        return [f"DROP VIEW IF EXISTS {view}", f"CREATE VIEW {view} AS SELECT * FROM {self.table}"]  # noqa: S608
