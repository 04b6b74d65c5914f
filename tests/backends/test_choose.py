"""Which backend an address means."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from brique.backends import open_backend
from brique.backends.folder import FolderBackend
from brique.backends.mysql import MysqlBackend
from brique.backends.postgresql import PostgresBackend
from brique.backends.sqlite import SqliteBackend
from brique.errors import BackendAway, BadConfiguration


def test_addresses_and_paths_mean_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    apsw.Connection("a b.db").execute("CREATE TABLE t (x)")
    Path("t.csv").write_text("a;b\n1;2\n")
    expected = {
        "sqlite:///a b.db": SqliteBackend,
        "sqlite:///a%20b.db": SqliteBackend,
        f"sqlite:////{tmp_path}/a b.db": SqliteBackend,
        f"sqlite://{tmp_path}/a b.db": SqliteBackend,
        "a b.db": SqliteBackend,
        str(tmp_path / "a b.db"): SqliteBackend,
        "postgresql://me@127.0.0.1:1/x": PostgresBackend,
        "postgres://me@127.0.0.1:1/x": PostgresBackend,
        "mysql://me@127.0.0.1:1/x": MysqlBackend,
        "mariadb://me@127.0.0.1:1/x?ssl-mode=required": MysqlBackend,
        "t.csv": FolderBackend,
        ".": FolderBackend,
        f"folder:{tmp_path}": FolderBackend,
    }
    for url, kind in expected.items():
        backend = open_backend("b", url)
        assert type(backend) is kind, url
        if kind not in (PostgresBackend, MysqlBackend):
            backend.ping(1)
        backend.close()


@pytest.mark.parametrize("url", ["oracle://u:secret@h/x", "nothing.db", "gopher://example.org/x"])
def test_an_unknown_address_names_what_is_known_and_no_password(url: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        open_backend("b", url)
    assert "secret" not in str(caught.value)
    assert "postgresql://" in caught.value.try_this


def test_opening_and_closing_leaves_no_file_open(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    apsw.Connection(str(path)).execute("CREATE TABLE t (x)")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        backend = open_backend("b", str(path))
        backend.catalogue()
        backend.close()
    assert len(os.listdir("/proc/self/fd")) <= before + 1


@pytest.mark.parametrize("name", ["nosuch.db", "nosuch", "nosuch.csv"])
def test_a_file_that_is_not_there_is_a_mistake_at_first_and_later_a_backend_that_is_away(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    with pytest.raises(BadConfiguration, match="no file or folder"):
        open_backend("erp", str(path))
    later = open_backend("erp", str(path), must_exist=False)
    with closing(later), pytest.raises(BackendAway, match="not there"):
        later.catalogue()
    assert not path.exists()
