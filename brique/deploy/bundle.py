"""A bundle: brique and all that it needs as wheels in one folder, to install on a machine without a network.

In it: `wheels/`, `requirements.txt` (exact versions and hashes), `manifest.json`, `SHA256SUMS` and `install.sh`, which
checks the sums, makes a virtual environment and installs from the folder alone. Wheels only: nothing is compiled on
the other machine. A dependency without a wheel stops the bundle and is named.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from brique import errors
from brique.clock import Clock, SystemClock, stamp
from brique.deploy.archive import hash_of, own_version

_SECONDS_MAX = 900
_WHEEL = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)(?:-\d[^-]*)?-[^-]+-[^-]+-[^-]+\.whl")
_MISSING = re.compile(r"(?:No matching distribution found for|satisfies the requirement) (?P<name>[^\s(;]+)")
_SUFFIX = ".tar.gz"

_INSTALL = """#!/bin/sh
# Installs brique @VERSION@ from this folder alone: sh install.sh [FOLDER]   (default: ./brique-venv)
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
target=${1:-brique-venv}
python=${PYTHON:-python3}
if ! "$python" -c 'import sys; raise SystemExit(sys.version_info[:2] != (@PYTHON@))'; then
    echo "Error: this bundle is for Python @PYTHON_SHOWN@, $python is another one." >&2
    echo "Try: PYTHON=/path/to/python@PYTHON_SHOWN@ sh install.sh" >&2
    exit 1
fi
if [ -e "$target" ]; then
    echo "Error: $target is there already." >&2
    echo "Try: sh install.sh ANOTHER_FOLDER" >&2
    exit 1
fi
(cd "$here" && sha256sum --quiet -c SHA256SUMS)
"$python" -m venv "$target"
"$target/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps \\
    --find-links "$here/wheels" --require-hashes -r "$here/requirements.txt"
