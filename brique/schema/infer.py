"""From what a backend says of itself to tables that people can use: names, labels, references, old ways of writing.

Pure and in a stable order: the same catalogue always gives the same tables. When in doubt nothing is inferred; what
is wrong can be said better in Python, which `write_python` starts from the same inference.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from brique.schema.catalogue import Catalogue, SourceColumn, SourceReference, SourceTable
from brique.schema.decoders import DECODERS
from brique.schema.kinds import Kind, Value
from brique.schema.names import distinct, fold, label
from brique.schema.old_ways import recognise
from brique.schema.table import Column, Reference, TableSpec

NO_KEY = "It has no key, so that a row cannot be told apart."
LIST_COLUMNS_MAX = 8
LONG_TEXT = 120
"""A text column with longer values in its sample is left out of lists."""
_NAMING = (
    "name", "nom", "label", "libelle", "intitule", "title", "titre", "designation", "raison_sociale", "description",
    "desc", "libel", "lib", "des", "nam",
)  # fmt: skip
_PERSON = (("first_name", "last_name"), ("firstname", "lastname"), ("prenom", "nom"), ("given_name", "family_name"))
_STATUS = ("status", "statut", "state", "etat", "situation", "type", "category", "categorie", "sts", "stat")


@dataclass(frozen=True)
class Suspect:
    """A reference that is not declared: whose it would be, and the sample values that must exist where it points."""

    table: tuple[str, str]
    reference: SourceReference
    values: tuple[Value, ...]


def infer(catalogue: Catalogue, backend: str) -> tuple[TableSpec, ...]:
    """The tables of `backend`, in the catalogue's order."""
    names = dict(zip(map(_place, catalogue.tables), _table_names(catalogue.tables), strict=True))
    columns = {_place(table): _column_names(table) for table in catalogue.tables}
    by_place = {_place(table): table for table in catalogue.tables}
    decoders = {_place(table): _decoders(table) for table in catalogue.tables}
    _share_decoders(catalogue, decoders)
    specs = []
    for table in catalogue.tables:
        made = _columns(table, columns[_place(table)], decoders[_place(table)])
        references = _references(table, names, columns, by_place)
        specs.append(_spec(table, names[_place(table)], backend, made, columns[_place(table)], references))
    return tuple(specs)


def _place(table: SourceTable) -> tuple[str, str]:
    return table.schema, table.name


def _table_names(tables: Sequence[SourceTable]) -> list[str]:
    """Identifiers; the schema is said where two schemas have a table of the same name."""
    counts = Counter(table.name.lower() for table in tables)
    first = tables[0].schema if tables else ""
    return distinct(
        [
            f"{table.schema}_{table.name}" if counts[table.name.lower()] > 1 and table.schema != first else table.name
            for table in tables
        ]
    )


def _column_names(table: SourceTable) -> dict[str, str]:
    sources = [column.name for column in table.columns]
    return dict(zip(sources, distinct(sources, _TAKEN), strict=True))


_TAKEN = frozenset({"row_key", "row_pending", "row_values", "follow"})
"""What a declared row already has (`declare.Table`)."""


def _columns(table: SourceTable, names: dict[str, str], decoders: dict[str, str]) -> tuple[Column, ...]:
    return tuple(_column(table, source, names[source.name], decoders.get(source.name, "")) for source in table.columns)


def _column(table: SourceTable, source: SourceColumn, name: str, decoder: str) -> Column:
    kind = DECODERS[decoder].kind if decoder else source.kind
    is_date = decoder != "" and kind is not source.kind
    told, help_text = _comment(source.comment, source.name)
    return Column(
        name=name,
        source=source.name,
        kind=kind,
        label=told,
        source_type=source.type,
        nullable=(source.nullable or is_date) and source.name not in table.key,
        generated=source.generated,
        defaulted=source.defaulted,
        decoder=decoder,
        length_max=source.length_max if kind is Kind.TEXT or not is_date else None,
        precision=None if is_date else source.precision,
        scale=None if is_date else source.scale,
        choices=source.choices,
        help=help_text,
    )


