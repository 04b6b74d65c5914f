"""Many changes in one statement: values as arrays, unnested by the server, each with its place in the run.

One statement for a thousand rows costs the server a third of a thousand statements, and the driver a tenth. Every value
travels as text and is cast without a length, so that what is too long is refused and not cut. Inserts whose keys the
server gives are not sent so: it promises no order of their keys. Nor is a run in which a key comes twice: such an
update would do only one of the two.
"""

from __future__ import annotations

from collections.abc import Sequence

from brique.backends.postgresql.rows import Raw, TableRows
from brique.backends.protocol import AS_WANTED, Applied
from brique.schema import Change, Column, Kind, Row, Value

RUN_MIN = 8
"""Fewer changes are sent one by one."""
_CASTS = {
    name: name
    for name in (
        "int2", "int4", "int8", "float4", "float8", "numeric", "bool", "text", "varchar", "bpchar", "date", "time",
        "timestamp", "timestamptz", "uuid", "jsonb",
    )
}  # fmt: skip
_BARE = frozenset(("int2", "int4", "int8", "numeric", "bool", "date", "time", "timestamp", "timestamptz", "uuid"))
"""Types whose texts need no quotes inside an array."""
_KEPT_AS_GIVEN = {"int2": Kind.INTEGER, "int4": Kind.INTEGER, "int8": Kind.INTEGER, "text": Kind.TEXT}
"""Types that keep the values of a kind as they are given; what else there is may be rounded, padded or cut."""
_INTEGERS = {int, type(None)}
Text = str | None