"$target/bin/python" -m pip check --disable-pip-version-check
echo "brique @VERSION@ is in $target: $target/bin/brique"
"""


class NoWheel(errors.BriqueError):
    """A dependency cannot be had as a wheel for that machine."""

    code = "no-wheel"


@dataclass(frozen=True, slots=True)
class BundledWheel:
    """One wheel of a bundle."""

    name: str
    version: str
    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """What was bundled, and where: a folder, or an archive of it. `python` is like 3.11; `platform` "" is this one."""

    path: Path
    brique: str
    python: str
    platform: str
    made_at: str
    wheels: tuple[BundledWheel, ...]


def bundle(
    target: Path,
    *,
    source: Path | None = None,
    locked: Path | None = None,
    platform: str = "",
    python: str = "",
    find_links: Sequence[str] = (),
    clock: Clock | None = None,
) -> Bundle:
    """Make a bundle at `target`, a folder that is not there yet, or a .tar.gz file.

    Args:
        source: the wheel of brique, or the folder of its source; else the folder that this brique runs from when it
            is a checkout, else the released version is fetched like the others.
        locked: a requirements file with hashes to hold to; `requirements/run.txt` of the source when it is there.
        platform: of the other machine, when it differs: manylinux2014_aarch64, musllinux_1_2_x86_64, ...
        python: its Python when that differs: 3.12.
        find_links: folders or pages to look for wheels in, before the index that pip is configured for.
    Raises:
        NoWheel: names the dependency that has none.
        BadConfiguration: the target is there already, or pip cannot be run.
    """
    is_archive = target.name.endswith(_SUFFIX)
    if target.exists() or not target.parent.is_dir():
        raise errors.BadConfiguration(
            f"{target} cannot be made: it is there already, or its folder is not", try_this="Choose another name."
        )
    wanted = python or f"{sys.version_info.major}.{sys.version_info.minor}"
    if not re.fullmatch(r"3\.\d{1,2}", wanted):
        raise errors.BadConfiguration(f"{wanted!r} is no version of Python", try_this="Write 3.11 or 3.12.")
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=target.parent) as name:
        folder = Path(name) / target.name.removesuffix(_SUFFIX)
        wheels = folder / "wheels"
        wheels.mkdir(parents=True)
        origin = source if source is not None else _own_source()
        own = _own_wheel(origin, wheels)
        lock = locked if locked is not None else _own_lock(origin)
        _fetch(own, lock, wheels, [*_machine(platform, python), *_links(find_links)])
        found = _found(wheels)
        version = next(one.version for one in found if one.name == "brique")
        made = Bundle(target, version, wanted, platform, stamp((clock or SystemClock()).now()), found)
        _describe(folder, made)
        _publish(folder, target, as_archive=is_archive)
    return made


def _own_source() -> Path | None:
    """The checkout that this brique runs from, or None when it was installed."""
    folder = Path(__file__).parents[2]
    return folder if (folder / "pyproject.toml").is_file() else None


def _own_lock(source: Path | None) -> Path | None:
    lock = source / "requirements" / "run.txt" if source is not None and source.is_dir() else None
    return lock if lock is not None and lock.is_file() else None


def _own_wheel(source: Path | None, wheels: Path) -> str:
    """What pip is asked for: brique's wheel, built from the source when need be, or the released version's name."""
    if source is None:
        return f"brique=={own_version()}"
    if source.suffix == ".whl":
        return str(source.resolve())
    _pip(["wheel", "--no-deps", "--wheel-dir", str(wheels), str(source.resolve())])
    return str(next(wheels.glob("brique-*.whl")))


def _machine(platform: str, python: str) -> list[str]:
    asked: list[str] = []
    if platform:
        asked += ["--platform", platform]
    if python:
        asked += ["--python-version", python]
    return [*asked, "--implementation", "cp"] if asked else []


def _links(find_links: Sequence[str]) -> list[str]:
    return [word for link in find_links for word in ("--find-links", link)]


def _fetch(own: str, lock: Path | None, wheels: Path, asked: list[str]) -> None:
    """Fetch the wheels: with a lock exactly those, by their hashes; without one what pip chooses today."""
    common = ["download", "--only-binary=:all:", "--dest", str(wheels), *asked]
    if lock is None:
        _pip([*common, own])
        return
    _pip([*common, "--no-deps", "--require-hashes", "-r", str(lock.resolve())])
    _pip(["download", "--only-binary=:all:", "--dest", str(wheels), *asked, "--no-deps", own])


def _pip(words: list[str]) -> None:
    """Run pip. Raises NoWheel or BadConfiguration with its last words."""
    command = [
        sys.executable,
        "-m",
        "pip",
        *words,
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar",
        "off",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS_MAX, check=False)  # noqa: S603 - our own words
    except (OSError, subprocess.TimeoutExpired) as error:
        raise errors.BadConfiguration(f"pip could not be run: {error}", try_this="Look at the network.") from error
    if done.returncode == 0:
        return
    missing = _MISSING.search(done.stderr)
    if missing:
        raise NoWheel(
            f"There is no wheel of {missing['name']} for that machine",
            try_this="Choose another --python or --platform, or build its wheel and name its folder with --find-links.",
            dependency=missing["name"],
        )
    said = [line for line in done.stderr.splitlines() if line.strip()]
    raise errors.BadConfiguration(
        f"pip could not {words[0]}: {' '.join(said[-3:])[:600]}", try_this="Run `python -m pip --version` first."
    )


def _found(wheels: Path) -> tuple[BundledWheel, ...]:
    found = []
    for path in sorted(wheels.iterdir()):
        parts = _WHEEL.fullmatch(path.name)
        if parts is None:
            raise NoWheel(f"{path.name} is not a wheel", dependency=path.name)
        with path.open("rb") as file:
            digest = hash_of(file)
        name = re.sub(r"[-_.]+", "-", parts["name"]).lower()
        found.append(BundledWheel(name, parts["version"], path.name, path.stat().st_size, digest))
    return tuple(found)


def _describe(folder: Path, made: Bundle) -> None:
    """Everything in the folder beside the wheels; the sums last, over all the rest."""
    pins = "".join(f"{one.name}=={one.version} --hash=sha256:{one.sha256}\n" for one in made.wheels)
    (folder / "requirements.txt").write_text(pins, "utf-8")
    facts = {**asdict(made), "path": made.path.name, "format": 1}
    (folder / "manifest.json").write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
    script = folder / "install.sh"
    text = _INSTALL.replace("@VERSION@", made.brique).replace("@PYTHON@", made.python.replace(".", ", "))
    script.write_text(text.replace("@PYTHON_SHOWN@", made.python), "utf-8")
    script.chmod(0o755)
    (folder / "SHA256SUMS").write_text("".join(_sums(folder)), "utf-8")


def _sums(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                yield f"{hash_of(file)}  {path.relative_to(folder)}\n"


def _publish(folder: Path, target: Path, *, as_archive: bool) -> None:
    """Give the finished folder, or an archive of it, its name."""
    if not as_archive:
        folder.chmod(0o755)
        folder.rename(target)
        return
    packed = folder.with_name("packed")
    with tarfile.open(packed, "w:gz", compresslevel=1) as archive:  # wheels are compressed already
        archive.add(folder, folder.name)
    packed.chmod(0o644)
    packed.rename(target)
