"""What a bench found: printed as `name value unit`, kept in results/NAME.json (NAME.quick.json) with versions and
machine."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import apsw

RESULTS = Path(__file__).parent / "results"
_HOMES = ("store", "pages")
"""First words of figures that scripts of their own print."""
_PACKAGES = (
    "brique",
    "apsw",
    "psycopg",
    "pymysql",
    "pymongo",
    "secantusdb",
    "starlette",
    "uvicorn",
    "uvloop",
    "django",
    "datasette",
)


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    unit: str


class Figures:
    """The figures of one bench, `name`; printed as they come."""

    def __init__(self, name: str, *, quick: bool) -> None:
        self.name, self.quick = name, quick
        self.found: list[Figure] = []
        self.notes: list[str] = []
        self._summed: set[str] = set()
        self._began = datetime.now(UTC)

    def add(self, name: str, value: float, unit: str, *, summed: bool = False) -> None:
        """Say a figure; `name` without the bench's own. `summed`: the report also tells its sum over all runs."""
        full = name if name.split(".")[0] in _HOMES else f"{self.name}.{name}"
        if summed:
            self._summed.add(full)
        self.found.append(Figure(full, float(f"{value:.4g}") if value % 1 else value, unit))
        print(f"{full} {value:.4g} {unit}" if value % 1 else f"{full} {value:.0f} {unit}", flush=True)

    def note(self, text: str) -> None:
        """Something that the reader of the figures must know."""
        self.notes.append(text)
        print(f"# {text}", flush=True)

    def value(self, name: str) -> float:
        return next(figure.value for figure in self.found if figure.name == f"{self.name}.{name}")

    def write(self) -> Path:
        """Keep the figures in results/; those of a quick run apart, they are not for the report."""
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.name}{'.quick' if self.quick else ''}.json"
        content: dict[str, object] = {
            "bench": self.name,
            "command": f"make bench NAME={self.name}{' QUICK=1' if self.quick else ''}",
            "quick": self.quick,
            "began": self._began.isoformat(timespec="seconds"),
            "seconds": round((datetime.now(UTC) - self._began).total_seconds(), 1),
            "revision": _said(["git", "describe", "--always", "--dirty"]),
            "machine": machine(),
            "versions": versions(),
            "notes": self.notes,
            "figures": [asdict(figure) for figure in self.found],
        }
        if self._summed:
            content["runs"] = accumulate(path, content, self._summed)
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
        return path


def accumulate(path: Path, content: Mapping[str, object], summed: Collection[str]) -> list[dict[str, object]]:
    """The runs that the result in `path` knows of, oldest first, and this one: when, which revision, what it found."""
    runs: list[dict[str, object]] = json.loads(path.read_text("utf-8")).get("runs", []) if path.exists() else []
    figures = content["figures"]
    assert isinstance(figures, list)
    found = [item for item in figures if item["name"] in summed]
    return [*runs, {**{name: content[name] for name in ("began", "seconds", "revision")}, "figures": found}]


def totals(runs: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, int, str]]:
    """(sum, number of runs, unit) of each figure that accumulates."""
    found: dict[str, tuple[float, int, str]] = {}
    for item in (item for run in runs for item in run["figures"]):
        total, count, unit = found.get(item["name"], (0, 0, item["unit"]))
        found[item["name"]] = (total + item["value"], count + 1, unit)
    return found


