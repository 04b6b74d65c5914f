"""A table, or what a search and filters leave of it, as a file: all rows, from one state of the copy, with its age.

Rows are read and written some at a time, so that memory follows a batch and never the table, and the first bytes
leave before the second batch is read.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Any
from urllib.parse import quote

from brique.errors import BadInput, NotFound, TooMuch
from brique.exports.freshness import freshness
from brique.exports.listing import Listing, ListLimits, Parameters, ValueParser, pairs_of, parse_listing
from brique.exports.notes import lines
from brique.exports.typed import truth
from brique.formats import Batch, CsvWriter, Format, Notes, Writer, by_suffix
from brique.schema import Column, Kind, Reference, TableSpec, Value
from brique.views import Copy, StoredRow
from brique.words import translate

OPTIONS = ("_separator", "_headings", "_notes", "_labels")
"""Parameters of an export's address beside those of the list; no column of a source is ever named so."""
SUFFIXES = ("csv", "xlsx", "json")
MEDIA_TYPES = {suffix: by_suffix(suffix).media_type.partition(";")[0] for suffix in SUFFIXES}
_SEPARATORS = {",": ",", "comma": ",", ";": ";", "semicolon": ";", "\t": "\t", "tab": "\t"}
_BATCH_ROWS = 500
_BATCH_ROWS_WITH_DOCUMENTS = 100
_BATCH_ROWS_WITH_BLOBS = 8
_AS_THEY_ARE = (Kind.TEXT, Kind.INTEGER, Kind.REAL, Kind.BINARY, Kind.ANY)


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


@dataclass(frozen=True)
class Options:
    """How a file is written. `separator` is of CSV (with `;` the decimal mark is a comma, as spreadsheets expect);
    `headings` `label` or `name`; `notes`: the age and filters at the end of a CSV; `labels`: beside each reference
    a column with the label of the row that it leads to."""

    separator: str = ","
    headings: str = "label"
    notes: bool = True
    labels: bool = False


@dataclass(frozen=True)
class Export:
    """A file in the making. Close `pieces` if they are not exhausted: they read the copy."""

    filename: str
    media_type: str
    headers: Mapping[str, str]
    pieces: Generator[bytes, None, None]


def parse_export(
    spec: TableSpec, parameters: Parameters, value_parser: ValueParser | None = None
) -> tuple[Listing, Options]:
    """What the address of an export asks for: the list's own question, and how to write it. Raises BadInput."""
    listing = parse_listing(spec, parameters, ListLimits(), value_parser, skip_empty=True, also=OPTIONS, paged=False)
    given = {name: text for name, text in pairs_of(parameters) if name in OPTIONS}
    faults: dict[str, str] = {}
    separator = _SEPARATORS.get(given.get("_separator") or ",")
    if separator is None:
        faults["_separator"] = _("Must be a comma, a semicolon or tab.")
    headings = given.get("_headings") or "label"
    if headings not in ("label", "name"):
        faults["_headings"] = _("Must be label or name.")
    flags = {}
    for name, default in (("_notes", True), ("_labels", False)):
        try:
            flags[name] = truth(given[name]) if given.get(name) else default
        except ValueError as fault:
            faults[name] = str(fault)
    if faults or separator is None:
        raise BadInput(_("The file cannot be made so."), fields=faults, where="query")
    return listing, Options(separator, headings, flags["_notes"], flags["_labels"])


def export(
    copy: Copy,
    spec: TableSpec,
    listing: Listing,
    suffix: str,
    language: str,
    *,
    now: datetime,
    zone: tzinfo | None = None,
    user: str = "",
    options: Options | None = None,
    rows_max: int = 0,
) -> Export:
    """The file of `listing`. Call it, and take its pieces, inside one `copy.snapshot()` in one thread.

    Args:
        suffix: `csv`, `xlsx` or `json`.
        zone: for people: times are local there; None: for programs.
        rows_max: most rows of one file; 0: no limit.
    Raises:
        NotFound: no such format. TooMuch: more than `rows_max` rows. Busy: the table is not copied yet.
    """
    options = options or Options()
    form = _format(suffix)
    fresh = freshness(copy, spec.name, now)
    query = replace(listing.query, after=None, before=None)
    if rows_max and copy.count_exactly(spec.name, query.filters, query.search) > rows_max:
        raise TooMuch(
            _("There are more rows than one file may have ({limit})."),
            try_this=_("Narrow the list with filters, or raise export_rows_max."),
            setting="export_rows_max",
            limit=rows_max,
        )
    has_pending = _has_pending(copy, spec, listing)
    notes = Notes(
        table=spec.name,
        title=spec.label,
        as_of=fresh.as_of,
        zone=zone,
        lines=lines(listing, language, now=now, zone=zone, user=user, has_pending=has_pending),
    )
    picks = _picks(copy, spec, listing.columns or spec.names, language, options, as_json=form.suffix == ".json")
    batches = partial(_batches, copy, spec, listing, [take for _column, take in picks])
    header = [column for column, _take in picks]
    filename = f"{_plain(spec.label) or spec.name} {now.astimezone(zone or UTC).strftime('%Y-%m-%d')}{form.suffix}"
    headers = {**fresh.headers(), "Content-Disposition": disposition(filename)}
    pieces = _pieces(_writer(form, options), header, batches, notes, language)
    return Export(filename, form.media_type, headers, pieces)


