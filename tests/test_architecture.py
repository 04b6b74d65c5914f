"""The rooms, and the imports they may have: a folder may import only the rooms below it."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "brique"

GROUND = {"errors", "clock", "settings", "observe", "words", "channel"}
ROOMS: dict[str, set[str]] = {
    **{room: set() for room in GROUND},
    "schema": set(),
    "formats": {"schema"},
    "http": set(),
    "spool": set(),
    "supervise": set(),
    "backends": {"schema", "formats"},
    "store": {"schema"},
    "commands": {"schema", "spool", "store", "backends"},
    "refresh": {"schema", "store", "backends"},
    "publish": {"schema", "store", "views", "backends"},
    "views": {"schema", "store"},
    "check": {"schema", "store", "views"},
    "live": {"views"},
    "exports": {"schema", "formats", "views"},
    "pages": {"schema", "http", "views", "commands", "exports", "live"},
    "api": {"schema", "http", "views", "commands", "exports", "live"},
    "deploy": set(),
    "demo": {"schema"},
    "app": {
        "schema", "formats", "http", "spool", "backends", "store", "commands", "refresh", "views", "live",
        "exports", "pages", "api", "publish", "check",
    },
    "cli": {"app", "formats", "supervise", "deploy", "demo"},
    "brique": {"app", "schema", "backends", "store", "views"},
}  # fmt: skip
FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 450


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return {"__init__.py": "brique", "__main__.py": "cli"}.get(parts[0]) or parts[0].removesuffix(".py")


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports_of(path: Path) -> list[tuple[int, str, list[str]]]:
    """Line, module and names of each import of brique in `path`, wherever in the file it stands."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name, []) for alias in node.names if alias.name.split(".")[0] == "brique"]
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "brique":
            found.append((node.lineno, node.module, [alias.name for alias in node.names]))
        elif isinstance(node, ast.ImportFrom) and node.level:
            found.append((node.lineno, "a relative import", []))
    return found


def test_every_folder_is_a_room_in_the_table() -> None:
    assert {room_of(path) for path in sources()} <= set(ROOMS)


def test_imports_point_down_only() -> None:
    faults = []
    for path in sources():
        room = room_of(path)
        for line, module, names in imports_of(path):
            parts = module.split(".")
            targets = {parts[1]} if len(parts) > 1 else {name for name in names if name in ROOMS}
            for target in targets or {"brique"}:
                allowed = target == room or target in GROUND or target in ROOMS[room]
                if not allowed:
                    where = f"{path.relative_to(ROOT)}:{line}"
                    below = ", ".join(sorted(ROOMS[room])) or "the ground"
                    faults.append(f"{where}: {room} imports {target}; it may import {below}")
    assert not faults, "\n".join(faults)


def test_rooms_are_imported_by_their_door() -> None:
    faults = []
    for path in sources():
        room = room_of(path)
        for line, module, _ in imports_of(path):
            parts = module.split(".")
            if len(parts) > 2 and parts[1] != room:
                faults.append(f"{path.relative_to(ROOT)}:{line}: import brique.{parts[1]}, not its inner {module}")
    assert not faults, "\n".join(faults)


def test_functions_fit_on_a_screen() -> None:
    faults = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES_MAX:
                    faults.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {length} lines")
    assert not faults, "\n".join(faults)


def test_files_hold_one_concept() -> None:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in sources()}
    faults = [f"{path.relative_to(ROOT)}: {n} lines" for path, n in lengths.items() if n > FILE_LINES_MAX]
    assert not faults, "\n".join(faults)
