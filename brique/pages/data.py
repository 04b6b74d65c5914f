"""Any JSON that a view returns, as readable HTML: facts, tables, lists, rows of tables with their links.

A row comes with `_key` and `_label`; the table it belongs to is known by its columns, so that it gets their labels,
formats and links without the view saying so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from markupsafe import Markup, escape

from brique.pages.cells import Cells
from brique.pages.format import DASH, Formats
from brique.schema import Column, Kind, TableSpec, label

ROWS_MAX = 500
"""More are counted; the JSON of the view has them all."""
_DEPTH_MAX = 6
_COLUMNS_MAX = 30
_DECIMAL = re.compile(r"-?\d{1,15}\.\d{1,6}")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
_WHOLE = re.compile(r"-?[1-9]\d{0,17}|0")
_AMOUNTS = frozenset(("total", "sum", "amount", "net", "gross", "balance", "turnover", "montant", "somme", "solde"))
_OWN = ("_key", "_label", "_pending")


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


def number_of(value: Any) -> int | float | Decimal | None:
    """`value` (JSON) as a number if it is one, or a decimal written as text."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        try:
            return Decimal(value)
        except InvalidOperation:
            return None
    return None


class Data:
    """JSON as HTML for one reader."""

    def __init__(self, specs: Mapping[str, TableSpec], formats: Formats, at: Callable[[str], str]) -> None:
        self.specs, self.formats, self.at = specs, formats, at
        decimals = {c.name for spec in specs.values() for c in spec.columns if c.kind is Kind.DECIMAL}
        self._amounts = _AMOUNTS | decimals
        self._by_names = {frozenset(spec.names): spec for spec in specs.values()}
        self._cells: dict[str, Cells] = {}

    def html(self, value: Any, depth: int = 0) -> Markup:
        """`value` as a block: facts for a dict, a table or list for a list, a paragraph for anything else."""
        if isinstance(value, Mapping):
            return self._facts(value, depth)
        if isinstance(value, list):
            return self._listed(value, depth)
        return Markup("<p>{}</p>").format(self.scalar(value))

    def scalar(self, value: Any) -> Markup:
        """A single value, written as its form suggests."""
        f = self.formats
        if value is None or value == "":
            return Markup('<span class="hush">{}</span>').format(DASH)
        if isinstance(value, bool):
            return Markup('<span class="pill {}">{}</span>').format("ok" if value else "", f.bool(value))
        number = number_of(value)
        if number is not None:
            return escape(f.number(number))
        text = str(value)
        if _DAY.fullmatch(text):
            return escape(f.date(text))
        if _MOMENT.match(text):
            return escape(f.datetime(text))
        return escape(text)

    def label(self, value: Any) -> str:
        """A value as a short label, for charts and heads."""
        if value is None or value == "":
            return DASH
        text = str(value)
        if found := _MONTH.fullmatch(text):
            return f"{found[2]}/{found[1][2:]}"
        return self.formats.date(text) if _DAY.fullmatch(text) else text

    # rows of tables

    def spec_of(self, value: Mapping[str, Any], table: str = "") -> TableSpec | None:
        """The table that a row is of; None when it is of none."""
        if "_key" not in value:
            return None
        if table in self.specs:
            return self.specs[table]
        return self._by_names.get(frozenset(name for name in value if name not in _OWN))

    def _cells_of(self, spec: TableSpec) -> Cells:
        if spec.name not in self._cells:
            self._cells[spec.name] = Cells(spec, self.formats, self.at)
        return self._cells[spec.name]

    def link(self, value: Mapping[str, Any], spec: TableSpec | None) -> Markup:
        """The label of a row, with a link when its table is known."""
        text = str(value.get("_label") or value.get("_key"))
        if spec is None:
            return escape(text)
        return Markup('<a data-row href="{}">{}</a>').format(self.at(f"/tables/{spec.name}/{value['_key']}"), text)

    def field(self, spec: TableSpec | None, name: str, value: Any) -> Markup:
        """A field of a row, written as its column is; of anything else, as its form suggests."""
        column: Column | None = spec.by_name.get(name) if spec is not None else None
        if spec is None or column is None or value is None:
            return self.inline(self._amount(name, value))
        try:
            return self._cells_of(spec).plain(column)(column.store_json(value))
        except ValueError:
            return self.scalar(value)

    def _amount(self, name: str, value: Any) -> Any:
        """`value` as a number when it is a whole decimal written as text, which its name must tell: a code is none."""
        if (
            isinstance(value, str)
            and _WHOLE.fullmatch(value)
            and not self._amounts.isdisjoint((name, *name.split("_")))
        ):
            return int(value)
        return value

    def inline(self, value: Any) -> Markup:
        """A value in a cell: what is nested is said briefly."""
        if isinstance(value, Mapping):
            if "_key" in value:
                return self.link(value, self.spec_of(value))
            parts = [f"{label(str(name))}{self.formats.t(': ')}{self._brief(item)}" for name, item in value.items()]
            return escape(", ".join(parts[:6]))
        if isinstance(value, list):
            return escape(", ".join(self._brief(item) for item in value[:6]) + ("…" if len(value) > 6 else ""))
        return self.scalar(value)

    def _brief(self, value: Any) -> str:
        if isinstance(value, Mapping):
            return str(value.get("_label") or "…")
        return "…" if isinstance(value, list) else str(self.scalar(value).striptags())

    # blocks

    def _facts(self, value: Mapping[str, Any], depth: int) -> Markup:
        spec = self.spec_of(value)
        plain, blocks = [], []
        for name, item in value.items():
            if name in _OWN:
                continue
            head = spec.by_name[name].label if spec is not None and name in spec.by_name else label(str(name))
            if isinstance(item, (list, Mapping)) and "_key" not in item and item and depth < _DEPTH_MAX:
                blocks.append(
                    Markup('<section class="stack tight"><h2>{}</h2>{}</section>').format(
                        head, self.html(item, depth + 1)
                    )
                )
            else:
                plain.append(Markup("<dt>{}</dt><dd>{}</dd>").format(head, self.field(spec, name, item)))
        head_line = Markup("<h2>{}</h2>").format(self.link(value, spec)) if "_key" in value else Markup()
        facts = Markup('<dl class="facts">{}</dl>').format(Markup("").join(plain)) if plain else Markup()
        card = Markup('<div class="card">{}{}</div>').format(head_line, facts) if plain or head_line else Markup()
        return card + Markup("").join(blocks)

    def _listed(self, value: Sequence[Any], depth: int) -> Markup:
        if not value:
            return Markup('<p class="hush">{}</p>').format(self.formats.t(_("Nothing here.")))
        shown = value[:ROWS_MAX]
        if all(isinstance(item, Mapping) for item in shown):
            made = self.table(shown)
        elif all(isinstance(item, list) for item in shown):
            made = self._grid(shown)
        elif depth < _DEPTH_MAX and any(isinstance(item, (list, Mapping)) for item in shown):
            made = Markup("").join(self.html(item, depth + 1) for item in shown)
        else:
            items = Markup("").join(Markup("<li>{}</li>").format(self.scalar(item)) for item in shown)
            made = Markup('<ul class="card stack tight">{}</ul>').format(items)
        if len(value) > ROWS_MAX:
            note = self.formats.t(_("{n} of {rows}"), n=self.formats.number(ROWS_MAX), rows=self._rows(len(value)))
            made += Markup('<p class="small hush">{}</p>').format(note)
        return made

    def _rows(self, count: int) -> str:
        return self.formats.t(_("{n} rows"), n=self.formats.number(count))

    def table(self, rows: Sequence[Mapping[str, Any]], names: Sequence[str] = (), table: str = "") -> Markup:
        """Dicts as a table with a column for each name that occurs; rows of a table get the link of their own."""
        specs = [self.spec_of(row, table) for row in rows]
        spec = specs[0] if specs and all(other is specs[0] for other in specs) else None
        have_key = any("_key" in row for row in rows)
        if not names:
            names = tuple(dict.fromkeys(name for row in rows for name in row if name not in _OWN))[:_COLUMNS_MAX]
            if spec is not None:
                names = [name for name in spec.list_columns or spec.names if name in names][:8]
        nums = {name for name in names if self._is_numeric(spec, name, rows)}
        heads = [self._head(spec, name, name in nums) for name in names]
        linked = next((name for name in names if spec is not None and name in (*spec.key, *spec.label_columns)), "")
        own_link = have_key and not linked
        if own_link:
            heads.insert(0, Markup('<th scope="col"></th>'))
        body = Markup("\n").join(self._tr(spec, row, names, nums, linked, own_link) for row in rows)
        return Markup(
            '<div class="sheet"><table class="rows cards"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
        ).format(Markup("").join(heads), body)

    def _is_numeric(self, spec: TableSpec | None, name: str, rows: Sequence[Mapping[str, Any]]) -> bool:
        if spec is not None and name in spec.by_name:
            return spec.by_name[name].kind.numeric and name not in spec.key and name not in spec.reference_of
        return all(row.get(name) is None or number_of(self._amount(name, row[name])) is not None for row in rows)

    def _head(self, spec: TableSpec | None, name: str, is_number: bool) -> Markup:
        text = self._column_label(spec, name)
        return Markup('<th scope="col"{}>{}</th>').format(Markup(' class="num"') if is_number else "", text)

    def _column_label(self, spec: TableSpec | None, name: str) -> str:
        return spec.by_name[name].label if spec is not None and name in spec.by_name else label(str(name))

    def _tr(
        self,
        spec: TableSpec | None,
        row: Mapping[str, Any],
        names: Sequence[str],
        nums: set[str],
        linked: str,
        own_link: bool,
    ) -> Markup:
        kind = ("", "pending", "conflict")[int(row.get("_pending") or 0)]
        cells = [Markup("<td>{}</td>").format(self.link(row, spec) if "_key" in row else "")] if own_link else []
        for name in names:
            value = row.get(name)
            inner = self.field(spec, name, value) if value is not None else Markup()
            if name == linked and spec is not None and "_key" in row:
                href = self.at(f"/tables/{spec.name}/{row['_key']}")
                inner = Markup('<a data-row href="{}">{}</a>').format(href, inner or DASH)
            number = Markup(' class="num"') if name in nums else ""
            cells.append(Markup('<td{} data-label="{}">{}</td>').format(number, self._column_label(spec, name), inner))
        return Markup("<tr{}>{}</tr>").format(
            Markup(' class="{}"').format(kind) if kind else "", Markup("").join(cells)
        )

    def _grid(self, rows: Sequence[Sequence[Any]]) -> Markup:
        def cell(value: Any) -> Markup:
            number = Markup(' class="num"') if number_of(value) is not None else ""
            return Markup("<td{}>{}</td>").format(number, self.inline(value))

        body = Markup("").join(
            Markup("<tr>{}</tr>").format(Markup("").join(cell(value) for value in row[:_COLUMNS_MAX])) for row in rows
        )
        return Markup('<div class="sheet"><table class="rows"><tbody>{}</tbody></table></div>').format(body)
