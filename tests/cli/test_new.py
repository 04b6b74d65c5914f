"""`brique new`: what is inferred, as Python that type-checks and means the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.program import assert_told, brique
from tests.postgres import PostgresServer
from tests.shop import make_shop

ODD = """
CREATE SCHEMA "Vente";
CREATE TABLE "Vente"."Détail Règlement" (
    "order" int, "group" int, "Montant ""net"" (FCFA)" numeric(14, 2) NOT NULL, "vérifié ?" boolean, class text,
    PRIMARY KEY ("order", "group")
);
COMMENT ON TABLE "Vente"."Détail Règlement" IS 'Payments';
COMMENT ON COLUMN "Vente"."Détail Règlement".class IS 'Class: "A" or ''B''\nand a second line';
CREATE TABLE nokey (a int, b text[], c jsonb, d bytea, e timestamptz, f uuid);
CREATE TABLE "class" (
    "def" int PRIMARY KEY, "_x" text, "1st" text, "éé" char(5), total int GENERATED ALWAYS AS (1) STORED
);
"""


def typed(file: Path) -> str:
    """What mypy --strict says of it; "" when it has nothing to say."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", file.name],
        cwd=file.parent, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_what_is_written_type_checks_with_odd_names_of_all_kinds(tmp_path: Path, postgres: PostgresServer) -> None:
    make_shop(tmp_path / "shop.db")
    url = postgres.make_database(script=ODD)
    assert brique("new", "--from", "shop.db", "shop.py", folder=tmp_path).out.startswith("shop.py: 3 tables.")
    assert brique("new", "--from", url, "--title", 'The "ERP"', "erp.py", folder=tmp_path).status == 0
    both = tmp_path / "both.py"
    both.write_text("import erp\nimport shop\n\nprint(erp.app, shop.app)\n", "utf-8")
    assert typed(both) == ""
    assert "Intranet('The \"ERP\"')" in (tmp_path / "erp.py").read_text("utf-8")


def test_a_file_that_is_there_is_kept_unless_forced(tmp_path: Path) -> None:
    make_shop(tmp_path / "shop.db")
    (tmp_path / "mine.py").write_text("# mine\n", "utf-8")
    assert_told(brique("new", "--from", "shop.db", "mine.py", folder=tmp_path), "is there already")
    assert (tmp_path / "mine.py").read_text("utf-8") == "# mine\n"
    assert brique("new", "--from", "shop.db", "--force", "mine.py", folder=tmp_path).status == 0
    assert "class Customer" in (tmp_path / "mine.py").read_text("utf-8")


@pytest.mark.parametrize(("what", "file", "error"), [
    ("nothing.db", "x.py", "There is nothing at"),
    ("shop.db", "nofolder/x.py", "cannot be written"),
    ("shop.db", "shop.txt", "cannot be written"),
])  # fmt: skip
def test_faults_are_told(tmp_path: Path, what: str, file: str, error: str) -> None:
    make_shop(tmp_path / "shop.db")
    assert_told(brique("new", "--from", what, file, folder=tmp_path), error)
