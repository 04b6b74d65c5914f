"""What pending commands have laid over which rows, on disk: the tables `overlay`, `shadow`, `renamed`, `fresh`.

A key has a shadow (its source row, or none) exactly while at least one change is laid over it. A change with `mark` set
is no longer laid; it only says that a person must look at the row. `fresh` remembers keys whose rows were read back
after a refresh may have begun, so that this refresh does not put older rows over them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apsw
import msgspec

from brique.schema import Row
from brique.store.overlay import Laid

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def packed(row: Row | None) -> bytes | None:
    return None if row is None else _encode(row)


def unpacked(blob: bytes | None) -> Row | None:
    return None if blob is None else _decode(blob)


class Ledger:
    """Reads and writes of those tables; the writer's transaction owns the connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._run: Any = connection.execute  # SQLite's values have no static type
        self._changes = connection.changes

    def add(self, table: str, key: str, laid: Laid) -> None:
        self._run(
            "INSERT INTO overlay(table_name, key, position, ordinal, before, after) VALUES (?, ?, ?, ?, ?, ?)",
            (table, key, laid.position, laid.ordinal, packed(laid.before), packed(laid.after)),
        )

    def over(self, table: str, key: str) -> tuple[list[Laid], bool]:
        """The changes laid over a key, in order, and whether a person must look at it."""
        laid, marked = [], False
        for position, ordinal, mark, before, after in self._run(
            "SELECT position, ordinal, mark, before, after FROM overlay WHERE table_name = ? AND key = ? "
            "ORDER BY position, ordinal",
            (table, key),
        ):
            if mark:
                marked = True
            else:
                laid.append(Laid(position, ordinal, unpacked(before), unpacked(after)))
        return laid, marked

    def keys_of(self, position: int) -> list[tuple[str, str]]:
        """(table, key) of what the command at `position` has laid or marked, each once."""
        found = self._run("SELECT DISTINCT table_name, key FROM overlay WHERE position = ?", (position,))
        return [(table, key) for table, key in found]

    def keys_in(self, table: str) -> set[str]:
        """Keys of a table with anything laid over them or marked."""
        return {key for (key,) in self._run("SELECT DISTINCT key FROM overlay WHERE table_name = ?", (table,))}

    def settled(self, position: int, seq: int | None) -> None:
        self._run("UPDATE overlay SET settled_seq = ? WHERE position = ?", (seq, position))

    def lift(self, position: int) -> None:
        self._run("DELETE FROM overlay WHERE position = ?", (position,))

    def mark(self, position: int) -> None:
        self._run("UPDATE overlay SET mark = 1, settled_seq = NULL WHERE position = ?", (position,))

    def lift_applied(self, position: int) -> list[tuple[str, str]]:
        """Lift what an applied command has laid; the (table, key) it was laid over."""
        found = self._run(
            "DELETE FROM overlay WHERE position = ? AND settled_seq IS NOT NULL RETURNING table_name, key", (position,)
        ).fetchall()
        return [(table, key) for table, key in found]

    def lift_applied_over(self, table: str, key: str) -> bool:
        """Lift what applied commands have laid over a key; whether there was any."""
        self._run("DELETE FROM overlay WHERE table_name = ? AND key = ? AND settled_seq IS NOT NULL", (table, key))
        return bool(self._changes())

    def lift_settled(self, table: str, upto: int) -> set[str]:
        """Lift what commands applied by settlement number `upto` have laid in `table`; the keys."""
        found = self._run(
            "DELETE FROM overlay WHERE table_name = ? AND settled_seq <= ? RETURNING key", (table, upto)
        ).fetchall()
        return {key for (key,) in found}

    def shadow(self, table: str, key: str) -> tuple[bool, Row | None]:
        """Whether the key has a shadow, and the source row in it."""
        row = self._run("SELECT base FROM shadow WHERE table_name = ? AND key = ?", (table, key)).fetchone()
        return (True, unpacked(row[0])) if row else (False, None)

    def shade(self, table: str, key: str, base: Row | None) -> None:
        self._run(
            "INSERT INTO shadow(table_name, key, base) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET base = excluded.base",
            (table, key, packed(base)),
        )

    def unshade(self, table: str, key: str) -> None:
        self._run("DELETE FROM shadow WHERE table_name = ? AND key = ?", (table, key))

    def unshade_all(self, table: str) -> None:
        self._run("DELETE FROM shadow WHERE table_name = ?", (table,))

    def rename(self, table: str, old: str, key: str, key_values: Row) -> None:
        """Move what is laid over the temporary key `old` to `key`; inserts get the key's values."""
        self._run(
            "INSERT INTO renamed(table_name, old, key) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET key = excluded.key",
            (table, old, key),
        )
        for position, ordinal, before, after in self._run(
            "SELECT position, ordinal, before, after FROM overlay WHERE table_name = ? AND key = ?", (table, old)
        ).fetchall():
            new = after
            if before is None and after is not None:
                new = packed({**(unpacked(after) or {}), **key_values})
            self._run(
                "UPDATE overlay SET key = ?, after = ? WHERE table_name = ? AND key = ? AND position = ? "
                "AND ordinal = ?",
                (key, new, table, old, position, ordinal),
            )

    def forget_name(self, table: str, old: str) -> None:
        self._run("DELETE FROM renamed WHERE table_name = ? AND old = ?", (table, old))

    def freshen(self, keys: Iterable[tuple[str, str]], seq: int) -> None:
        for table, key in keys:
            self._run(
                "INSERT INTO fresh(table_name, key, seq) VALUES (?, ?, ?) "
                "ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)",
                (table, key, seq),
            )

    def fresh_since(self, table: str, began: int) -> set[str]:
        """Keys read back after settlement number `began`."""
        found = self._run("SELECT key FROM fresh WHERE table_name = ? AND seq > ?", (table, began))
        return {key for (key,) in found}

    def unfreshen(self, table: str, upto: int) -> None:
        self._run("DELETE FROM fresh WHERE table_name = ? AND seq <= ?", (table, upto))