def machine() -> dict[str, object]:
    """The machine, as far as it matters to figures."""
    model = _fact("/proc/cpuinfo", "model name")
    memory = _fact("/proc/meminfo", "MemTotal").split()[0]
    return {
        "processor": model or platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_gib": round(int(memory) / 1024**2, 1),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Versions of everything that the figures depend on."""
    found = {"python": platform.python_version(), "sqlite (brique)": apsw.sqlite_lib_version()}
    found["sqlite (Python)"] = sqlite3.sqlite_version
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    for name, command in (
        ("postgresql", ["psql", "--version"]),
        ("mariadb", ["mariadbd", "--version"]),
        ("wrk", ["wrk", "--version"]),
    ):
        said = _said(command)
        if said:
            found[name] = " ".join(said.splitlines()[0].split()[:3])
    return found


def _fact(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except OSError:
        return "0"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "0")


def _said(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False, cwd=RESULTS.parent)
    except OSError:
        return ""
    return (done.stdout or done.stderr).strip()


def write_report(path: Path | None = None) -> Path:
    """RESULTS.md from the last result of each bench."""
    path = path or RESULTS.parent / "RESULTS.md"
    parts = [_HEAD]
    for file in sorted(file for file in RESULTS.glob("*.json") if not file.name.endswith(".quick.json")):
        parts.append(_section(json.loads(file.read_text("utf-8"))))
    path.write_text("\n".join(parts), "utf-8")
    return path


_HEAD = """# Results

The last run of each bench, written by `python -m bench`. Machines differ and have neighbours: what counts is the ratio
between brique and its peer in the same run, on the same machine, over the same rows.
"""


def _section(result: dict[str, object]) -> str:
    machine_of, versions_of = result["machine"], result["versions"]
    assert isinstance(machine_of, dict)
    assert isinstance(versions_of, dict)
    lines = [f"## {result['bench']}", "", f"`{result['command']}`, {str(result['began'])[:16].replace('T', ' ')} UTC, "]
    lines[-1] += f"{result['seconds']} s, revision {result['revision']}."
    notes = result["notes"]
    assert isinstance(notes, list)
    lines += ["", *(f"- {note}" for note in notes)] if notes else []
    figures, runs = result["figures"], result.get("runs", [])
    assert isinstance(figures, list)
    assert isinstance(runs, list)
    lines += _table_of_totals(figures, runs) if runs else _table(figures)
    facts = ", ".join(f"{name} {value}" for name, value in versions_of.items())
    lines += ["", f"{machine_of['processor']}, {machine_of['cores']} cores, {machine_of['memory_gib']} GiB, "]
    lines[-1] += f"{machine_of['system']}, load {machine_of['load_before']} before. {facts}."
    return "\n".join(map(str, lines)) + "\n"


def _table(figures: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["", "| figure | value | unit |", "| --- | ---: | --- |"]
    return lines + [f"| `{item['name']}` | {_number(item['value'])} | {item['unit']} |" for item in figures]


def _table_of_totals(figures: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Figures beside their sums over all runs; those that the last run has not made, by their sums alone."""
    last, sums = {item["name"]: item for item in figures}, totals(runs)
    lines = ["", f"Runs: {len(runs)}, the first on {str(runs[0]['began'])[:10]}.", ""]
    lines += ["| figure | last run | all runs | runs | unit |", "| --- | ---: | ---: | ---: | --- |"]
    for name in [*last, *(name for name in sums if name not in last)]:
        shown = _number(last[name]["value"]) if name in last else ""
        total, count, unit = sums.get(name, (None, "", last[name]["unit"] if name in last else ""))
        lines.append(f"| `{name}` | {shown} | {'' if total is None else _number(total)} | {count} | {unit} |")
    return lines


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ") if float(value).is_integer() else f"{value:.4g}"


def run_script(figures: Figures, script: str, *arguments: str, keep: Callable[[str], bool]) -> None:
    """Run a bench that prints `name value unit` lines of its own, and keep those that `keep` wants."""
    command = [sys.executable, str(Path(__file__).parent / script), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent)
    assert process.stdout is not None
    for line in process.stdout:
        words = line.split()
        if len(words) == 3 and _is_number(words[1]) and keep(words[0]):
            figures.add(words[0], float(words[1]), words[2])
        else:
            print(line, end="", flush=True)
    if process.wait():
        raise SystemExit(f"{script} failed")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