def disposition(filename: str) -> str:
    """A Content-Disposition for a download under that name: in UTF-8, and in ASCII for what cannot read it."""
    plain = unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode().strip()
    plain = f"export{plain}" if not plain or plain.startswith(".") else plain
    plain = "".join(letter if letter.isprintable() and letter not in '"\\/%' else "_" for letter in plain)
    if plain == filename:
        return f'attachment; filename="{plain}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


def _format(suffix: str) -> Format:
    if suffix not in SUFFIXES:
        raise NotFound(_("There is no such format."), try_this=_("Choose csv, xlsx or json."))
    return by_suffix(suffix)


def _writer(form: Format, options: Options) -> Writer:
    if form.suffix == ".csv":
        mark = "," if options.separator == ";" else "."
        return CsvWriter(options.separator, mark, headings=options.headings, notes_at_end=options.notes)
    assert form.writer is not None
    return form.writer


def _plain(label: str) -> str:
    """A label as a part of a file name on any system."""
    safe = "".join(c if c.isalnum() or c in " -_.,()'’" else " " for c in label)
    return " ".join(safe.split()).strip(". ")[:80].strip()


def _has_pending(copy: Copy, spec: TableSpec, listing: Listing) -> bool:
    query = replace(listing.query, after=None, before=None, limit=1, sort=(), pending_first=True)
    return any(row.pending for row in copy.browse(spec.name, query).rows)


# -- rows -------------------------------------------------------------------------------------------------------------

_Take = Callable[[Sequence[StoredRow]], list[Any]]
"""The Python values of one column of the file."""


def _pieces(
    writer: Writer,
    header: Sequence[Column],
    batches: Callable[[], Generator[Batch, None, None]],
    notes: Notes,
    language: str,
) -> Generator[bytes, None, None]:
    with closing(batches()) as rows:
        yield from writer.write(header, rows, notes=notes, language=language)


def _batches(copy: Copy, spec: TableSpec, listing: Listing, takes: Sequence[_Take]) -> Generator[Batch, None, None]:
    kinds = {column.kind for column in spec.columns}
    size = _BATCH_ROWS_WITH_DOCUMENTS if Kind.JSON in kinds else _BATCH_ROWS
    size = _BATCH_ROWS_WITH_BLOBS if Kind.BINARY in kinds else size
    stream: Iterator[list[StoredRow]] = copy.stream(spec.name, listing.query, size)
    with closing(stream):  # type: ignore[type-var]  # the reader's iterator is a generator
        for rows in stream:
            yield list(zip(*[take(rows) for take in takes], strict=True))


def _picks(
    copy: Copy, spec: TableSpec, names: Sequence[str], language: str, options: Options, *, as_json: bool
) -> list[tuple[Column, _Take]]:
    """The columns of the file, each with what takes its values from rows."""
    picks: list[tuple[Column, _Take]] = []
    for name in names:
        column = spec.by_name[name]
        if column.kind is Kind.BINARY and not as_json:
            label = translate("{label} (bytes)", language, label=column.label)
            picks.append((replace(column, kind=Kind.INTEGER, label=label), partial(_sizes, name)))
            continue
        picks.append((column, partial(_stored if column.kind in _AS_THEY_ARE else partial(_python, column), name)))
        reference = spec.reference_of.get(name)
        if options.labels and reference is not None and reference.table in copy.specs:
            target = copy.specs[reference.table]
            shown = Column(f"{name}_label", "", Kind.TEXT, f"{column.label} ({target.label})")
            picks.append((shown, partial(_labels, copy, reference, name)))
    return picks


def _stored(name: str, rows: Sequence[StoredRow]) -> list[Value]:
    return [row.values[name] for row in rows]


def _python(column: Column, name: str, rows: Sequence[StoredRow]) -> list[Any]:
    read = column.python
    return [read(row.values[name]) for row in rows]


def _sizes(name: str, rows: Sequence[StoredRow]) -> list[Any]:
    values = [row.values[name] for row in rows]
    return [len(value) if isinstance(value, bytes) else value for value in values]


def _labels(copy: Copy, reference: Reference, name: str, rows: Sequence[StoredRow]) -> list[str | None]:
    values = [row.values[name] for row in rows]
    labels = copy.labels_of(reference, values)
    return [labels.get(value) for value in values]