def _comment(comment: str, name: str) -> tuple[str, str]:
    """(label, help) from a comment: a short first line is the label, what follows the help."""
    first, _, rest = comment.strip().partition("\n")
    if not first:
        return label(name), ""
    head, colon, tail = first.partition(": ")
    if colon and len(head) <= 40:
        return head.strip(), " ".join(f"{tail} {rest}".split())
    return (first, rest.strip()) if len(first) <= 40 else (label(name), " ".join(comment.split()))


# old ways of writing


def _sample_of(table: SourceTable, index: int) -> list[Value]:
    return [row[index] for row in table.sample if row[index] is not None]


def _decoders(table: SourceTable) -> dict[str, str]:
    found = {}
    for index, column in enumerate(table.columns):
        if decoder := recognise(column, _sample_of(table, index)):
            found[column.name] = decoder
    return found


def _share_decoders(catalogue: Catalogue, decoders: dict[tuple[str, str], dict[str, str]]) -> None:
    """A column that refers to a trimmed one is trimmed too, or their keys would differ."""
    for table in catalogue.tables:
        kinds = {column.name: column.kind for column in table.columns}
        for reference in table.references:
            for mine, theirs in zip(reference.columns, reference.target_columns, strict=True):
                if decoders.get(reference.table, {}).get(theirs) == "trim" and kinds.get(mine) is Kind.TEXT:
                    decoders[_place(table)].setdefault(mine, "trim")


# references


def _references(
    table: SourceTable,
    names: dict[tuple[str, str], str],
    columns: dict[tuple[str, str], dict[str, str]],
    by_place: dict[tuple[str, str], SourceTable],
) -> tuple[Reference, ...]:
    """References to tables that are served, by their keys; each set of columns once."""
    found: dict[tuple[str, ...], Reference] = {}
    for reference in table.references:
        target = by_place.get(reference.table)
        if target is None or not target.key or set(target.key) != set(reference.target_columns):
            continue
        order = sorted(range(len(target.key)), key=lambda i, r=reference, t=target: t.key.index(r.target_columns[i]))  # type: ignore[misc]
        mine = tuple(columns[_place(table)][reference.columns[i]] for i in order)
        theirs = tuple(columns[reference.table][reference.target_columns[i]] for i in order)
        found.setdefault(mine, Reference(mine, names[reference.table], theirs))
    return tuple(found.values())


def suspected_references(catalogue: Catalogue) -> tuple[Suspect, ...]:
    """References that names and types suggest: a column called and typed like the single key of just one other table.

    Too common a name (`id`, `code`) says nothing. Whoever asks must look up that the values exist there.
    """
    owners: dict[str, list[tuple[SourceTable, SourceColumn]]] = {}
    for table in catalogue.tables:
        if len(table.key) == 1 and not table.is_view:
            column = next(column for column in table.columns if column.name == table.key[0])
            owners.setdefault(column.name.lower(), []).append((table, column))
    found = []
    for table in catalogue.tables:
        if table.is_view:
            continue
        declared = {reference.columns[0] for reference in table.references if len(reference.columns) == 1}
        for index, column in enumerate(table.columns):
            candidates = owners.get(column.name.lower(), [])
            if column.name in declared or fold(column.name) in _VAGUE or (column.name,) == table.key:
                continue
            if len(candidates) != 1 or candidates[0][0] is table or not _alike(column, candidates[0][1]):
                continue
            values = tuple(dict.fromkeys(value for value in _sample_of(table, index) if value not in ("", 0)))
            if values:
                target, key = candidates[0]
                reference = SourceReference((column.name,), _place(target), (key.name,))
                found.append(Suspect(_place(table), reference, values))
    return tuple(found)


_VAGUE = frozenset({"id", "code", "key", "no", "num", "number", "numero", "name", "nom", "type", "uuid", "guid", "ref"})


def _alike(one: SourceColumn, other: SourceColumn) -> bool:
    return one.kind is other.kind and (one.kind is not Kind.DECIMAL or one.scale == other.scale)


# what people see first