class Run:
    """A statement for changes of one shape, like `change`, in a table. `can`: whether they can be sent so."""

    def __init__(self, rows: TableRows, change: Change) -> None:
        self.rows, self.spec = rows, rows.spec
        self.is_insert, self.is_delete = change.before is None, change.after is None
        self._after = [rows.written[name] for name in change.after or () if name in rows.written]
        self._before = [rows.written[name] for name in change.before or () if name in rows.written]
        self._key = () if self.is_insert else self.spec.key_columns
        columns = [*self._after, *self._key, *self._before]
        self._types = [rows.type_name(column) for column in columns]
        self.can = all(type_ in _CASTS for type_ in self._types) and all(
            column.kind in (Kind.INTEGER, Kind.TEXT) and not column.decoder for column in self.spec.key_columns
        )
        if self.is_insert:
            given = {column.name for column in self._after}
            self.can = self.can and given.issuperset(self.spec.key)
        elif not self.is_delete:
            self.can = self.can and bool(self._after)
        self.sql = self._sql() if self.can else ""
        self.is_sure = (
            self.can
            and not (self.is_insert or self.is_delete or rows.has_generated)
            and all(
                _KEPT_AS_GIVEN.get(rows.type_name(column)) is column.kind and not column.decoder
                for column in self._after
            )
        )
        """Whether an update leaves nothing in a row but what it is given, triggers aside, for values that are
        `kept_as_given`; then it need not return the row."""
        self.placed_sql = f"{self.sql.partition(' RETURNING ')[0]} RETURNING v.place" if self.is_sure else ""

    def kept_as_given(self, changes: Sequence[Change]) -> bool:
        """Whether the values of these changes are, written and read again, what they were."""
        for column in self._after:
            cells = [change.after[column.name] for change in changes]  # type: ignore[index]  # of this shape
            if column.kind is Kind.INTEGER:
                if not set(map(type, cells)) <= _INTEGERS:
                    return False
            elif not all(cell is None or (type(cell) is str and cell.isascii()) for cell in cells):
                return False
        return True

    @staticmethod
    def placed(count: int, back: Sequence[Sequence[Text]]) -> list[Applied]:
        """What each change of the run did, from the places that `placed_sql` returns."""
        found = [Applied(0, {})] * count
        for (place,) in back:
            at = int(place or 0) - 1
            found[at] = Applied(found[at].rows + 1, {}) if found[at].rows else AS_WANTED
        return found

    def _sql(self) -> str:
        rows, types = self.rows, self._types
        marks = ", ".join(f"${number}::text[]" for number in range(1, len(types) + 1))
        names = [f"c{number}" for number in range(1, len(types) + 1)]
        casts = [f"v.{name}::{_CASTS[type_]}" for name, type_ in zip(names, types, strict=True)]
        source = f"unnest({marks}) WITH ORDINALITY AS v({', '.join(names)}, place)"
        if self.is_insert:
            targets = ", ".join(rows.quoted(column) for column in self._after)
            return (
                f"INSERT INTO {rows.table} AS t ({targets}) SELECT {', '.join(casts)} FROM {source} "  # noqa: S608
                f"ORDER BY v.place RETURNING 0, {rows.outputs}"
            )
        count = len(self._after)
        keys = casts[count : count + len(self._key)]
        where = [f"t.{rows.quoted(column)} = {cast}" for column, cast in zip(self._key, keys, strict=True)]
        for column, cast in zip(self._before, casts[count + len(keys) :], strict=True):
            cell = f"t.{rows.quoted(column)}"
            if rows.is_text(column):
                cell, cast = f'{cell}::text COLLATE "C"', cast.partition("::")[0]
            where.append(f"{cell} IS NOT DISTINCT FROM {cast}")
        tail = f"FROM {source} WHERE {' AND '.join(where)}"
        if self.is_delete:
            return f"DELETE FROM {rows.table} AS t USING {tail.removeprefix('FROM ')} RETURNING v.place"  # noqa: S608
        pairs = zip(self._after, casts[:count], strict=True)
        to = ", ".join(f"{rows.quoted(column)} = {cast}" for column, cast in pairs)
        return f"UPDATE {rows.table} AS t SET {to} {tail} RETURNING v.place, {rows.outputs}"  # noqa: S608

    def arrays(self, changes: Sequence[Change]) -> list[Raw] | None:
        """The values of `changes`, an array for each column; None when a key may be written in several ways."""
        columns: list[tuple[Column, list[Value]]] = [
            (column, [change.after[column.name] for change in changes])  # type: ignore[index]  # of this shape
            for column in self._after
        ]
        if self._key:
            keys = self._keys([change.key for change in changes])
            if keys is None:
                return None
            columns += zip(self._key, keys, strict=True)
        columns += [
            (column, [change.before[column.name] for change in changes])  # type: ignore[index]  # of this shape
            for column in self._before
        ]
        found = []
        for (column, values), type_ in zip(columns, self._types, strict=True):
            texts = self.rows.texts(column, values)
            if texts is None:
                return None
            found.append(Raw(_array(texts, bare=type_ in _BARE)))
        return found

    def _keys(self, keys: Sequence[str]) -> list[list[Value]] | None:
        """Key texts as values, a list for each column of the key; None when one may be written in several ways."""
        if len(self._key) == 1 and self._key[0].kind is Kind.INTEGER and all(map(_is_number, keys)):
            return [list(map(int, keys))]
        found = [list(values) for values in zip(*map(self.spec.key_values, keys), strict=True)]
        return found if all(_is_plain(value) for values in found for value in values) else None

    def applied(self, changes: Sequence[Change], back: Sequence[Sequence[Text]], *, is_quiet: bool) -> list[Applied]:
        """What each change did. `is_quiet`: no trigger of the table can have changed a row after it was returned."""
        if self.is_delete:
            gone = {int(row[0] or 0) for row in back}
            done, nothing = Applied(1, {}, None, known=is_quiet), Applied(0, {})
            return [done if place in gone else nothing for place in range(1, len(changes) + 1)]
        names = self.spec.names
        stored = self.rows.parsed([row[1:] for row in back])
        if self.is_insert:
            by_key = {}
            for values in stored:
                row = dict(zip(names, values, strict=True))
                by_key[self.spec.key_of(row)] = row
            return [self._inserted(by_key.get(self.spec.key_of(change.after or {})), is_quiet) for change in changes]
        found = [Applied(0, {})] * len(changes)
        for (place, *_), values in zip(back, stored, strict=True):
            at = int(place or 0) - 1
            if found[at].rows:
                found[at] = Applied(found[at].rows + 1, {})
            elif is_quiet:
                found[at] = Applied(1, {}, dict(zip(names, values, strict=True)), known=True)
            else:
                found[at] = Applied(1, {})
        return found

    def _inserted(self, row: Row | None, is_quiet: bool) -> Applied:
        if row is None:
            return Applied(0, {})
        return Applied(1, {name: row[name] for name in self.spec.key}, row if is_quiet else None, known=is_quiet)


def _is_number(key: str) -> bool:
    return key.isascii() and key.isdigit()


def _is_plain(value: Value) -> bool:
    """Whether a part of a key is written in one way only."""
    return type(value) is int or (type(value) is str and value.isascii())


def _array(texts: Sequence[Text], *, bare: bool) -> bytes:
    """An array as its input function reads it."""
    if bare:
        return ("{" + ",".join(["NULL" if text is None else text or '""' for text in texts]) + "}").encode()
    cells = ["NULL" if text is None else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts]
    return ("{" + ",".join(cells) + "}").encode()
