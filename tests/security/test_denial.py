"""Hostile files, folders, databases and addresses: each is refused or passed over, nothing hangs and nothing leaks."""

from __future__ import annotations

import io
import os
import resource
import sqlite3
import subprocess
import sys
import time
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from brique.app import Inline, url_of
from brique.app.sources import from_data
from brique.backends import open_backend
from brique.errors import BackendAway, BadConfiguration, BriqueError
from brique.schema import infer
from brique.settings import Settings
from tests.end_to_end.running import brique_up
from tests.servers import wait_until

TYPES = (
    '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>'
)
RELS = (
    '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}" '
    'Target="{target}"/></Relationships>'
)
BOOK = (
    '<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>'
    '<sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>'
)
LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + ']><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData><row r="1">'
    '<c t="inlineStr"><is><t>&j;</t></is></c></row></sheetData></worksheet>'
)
OUTSIDE = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file://{path}">]>'
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData><row r="1">'
    '<c t="inlineStr"><is><t>name &a;</t></is></c></row><row r="2"><c t="inlineStr"><is><t>&a;</t></is></c></row>'
    "</sheetData></worksheet>"
)
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
PLAIN = "name,city\nAwa,Dakar\nMoussa,Thiès\n"


def workbook(path: Path, sheet: bytes, *, target: str = "worksheets/sheet1.xml") -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("[Content_Types].xml", TYPES)
        book.writestr("_rels/.rels", RELS.format(kind="officeDocument", target="xl/workbook.xml"))
        book.writestr("xl/workbook.xml", BOOK)
        book.writestr("xl/_rels/workbook.xml.rels", RELS.format(kind="worksheet", target=target))
        book.writestr("xl/worksheets/sheet1.xml", sheet)


