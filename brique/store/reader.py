"""The store as everybody else sees it: reads only, each thread its own Reader, from any process."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from brique.errors import NotFound
from brique.schema import PENDING, Reference, TableSpec, Value
from brique.store import conditions, search
from brique.store.browse import Browse
from brique.store.bulletin import Bulletin
from brique.store.commands import Commands
from brique.store.labels import label_of
from brique.store.layout import Layout, quoted
from brique.store.query import Filter, ListPage, ListQuery
from brique.store.rows import Rows, StoredRow

_REFERRED_MAX = 20  # target rows for a search to go by references
_LOOKED_AT_MAX = 400  # candidates of a look-up


class Reader(Bulletin):
    """Reads of the store. Every method sees one state of it; inside `snapshot` all of them see the same.

    The file may be missing at first, replaced or migrated while this lives: it is opened at first use and anew.
    Raises EngineAway while there is no store.
    """

    # -- rows ---------------------------------------------------------------------------------------------------------

    def row(self, table: str, key: str) -> StoredRow | None:
        """The visible row of a key; a temporary key still leads to the row after it has got its real one."""
        with self.snapshot():
            _, rows = self._table(table)
            found = rows.get(key)
            if found is None and (real := Commands(self._db).real_key(table, key)) != key:
                found = rows.get(real)
            return found

    def row_keys(self, table: str, after: str = "", limit: int = 1000) -> list[str]:
        """The keys of a table's rows in their order, past key `after`."""
        with self.snapshot():
            _, rows = self._table(table)
            query = f"SELECT _key FROM {rows.layout.table} WHERE _key > ? ORDER BY _key LIMIT ?"  # noqa: S608
            return [str(key) for (key,) in self._db.execute(query, (after, limit))]

    def rows_by(
        self, table: str, columns: str | Sequence[str], values: Value | Sequence[Value], limit: int = 100
    ) -> list[StoredRow]:
        """Rows whose columns hold these values, in the order in which they came; NULL never matches."""
        names = [columns] if isinstance(columns, str) else list(columns)
        wanted = list(values) if isinstance(values, list | tuple) else [values]
        if any(value is None for value in wanted):
            return []
        filters = tuple(Filter(name, "eq", value) for name, value in zip(names, wanted, strict=True))  # type: ignore[arg-type]  # checked: no sequence is left in `wanted`
        with self.snapshot():
            _, rows = self._table(table)
            best = self._browse(table, ListQuery(filters=filters, limit=1))
            where, bound = best.where()
            query = f"{rows.layout.select} WHERE {where} ORDER BY _id LIMIT ?"
            return [rows.stored(record) for record in self._db.execute(query, (*bound, limit))]

    def labels(self, table: str, keys: Collection[str]) -> dict[str, str]:
        """Readable labels of rows by key; keys without a row are left out."""
        if not keys:
            return {}
        with self.snapshot():
            _, rows = self._table(table)
            holes = ", ".join("?" * len(set(keys)))
            query = f"{rows.layout.select} WHERE _key IN ({holes})"
            found: dict[str, str] = {}
            for record in self._db.execute(query, tuple(set(keys))):
                row = rows.stored(record)
                found[row.key] = label_of(rows.layout.spec, row)
            return found

    def labels_of(self, reference: Reference, values: Collection[Value]) -> dict[Value, str]:
        """Labels of the rows that a single-column reference leads to, by the value that refers to them."""
        wanted = tuple({value for value in values if value is not None})
        if not wanted:
            return {}
        with self.snapshot():
            _, rows = self._table(reference.table)
            target, found = reference.target_columns[0], dict[Value, str]()
            temporary = [value for value in wanted if isinstance(value, str) and value.startswith(PENDING)]
            found.update(self.labels(reference.table, temporary))
            for start in range(0, len(wanted), 500):
                condition = conditions.of_filter(rows.layout, Filter(target, "in", wanted[start : start + 500]))
                for record in self._db.execute(f"{rows.layout.select} WHERE {condition.test}", condition.bound):
                    row = rows.stored(record)
                    found[row.values[target]] = label_of(rows.layout.spec, row)
            return found

    def lookup(self, table: str, text: str, limit: int = 20) -> list[tuple[str, str]]:
        """(key, label) of rows that a person may mean by `text`: labels that start with it first."""
        with self.snapshot():
            _, rows = self._table(table)
            spec, folded = rows.layout.spec, " ".join(search.words(text))
            if not folded or not rows.layout.searchable:
                page = self.browse(table, ListQuery(search=text, limit=limit, sort=_by_label(spec)))
                return [(row.key, label_of(spec, row)) for row in page.rows]
            candidates = self._candidates(rows, text)
            labelled = [(row.key, label_of(spec, row)) for row in candidates if _answers(rows.layout, row, text)]

            def rank(pair: tuple[str, str]) -> tuple[bool, bool, str]:
                label = " ".join(search.words(pair[1]))
                return (not label.startswith(folded) and pair[0] != text, folded not in label, label)

            return sorted(labelled, key=rank)[:limit]

    def _candidates(self, rows: Rows, text: str) -> list[StoredRow]:
        layout, found = rows.layout, dict[str, StoredRow]()
        exact = rows.get(text.strip())
        if exact is not None:
            found[exact.key] = exact
        for column in layout.spec.label_columns[:1]:
            condition = conditions.of_filter(layout, Filter(column, "prefix", text.strip()))
            if condition.ids is not None:
                query = f"{layout.select} INDEXED BY {layout.index(column)} WHERE {condition.test} LIMIT 50"
                for record in self._db.execute(query, condition.bound):
                    row = rows.stored(record)
                    found[row.key] = row
        for record in self._db.execute(layout.matching, (search.match(text, self._sample(layout))[0], _LOOKED_AT_MAX)):
            row = rows.stored(record)
            found[row.key] = row
        return list(found.values())

    def matching(self, table: str, text: str) -> tuple[str, list[Value]]:
        """A test that rows stand whose texts may hold all words of `text`, made quick by the search index."""
        with self.snapshot():
            layout = self._table(table)[1].layout
            asked, _ = search.match(text, self._sample(layout))
        if not (layout.searchable and layout.search_columns and asked):
            return "1", []
        ids = f"SELECT rowid FROM {layout.search} WHERE {layout.search} MATCH ?"  # noqa: S608
        return f"_id IN ({ids})", [asked]

    # -- lists --------------------------------------------------------------------------------------------------------

    def browse(self, table: str, query: ListQuery) -> ListPage:
        """A page of a list. Raises NotFound for the table, BadInput for what the query has wrong."""
        with self.snapshot():
            state, _ = self._table(table)
            browse = self._browse(table, query)
            rows, following, previous = browse.page()
            count, exact = browse.count()
            if not exact and following is None and previous is None:
                count, exact = len(rows), True
            return ListPage(rows, following, previous, count, exact, self.seq(), state.confirmed_at)

    def stream(self, table: str, query: ListQuery, batch: int = 1000) -> Iterator[list[StoredRow]]:
        """All rows of a list in order, `batch` at a time, from one state of the store; cursors are ignored.

        Close the iterator if it is not exhausted: it holds a snapshot.
        """
        with self.snapshot():
            yield from self._browse(table, query).stream(batch)

    def count(self, table: str, filters: Sequence[Filter] = (), search: str = "") -> tuple[int, bool]:
        """How many rows pass, and whether that is exact (large numbers are not counted out)."""
        with self.snapshot():
            return self._browse(table, ListQuery(filters=tuple(filters), search=search)).count()

    def count_exactly(self, table: str, filters: Sequence[Filter] = (), search: str = "") -> int:
        """How many rows pass; takes up to half a second for each million rows."""
        with self.snapshot():
            browse = self._browse(table, ListQuery(filters=tuple(filters), search=search))
            count, exact = browse.count()
            return count if exact else browse.count_all()

    def sum(self, table: str, column: str, filters: Sequence[Filter] = (), search: str = "") -> Value:
        """The sum of a column as a store value, None when no row has a number; wrong-typed values do not count."""
        with self.snapshot():
            _, rows = self._table(table)
            where, bound = self._browse(table, ListQuery(filters=tuple(filters), search=search)).where()
            return self._sum(rows.layout, column, where, bound)

    def _sum(self, layout: Layout, column: str, where: str, bound: Sequence[Any]) -> Value:
        if column not in layout.spec.by_name:
            raise NotFound(f"There is no column {column}.")
        name = quoted(column)
        query = f"SELECT sum({name}) FROM {layout.table} WHERE typeof({name}) IN ('integer', 'real') AND ({where})"  # noqa: S608
        value: Value = self._one(query, bound)[0]
        return value

    def group(
        self,
        table: str,
        column: str,
        filters: Sequence[Filter] = (),
        *,
        total: str | None = None,
        limit: int = 1000,
    ) -> list[tuple[Value, int, Value]]:
        """(value, rows, sum of column `total`) for each value of a column, the most frequent first."""
        with self.snapshot():
            _, rows = self._table(table)
            for name in (column, *([total] if total else [])):
                if name not in rows.layout.spec.by_name:
                    raise NotFound(f"There is no column {name}.")
            where, bound = self._browse(table, ListQuery(filters=tuple(filters))).where()
            summed = "NULL"
            if total:
                summed = f"sum({quoted(total)}) FILTER (WHERE typeof({quoted(total)}) IN ('integer', 'real'))"
            query = (
                f"SELECT {quoted(column)}, count(*), {summed} FROM {rows.layout.table} "  # noqa: S608
                f"WHERE {where} GROUP BY {quoted(column)} ORDER BY 2 DESC, 1 LIMIT ?"
            )
            return [(value, count, amount) for value, count, amount in self._db.execute(query, (*bound, limit))]

    def _browse(self, table: str, query: ListQuery) -> Browse:
        state, rows = self._table(table)
        sample = self._sample(rows.layout) if query.search or query.filters else None
        tests = conditions.of_filters(rows.layout, query.filters, sample)
        if query.search:
            found = conditions.of_search(
                rows.layout, query.search, lambda: self._referring(rows.layout, query.search), sample
            )
            tests += [found] if found is not None else []
        return Browse(self._db, rows, state.rows, tests, query)

    def _referring(self, layout: Layout, question: str) -> list[tuple[str, list[Value]]]:
        """(column, values) of references whose target rows answer the question, where these are few."""
        result: list[tuple[str, list[Value]]] = []
        for column, reference in layout.spec.reference_of.items():
            if reference.table not in self.specs or reference.table == layout.spec.name:
                continue
            values = self._targets(reference, question)
            if 0 < len(values) <= _REFERRED_MAX:
                result.append((column, values))
        return result

    def _targets(self, reference: Reference, question: str) -> list[Value]:
        try:
            _, rows = self._table(reference.table)
        except NotFound:
            return []
        layout = rows.layout
        if not layout.searchable or reference.target_columns[0] not in layout.spec.by_name:
            return []
        matching, _ = search.match(question, self._sample(layout))
        found = self._db.execute(layout.matching, (matching, _REFERRED_MAX * 2 + 1)).fetchall()
        if len(found) > _REFERRED_MAX * 2:
            return []
        values = []
        for record in found:
            row = rows.stored(record)
            if search.found(question, (label_of(layout.spec, row),)):
                values.append(row.values[reference.target_columns[0]])
        return [value for value in values if value is not None]


def _by_label(spec: TableSpec) -> tuple[tuple[str, bool], ...]:
    return tuple((name, False) for name in spec.label_columns[:1])


def _answers(layout: Layout, row: StoredRow, text: str) -> bool:
    values = tuple(row.values[name] for name in layout.search_columns)
    return search.found(text, values) or row.key == text.strip()
