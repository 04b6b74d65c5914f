"""What is to be kept at places outside: one line for each representation and place, and whether it is due there.

Theory of operation. A line is *due* (a moment, in milliseconds) from when its representation is let go of until the
place has the bytes of one that is ready here, with the same ETag. Triggers on `representation` make it due, in the
transaction that lets go, whoever does it and why; what happened before they were made is found by comparing ETags.
There is one line for each key, however often it changes while a place is away: what is sent is what holds when it is
sent. A line whose key begins with `*` is a *list*: due when it has to be found out anew which arguments there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import msgspec

_NOW = "brique_milliseconds()"
_LINE = "name = old.name AND arguments = old.arguments"
_TRIGGERS = {
    "publication_let_go": f"""
AFTER UPDATE OF dependencies ON main.representation WHEN new.dependencies IS NULL BEGIN
  UPDATE publication SET due = {_NOW} WHERE {_LINE} AND (due = 0 OR due > {_NOW}); END""",  # noqa: S608
    "publication_dropped": f"""
AFTER DELETE ON main.representation BEGIN
  UPDATE publication SET due = {_NOW} WHERE {_LINE} AND (due = 0 OR due > {_NOW}); END""",  # noqa: S608
    "publication_held": f"""
AFTER UPDATE OF until ON main.representation BEGIN
  UPDATE publication SET until = new.until WHERE {_LINE} AND until IS NOT new.until; END""",  # noqa: S608
}
_READY = (
    "EXISTS (SELECT 1 FROM representation r WHERE r.name = p.name AND r.arguments = p.arguments "
    "AND r.dependencies IS NOT NULL AND r.etag = p.etag)"
)
_IS_KEY = "key >= 'A'"  # no name of a view begins with a sign before the letters, as a list's key does
_FIELDS = "name, arguments, place, view, key, due, etag, until, absent, error"
USED_ALWAYS = "9"
"""A `used_at` of representations that are published: room is never made at their cost."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One line. `etag`: of the bytes that the place has ("" none). `until`: a UTC stamp at which it becomes due.
    `absent`: tables, as JSON, on whose rows it depends that there is nothing. `error`: why it could not be made."""

    name: str
    arguments: str
    place: str
    view: str
    key: str
    due: int = 0
    etag: str = ""
    until: str | None = None
    absent: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class PlaceState:
    """How much is kept at a place, and how much of it is due. `oldest_due`: since when, in milliseconds; 0 nothing."""

    keys: int
    due: int
    oldest_due: int
    faults: int
    error: str


class Publications:
    """The lines on one connection; writes only inside the writer's transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._run: Any = connection.execute  # SQLite's values have no static type

    # reading

    def due(self, place: str, now: int, limit: int) -> list[Publication]:
        """Of the lines due by now those that have waited longest; lists are left out."""
        found = self._run(
            f"SELECT {_FIELDS} FROM publication INDEXED BY publication_due "  # noqa: S608
            f"WHERE place = ? AND due > 0 AND due <= ? AND {_IS_KEY} ORDER BY due LIMIT ?",
            (place, now, limit),
        )
        return [Publication(*line) for line in found]

    def lists(self, place: str) -> list[Publication]:
        """The lists of a place."""
        found = self._run(f"SELECT {_FIELDS} FROM publication WHERE place = ? AND key < 'A'", (place,))  # noqa: S608
        return [Publication(*line) for line in found]

    def expired(self, place: str, now: str) -> bool:
        """Whether the clock has ended any."""
        found = self._run("SELECT 1 FROM publication WHERE place = ? AND until <= ? LIMIT 1", (place, now))
        return found.fetchone() is not None

    def known(self, name: str, arguments: Sequence[str], place: str) -> set[str]:
        """Those of these arguments for which there is a line."""
        found = self._run(
            "SELECT p.arguments FROM json_each(?) j CROSS JOIN publication p "
            "ON p.name = ? AND p.arguments = j.value AND p.place = ?",
            (msgspec.json.encode(arguments).decode(), name, place),
        )
        return {str(known) for (known,) in found}

    def by_keys(self, place: str, keys: Sequence[str]) -> dict[str, Publication]:
        """The lines of these keys, by key."""
        found = self._run(
            f"SELECT {_FIELDS} FROM publication WHERE place = ? "  # noqa: S608
            "AND key IN (SELECT value FROM json_each(?))",
            (place, msgspec.json.encode(keys).decode()),
        )
        return {line[4]: Publication(*line) for line in found}

    def next_due(self, place: str) -> int:
        """When the next line is due; 0: none is."""
        return int(
            self._run("SELECT min(due) FROM publication WHERE place = ? AND due > 0", (place,)).fetchone()[0] or 0
        )

    def count(self, place: str) -> int:
        """How many keys there are, lists not counted."""
        query = f"SELECT count(*) FROM publication WHERE place = ? AND {_IS_KEY}"  # noqa: S608
        return int(self._run(query, (place,)).fetchone()[0])

    def state(self, place: str, now: int) -> PlaceState:
        """Counts of one place; lists are not counted."""
        keys = self.count(place)
        due, oldest = self._run(
            "SELECT count(*), min(due) FROM publication WHERE place = ? AND due > 0 AND (error = '' OR due <= ?)",
            (place, now),
        ).fetchone()
        faults, error = self._run(
            "SELECT count(*), min(error) FROM publication WHERE place = ? AND error <> ''", (place,)
        ).fetchone()
        return PlaceState(keys, due, min(oldest or 0, now), faults, error or "")

    def of(self, place: str, after: str = "", limit: int = 500, view: str = "") -> list[Publication]:
        """The lines of a place in the order of their keys, past key `after`; lists are left out."""
        found = self._run(
            f"SELECT {_FIELDS} FROM publication WHERE place = ?1 AND key > ?2 AND {_IS_KEY} "  # noqa: S608
            "AND (?4 = '' OR view = ?4) ORDER BY key LIMIT ?3",
            (place, after, limit, view),
        )
        return [Publication(*line) for line in found]

    def pages(self, place: str, view: str = "") -> Iterator[list[Publication]]:
        """All of them, a page at a time; each is read when it is asked for."""
        after = ""
        while lines := self.of(place, after, view=view):
            yield lines
            after = lines[-1].key

    def views_of(self, place: str) -> dict[str, int]:
        """How many keys of each view."""
        found = self._run(
            f"SELECT view, count(*) FROM publication WHERE place = ? AND {_IS_KEY} GROUP BY view ORDER BY view",  # noqa: S608
            (place,),
        )
        return {str(view): int(count) for view, count in found}

    # writing

    def follow(self, now: Callable[[], int]) -> None:
        """Make the triggers, of this connection alone: an intranet that publishes nothing has none. `now` gives the
        milliseconds."""
        self._connection.create_scalar_function("brique_milliseconds", lambda *_: now(), 0, flags=apsw.SQLITE_INNOCUOUS)
        for name, body in _TRIGGERS.items():
            self._run(f"CREATE TEMP TRIGGER IF NOT EXISTS {name} {body}")

    def add(self, lines: Iterable[Publication]) -> None:
        """Add lines; one that is there stays as it is."""
        self._connection.executemany(
            f"INSERT OR IGNORE INTO publication({_FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            [
                (o.name, o.arguments, o.place, o.view, o.key, o.due, o.etag, o.until, o.absent, o.error)
                for o in lines
            ],
        )  # fmt: skip

    def make_due(self, name: str, arguments: str, now: int) -> None:
        """At whatever places it is."""
        self._run(
            "UPDATE publication SET due = ?1 WHERE name = ?2 AND arguments = ?3 AND (due = 0 OR due > ?1)",
            (now, name, arguments),
        )

    def make_list_due(self, view: str, now: int) -> None:
        """At whatever places; later than before, so that it is seen that this is another time."""
        self._run("UPDATE publication SET due = max(?, due + 1) WHERE view = ? AND key = '*' || ?2", (now, view))

    def doubt(self, name: str, arguments: str, place: str, now: int) -> None:
        """Send it again, whatever was sent before."""
        self._run(
            "UPDATE publication SET due = ?, etag = '' WHERE name = ? AND arguments = ? AND place = ?",
            (now, name, arguments, place),
        )

    def make_all_due(self, now: int, place: str, view: str = "") -> int:
        """All of a place, or of one view there, lists included; how many keys."""
        self._run(
            "UPDATE publication SET due = ?1, etag = '', error = '' WHERE place = ?2 AND (?3 = '' OR view = ?3)",
            (now, place, view),
        )
        query = f"SELECT count(*) FROM publication WHERE place = ?1 AND (?2 = '' OR view = ?2) AND {_IS_KEY}"  # noqa: S608
        return int(self._run(query, (place, view)).fetchone()[0])

    def make_expired_due(self, place: str, now: int, stamp: str) -> None:
        self._run("UPDATE publication SET due = ?, until = NULL WHERE place = ? AND until <= ?", (now, place, stamp))

    def make_doubtful_due(self, now: int) -> int:
        """All whose representation is not ready with the bytes that the place has; how many. For a start."""
        self._run(f"UPDATE publication AS p SET due = ? WHERE due = 0 AND {_IS_KEY} AND NOT {_READY}", (now,))  # noqa: S608
        return self._connection.changes()

    def make_absent_due(self, tables: Iterable[str], now: int) -> None:
        """Those of which there is nothing, and that may be there after a change in these tables."""
        self._run(
            "UPDATE publication SET due = ?, absent = '' WHERE absent <> '' AND EXISTS "
            "(SELECT 1 FROM json_each(absent) a, json_each(?) t WHERE a.value = t.value)",
            (now, msgspec.json.encode(list(tables)).decode()),
        )

    def rename(self, view: str, name: str, now: int) -> None:
        """What was made by older code is made anew, under its new name."""
        old = f"view = ? AND {_IS_KEY} AND name <> ?"
        self._run(f"UPDATE OR REPLACE publication SET name = ?, due = ? WHERE {old}", (name, now, view, name))  # noqa: S608

    def sent(self, name: str, arguments: str, place: str, etag: str) -> bool:
        """The place has these bytes; whether nothing is due any more. It still is when the representation is not ready
        here with the same ETag: it was let go of meanwhile."""
        self._run(
            "UPDATE publication SET etag = ?, error = '', absent = '' WHERE name = ? AND arguments = ? AND place = ?",
            (etag, name, arguments, place),
        )
        self._run(
            "UPDATE publication AS p SET due = 0, until = (SELECT until FROM representation r "  # noqa: S608
            "WHERE r.name = p.name AND r.arguments = p.arguments) "
            f"WHERE name = ? AND arguments = ? AND place = ? AND {_READY}",
            (name, arguments, place),
        )
        is_done = self._connection.changes() > 0
        if is_done:
            self._run(
                "UPDATE representation SET used_at = ? WHERE name = ? AND arguments = ?", (USED_ALWAYS, name, arguments)
            )
        return is_done

    def waits(
        self, name: str, arguments: str, place: str, *, due: int, absent: str, error: str, is_removed: bool
    ) -> None:
        """There is nothing to send, because of what is (not) in the tables of `absent`, or of an `error`; it is looked
        at again at `due` (0: when these change)."""
        self._run(
            "UPDATE publication SET due = ?, absent = ?, error = ?, until = NULL, etag = iif(?, '', etag) "
            "WHERE name = ? AND arguments = ? AND place = ?",
            (due, absent, error, is_removed, name, arguments, place),
        )

    def put_list(self, line: Publication) -> None:
        """Have a list, in place of the one that older code has made."""
        self._run(
            "DELETE FROM publication WHERE place = ? AND key = ? AND name <> ?", (line.place, line.key, line.name)
        )
        self.add([line])

    def listed(self, name: str, arguments: str, place: str, began: int) -> None:
        """The list of a table was brought in line with its keys, as they were at moment `began` or later."""
        self._run(
            "UPDATE publication SET due = 0, error = '' WHERE name = ? AND arguments = ? AND place = ? AND due <= ?",
            (name, arguments, place, began),
        )

    def remove(self, name: str, arguments: str, place: str) -> None:
        """Keep it there no more; room may be made at its cost again."""
        self._run("DELETE FROM publication WHERE name = ? AND arguments = ? AND place = ?", (name, arguments, place))
        self._run(
            "UPDATE representation SET used_at = made_at WHERE name = ? AND arguments = ? AND used_at = ?",
            (name, arguments, USED_ALWAYS),
        )

    def keep_only(self, pairs: Sequence[tuple[str, str]], now: int) -> None:
        """Make due, under a name that no view has, what is published no more: it is to be removed. `pairs`: (place,
        view) that are."""
        known = msgspec.json.encode([f"{place} {view}" for place, view in pairs]).decode()
        rest = "place || ' ' || view NOT IN (SELECT value FROM json_each(?))"
        self._run(f"DELETE FROM publication WHERE key < 'A' AND {rest}", (known,))  # noqa: S608
        self._run(
            f"UPDATE OR REPLACE publication SET name = view || '!', due = ? WHERE {rest} AND name <> view || '!'",  # noqa: S608
            (now, known),
        )

    def remove_places(self, places: Iterable[str]) -> list[str]:
        """Forget all of places that are not among these; which they were."""
        known = msgspec.json.encode(list(places)).decode()
        gone = "place NOT IN (SELECT value FROM json_each(?))"
        found = [str(place) for (place,) in self._run(f"SELECT DISTINCT place FROM publication WHERE {gone}", (known,))]  # noqa: S608
        if found:
            self._run(f"DELETE FROM publication WHERE {gone}", (known,))  # noqa: S608
        return found
