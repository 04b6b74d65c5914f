"""The file that declares the demo's intranet, before anything serves it."""

from __future__ import annotations

import ast
from pathlib import Path

import psycopg
import pytest

from brique.demo import Demo, Plan, load_postgres
from tests.demo.test_load import TODAY
from tests.postgres import PostgresServer

_DECLARERS = {"key", "column", "ref", "padded", "old_date"}


def declared(path: Path) -> dict[str, list[str]]:
    """The names in the ERP that the file speaks of: table → columns."""
    found = {}
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef):
            source = next(ast.literal_eval(word.value) for word in node.keywords if word.arg == "source")
            calls = [item.value for item in node.body if isinstance(item, ast.AnnAssign)]
            found[source] = [
                ast.literal_eval(call.args[0])
                for call in calls
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in _DECLARERS
            ]
    return found


def test_it_is_written_once_and_again_only_when_asked(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    path = demo.write_intranet()
    ours = path.read_text("utf-8")
    path.write_text("# mine\n", "utf-8")
    assert demo.write_intranet() == path
    assert path.read_text("utf-8") == "# mine\n"
    demo.write_intranet(again=True)
    assert path.read_text("utf-8") == ours


def test_every_name_in_it_is_in_the_erp(tmp_path: Path, postgres: PostgresServer) -> None:
    url = postgres.make_database()
    load_postgres(url, Plan(TODAY, lines=100))
    tables = declared(Demo(tmp_path).write_intranet())
    assert len(tables) == 10
    with psycopg.connect(url) as connection:
        for table, columns in tables.items():
            rows = connection.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = (SELECT oid FROM pg_class WHERE relname = %s)"
                " AND attnum > 0",
                (table,),
            ).fetchall()
            assert columns, table
            assert set(columns) <= {name for (name,) in rows}, table


@pytest.mark.parametrize("decorator", ["dashboard", "view", "command"])
def test_it_has_a_dashboard_views_and_two_commands(tmp_path: Path, decorator: str) -> None:
    tree = ast.parse(Demo(tmp_path).write_intranet().read_text("utf-8"))
    used = [
        item.func.attr
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        for item in node.decorator_list
        if isinstance(item, ast.Call) and isinstance(item.func, ast.Attribute)
    ]
    assert used.count(decorator) >= {"dashboard": 1, "view": 2, "command": 2}[decorator]
