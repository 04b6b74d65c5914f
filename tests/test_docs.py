"""The documents hold: code blocks run, links lead somewhere, generated pages are current, nothing is left unsaid.

A page is run from top to bottom in a scratch folder that holds `shop.db`, a small SQLite file:

- ```python is executed, all blocks of a page in one namespace; one that starts with `# NAME.py` is written to that
  file first, as its reader would.
- ```console: each `$ command` is run, and what it prints must begin with the lines below it. In them `…` stands for
  anything. `export` lasts for the page; `cd` is not used. A command that serves (`brique up`) is started on a free
  port, which then stands for 127.0.0.1:8000 in the commands after it, and ends with the page.
- ```sql is run in a database made for the page, of MariaDB when it names mysql:// addresses, else of PostgreSQL;
  ```toml must be settings that brique takes.
- ```sh is not run: `NOT_RUN` lists how many such blocks a page has, and why.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import psycopg
import pytest

import brique
from brique import Inline, Intranet, settings
from brique.app import Run
from brique.commands import LIFE, MOVES
from brique.exports import COMPARISONS, CONTROLS
from brique.schema import DECODERS, Kind, State
from brique.store import Rows
from tests.mariadb import MariadbServer
from tests.mongodb import MongoServer
from tests.postgres import PostgresServer
from tests.servers import wait_until
from tests.shop import make_shop
from tests.test_architecture import GROUND, ROOMS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
BIN = Path(sys.executable).parent
KNOWN = {"python", "console", "sh", "sql", "toml", "json", "text", "mermaid", "nginx", "caddy", "ini", ""}
NOT_RUN: dict[str, tuple[int, str]] = {
    "README.md": (1, "make demo: makes a million rows; tests/cli and tests/end_to_end run the demo at small size"),
    "README.fr.md": (1, "as README.md"),
    "docs/tutorial.md": (3, "make demo, and commands to the demo's ERP: tests/cli and tests/demo run those"),
    "docs/how-to/serve-a-folder.md": (1, "more ways to call a command that the page has run"),
    "docs/how-to/install-offline.md": (2, "needs the network, or a second machine; tests/deploy makes a bundle"),
}
SERVED = {"BRIQUE_LISTEN": "127.0.0.1:0", "BRIQUE_WEB_PROCESSES": "1"}
ARGUMENTS = {"number": "1", "city": "Dakar"}
"""For views whose arguments are no rows."""
FROM_OTHERS: dict[str, str] = {"docs/reference/reading-data.md": "docs/reference/declarations.md"}


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, text, and line in its page."""

    page: Path
    line: int
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    opened: tuple[int, str, str] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        fence = re.match(r"^(\s*)```(\w*)\s*$", line)
        if fence and opened is None:
            opened, lines = (number, fence[2], fence[1]), []
        elif fence and opened is not None and not fence[2]:
            found.append(Block(page, opened[0], opened[1], "\n".join(lines) + "\n"))
            opened = None
        elif opened is not None:
            lines.append(line.removeprefix(opened[2]))
    assert opened is None, f"{page}:{opened}: a fence is not closed"
    return found


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@dataclass
class Scratch:
    """The folder in which a page is run, and what its commands have changed."""

    folder: Path
    environment: dict[str, str]
    namespace: dict[str, Any] = field(default_factory=dict)
    replace: dict[str, str] = field(default_factory=dict)
    served: list[subprocess.Popen[str]] = field(default_factory=list)
    awaited: str = ""
    mariadb: MariadbServer | None = None

    def command(self, block: Block, command: str, expected: list[str]) -> None:
        for old, new in self.replace.items():
            command = command.replace(old, new)
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            self.environment[name] = value.strip("'\"")
        elif re.match(r"brique (up|demo)( |$)", command):
            self.serve(block, command, expected)
        else:
            self.wait_for_health()
            where = f"{name_of(block.page)}:{block.line}: $ {command}"
            done = self.run(command)
            if command.startswith("curl ") and " -d" not in command:  # the first copy may still be under way
                wait_until(lambda: fits(self.run(command).stdout, expected), 15, f"{where}\n{done.stdout}{done.stderr}")
                return
            assert done.returncode == 0 or "Error: " in "".join(expected), f"{where}\n{done.stdout}{done.stderr}"
            compare(where, done.stdout + done.stderr, expected)

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def serve(self, block: Block, command: str, expected: list[str]) -> None:
        """Start a command that goes on; from here on its address stands for 127.0.0.1:8000."""
        log = self.folder / f"serve-{len(self.served)}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder, env={**self.environment, **SERVED}, stdout=out, stderr=subprocess.DEVNULL, text=True,
                start_new_session=True,
            )  # fmt: skip
        self.served.append(process)
        wait_until(lambda: "Open http" in log.read_text() or process.poll() is not None, 30, f"$ {command}")
        found = re.search(r"http://(127\.0\.0\.1:\d+)", log.read_text())
        assert found, f"{name_of(block.page)}:{block.line}: $ {command}\n{log.read_text()}"
        self.replace["127.0.0.1:8000"] = found[1]
        compare(f"{name_of(block.page)}:{block.line}: $ {command}", log.read_text(), expected)
        self.awaited = found[1]

    def wait_for_health(self) -> None:
        """What was started answers before the next command is run; a page that asks nothing of it need not wait."""
        if self.awaited:
            wait_until(lambda: healthy(self.awaited), 30, f"{self.awaited} to answer")
            token = self.environment.get("BRIQUE_TOKEN", "")
            if token:
                wait_until(lambda: is_copied(self.awaited, token), 30, f"{self.awaited} to have its first copy")
            self.awaited = ""

    def stop(self) -> None:
        for process in self.served:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.served:
            process.wait(30)


def healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/-/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def is_copied(address: str, token: str) -> bool:
    """Whether every table is there to be listed."""

    def asked(path: str) -> Any:
        request = urllib.request.Request(f"http://{address}{path}", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    try:
        return all(asked(f"/api/tables/{table['name']}?limit=1") for table in asked("/api/tables")["tables"])
    except OSError:
        return False


def fits(printed: str, expected: list[str]) -> bool:
    """Whether `compare` would be content."""
    try:
        compare("", printed, expected)
    except AssertionError:
        return False
    return True


def compare(where: str, printed: str, expected: list[str]) -> None:
    """What was printed begins with the expected lines; `…` stands for anything."""
    lines = printed.removeprefix("\ufeff").splitlines()
    for number, line in enumerate(expected):
        pattern = ".*".join(re.escape(part) for part in line.replace("127.0.0.1:8000", "127.0.0.1:…").split("…"))
        shown = lines[number] if number < len(lines) else "(nothing)"
        assert re.fullmatch(pattern, shown), f"{where}\nexpected: {line}\nprinted:\n{printed}"


def commands_of(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Each command with the output expected of it. A backslash at its end joins the next line."""
    command, expected = "", list[str]()
    joining = False
    for line in block.text.splitlines():
        if joining:
            joining = line.endswith("\\")
            command += line.strip().removesuffix("\\")
        elif line.startswith("$ "):
            if command:
                yield command, expected
            joining = line.endswith("\\")
            command, expected = line[2:].removesuffix("\\"), []
        else:
            expected.append(line)
    if command:
        yield command, expected


def run_python(block: Block, scratch: Scratch) -> None:
    named = re.match(r"# (\w+\.py)\n", block.text)
    if named:
        (scratch.folder / named[1]).write_text(block.text, "utf-8")
    code = "\n" * block.line + block.text
    for old, new in scratch.replace.items():
        code = code.replace(old, new) if old.startswith("db.") else code
    exec(compile(code, name_of(block.page), "exec"), scratch.namespace)


def run_sql(block: Block, scratch: Scratch) -> None:
    if scratch.mariadb is not None:
        scratch.mariadb.run("erp", block.text)
        return
    with psycopg.connect(scratch.environment["TEST_DATABASE"], autocommit=True) as connection:
        connection.execute(block.text.encode())


def runs(page: Path) -> bool:
    return any(block.language in ("python", "console", "sql") for block in blocks(page))


@pytest.fixture
def scratch(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Scratch]:
    make_shop(tmp_path / "shop.db")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BRIQUE_")}
    made = Scratch(tmp_path, {**kept, "PATH": f"{BIN}:{os.environ['PATH']}", "COLUMNS": "120", "NO_COLOR": "1"})
    made.namespace["__name__"] = "docs_page"
    sys.modules["docs_page"] = type(sys)("docs_page")
    sys.modules["docs_page"].__dict__.update(made.namespace)
    made.namespace = sys.modules["docs_page"].__dict__
    before = os.getcwd()
    os.chdir(tmp_path)
    yield made
    os.chdir(before)
    made.stop()
    del sys.modules["docs_page"]


@pytest.mark.parametrize("page", [page for page in PAGES if runs(page)], ids=name_of)
def test_code_blocks_of_a_page_run(page: Path, scratch: Scratch, request: pytest.FixtureRequest) -> None:
    found = blocks(page)
    if any(block.language == "sql" for block in found):
        if "mysql://" in page.read_text("utf-8"):
            scratch.mariadb = request.getfixturevalue("own_mariadb")
            url = scratch.mariadb.make_database("erp")
        else:
            postgres: PostgresServer = request.getfixturevalue("postgres")
            url = postgres.make_database()
        scratch.environment["TEST_DATABASE"] = url
        parts = urlsplit(url)
        scratch.replace["db.example/erp"] = f"127.0.0.1:{parts.port}{parts.path}"
    if "mongodb://db.example/shop" in page.read_text("utf-8"):
        scratch.replace["db.example/shop"] = make_mongo_shop(request.getfixturevalue("own_mongodb"))
    before = FROM_OTHERS.get(name_of(page))
    for block in [*(blocks(ROOT / before) if before else []), *found]:
        if block.language == "python":
            run_python(block, scratch)
        elif block.language == "sql":
            run_sql(block, scratch)
        elif block.language == "console":
            for command, expected in commands_of(block):
                scratch.command(block, command, expected)
    if isinstance(scratch.namespace.get("app"), Intranet):
        check_views(scratch)


def make_mongo_shop(server: MongoServer) -> str:
    """A few documents to look at; address and database."""
    with server.client() as client:
        client.shop.customers.insert_one({"_id": 1, "name": "Aminata Sow", "address": {"city": "Thiès"}})
        client.shop.orders.insert_one({"customer_id": 1, "amount": 12.5})
        client.shop.command("create", "names", viewOn="customers", pipeline=[{"$project": {"name": 1}}])
    return f"127.0.0.1:{server.port}/shop"


def check_views(scratch: Scratch) -> None:
    """Every view and dashboard that the page declares gives an answer; a row that it asks for is the first one."""
    app: Intranet = scratch.namespace["app"]
    app.add_tables(scratch.namespace.values())
    if not app.has_tables:
        return
    with Inline(app, scratch.folder / "checked") as site:
        site.accounts.accept_for_this_run("docs")

        def ask(path: str) -> httpx.Response:
            async def get() -> httpx.Response:
                headers = {"Authorization": "Bearer docs"}
                transport = httpx.ASGITransport(site.asgi)
                async with httpx.AsyncClient(
                    transport=transport, base_url="http://127.0.0.1", headers=headers
                ) as client:
                    return await client.get(path)

            return asyncio.run(get())

        for table in site.declared.specs:
            wait_until(lambda table=table: ask(f"/api/tables/{table}?limit=1").is_success, 30, f"the copy of {table}")
        for view in site.declared.views.values():
            keys = {
                parameter.name: ask(f"/api/tables/{parameter.table}?limit=1").json()["rows"][0]["_key"]
                for parameter in view.parameters
                if parameter.table
            } | {
                parameter.name: ARGUMENTS[parameter.name]
                for parameter in view.parameters
                if parameter.required and not parameter.table
            }
            answer = ask(f"/api/views/{view.name}?{urlencode(keys)}")
            assert answer.status_code == 200, f"{view.name}: {answer.text}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_have_a_language_and_those_not_run_are_listed(page: Path) -> None:
    found = blocks(page)
    assert {block.language for block in found} <= KNOWN, [b.line for b in found if b.language not in KNOWN]
    assert all(block.language for block in found), "a block says no language"
    not_run = sum(block.language == "sh" for block in found)
    assert not_run == NOT_RUN.get(name_of(page), (0, ""))[0], f"{name_of(page)} has {not_run} blocks that are not run"


def test_settings_in_the_documents_are_taken(tmp_path: Path) -> None:
    for page in PAGES:
        for block in blocks(page):
            if block.language == "toml":
                tomllib.loads(block.text)
                file = tmp_path / "brique.toml"
                file.write_text(block.text, "utf-8")
                settings.load({}, environment={}, file=file)


# links


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    found: set[str] = set()
    fenced = False
    for line in page.read_text("utf-8").splitlines():
        fenced ^= line.lstrip().startswith("```")
        if not fenced and line.startswith("#"):
            text = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
            found.add(text.replace(" ", "-"))
    return found


def links(page: Path) -> list[tuple[int, str]]:
    found = []
    fenced = False
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        fenced ^= line.lstrip().startswith("```")
        if not fenced:
            plain = re.sub(r"`[^`]*`", "", line)
            found += [(number, target) for target in re.findall(r"\]\(([^)\s]+)\)", plain)]
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    faults = []
    for line, target in links(page):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        found = (page.parent / path).resolve() if path else page
        if not found.exists():
            faults.append(f"{name_of(page)}:{line}: there is no {target}")
        elif anchor and anchor not in anchors(found):
            faults.append(f"{name_of(page)}:{line}: {path or name_of(page)} has no heading {anchor}")
    assert not faults, "\n".join(faults)


def test_every_page_is_in_the_index() -> None:
    index = DOCS / "README.md"
    linked = {(index.parent / target.partition("#")[0]).resolve() for _, target in links(index)}
    pages = {page for page in DOCS.rglob("*.md") if page.parent.name != "decisions"} - {index}
    assert {name_of(page) for page in pages - linked} == set()


# generated pages


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "scripts" / "make_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name", ["reference/command-line.md", "reference/settings.md", "reference/states.md", "reference/addresses.md"]
)
def test_generated_page_is_current(name: str) -> None:
    pages = generator().PAGES
    assert name in pages
    assert (DOCS / name).read_text("utf-8") == pages[name](), "run: make docs"


def test_every_state_and_move_is_explained() -> None:
    made = generator()
    assert set(made.STATES) == set(State)
    assert set(LIFE) == {(now, to) for now in MOVES for to in MOVES[now]}


# nothing is left unsaid


def test_readme_in_french_has_the_blocks_of_the_readme() -> None:
    english, french = blocks(ROOT / "README.md"), blocks(ROOT / "README.fr.md")
    assert [(block.language, block.text) for block in french] == [(block.language, block.text) for block in english]


def test_every_public_name_and_option_is_in_the_reference() -> None:
    text = (DOCS / "reference" / "declarations.md").read_text("utf-8") + (
        DOCS / "reference" / "reading-data.md"
    ).read_text("utf-8")
    words = set(re.findall(r"[A-Za-z_]+", text))
    assert set(brique.__all__) <= words
    for function in (brique.column, brique.old_date, brique.Intranet, brique.Intranet.backend, brique.Intranet.view):
        assert {name for name in inspect.signature(function).parameters if name not in ("self", "options")} <= words
    assert set(DECODERS) <= words
    narrowing = {name for name, _ in inspect.getmembers(Rows, inspect.isfunction) if not name.startswith("_")}
    assert narrowing <= words, narrowing - words


def test_every_address_of_the_api_is_in_the_reference() -> None:
    def plain(text: str) -> str:
        return re.sub(r"\{\w+\}", "{}", text)

    told = plain((DOCS / "reference" / "http-api.md").read_text("utf-8")).replace("{}.csv", "{}.{}")
    listed = re.findall(r"`(/api/\S+|/openapi.json)`", (DOCS / "reference" / "addresses.md").read_text("utf-8"))
    assert len(listed) > 15
    assert [path for path in listed if plain(path) not in told and not path.startswith("/api/docs/")] == []


def test_every_word_of_a_list_is_in_the_reference() -> None:
    text = (DOCS / "reference" / "list-parameters.md").read_text("utf-8")
    for word in CONTROLS:
        assert f"`{word}=" in text, word
    for word in COMPARISONS:
        assert f"__{word}=" in text, word


def test_every_kind_is_in_the_reference() -> None:
    text = (DOCS / "reference" / "kinds.md").read_text("utf-8")
    assert [kind for kind in Kind if f"| `{kind}` |" not in text] == []


def test_every_dependency_is_explained() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    groups = [declared["project"]["dependencies"], *declared["dependency-groups"].values()]
    names = {re.split(r"[\[<>=]", one)[0] for group in groups for one in group}
    listed = set(re.findall(r"^\| \[?([\w.-]+)", (DOCS / "dependencies.md").read_text("utf-8"), re.MULTILINE))
    assert names - listed == set()
    assert listed - names - {"package", "---"} == set(), "explained, but not a dependency any more"


def test_versions_of_dependencies_are_the_locked_ones() -> None:
    locked: dict[str, set[str]] = {}
    for lock in ("bench", "dev", "run"):
        text = (ROOT / "requirements" / f"{lock}.txt").read_text("utf-8")
        for name, version in re.findall(r"^([\w.-]+)(?:\[\w+\])?==([^\s;\\]+)", text, re.MULTILINE):
            locked.setdefault(name, set()).add(version)
    text = (DOCS / "dependencies.md").read_text("utf-8")
    rows = re.findall(r"^\| \[?([\w.-]+).*\| ([\w.]+)(?:, [\d-]+)? \|$", text, re.MULTILINE)
    assert len(rows) > 20
    assert {name: version for name, version in rows if name != "package" and version not in locked[name]} == {}


def test_the_changelog_names_this_version_or_what_comes_first() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert first is not None
    assert first[1] in ("Unreleased", declared["project"]["version"])


def test_the_rooms_on_the_architecture_page_are_those_that_the_test_holds() -> None:
    text = (DOCS / "ARCHITECTURE.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| ([^|]+) \|$", text, re.MULTILINE))
    told = {room: set(re.findall(r"\w+", names)) for room, names in rows.items() if room in ROOMS}
    assert set(told) == set(ROOMS) - GROUND - {"brique"}
    everything = set(ROOMS) - GROUND - {"brique", "app", "supervise", "deploy", "demo", "cli"}
    assert told.pop("app") == {"all", "but", "supervise", "deploy", "demo", "cli"}
    assert ROOMS["app"] == everything
    assert {room: names - {"ground", "nothing"} for room, names in told.items()} == {room: ROOMS[room] for room in told}


def test_declarations_in_the_documents_are_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_shop(tmp_path / "shop.db")
    monkeypatch.chdir(tmp_path)
    for page in PAGES:
        for block in blocks(page):
            if block.language == "python" and block.text.startswith("# intranet.py"):
                (tmp_path / "intranet.py").write_text(block.text, "utf-8")
                assert Run((str(tmp_path / "intranet.py"),), {}).intranet().declared().specs, name_of(page)
