"""Bundles: wheels only, pinned by hash, installable from their folder alone. Real pip, real virtual environments."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from brique import errors
from brique.deploy import NoWheel, bundle


def make_wheel(folder: Path, name: str, version: str, requires: str = "", content: str = "") -> Path:
    """A small pure wheel, so that these tests need no network."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": content or f"VERSION = '{version}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{one},,\n" for one in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as wheel:
        for one, text in files.items():
            wheel.writestr(one, text)
    return path


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, and no index: what is not there is nowhere."""
    folder = tmp_path / "links"
    make_wheel(folder, "leaf", "2.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def own(tmp_path: Path, links: Path) -> Path:
    return make_wheel(tmp_path, "brique", "9.8.7", "leaf>=1", "def main(): print('it runs')\n")


def test_a_bundle_installs_brique_and_its_dependencies_from_its_folder_alone(
    own: Path, links: Path, tmp_path: Path
) -> None:
    made = bundle(tmp_path / "out", source=own, find_links=[str(links)])
    assert [(one.name, one.version) for one in made.wheels] == [("brique", "9.8.7"), ("leaf", "2.0")]
    assert made.brique == "9.8.7"
    (links / "leaf-2.0-py3-none-any.whl").unlink()
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "PIP_CONFIG_FILE": "/dev/null"}
    script = ["sh", str(tmp_path / "out" / "install.sh"), str(tmp_path / "venv")]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert subprocess.check_output([str(tmp_path / "venv" / "bin" / "brique")], text=True) == "it runs\n"
    again = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=60)
    assert again.returncode == 1
    assert "is there already" in again.stderr


def test_a_bundle_says_what_it_holds_with_hashes(own: Path, links: Path, tmp_path: Path) -> None:
    made = bundle(tmp_path / "out", source=own, find_links=[str(links)])
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["brique"] == "9.8.7"
    for one in made.wheels:
        content = (tmp_path / "out" / "wheels" / one.file).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (one.bytes, one.sha256)
        assert (
            f"{one.name}=={one.version} --hash=sha256:{one.sha256}"
            in (tmp_path / "out" / "requirements.txt").read_text()
        )
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path / "out", check=True)


def test_a_changed_wheel_or_another_python_stops_the_installation(own: Path, links: Path, tmp_path: Path) -> None:
    bundle(tmp_path / "out", source=own, find_links=[str(links)])
    with (tmp_path / "out" / "wheels" / "leaf-2.0-py3-none-any.whl").open("ab") as file:
        file.write(b"x")
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable}
    script = ["sh", str(tmp_path / "out" / "install.sh"), str(tmp_path / "venv")]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert not (tmp_path / "venv").exists()
    bundle(tmp_path / "other", source=own, find_links=[str(links)], python="3.14")
    script = ["sh", str(tmp_path / "other" / "install.sh"), str(tmp_path / "venv")]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=60)
    assert "this bundle is for Python 3.14" in done.stderr


def test_a_bundle_may_be_one_file(own: Path, links: Path, tmp_path: Path) -> None:
    made = bundle(tmp_path / "brique.tar.gz", source=own, find_links=[str(links)])
    with tarfile.open(made.path) as archive:
        names = archive.getnames()
    assert {"brique/install.sh", "brique/SHA256SUMS", "brique/wheels/leaf-2.0-py3-none-any.whl"} <= set(names)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_dependency_without_a_wheel_is_named(links: Path, tmp_path: Path) -> None:
    own = make_wheel(tmp_path, "brique", "1.0", "nowhere-to-be-found>=3")
    with pytest.raises(NoWheel, match="no wheel of nowhere-to-be-found") as caught:
        bundle(tmp_path / "out", source=own, find_links=[str(links)])
    assert "--find-links" in caught.value.try_this
    assert not (tmp_path / "out").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_source_only_dependency_is_named_too(links: Path, tmp_path: Path) -> None:
    with tarfile.open(links / "sourceonly-1.0.tar.gz", "w:gz"):
        pass
    own = make_wheel(tmp_path, "brique", "1.0", "sourceonly")
    with pytest.raises(NoWheel, match="no wheel of sourceonly"):
        bundle(tmp_path / "out", source=own, find_links=[str(links)])


def test_a_lock_is_held_to(own: Path, links: Path, tmp_path: Path) -> None:
    make_wheel(links, "leaf", "3.0")
    digest = hashlib.sha256((links / "leaf-2.0-py3-none-any.whl").read_bytes()).hexdigest()
    lock = tmp_path / "lock.txt"
    lock.write_text(f"leaf==2.0 --hash=sha256:{digest}\n")
    made = bundle(tmp_path / "out", source=own, locked=lock, find_links=[str(links)])
    assert [one.version for one in made.wheels if one.name == "leaf"] == ["2.0"]
    lock.write_text(f"leaf==2.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(errors.BadConfiguration, match="Expected sha256"):
        bundle(tmp_path / "out2", source=own, locked=lock, find_links=[str(links)])


@pytest.mark.parametrize("wrong", [{"python": "3"}, {"python": "3.11; rm"}])
def test_what_makes_no_sense_is_refused(own: Path, tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(errors.BadConfiguration):
        bundle(tmp_path / "out", source=own, **wrong)  # type: ignore[arg-type]  # what is wrong varies
    (tmp_path / "out").mkdir()
    with pytest.raises(errors.BadConfiguration, match="there already"):
        bundle(tmp_path / "out", source=own)
