"""The program whose power is cut: `python -m bench.power_writer KIND FOLDER NUMBER` writes until it is killed.

It prints `kept POSITION NUMBER` after each acknowledgement, and `forgot POSITION` before it lets records go.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from brique.clock import SystemClock, stamp
from brique.commands import Give, Ledger, Receipt
from brique.schema import Change, Column, Command, Kind, TableSpec, encode_command
from brique.spool import Committer, Entry, Record, Spool, SpoolLimits, SqliteSpool
from brique.store import Store

_THREADS = 16
_RECORDS_MAX = 500
_KEPT = 4_000
_SPECS = {
    "note": TableSpec(
        name="note",
        label="Note",
        backend="shop",
        source="note",
        columns=(
            Column("id", "id", Kind.INTEGER, "Id", nullable=False, defaulted=True),
            Column("text", "text", Kind.TEXT, "Text"),
        ),
        key=("id",),
    )
}


def _open(folder: Path) -> Spool:
    return SqliteSpool(folder / "spool", limits=SpoolLimits(free_bytes_min=0, segment_records=_RECORDS_MAX))


def _command(number: int) -> Command:
    name = f"R{number:09d}"
    change = Change("note", f"new-{name}", None, {"text": f"text {number} " + "x" * 80})
    return Command(name, "create", "awa", "write", stamp(SystemClock().now()), "shop", (change,), digest=name)


def _body(number: int) -> bytes:
    return f"{number} ".encode() + b"x" * (100 + number % 100)


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _write_journal(folder: Path, first: int) -> None:
    spool, numbers, lock = _open(folder), itertools.count(first + 1), threading.Lock()
    committer = Committer(spool)

    def write() -> None:
        while True:
            number = next(numbers)
            position = committer.append(Entry(_body(number), str(number)))
            with lock:
                _say(f"kept {position} {number}\n")
                if position % 700 == 0 and position > _KEPT:
                    _say(f"forgot {position - _KEPT}\n")
                    spool.forget(position - _KEPT)

    for _ in range(_THREADS - 1):
        threading.Thread(target=write, daemon=True).start()
    write()


def _write_engine(folder: Path, first: int) -> None:
    clock = SystemClock()
    ledger = Ledger(_open(folder), Store(folder / "store.db", _SPECS, clock=clock), clock)
    ledger.catch_up()
    for start in itertools.count(first + 1, _THREADS):
        gives = [Give(_command(number), str(number)) for number in range(start, start + _THREADS)]
        for number, answer in enumerate(ledger.handle(gives), start):
            assert isinstance(answer, Receipt)
            _say(f"kept {answer.position} {number}\n")


def _check_journal(folder: Path, expected: dict[int, int]) -> int:
    with closing(_open(folder)) as spool:
        first = min(expected, default=1) - 1
        records = spool.read(first, 10_000_000)
        found = {record.position: record.payload for record in records if isinstance(record, Record)}
    return sum(found.get(position) != _body(number) for position, number in expected.items())


def _check_engine(folder: Path, expected: dict[int, int]) -> int:
    clock = SystemClock()
    with closing(_open(folder)) as spool, closing(Store(folder / "store.db", _SPECS, clock=clock)) as store:
        Ledger(spool, store, clock).catch_up()
        with store.transaction() as tx:
            found = {position: tx.commands.at(position) for position in expected}
            shown = {number: tx.row("note", f"new-R{number:09d}") for number in expected.values()}
    lost = 0
    for position, number in expected.items():
        item, wanted = found[position], _command(number)
        same = item is not None and encode_command(item.command)[:40] == encode_command(wanted)[:40]
        lost += not (same and shown[number] is not None)
    return lost


KINDS = ("journal", "engine")
_WRITE: dict[str, Callable[[Path, int], None]] = {"journal": _write_journal, "engine": _write_engine}
_CHECK: dict[str, Callable[[Path, dict[int, int]], int]] = {"journal": _check_journal, "engine": _check_engine}


def check(kind: str, folder: Path, expected: dict[int, int]) -> int:
    """How many of the writes acknowledged (number by position) are not there, whole, in `folder`."""
    return _CHECK[kind](folder, expected)


if __name__ == "__main__":
    _WRITE[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
