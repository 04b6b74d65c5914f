"""Files in and out: rows in batches, bytes in pieces, in bounded memory. Usable alone.

Out: `by_suffix("orders.xlsx").writer.write(header, batches, notes=…, language=…)` yields bytes.
In: `infer(path)` says which tables a file holds, `read(path, sheet, fields)` gives their rows as store values.
"""

from brique.formats.csv_in import CsvReader
from brique.formats.csv_out import CsvWriter, guard
from brique.formats.json_out import JsonWriter
from brique.formats.protocol import (
    Batch,
    Field,
    Heading,
    Limits,
    Notes,
    Problem,
    Reader,
    ReadReport,
    StoreBatch,
    Writer,
    WriteReport,
)
from brique.formats.reading import SheetSchema
from brique.formats.suffixes import (
    FORMATS,
    READABLE,
    WRITABLE,
    Format,
    by_suffix,
    infer,
    read,
    reader_for,
    sheets,
    writer_for,
)
from brique.formats.workbook_in import WorkbookReader
from brique.formats.xlsx_out import XlsxWriter

__all__ = [
    "FORMATS",
    "READABLE",
    "WRITABLE",
    "Batch",
    "CsvReader",
    "CsvWriter",
    "Field",
    "Format",
    "Heading",
    "JsonWriter",
    "Limits",
    "Notes",
    "Problem",
    "ReadReport",
    "Reader",
    "SheetSchema",
    "StoreBatch",
    "WorkbookReader",
    "WriteReport",
    "Writer",
    "XlsxWriter",
    "by_suffix",
    "guard",
    "infer",
    "read",
    "reader_for",
    "sheets",
    "writer_for",
]
