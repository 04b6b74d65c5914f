"""JSON out: one object, streamed: `{"table": …, "as_of": …, "rows": [{…}, …]}`.

Decimals are strings, so are whole numbers beyond 2^53 (JavaScript would round them); dates are ISO 8601, times with a
zone end in Z, bytes are base64, and what is not a number is null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import msgspec

from brique.formats.protocol import Batch, Heading, Notes, WriteReport

_SAFE = 2**53
_PLAIN: tuple[set[type], ...] = ({str}, {bool}, {date}, {time}, {bytes}, set())


@dataclass(frozen=True)
class JsonWriter:
    """JSON out. Field names, not labels, are the keys; one row on one line."""

    def write(
        self,
        header: Sequence[Heading],
        batches: Iterable[Batch],
        *,
        notes: Notes | None = None,
        language: str = "en",
        report: WriteReport | None = None,
    ) -> Iterator[bytes]:
        """See `protocol.Writer`."""
        notes, report = notes or Notes(), report if report is not None else WriteReport()
        encode = msgspec.json.Encoder(enc_hook=_other).encode
        names = [field.name for field in header]
        about: dict[str, object] = {"table": notes.table, "title": notes.title or None}
        about["as_of"] = notes.as_of.astimezone(UTC) if notes.as_of else None
        about["notes"] = dict(notes.lines) or None
        head = {what: value for what, value in about.items() if value is not None}
        yield encode(head)[:-1] + b',"rows":['
        report.sheets = 1
        lead = b"\n"
        for batch in batches:
            if not batch:
                continue
            columns = [_column(list(values), report) for values in zip(*batch, strict=True)]
            report.rows += len(batch)
            rows = [encode(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]
            yield lead + b",\n".join(rows)
            lead = b",\n"
        yield b"\n]}\n"


def _column(values: list[Any], report: WriteReport) -> list[Any]:
    kinds = set(map(type, values)) - {type(None)}
    if kinds in _PLAIN:
        return values
    if kinds == {int} and max(abs(v) for v in values if v is not None) <= _SAFE:
        return values

    def real(value: float) -> float | None:
        if math.isfinite(value):
            return value
        report.not_a_number += 1
        return None

    special: dict[type, Callable[[Any], object]] = {
        int: lambda v: v if -_SAFE <= v <= _SAFE else str(v),
        float: real,
        Decimal: lambda v: format(v, "f"),
        datetime: lambda v: v if v.tzinfo is None else v.astimezone(UTC),
    }
    return [special[type(v)](v) if type(v) in special else v for v in values]


def _other(value: object) -> str:
    return str(value)