def _spec(
    table: SourceTable,
    name: str,
    backend: str,
    columns: tuple[Column, ...],
    names: dict[str, str],
    references: tuple[Reference, ...],
) -> TableSpec:
    told, help_text = _comment(table.comment, table.name)
    key = tuple(names[column] for column in table.key)
    spec = TableSpec(
        name=name,
        source=table.name,
        source_schema=table.schema,
        backend=backend,
        label=told,
        columns=columns,
        key=key,
        references=references,
        read_only=table.read_only or ("" if key else NO_KEY),
        is_view=table.is_view,
        help=help_text,
        rows_estimate=table.rows_estimate,
        unique=tuple(tuple(names[column] for column in columns_) for columns_ in table.unique),
    )
    spec = replace(spec, label_columns=_label_columns(spec))
    return replace(spec, list_columns=_list_columns(spec, table))


def _label_columns(spec: TableSpec) -> tuple[str, ...]:
    """The key, and the column that names the row for people."""
    for first, last in _PERSON:
        if first in spec.by_name and last in spec.by_name:
            return tuple(dict.fromkeys((*spec.key, first, last)))
    naming = _naming_column(spec)
    if naming is None:
        return spec.key
    return (naming,) if naming in spec.key else (*spec.key, naming)


def _naming_column(spec: TableSpec) -> str | None:
    refers = {name for reference in spec.references for name in reference.columns}
    texts = [c.name for c in spec.columns if c.kind is Kind.TEXT and not c.choices and c.name not in refers]
    free = [name for name in texts if name not in spec.key]
    own = _stems(spec)
    for word in _NAMING:
        for stem in own:
            for name in free:
                if fold(name) in (f"{stem}_{word}", f"{word}_{stem}", f"{stem}{word}"):
                    return name
        for name in free:
            if fold(name) == word:
                return name
    for name in free:
        if fold(name) in own:
            return name
    for word in _NAMING[:9]:
        for name in free:
            if fold(name).endswith(f"_{word}") or fold(name).startswith(f"{word}_"):
                return name
    unique = [columns[0] for columns in spec.unique if len(columns) == 1 and columns[0] in free]
    return unique[0] if unique else _by_label(spec, free)


def _by_label(spec: TableSpec, free: Sequence[str]) -> str | None:
    """By the labels that the source gives to its six-letter names."""
    for word in _NAMING[:9]:
        for name in free:
            if word in fold(spec.by_name[name].label).split():
                return name
    return None


def _stems(spec: TableSpec) -> tuple[str, ...]:
    """The table's name and its singular: customers, customer."""
    name = fold(spec.name)
    found = [name]
    if name.endswith("ies"):
        found.append(f"{name[:-3]}y")
    if name.endswith("s"):
        found.append(name[:-1])
    return tuple(found)


def _list_columns(spec: TableSpec, table: SourceTable) -> tuple[str, ...]:
    """At most eight columns that tell rows apart, in the order of the table but for key and name, which lead."""
    position = {column.name: index for index, column in enumerate(spec.columns)}
    shown = [c for c in spec.columns if _fits_a_list(c, _sample_of(table, position[c.name]))]
    ranks = {column.name: _rank(spec, column) for column in shown}
    best = sorted(shown, key=lambda column: (ranks[column.name], position[column.name]))[:LIST_COLUMNS_MAX]
    lead = [name for name in (*spec.key, *spec.label_columns) if any(c.name == name for c in best)]
    rest = [column.name for column in sorted(best, key=lambda column: position[column.name])]
    return tuple(dict.fromkeys([*lead, *rest]))


def _rank(spec: TableSpec, column: Column) -> int:
    folded = fold(column.name)
    if column.name in spec.key or column.name in spec.label_columns:
        return 0
    if any(column.name in reference.columns for reference in spec.references):
        return 1
    if column.kind in (Kind.DATE, Kind.DATETIME) and not re.search(r"creat|updat|modif|insert", folded):
        return 2
    if column.choices or any(folded == word or folded.endswith(f"_{word}") for word in _STATUS):
        return 2
    if column.kind in (Kind.DECIMAL, Kind.REAL):
        return 3
    return 4 if column.kind is Kind.TEXT else 5


def _fits_a_list(column: Column, sample: Sequence[Value]) -> bool:
    if column.kind in (Kind.BINARY, Kind.JSON):
        return False
    return not any(isinstance(value, bytes) or (isinstance(value, str) and len(value) > LONG_TEXT) for value in sample)
