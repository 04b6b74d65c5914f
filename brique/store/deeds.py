"""What people have done about commands, on disk: the table `deed`. Made from the spool's records, like the commands."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import apsw
import msgspec

_CHANGING = (
    (re.compile(r"\([^()]*\)"), "(…)"),
    (re.compile(r"'(?=[^']*[^'\w.])[^']*'"), "'…'"),
    (re.compile(r"\b[0-9A-Fa-f-]{16,}\b"), "#"),
    (re.compile(r"\d+(?:[.,]\d+)*"), "#"),
)
_REASON_LETTERS_MAX = 400
_UNTOLD = (
    "fingerprint <> '' AND dismissed = 0 AND backend <> ? AND NOT EXISTS "
    "(SELECT 1 FROM deed WHERE deed.position = command.position AND what = 'told')"
)


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing done about the command at `position`. `seq`: the spool's record that says so; `at`: a UTC stamp;
    `what`: withdrawn, arrived, not-arrived, dismissed, retried, edited or told; `by` whom; `origin`: form, api, cli;
    `address`: from where ("" unknown); `other`: the receipt of the command that it led to ("" for none)."""

    seq: int
    position: int
    at: str
    what: str
    by: str
    origin: str = ""
    address: str = ""
    other: str = ""


class Deeds:
    """Reads and writes of that table; the writer's transaction, or a reader's snapshot, owns the connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._run: Any = connection.execute  # SQLite's values have no static type

    def add(self, deed: Deed) -> None:
        """Note `deed`; nothing when it is noted already, or the command is not there."""
        self._run(
            "INSERT INTO deed(seq, position, at, what, by, origin, address, other) "
            "SELECT ?, ?, ?, ?, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM command WHERE position = ?) "
            "ON CONFLICT DO NOTHING",
            (
                deed.seq, deed.position, deed.at, deed.what, deed.by, deed.origin, deed.address, deed.other,
                deed.position,
            ),
        )  # fmt: skip

    def of(self, positions: Collection[int]) -> dict[int, list[Deed]]:
        """The deeds of these commands, oldest first; commands without any are missing."""
        found: dict[int, list[Deed]] = {}
        for record in self._run(
            "SELECT seq, position, at, what, by, origin, address, other FROM deed "
            "WHERE position IN (SELECT value FROM json_each(?)) ORDER BY seq, position",
            (msgspec.json.encode(list(positions)).decode(),),
        ):
            found.setdefault(record[1], []).append(Deed(*record))
        return found

    def sent_anew_as(self, position: int) -> str:
        """The receipt of the command that was sent instead of this one; "" when there is none."""
        row = self._run(
            "SELECT other FROM deed WHERE position = ? AND what IN ('retried', 'edited') ORDER BY seq LIMIT 1",
            (position,),
        ).fetchone()
        return str(row[0]) if row else ""

    def untold_authors(self, but: str, limit: int) -> list[str]:
        """Who has commands that need a person, and was not told of all of them; those of backend `but` do not count."""
        found = self._run(
            f"SELECT DISTINCT user FROM command INDEXED BY command_failed WHERE {_UNTOLD} ORDER BY user LIMIT ?",  # noqa: S608
            (but, limit),
        )
        return [str(user) for (user,) in found]

    def untold(self, author: str, but: str, limit: int) -> list[int]:
        """The positions of those commands of one author, oldest first."""
        found = self._run(
            f"SELECT position FROM command INDEXED BY command_failed WHERE {_UNTOLD} AND user = ? "  # noqa: S608
            "ORDER BY position LIMIT ?",
            (but, author, limit),
        )
        return [position for (position,) in found]

    def told_at(self) -> dict[str, str]:
        """When each author was told last, a UTC stamp."""
        return dict(self._run("SELECT by, max(at) FROM deed WHERE what = 'told' GROUP BY by").fetchall())


def fingerprint(reason: str) -> str:
    """What failures of one cause have in common: a short text, equal for reasons that differ in values only."""
    plain = reason[:_REASON_LETTERS_MAX]
    for changing, instead in _CHANGING:
        plain = changing.sub(instead, plain)
    return blake2b(" ".join(plain.split()).encode(), digest_size=6).hexdigest()
