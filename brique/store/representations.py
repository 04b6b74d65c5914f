"""Ready bytes: what views and pages have made, by name and arguments, and what each of them depends on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import msgspec

from brique.store.publications import USED_ALWAYS

_Value = bytes
_OF_IDENTITIES = (
    "SELECT r.arguments FROM json_each(?) j CROSS JOIN representation r "
    "WHERE r.name = ? AND r.arguments >= j.value AND r.arguments < j.value || ' '"
)
_FIELDS = "name, arguments, etag, content_type, position, dependencies, last_good, error, user, until, made_at, since"
_CAUSE = "CASE WHEN cause > position THEN cause WHEN until <= excluded.made_at THEN -1 ELSE cause END"  # see `Making`


@dataclass(frozen=True, slots=True)
class Representation:
    """Bytes for one name and arguments. `position`: the store position they were made at.

    `last_good` false: the view failed since (`error`), the body is the last good one. `until`: a UTC stamp after which
    it counts as absent, `since` one before which it does. `user`: whose it is, when the view asked. `dependencies`: the
    views room's own notes; None when it is absent, its last good bytes apart.
    """

    name: str
    arguments: str
    etag: str
    body: bytes
    position: int
    made_at: str
    content_type: str = ""
    dependencies: bytes | None = None
    last_good: bool = True
    error: str = ""
    user: str = ""
    until: str | None = None
    since: str = ""
    took_us: int = 0


@dataclass(frozen=True, slots=True)
class Making:
    """How bytes came about. `took_us`: the last time, in microseconds. `makes`: how often since they are kept.

    `cause`: the number of the change that has let go of them (beyond their position: of these very bytes; else of those
    before them), BY_CLOCK, or NEVER. `used_at`: when a use was last told.
    """

    took_us: int
    makes: int
    cause: int
    used_at: str
    size: int


BY_CLOCK, NEVER = -1, 0


@dataclass(frozen=True, slots=True)
class Sign:
    """One representation without its bytes. `absent`: out of date, with its last bytes still there."""

    etag: str
    last_good: bool
    absent: bool
    made_at: str
    until: str | None


@dataclass(frozen=True, slots=True)
class Dependency:
    """`name(arguments)` read rows of `table` where `scheme` holds `value` (both in the views room's words)."""

    table: str
    scheme: str
    value: bytes
    name: str
    arguments: str


class Representations:
    """The representations on one connection; writes only inside the writer's transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._run: Any = connection.execute  # SQLite's values have no static type

    def get(self, name: str, arguments: str) -> Representation | None:
        record = self._run(
            f"SELECT {_FIELDS}, body FROM representation r JOIN body b ON b.id = r.body_id "  # noqa: S608
            "WHERE name = ? AND arguments = ?",
            (name, arguments),
        ).fetchone()
        if record is None:
            return None
        name, arguments, etag, content_type, position, notes, good, error, user, until, made_at, since, body = record
        return Representation(
            name, arguments, etag, body, position, made_at, content_type, notes, bool(good), error, user, until, since
        )

    def making(self, name: str, arguments: str) -> Making | None:
        """How the bytes of `name(arguments)` came about."""
        row = self._run(
            "SELECT took_us, makes, cause, used_at, length(body) FROM representation r JOIN body b ON b.id = r.body_id "
            "WHERE name = ? AND arguments = ?",
            (name, arguments),
        ).fetchone()
        return None if row is None else Making(*row)

    def etag(self, name: str, arguments: str) -> str | None:
        row = self._run(
            "SELECT etag FROM representation WHERE name = ? AND arguments = ?", (name, arguments)
        ).fetchone()
        return str(row[0]) if row else None

    def sign(self, name: str, arguments: str) -> Sign | None:
        """What there is to know of one besides its bytes."""
        row = self._run(
            "SELECT etag, last_good, dependencies IS NULL, made_at, until FROM representation "
            "WHERE name = ? AND arguments = ?",
            (name, arguments),
        ).fetchone()
        return None if row is None else Sign(row[0], bool(row[1]), bool(row[2]), row[3], row[4])

    def of(self, name: str, limit: int = 1000) -> list[str]:
        """Arguments for which bytes of `name` are kept, at most `limit`."""
        found = self._run("SELECT arguments FROM representation WHERE name = ? LIMIT ?", (name, limit))
        return [str(row[0]) for row in found]

    def identities(self, name: str, arguments: str, limit: int) -> list[str]:
        """At most `limit` identities for these arguments, ready or not: for everybody, and for one user each."""
        found = self._run(
            "SELECT arguments FROM representation WHERE name = ? AND arguments >= ? AND arguments < ? LIMIT ?",
            (name, arguments, arguments + " ", limit),
        )
        return [str(row[0]) for row in found]

    def put(self, made: Representation, dependencies: Iterable[Dependency] | None = None) -> None:
        """Keep `made` in place of what was there; `dependencies`, when given, replace the old ones."""
        found = self._run(
            "SELECT body_id FROM representation WHERE name = ? AND arguments = ?", (made.name, made.arguments)
        ).fetchone()
        if found is None:
            self._run("INSERT INTO body(body) VALUES (?)", (made.body,))
            body_id = self._connection.last_insert_rowid()
        else:
            body_id = found[0]
            self._run("UPDATE body SET body = ? WHERE id = ?", (made.body, body_id))
        size = len(made.body) + len(made.dependencies or b"") + len(made.arguments) + 100
        self._run(
            f"INSERT INTO representation({_FIELDS}, used_at, size, body_id, took_us) "  # noqa: S608
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            f"ON CONFLICT DO UPDATE SET cause = {_CAUSE}, makes = makes + 1, took_us = excluded.took_us, "
            "etag = excluded.etag, "
            "content_type = excluded.content_type, position = excluded.position, "
            "dependencies = excluded.dependencies, last_good = excluded.last_good, error = excluded.error, "
            "user = excluded.user, until = excluded.until, made_at = excluded.made_at, since = excluded.since, "
            "used_at = excluded.used_at, size = excluded.size",
            (
                made.name, made.arguments, made.etag, made.content_type, made.position, made.dependencies,
                int(made.last_good), made.error, made.user, made.until, made.made_at, made.since, made.made_at, size,
                body_id, made.took_us,
            ),
        )  # fmt: skip
        if dependencies is not None:
            self.depend(made.name, made.arguments, dependencies)

    def failed(self, name: str, arguments: str, error: str, position: int) -> None:
        """Note that the view failed at `position`; the last good bytes stay."""
        self._run(
            "UPDATE representation SET last_good = 0, error = ?, position = ? WHERE name = ? AND arguments = ?",
            (error, position, name, arguments),
        )

    def touch(self, used: Iterable[tuple[str, str]], at: str) -> None:
        """Note that these (name, arguments) were read, for the eviction to spare them."""
        self._connection.executemany(
            "UPDATE representation SET used_at = ? WHERE name = ? AND arguments = ? AND used_at < ?",
            [(at, name, arguments, at) for name, arguments in used],
        )

    def drop(self, name: str, arguments: str) -> bool:
        """Forget one; true when it was there."""
        self._run("DELETE FROM representation WHERE name = ? AND arguments = ?", (name, arguments))
        gone = self._connection.changes() > 0
        self._run("DELETE FROM dependency WHERE name = ? AND arguments = ?", (name, arguments))
        return gone

    def drop_many(self, pairs: Sequence[tuple[str, str]]) -> int:
        """Forget many; how many were there."""
        gone = 0
        for pair in pairs:
            self._run("DELETE FROM representation WHERE name = ? AND arguments = ?", pair)
            gone += self._connection.changes()
        self._connection.executemany("DELETE FROM dependency WHERE name = ? AND arguments = ?", pairs)
        return gone

    def drop_where(self, name: str, arguments_query: str, bound: Sequence[object] = ()) -> int:
        """Forget those of `name` whose arguments an SQL query gives: one statement however many there are."""
        self._run(
            f"DELETE FROM representation WHERE name = ? AND arguments IN ({arguments_query})",  # noqa: S608
            (name, *bound),
        )
        return self._connection.changes()

    def drop_all(self, names: Collection[str] | None = None) -> None:
        """Forget all, or all of some names."""
        if names is None:
            self._run("DELETE FROM representation; DELETE FROM dependency; DELETE FROM cell; DELETE FROM cell_total")
            return
        pairs = [(name,) for name in names]
        self._connection.executemany("DELETE FROM representation WHERE name = ?", pairs)
        self._connection.executemany("DELETE FROM dependency WHERE name = ?", pairs)
        self._connection.executemany("DELETE FROM pattern WHERE name = ?", pairs)

    def drop_expired(self, now: str, limit: int = 1000) -> list[tuple[str, str]]:
        """Forget up to `limit` whose `until` has passed; which they were."""
        found = self._run(
            "SELECT name, arguments FROM representation WHERE until <= ? LIMIT ?", (now, limit)
        ).fetchall()
        self.drop_many(found)
        return [(str(name), str(arguments)) for name, arguments in found]

    def bytes(self) -> int:
        """What all of them take, roughly, but for those that are published."""
        row = self._run(
            "SELECT coalesce(sum(size), 0) FROM representation WHERE used_at < ?", (USED_ALWAYS,)
        ).fetchone()
        return int(row[0])

    def evict(self, bytes_max: int, *, batch: int = 500) -> int:
        """Forget the longest unused until at most `bytes_max` are left; how many went. Those that are published stay:
        where they are kept outside, they would have to be made anew at once."""
        left, gone = self.bytes(), 0
        while left > bytes_max:
            found = self._run(
                "SELECT name, arguments, size FROM representation WHERE used_at < ? ORDER BY used_at LIMIT ?",
                (USED_ALWAYS, batch),
            ).fetchall()
            victims = []
            for name, arguments, size in found:
                if left <= bytes_max:
                    break
                victims.append((name, arguments))
                left -= size
            if not victims:
                break
            gone += self.drop_many(victims)
        return gone

    def depend(self, name: str, arguments: str, dependencies: Iterable[Dependency]) -> None:
        """Replace what `name(arguments)` depends on."""
        self._run("DELETE FROM dependency WHERE name = ? AND arguments = ?", (name, arguments))
        self._connection.executemany(
            "INSERT OR IGNORE INTO dependency(table_name, scheme, value, name, arguments) VALUES (?, ?, ?, ?, ?)",
            [(d.table, d.scheme, d.value, name, arguments) for d in dependencies],
        )

    def add_dependencies(self, dependencies: Iterable[Dependency]) -> None:
        self._connection.executemany(
            "INSERT OR IGNORE INTO dependency(table_name, scheme, value, name, arguments) VALUES (?, ?, ?, ?, ?)",
            [(d.table, d.scheme, d.value, d.name, d.arguments) for d in dependencies],
        )

    def depending(self, table: str, scheme: str, values: Collection[_Value]) -> list[tuple[str, str]]:
        """(name, arguments) of those that depend on any of these values, each once."""
        found: dict[tuple[str, str], None] = {}
        for value in values:
            for pair in self._run(
                "SELECT name, arguments FROM dependency WHERE table_name = ? AND scheme = ? AND value = ?",
                (table, scheme, value),
            ):
                found[pair] = None
        return list(found)

    def schemes(self, table: str) -> list[str]:
        """The schemes in use on a table."""
        # A loose scan of the primary key: one probe for each scheme, however many dependencies there are.
        found = self._run(
            "WITH RECURSIVE s(scheme) AS (SELECT min(scheme) FROM dependency WHERE table_name = ?1 UNION ALL "
            "SELECT (SELECT min(scheme) FROM dependency WHERE table_name = ?1 AND scheme > s.scheme) FROM s "
            "WHERE s.scheme IS NOT NULL) SELECT scheme FROM s WHERE scheme IS NOT NULL",
            (table,),
        )
        return [str(row[0]) for row in found]

    def entries(self, table: str, scheme: str, limit: int) -> list[_Value]:
        """At most so many of the values of a scheme that anything depends on."""
        found = self._run(
            "SELECT DISTINCT value FROM dependency WHERE table_name = ? AND scheme = ? LIMIT ?", (table, scheme, limit)
        )
        return [row[0] for row in found]

    def depending_on_table(self, table: str) -> list[tuple[str, str]]:
        """(name, arguments) of those that depend on anything of a table, each once."""
        found = self._run("SELECT DISTINCT name, arguments FROM dependency WHERE table_name = ?", (table,))
        return [(str(name), str(arguments)) for name, arguments in found]

    def let_go_of(self, name: str, arguments: str, cause: int) -> None:
        """`let_go` of one of which no dependency is stored."""
        self._run(
            "UPDATE representation SET dependencies = NULL, cause = ? WHERE name = ? AND arguments = ?",
            (cause, name, arguments),
        )

    def let_go(self, pairs: Iterable[tuple[str, str]], cause: int = NEVER) -> None:
        """Mark as absent: out of date, but their last good bytes stay until they are replaced or evicted. `cause`: the
        number of the change."""
        pairs = list(pairs)
        self._connection.executemany(
            "UPDATE representation SET dependencies = NULL, cause = ? WHERE name = ? AND arguments = ?",
            [(cause, *pair) for pair in pairs],
        )
        self._connection.executemany("DELETE FROM dependency WHERE name = ? AND arguments = ?", pairs)

    def let_go_set(self, name: str, identities: Sequence[str] | None = None, cause: int = NEVER) -> None:
        """Mark as absent all of `name`, or those with these arguments for any user: one statement however many."""
        which, bound = "name = ?", [name]
        if identities is not None:
            which += f" AND arguments IN ({_OF_IDENTITIES})"
            bound += [msgspec.json.encode(identities).decode(), name]
        self._run(f"DELETE FROM dependency WHERE {which}", bound)  # noqa: S608
        self._run(
            f"UPDATE representation SET dependencies = NULL, cause = ? WHERE {which} AND dependencies IS NOT NULL",  # noqa: S608
            (cause, *bound),
        )

    def let_go_dependents(self, table: str, scheme: str, value: _Value, cause: int = NEVER) -> None:
        """Mark as absent all that depend on this value: one statement however many there are."""
        self._run(
            "UPDATE representation SET dependencies = NULL, cause = ? WHERE (name, arguments) IN "
            "(SELECT name, arguments FROM dependency WHERE table_name = ? AND scheme = ? AND value = ?)",
            (cause, table, scheme, value),
        )

    def ready(self, name: str, arguments: str) -> list[tuple[str, _Value]]:
        """(arguments, dependencies) of what is not absent: of these arguments, for any user."""
        found = self._run(
            "SELECT arguments, dependencies FROM representation "
            "WHERE name = ? AND arguments >= ? AND arguments < ? AND dependencies IS NOT NULL",
            (name, arguments, arguments + " "),  # the user, if any, follows after a character below the blank
        )
        return found.fetchall()  # type: ignore[no-any-return]  # SQLite's values have no static type

    def ready_of(self, name: str, limit: int) -> list[tuple[str, _Value]]:
        """(arguments, dependencies) of at most `limit` of a name that are not absent."""
        found = self._run(
            "SELECT arguments, dependencies FROM representation WHERE name = ? AND dependencies IS NOT NULL LIMIT ?",
            (name, limit),
        )
        return found.fetchall()  # type: ignore[no-any-return]  # likewise

    def dependencies(self, name: str, arguments: str) -> _Value | None:
        """The notes of one that is not absent."""
        found = self._run(
            "SELECT dependencies FROM representation WHERE name = ? AND arguments = ?", (name, arguments)
        ).fetchone()
        return found[0] if found else None

    def patterns(self) -> list[tuple[int, _Value]]:
        """What was learned of the dependencies of whole views: (number, the views room's own words)."""
        return self._run("SELECT id, body FROM pattern ORDER BY id").fetchall()  # type: ignore[no-any-return]  # likewise

    def put_pattern(self, number: int, name: str, body: _Value) -> None:
        self._run("INSERT OR REPLACE INTO pattern(id, name, body) VALUES (?, ?, ?)", (number, name, body))

    def cells(self) -> list[_Value]:
        """The totals that are kept, in the views room's own words."""
        return [raw for (raw,) in self._run("SELECT question FROM cell")]

    def put_cell(self, cell: _Value, table: str, question: _Value) -> None:
        self._run("INSERT INTO cell(id, table_name, question) VALUES (?, ?, ?)", (cell, table, question))
        self.put_total(cell, b"", 0, 0, 0)  # says that it is there, when nothing is to be counted

    def put_total(self, cell: _Value, part: _Value, rows: int, numbers: int, total: int) -> None:
        kept = total if -(2**63) <= total < 2**63 else str(total)
        self._run(
            "INSERT OR REPLACE INTO cell_total(id, part, rows, numbers, total) VALUES (?, ?, ?, ?, ?)",
            (cell, part, rows, numbers, kept),
        )

    def add_to_total(self, cell: _Value, part: _Value, rows: int, numbers: int, total: int) -> None:
        """A group without rows is no group any more."""
        found = self._run(
            "SELECT rows, numbers, total FROM cell_total WHERE id = ? AND part = ?", (cell, part)
        ).fetchone() or (0, 0, 0)
        if part and found[0] + rows == 0:
            self._run("DELETE FROM cell_total WHERE id = ? AND part = ?", (cell, part))
        else:
            self.put_total(cell, part, found[0] + rows, found[1] + numbers, int(found[2]) + total)

    def totals(self, cell: _Value) -> list[tuple[_Value, int, int, int]]:
        """(part, rows, numbers, total) of a cell; nothing when it is not kept."""
        found = self._run("SELECT part, rows, numbers, total FROM cell_total WHERE id = ?", (cell,))
        return [(part, rows, numbers, int(total)) for part, rows, numbers, total in found]

    def drop_cells(self, tables: Collection[str]) -> None:
        for table in tables:
            self._run("DELETE FROM cell_total WHERE id IN (SELECT id FROM cell WHERE table_name = ?)", (table,))
            self._run("DELETE FROM cell WHERE table_name = ?", (table,))

    def drop_cells_of(self, cells: Sequence[_Value]) -> None:
        """Forget these."""
        own = [(cell,) for cell in cells]
        self._connection.executemany("DELETE FROM cell_total WHERE id = ?", own)
        self._connection.executemany("DELETE FROM cell WHERE id = ?", own)

    def hold_until(self, name: str, arguments: str, until: str, cause: int = NEVER) -> None:
        """Count one as absent from the UTC stamp `until` on, because of the change numbered `cause`."""
        self._run(
            "UPDATE representation SET until = ?, cause = ? WHERE name = ? AND arguments = ?",
            (until, cause, name, arguments),
        )

    def names(self) -> list[str]:
        """The names under which bytes are kept."""
        # A loose scan of the primary key: one probe for each name.
        found = self._run(
            "WITH RECURSIVE s(name) AS (SELECT min(name) FROM representation UNION ALL "
            "SELECT (SELECT min(name) FROM representation WHERE name > s.name) FROM s WHERE s.name IS NOT NULL) "
            "SELECT name FROM s WHERE name IS NOT NULL"
        )
        return [str(row[0]) for row in found]
