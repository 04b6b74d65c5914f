"""The Python that declares what was inferred: it runs, type-checks, and gives the same tables back."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from brique.app import Intranet
from brique.app.sources import load_declaration
from brique.schema import Catalogue, Kind, SourceColumn, SourceReference, SourceTable, TableSpec, infer
from brique.schema.write_python import write_python


def catalogue() -> Catalogue:
    def column(name: str, kind: Kind = Kind.TEXT, **options: object) -> SourceColumn:
        return SourceColumn(name=name, type="x", kind=kind, **options)  # type: ignore[arg-type]

    customers = SourceTable(
        name="CUSTPF",
        key=("CUNUM",),
        comment="Clients\nDu fichier \"maître\"",
        columns=(
            column("CUNUM", Kind.INTEGER, nullable=False, defaulted=True),
            column("CUCOD", padded=True, length_max=6),
            column("CUNAM", nullable=False, length_max=40, comment="Raison sociale: au \\registre"),
            column("CUDAT", Kind.INTEGER),
            column("mood", choices=("gai", "l'autre")),
            *(column(str(kind), kind) for kind in (Kind.DATE, Kind.DATETIME, Kind.TIME, Kind.JSON, Kind.ANY)),
            column("object"), column("key"), column("str", Kind.BINARY), column("column", Kind.BOOLEAN),
            column("rate", Kind.REAL), column("amount", Kind.DECIMAL, precision=9, scale=2),
            column("total", Kind.DECIMAL, generated=True), column("class"), column("100 %"),
        ),
        sample=tuple((n, "ab    ", "x", 1261120 + n, *[None] * 15) for n in range(5)),
    )  # fmt: skip
    orders = SourceTable(
        name="Order Details",
        schema="sales",
        key=("CUNUM", "line"),
        columns=(
            column("CUNUM", Kind.INTEGER), column("line", Kind.INTEGER), column("of order", Kind.INTEGER),
            column("of line", Kind.INTEGER), column("parent", Kind.INTEGER),
        ),
        references=(
            SourceReference(("CUNUM",), ("", "CUSTPF"), ("CUNUM",)),
            SourceReference(("of order", "of line"), ("sales", "Order Details"), ("CUNUM", "line")),
        ),
    )  # fmt: skip
    one = SourceTable("table", (column("id", Kind.INTEGER),), key=("id",),
                      references=(SourceReference(("id",), ("", "2nd"), ("id",)),))  # fmt: skip
    two = SourceTable("2nd", (column("id", Kind.INTEGER),), key=("id",),
                      references=(SourceReference(("id",), ("", "table"), ("id",)),))  # fmt: skip
    view = SourceTable("v", (column("a"), column("b")), is_view=True, read_only="It is a view.")
    return Catalogue((customers, orders, one, two, view))


def declared(text: str, folder: Path) -> dict[str, TableSpec]:
    file = folder / "intranet.py"
    file.write_text(text, "utf-8")
    made: Intranet = load_declaration(file)
    return dict(made.declared().specs)


def bare(spec: TableSpec) -> TableSpec:
    """`spec` without what only the source's own catalogue knows."""
    columns = tuple(replace(column, source_type="") for column in spec.columns)
    return replace(spec, columns=columns, unique=(), rows_estimate=0)


def test_the_written_file_gives_the_same_tables_back(tmp_path: Path) -> None:
    specs = infer(catalogue(), "erp")
    found = declared(write_python(specs, backend="erp", url="sqlite:///x.db", title="Comptoir"), tmp_path)
    assert list(found) == [spec.name for spec in specs]
    for spec in specs:
        wanted, got = bare(spec), found[spec.name]
        if spec.name in ("table_", "table", "n2nd"):  # keys that refer to each other cannot both be references
            wanted, got = replace(wanted, references=()), replace(got, references=())
        assert [c for c in got.columns if c not in wanted.columns] == []
        assert replace(got, list_columns=wanted.list_columns) == wanted
        assert got.list_columns in (wanted.list_columns, ())


def test_the_written_file_type_checks_strictly(tmp_path: Path) -> None:
    file = tmp_path / "written_intranet.py"
    file.write_text(write_python(infer(catalogue(), "erp"), backend="erp", url="x.db", title='A "title" \\'), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--follow-imports=silent", str(file)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lint = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E9,F,I", str(file)]
    checked = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_a_password_is_read_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql://me:s3%2Fcret@db.example:5433/erp{1}?sslmode=require"
    text = write_python(infer(catalogue(), "erp"), backend="erp", url=url, title="x")
    assert "s3" not in text
    monkeypatch.setenv("ERP_PASSWORD", "s3/cret")
    file = tmp_path / "secret_intranet.py"
    file.write_text(text, "utf-8")
    assert load_declaration(file).backends["erp"].url == url


def test_a_small_table_takes_few_lines() -> None:
    column = SourceColumn(name="name", type="text", kind=Kind.TEXT, nullable=False)
    key = SourceColumn(name="number", type="int", kind=Kind.INTEGER, nullable=False)
    specs = infer(Catalogue((SourceTable("Customer", (key, column), key=("number",)),)), "erp")
    assert write_python(specs, backend="erp", url="erp.db", title="Comptoir") == (
        '"""Comptoir."""\n\n'
        "from __future__ import annotations\n\n"
        "from brique import Intranet, Table, key\n\n"
        'app = Intranet("Comptoir")\n'
        'erp = app.backend("erp", "erp.db")\n\n\n'
        "class Customer(Table, backend=erp):\n"
        "    number: int = key()\n"
        "    name: str\n"
    )
