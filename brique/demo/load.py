"""The demo ERP's rows into PostgreSQL, or into a SQLite file for tests that have no PostgreSQL.

PostgreSQL: tables, rows, keys, rules and the note that all is there are one transaction, so a load that is cut off
leaves nothing behind but an empty database. The note is the database's comment: no table of ours stands in the ERP.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path

import apsw
import psycopg
from psycopg import sql

from brique.demo.data import COLUMNS, NULL, SEED, Block, Plan, blocks

VERSION = 1
"""Raise it when the schema or the generator changes: a demo made by another version is made anew."""

Progress = Callable[[str, int, int], None]
"""Called with (step, done, total): the step is one of STEPS, done and total count its order lines or its statements."""

STEPS = ("server", "rows", "rules", "statistics")

_PADDED = {
    "CUSTPF": {"CUNUM": 10, "CUNAM": 40, "CUADR": 40, "CUCTY": 20, "CUTEL": 17},
    "ARTIPF": {"ARREF": 8, "ARDES": 50, "ARFAM": 20, "ARUNI": 6},
    "DEPOPF": {"DENOM": 30, "DECTY": 20},
    "ORDRPF": {"ORCUS": 10, "ORREF": 20, "ORUSR": 10},
    "ORLNPF": {"OLART": 8},
    "STOKPF": {"START": 8, "STEMP": 8},
    "INVCPF": {"INNUM": 10, "INCUS": 10},
    "JRNLPF": {"JOUSR": 10, "JOPGM": 10},
}
"""Widths of the CHAR columns that are longer than their contents: PostgreSQL pads them itself, SQLite does not."""

_BOOLEANS = {"t": "1", "f": "0"}


@dataclass(frozen=True)
class Made:
    """What a database holds: the plan that it was made by."""

    seed: int
    lines: int
    today: date
    version: int = VERSION

    def text(self) -> str:
        told = {"seed": self.seed, "lines": self.lines, "today": self.today.isoformat(), "version": self.version}
        return "brique demo " + json.dumps(told)


def made(url: str) -> Made | None:
    """What the database at `url` was made by; None when it was not made to its end, or not by the demo."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    text = row[0] if row else None
    if not text or not text.startswith("brique demo {"):
        return None
    told = json.loads(text.removeprefix("brique demo "))
    return Made(told["seed"], told["lines"], date.fromisoformat(told["today"]), told["version"])


def load_postgres(url: str, plan: Plan, *, role: str = "", progress: Progress | None = None) -> None:
    """Make the ERP in the empty database at `url` (its owner's), and let `role` read and write its rows.

    All or nothing. About 20 s for a million lines on two slow cores.
    """
    tell = progress or _silent
    with psycopg.connect(url) as connection:
        connection.execute("SET LOCAL synchronous_commit = on")
        connection.execute("SET LOCAL client_min_messages = warning")
        connection.execute(_script("tables.sql"))
        _copy(connection, plan, tell)
        connection.execute(f"""ALTER TABLE "ORDRPF" ALTER "ORNUM" RESTART WITH {plan.orders + 1:d}""".encode())
        statements = _script("rules.sql").split(b";\n\n")
        for number, statement in enumerate(statements):
            tell("rules", number, len(statements))
            connection.execute(statement)
        tell("rules", len(statements), len(statements))
        if role:
            _grant(connection, role)
        note = Made(plan.seed, plan.lines, plan.today).text()
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, sql.Literal(note)))
    tell("statistics", 0, 1)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    tell("statistics", 1, 1)


def make_sqlite(path: Path, seed: int = SEED, lines: int = 1_000, *, today: date) -> None:
    """Make the same ERP as a new SQLite file; an existing file is replaced. For small sizes.

    As PostgreSQL would hold it as nearly as SQLite can: CHAR columns are padded, decimals are numbers.
    """
    path.unlink(missing_ok=True)
    tables, _, rules = _script("sqlite.sql").decode().partition("-- rules:")
    connection = apsw.Connection(str(path))
    try:
        connection.execute("PRAGMA journal_mode = wal; PRAGMA foreign_keys = off")
        with connection:
            connection.execute(tables)
            for block in blocks(Plan(today, seed, lines)):
                _insert(connection, block)
            connection.execute("--" + rules)
    finally:
        connection.close()


def _script(name: str) -> bytes:
    return (files("brique.demo") / "sql" / name).read_bytes()


def _silent(step: str, done: int, total: int) -> None:
    """Progress for nobody."""


def _copy(connection: psycopg.Connection, plan: Plan, tell: Progress) -> None:
    done = 0
    tell("rows", done, plan.lines)
    for block in blocks(plan):
        if not block.rows:
            continue
        table = sql.Identifier(block.table)
        columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS[block.table]))
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FREEZE)").format(table, columns)
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(block.text.encode())
        if block.table == "ORLNPF":
            done += block.rows
            tell("rows", done, plan.lines)


def _grant(connection: psycopg.Connection, role: str) -> None:
    name = sql.Identifier(role)
    for right in (
        "GRANT USAGE, CREATE ON SCHEMA public TO {}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {}",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {}",
    ):
        connection.execute(sql.SQL(right).format(name))


def _insert(connection: apsw.Connection, block: Block) -> None:
    columns = COLUMNS[block.table]
    widths = [_PADDED.get(block.table, {}).get(name, 0) for name in columns]
    names = ", ".join(_quoted(name) for name in columns)
    places = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {_quoted(block.table)} ({names}) VALUES ({places})"  # noqa: S608
    boolean = block.table == "Détail Règlement"
    connection.executemany(statement, (_values(line, widths, boolean) for line in block.text.splitlines()))


def _values(line: str, widths: list[int], last_is_boolean: bool) -> list[str | bytes | None]:
    """One line of COPY text as values for SQLite, which turns the text of numbers into numbers by itself."""
    values: list[str | bytes | None] = []
    for text, width in zip(line.split("\t"), widths, strict=True):
        if text == NULL:
            values.append(None)
        elif text.startswith("\\\\x"):
            values.append(bytes.fromhex(text[3:]))
        else:
            values.append(text.replace("\\n", "\n").ljust(width))
    if last_is_boolean and isinstance(values[-1], str):
        values[-1] = _BOOLEANS[values[-1]]
    return values


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
