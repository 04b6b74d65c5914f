"""Files in: what they hold (`infer`), and their rows as store values (`read`)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, groupby
from pathlib import Path

from brique.errors import BadInput
from brique.formats.inference import Evidence, KeySearch
from brique.formats.layout import SAMPLE_ROWS, Layout, body, find, recall
from brique.formats.parsing import column_parser, text_of
from brique.formats.protocol import Field, Limits, RawBatch, Reader, ReadReport, StoreBatch
from brique.schema import distinct, label, slug

_MISFIT = "Column {column} is of kind {kind}; this was kept as text: {shown}"


@dataclass(frozen=True)
class SheetSchema:
    """One table in a file: `source` is the name of its sheet, `fields` its columns in the order of the file.

    `key` names the fields that identify a row, empty when none do. `title`: what stood above the headings.
    """

    name: str
    source: str
    label: str
    fields: tuple[Field, ...]
    key: tuple[str, ...]
    rows: int
    title: tuple[str, ...] = ()
    report: ReadReport = field(default_factory=ReadReport, compare=False)


def infer_file(path: Path, reader: Reader, limits: Limits) -> list[SheetSchema]:
    """The tables of a file, each column judged by all of its values. Sheets without a single cell are left out."""
    found: list[SheetSchema] = []
    common = ReadReport()
    with _unchanged(path), closing(reader.raw(path, limits, common)) as everything:
        for sheet, batches in groupby(everything, key=lambda batch: batch.sheet):
            report = ReadReport(common.encoding, common.separator, repaired=common.repaired)
            bounded = _bounded(path, batches, limits)
            schema = _infer_sheet(sheet, bounded, reader.hint(common), report)
            if schema is not None:
                found.append(schema)
    names = distinct([schema.source for schema in found])
    return [replace(schema, name=name) for schema, name in zip(found, names, strict=True)]


def _infer_sheet(sheet: str, batches: Iterator[RawBatch], hint: str, report: ReadReport) -> SheetSchema | None:
    sample, batches = _sampled(batches)
    if sample is None:
        return None
    layout = find(sample.lines, sample.rows)
    evidence = [Evidence() for _ in layout.sources]
    keys = KeySearch(layout.sources)
    for batch in body(batches, layout, report):
        columns = list(zip(*batch.rows, strict=True))
        for column, cells in zip(evidence, columns, strict=True):
            column.add(cells)
        keys.add(columns)
    marks = {column.mark for column in evidence if column.shapes} - {""}
    mark = marks.pop() if len(marks) == 1 else hint  # the columns that leave no doubt speak for those that do
    judged = [column.judge(mark) for column in evidence]
    key = keys.found([judgement.kind for judgement in judged])
    kept = [at for at, column in enumerate(evidence) if column.filled or layout.named[at]]
    names = distinct([layout.sources[at] for at in kept])
    fields = tuple(
        Field(
            name=name,
            source=layout.sources[at],
            kind=judged[at].kind,
            label=label(layout.sources[at]),
            source_type=judged[at].style,
            nullable=evidence[at].filled < report.rows,
            scale=judged[at].scale,
        )
        for name, at in zip(names, kept, strict=True)
    )
    by_place = dict(zip(kept, names, strict=True))
    return SheetSchema(
        slug(sheet), sheet, label(sheet), fields, tuple(by_place[at] for at in key), report.rows, layout.above, report
    )


def read_file(
    path: Path, reader: Reader, sheet: str, fields: Sequence[Field], limits: Limits, report: ReadReport
) -> Generator[StoreBatch, None, None]:
    """The rows of one sheet as store values, in the order of `fields`, in batches that are not empty.

    Columns are found by their headings, wherever they stand now; further columns are ignored. A value that does not
    fit its kind is given as text and reported. Raises BadInput when a column is gone, or when the file changed
    meanwhile (what was given by then is not to be trusted); see also `protocol.Reader.raw`.
    """
    with _unchanged(path), closing(reader.raw(path, limits, report, only=sheet)) as everything:
        sample, batches = _sampled(_bounded(path, everything, limits))
        if sample is None:
            return
        wanted = [one.source for one in fields]
        layout = recall(sample.lines, sample.rows, wanted)
        if layout is None:
            raise _gone(path, sheet, find(sample.lines, sample.rows), wanted)
        places = [layout.sources.index(source) for source in wanted]
        parsers = [column_parser(one, guarded=bool(report.separator)) for one in fields]
        for batch in body(batches, layout, report):
            columns = list(zip(*batch.rows, strict=True))
            ready = []
            for one, place, parse in zip(fields, places, parsers, strict=True):
                values, misfits = parse(columns[place])
                for at in misfits:
                    report.misfits += 1
                    shown = text_of(columns[place][at])[:80]
                    report.add(batch.lines[at], _MISFIT, column=one.source, kind=one.kind.value, shown=shown)
                ready.append(values)
            yield list(zip(*ready, strict=True))


def _gone(path: Path, sheet: str, layout: Layout, wanted: Sequence[str]) -> BadInput:
    missing = [source for source in wanted if source not in layout.sources]
    there = ", ".join(layout.sources[:20])
    return BadInput(
        f"{path.name}, sheet {sheet!r}: there is no column {', '.join(map(repr, missing))}.",
        try_this=f"The file has: {there}. Give the column its old heading back, or describe the table anew.",
        file=path.name,
        sheet=sheet,
        missing=missing,
    )


def _sampled(batches: Iterator[RawBatch]) -> tuple[RawBatch | None, Iterator[RawBatch]]:
    """The first rows, and all batches, those of the sample among them."""
    taken: list[RawBatch] = []
    count = 0
    for batch in batches:
        taken.append(batch)
        count += len(batch.rows)
        if count >= SAMPLE_ROWS:
            break
    lines = [line for batch in taken for line in batch.lines][:SAMPLE_ROWS]
    rows = [row for batch in taken for row in batch.rows][:SAMPLE_ROWS]
    filled = [(line, row) for line, row in zip(lines, rows, strict=True) if any(c is not None and c != "" for c in row)]
    if not filled:
        return None, iter(())
    sheet = taken[0].sheet
    sample = RawBatch(sheet, [line for line, _ in filled], [row for _, row in filled])
    return sample, chain(taken, batches)


def _bounded(path: Path, batches: Iterator[RawBatch], limits: Limits) -> Iterator[RawBatch]:
    rows = cells = 0
    for batch in batches:
        rows += len(batch.rows)
        cells += sum(map(len, batch.rows))
        for name, count, most in (("rows", rows, limits.rows_max), ("cells", cells, limits.cells_max)):
            if count > most:
                reason = f"{path.name}, sheet {batch.sheet!r}: it has more than {most} {name}."
                raise BadInput(reason, file=path.name, sheet=batch.sheet, limit=f"{name}_max")
        yield batch


@contextmanager
def _unchanged(path: Path) -> Iterator[None]:
    """Raises BadInput at the end if someone wrote to the file meanwhile: half a copy is not a table."""

    def state() -> tuple[int, int, int] | None:
        try:
            now = path.stat()
        except OSError:
            return None
        return now.st_size, now.st_mtime_ns, now.st_ino

    before = state()
    yield
    if state() != before:
        raise BadInput(
            f"{path.name}: it changed while it was read.", try_this="Read it again when it is whole.", file=path.name
        )