def opendocument(path: Path, repeated: int) -> None:
    """One row that says of itself that it is there `repeated` times, with as many columns."""
    space = 'xmlns:{0}="urn:oasis:names:tc:opendocument:xmlns:{0}:1.0"'
    names = " ".join(space.format(name) for name in ("office", "table", "text"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet", zipfile.ZIP_STORED)
        book.writestr(
            "content.xml",
            f'<?xml version="1.0"?><office:document-content {names} office:version="1.2"><office:body>'
            "<office:spreadsheet>"
            f'<table:table table:name="S"><table:table-row table:number-rows-repeated="{repeated}"><table:table-cell '
            f'table:number-columns-repeated="{repeated}" office:value-type="string"><text:p>x</text:p>'
            "</table:table-cell></table:table-row></table:table></office:spreadsheet></office:body></office:document-content>",
        )
        book.writestr(
            "META-INF/manifest.xml",
            '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>',
        )


def bombs(folder: Path, outside: Path) -> None:
    """Every hostile file, and one honest one."""
    begin = f'<?xml version="1.0"?><worksheet xmlns="{MAIN}"><sheetData>'.encode()
    workbook(folder / "zipbomb.xlsx", begin + b"<row/>" * 30_000_000)
    workbook(folder / "laughs.xlsx", LAUGHS.encode())
    workbook(folder / "entity.xlsx", OUTSIDE.format(path=outside).encode())
    workbook(folder / "deep.xlsx", begin + b"<a>" * 1_000_000)
    workbook(folder / "target.xlsx", begin, target="../../../../../../etc/passwd")
    workbook(
        folder / "far.xlsx",
        begin + b'<row r="4294967295"><c r="ZZZZZZ4294967295"><v>1</v></c></row></sheetData></worksheet>',
    )
    opendocument(folder / "repeated.ods", 2_000_000_000)
    (folder / "truncated.xlsx").write_bytes((folder / "laughs.xlsx").read_bytes()[:-30])
    (folder / "nothing.xlsx").write_bytes(b"")
    (folder / "noise.ods").write_bytes(os.urandom(5000))
    (folder / "noise.csv").write_bytes(os.urandom(200_000))
    (folder / "nul.csv").write_bytes(b"\x00" * 100_000)
    (folder / "onecell.csv").write_text('a,b\n"' + "x" * 3_000_000)
    (folder / "wide.csv").write_text(",".join(f"c{n}" for n in range(50_000)) + "\n1\n")
    (folder / "quotes.csv").write_text('"' * 1_000_001)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as inner:
        inner.writestr("../../../escaped.txt", "x")
        inner.writestr("/tmp/escaped.txt", "x")
    (folder / "slip.xlsx").write_bytes(stream.getvalue())
    (folder / "honest.csv").write_text(PLAIN)


def test_a_folder_of_hostile_files_serves_the_honest_one(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("SECRET-OUTSIDE")
    folder = tmp_path / "share"
    folder.mkdir()
    bombs(folder, outside)
    started = time.monotonic()
    with brique_up(str(folder), data=tmp_path / "data") as running:
        wait_until(lambda: running.rows("honest") == 2, 60, "the honest file is served")
        assert time.monotonic() - started < 90
        for name in running.client.get("/api/tables").json()["tables"]:
            assert "SECRET-OUTSIDE" not in running.client.get(name["url"]).text
        assert running.client.get("/-/status").status_code == 200
    assert not Path("/tmp/escaped.txt").exists()
    biggest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert biggest < 2_500_000, f"{biggest // 1024} MB in one process"


def test_links_that_lead_out_of_a_folder_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("name,salary\nAwa,1000\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.csv").write_text("name,salary\nAwa,1000\n")
    share = tmp_path / "share"
    (share / "sub").mkdir(parents=True)
    (share / "honest.csv").write_text(PLAIN)
    (share / "sub" / "inner.csv").write_text(PLAIN)
    (share / "inside.csv").symlink_to("sub/inner.csv")
    (share / "passwd.csv").symlink_to("/etc/passwd")
    (share / "up.csv").symlink_to("../secret.csv")
    (share / "folder.csv").symlink_to("../elsewhere")
    (share / "dangling.csv").symlink_to("nothing.csv")
    (share / "loop.csv").symlink_to("loop.csv")
    os.mkfifo(share / "pipe.csv")
    (tmp_path / "alias").symlink_to(share)
    for folder in (share, tmp_path / "alias"):
        with closing(open_backend("share", str(folder))) as backend:
            specs = {spec.name: spec for spec in infer(backend.catalogue(), "share")}
            assert set(specs) == {"honest", "inside"}
            (share / "inside.csv").unlink()
            (share / "inside.csv").symlink_to("../secret.csv")
            with pytest.raises(BriqueError), backend.snapshot() as snapshot:
                list(snapshot.read(specs["inside"]))  # led out after it was looked at
            (share / "inside.csv").unlink()
            (share / "inside.csv").symlink_to("sub/inner.csv")


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:1/latest/meta-data",
        "https://example.invalid/x.csv",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "gopher://127.0.0.1:70/x",
        "dict://127.0.0.1:11211/",
        "unix:///run/x.sock",
        "jar:http://x!/",
        "data:text/csv,a",
        "s3://bucket/x.csv",
        "ldap://127.0.0.1/",
        "\\\\host\\share",
        "//host/share",
        "HTTP://127.0.0.1/",
        " http://127.0.0.1/",
        "sqlite://host/x",
        "python://x",
        "-c import os",
    ],
)
def test_addresses_of_no_known_kind_are_refused_without_being_asked(address: str, tmp_path: Path) -> None:
    with pytest.raises((BadConfiguration, BackendAway)):
        closing(open_backend("x", address, timeout=1, connect_timeout=1)).__enter__().catalogue()


def test_a_hostile_sqlite_file_runs_nothing(tmp_path: Path) -> None:
    """Views and defaults that call functions, endless recursion, tables that lead elsewhere, a damaged page."""
    path = tmp_path / "hostile.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(
            f"""
            CREATE TABLE honest (id INTEGER PRIMARY KEY, name TEXT);
            INSERT INTO honest VALUES (1, 'Awa');
            CREATE VIEW loads AS SELECT load_extension('/tmp/x.so') AS x;
            CREATE VIEW reads AS SELECT readfile('/etc/passwd') AS x;
            CREATE VIEW writes AS SELECT writefile('{tmp_path}/written', 'x') AS x;
            CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n;
            CREATE VIEW huge AS SELECT hex(zeroblob(900000000)) AS x;
            CREATE VIEW broken AS SELECT * FROM missing;
            CREATE TRIGGER t AFTER INSERT ON honest BEGIN SELECT writefile('{tmp_path}/written', 'x'); END;
            CREATE INDEX i ON honest (abs(id));
            """
        )
    with brique_up(str(path), data=tmp_path / "data") as running:
        wait_until(lambda: running.rows("honest") == 1, 60, "the honest table is served")
        for table in running.client.get("/api/tables").json()["tables"]:
            assert "root:" not in running.client.get(table["url"]).text
        assert running.client.get("/tables").status_code == 200
    assert not (tmp_path / "written").exists()


def test_a_table_without_end_stops_where_the_disk_has_no_more_room(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "endless.db")) as db, db:
        db.executescript(
            "CREATE TABLE honest (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO honest VALUES (1, 'Awa');"
            "CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n;"
        )
    intranet = from_data([url_of(str(tmp_path / "endless.db"))], tmp_path / "data")
    settings = Settings(data=tmp_path / "data", spool_free_bytes_min=0, free_disk_bytes_min=0)
    stage = tmp_path / "data" / "stage" / "endless" / "stage-endless.db"
    with Inline(intranet, tmp_path / "data", settings=settings) as site:
        refresher = site.backends["endless"].refreshing.refresher
        refresher.has_room = lambda: not stage.exists() or stage.stat().st_size < 3_000_000
        reader = site.web.readers.mine()
        wait_until(lambda: "no room" in reader.table_state("endless").fault, 60, "the table is at fault")
        assert reader.table_state("honest").loaded
        assert not stage.exists()


def test_a_file_that_is_no_database_is_refused_by_name(tmp_path: Path) -> None:
    for name, content in (
        ("noise.db", os.urandom(4096)),
        ("half.db", b"SQLite format 3\x00" + os.urandom(4096)),
        ("half2.sqlite", b"SQLite format 3\x00"),
    ):
        (tmp_path / name).write_bytes(content)
        command = [sys.executable, "-m", "brique", "up", str(tmp_path / name), "--data", str(tmp_path / f"data-{name}")]
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert told.returncode != 0
        assert "Error:" in told.stderr
        assert "Traceback" not in told.stderr
