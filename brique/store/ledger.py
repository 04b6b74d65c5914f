"""What pending commands have laid over which rows, on disk: the tables `overlay`, `shadow`, `renamed`, `fresh`.

A key has a shadow (its source row, or none) exactly while at least one change is laid over it. A change with `mark` set
is no longer laid; it only says that a person must look at the row. `fresh` remembers keys whose rows were read back
after a refresh may have begun, so that this refresh does not put older rows over them: lists of keys, because a report
brings thousands; from time to time each key is left in its newest list only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, cast

import apsw
import msgspec

from brique.schema import PENDING, Row
from brique.store.overlay import Laid
from brique.store.spans import Span, among

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_listed = msgspec.json.Encoder().encode
_FEW = 4  # so many keys are asked for one by one, which is faster than a set
_FRESH_LISTS = 1024  # after so many new lists of fresh keys, what stands in several of them is taken out
Over = tuple[list[Laid], bool]
"""The changes laid over a key, in order, and whether a person must look at it."""
Taken = tuple[int, int, int, bytes | None, bytes | None]
"""A change taken from over a row, as it was kept: position, ordinal, mark, before, after. Few are ever unpacked."""


def packed(row: Row | None) -> bytes | None:
    return None if row is None else _encode(row)


def unpacked(blob: bytes | None) -> Row | None:
    return None if blob is None else _decode(blob)


def place(taken: Taken) -> tuple[int, int]:
    """Where a change stands in the order of all changes."""
    return taken[0], taken[1]


def laid_of_taken(taken: Iterable[Taken]) -> list[Laid]:
    """What was taken, unpacked; what only marked its row is left out."""
    return [Laid(position, ordinal, unpacked(b), unpacked(a)) for position, ordinal, mark, b, a in taken if not mark]


class Ledger:
    """Reads and writes of those tables; the writer's transaction owns the connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._run: Any = connection.execute  # SQLite's values have no static type
        self._run_many = connection.executemany

    def add_many(self, records: Sequence[tuple[str, str, Laid]]) -> None:
        """Lay changes over these rows: table, key, change."""
        self._run_many(
            "INSERT INTO overlay(table_name, key, position, ordinal, before, after) VALUES (?, ?, ?, ?, ?, ?)",
            [
                (table, key, laid.position, laid.ordinal, packed(laid.before), packed(laid.after))
                for table, key, laid in records
            ],
        )

    def over_many(self, table: str, keys: Sequence[str]) -> dict[str, Over]:
        """What is laid over each of these keys; keys with nothing are missing."""
        found: dict[str, Over] = {}
        for key, position, ordinal, mark, before, after in self._of_keys(
            "SELECT o.key, position, ordinal, mark, before, after FROM {keys} overlay o "
            "WHERE o.table_name = ? AND o.key = {key} ORDER BY o.key, position, ordinal",
            table,
            keys,
        ):
            laid, marked = found.get(key) or ([], False)
            if mark:
                marked = True
            else:
                laid.append(Laid(position, ordinal, unpacked(before), unpacked(after)))
            found[key] = (laid, marked)
        return found

    def _of_keys(self, query: str, table: str, keys: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """The records of `query` for these keys of a table: a few one by one, many as a set."""
        if len(keys) > _FEW:
            text = _listed(keys).decode()
            query = query.format(keys="json_each(?) AS j CROSS JOIN", key="j.value")
            yield from self._run(query, (text, table)).fetchall()
            return
        query = query.format(keys="", key="?")
        for key in keys:
            yield from self._run(query, (table, key)).fetchall()

    def keys_in(self, table: str) -> set[str]:
        """Keys of a table with anything laid over them or marked."""
        return {key for (key,) in self._run("SELECT DISTINCT key FROM overlay WHERE table_name = ?", (table,))}

    def settled(self, position: int, seq: int) -> list[tuple[str, str]]:
        """What the command has laid is applied since settlement number `seq`; the (table, key) it was laid over."""
        return self._with_keys("UPDATE overlay SET settled_seq = ? WHERE position = ?", (seq, position))

    def lift(self, position: int) -> list[tuple[str, str]]:
        """Lift what the command has laid or marked; the (table, key) it was laid over."""
        return self._with_keys("DELETE FROM overlay WHERE position = ?", (position,))

    def lift_many(self, positions: Collection[int]) -> list[tuple[str, str]]:
        """Lift what these commands have laid or marked; the (table, key) it was laid over."""
        return self._with_keys(
            "DELETE FROM overlay WHERE position IN (SELECT value FROM json_each(?))",
            (_listed(list(positions)).decode(),),
        )

    def take_spans(self, spans: Sequence[Span]) -> dict[str, dict[str, list[Taken]]]:
        """Lift what these commands have laid or marked; what it was, by table and key, in its order."""
        taken: dict[str, dict[str, list[Taken]]] = {}
        for where, bound in among(spans):
            found = self._run(
                f"DELETE FROM overlay WHERE {where} "  # noqa: S608
                "RETURNING table_name, key, position, ordinal, mark, before, after",
                bound,
            ).fetchall()
            for table, key, *laid in found:
                over = taken.setdefault(table, {}).setdefault(key, [])
                over.append(cast("Taken", laid))
                if len(over) > 1:
                    over.sort(key=place)
        return taken

    def take_applied_over(self, table: str, keys: Collection[str]) -> dict[str, list[Taken]]:
        """Lift what commands applied before have laid over these keys; what it was, by key, in its order. There is
        something only after a crash, or where rows could not be read again: looking costs next to nothing."""
        where = "FROM overlay INDEXED BY overlay_settled WHERE table_name = ? AND settled_seq IS NOT NULL"
        if not self._run(f"SELECT 1 {where} LIMIT 1", (table,)).fetchone():
            return {}
        found = self._run(
            f"DELETE {where} AND key IN (SELECT value FROM json_each(?)) "  # noqa: S608
            "RETURNING key, position, ordinal, mark, before, after",
            (table, _listed(list(keys)).decode()),
        ).fetchall()
        taken: dict[str, list[Taken]] = {}
        for key, *laid in found:
            taken.setdefault(key, []).append(cast("Taken", laid))
        return taken

    def mark(self, position: int) -> list[tuple[str, str]]:
        """Lift what the command has laid, but mark its rows; their (table, key)."""
        return self._with_keys("UPDATE overlay SET mark = 1, settled_seq = NULL WHERE position = ?", (position,))

    def _with_keys(self, statement: str, bound: tuple[Any, ...]) -> list[tuple[str, str]]:
        found = self._run(f"{statement} RETURNING table_name, key", bound).fetchall()
        return list(dict.fromkeys(found))

    def lift_applied(self, positions: Collection[int]) -> list[tuple[str, str]]:
        """Lift what these commands, as far as they are applied, have laid; the (table, key) it was laid over."""
        found = self._run(
            "DELETE FROM overlay WHERE position IN (SELECT value FROM json_each(?)) AND settled_seq IS NOT NULL "
            "RETURNING table_name, key",
            (_listed(list(positions)).decode(),),
        ).fetchall()
        return list(dict.fromkeys(found))

    def lift_applied_over(self, table: str, keys: Collection[str]) -> list[str]:
        """Lift what applied commands have laid over these keys; those over which there was any."""
        found = self._run(
            "DELETE FROM overlay WHERE table_name = ? AND key IN (SELECT value FROM json_each(?)) "
            "AND settled_seq IS NOT NULL RETURNING key",
            (table, _listed(list(keys)).decode()),
        ).fetchall()
        return list(dict.fromkeys(key for (key,) in found))

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

    def shadows(self, table: str, keys: Sequence[str]) -> dict[str, Row | None]:
        """The source row of each of these keys that has a shadow."""
        query = "SELECT s.key, base FROM {keys} shadow s WHERE s.table_name = ? AND s.key = {key}"
        return {key: unpacked(base) for key, base in self._of_keys(query, table, keys)}

    def shade_many(self, table: str, bases: Iterable[tuple[str, Row | None]]) -> None:
        self._run_many(
            "INSERT INTO shadow(table_name, key, base) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET base = excluded.base",
            [(table, key, packed(base)) for key, base in bases],
        )

    def unshade_many(self, table: str, keys: Iterable[str]) -> None:
        self._run_many("DELETE FROM shadow WHERE table_name = ? AND key = ?", [(table, key) for key in keys])

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

    def leaning(self, tables: Collection[str]) -> list[tuple[str, str, Laid]]:
        """(table, key, change) of what is laid over rows of these tables and may hold a temporary key as a value."""
        found = self._run(
            "SELECT table_name, key, position, ordinal, before, after FROM overlay "
            "WHERE table_name IN (SELECT value FROM json_each(?)) "
            "AND (instr(after, CAST(? AS BLOB)) OR instr(before, CAST(? AS BLOB)))",
            (_listed(list(tables)).decode(), PENDING, PENDING),
        ).fetchall()
        return [
            (table, key, Laid(position, ordinal, unpacked(b), unpacked(a)))
            for table, key, position, ordinal, b, a in found
        ]

    def relay(self, table: str, key: str, position: int, ordinal: int, before: Row | None, after: Row | None) -> None:
        """Put other values into one change that is laid over a row."""
        self._run(
            "UPDATE overlay SET before = ?, after = ? WHERE table_name = ? AND key = ? AND position = ? "
            "AND ordinal = ?",
            (packed(before), packed(after), table, key, position, ordinal),
        )

    def positions_over(self, table: str, key: str) -> list[int]:
        """Of the commands that have laid something over this row."""
        found = self._run("SELECT DISTINCT position FROM overlay WHERE table_name = ? AND key = ?", (table, key))
        return [position for (position,) in found.fetchall()]

    def forget_name(self, table: str, old: str) -> None:
        self._run("DELETE FROM renamed WHERE table_name = ? AND old = ?", (table, old))

    def freshen(self, keys: Iterable[tuple[str, str]], seq: int) -> None:
        """Note that the source rows of these (table, key) are as of settlement number `seq`."""
        tables: dict[str, list[str]] = {}
        for table, key in keys:
            tables.setdefault(table, []).append(key)
        for table, those in tables.items():
            self.freshen_table(table, those, seq)

    def freshen_table(self, table: str, keys: Collection[str], seq: int) -> None:
        """`freshen` for keys of one table."""
        if not keys:
            return
        bound = (table, seq, _listed(list(keys)).decode())
        [(number,)] = self._run("INSERT INTO fresh(table_name, seq, keys) VALUES (?, ?, ?) RETURNING id", bound)
        if number % _FRESH_LISTS == 0:
            self._thin_out()

    def _thin_out(self) -> None:
        """Leave each key in the newest of the lists that it stands in."""
        known: set[tuple[str, str]] = set()
        found = self._run("SELECT id, table_name, keys FROM fresh ORDER BY seq DESC, id DESC").fetchall()
        for number, table, text in found:
            keys = msgspec.json.decode(text, type=list[str])
            left = [key for key in dict.fromkeys(keys) if (table, key) not in known]
            known.update((table, key) for key in left)
            if not left:
                self._run("DELETE FROM fresh WHERE id = ?", (number,))
            elif len(left) < len(keys):
                self._run("UPDATE fresh SET keys = ? WHERE id = ?", (_listed(left).decode(), number))

    def fresh_since(self, table: str, began: int) -> set[str]:
        """Keys read back after settlement number `began`."""
        found = self._run("SELECT keys FROM fresh WHERE table_name = ? AND seq > ?", (table, began))
        return {key for (text,) in found for key in msgspec.json.decode(text)}

    def unfreshen(self, table: str, upto: int) -> None:
        self._run("DELETE FROM fresh WHERE table_name = ? AND seq <= ?", (table, upto))
