"""Files as a backend."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import openpyxl
import pytest

from brique.backends import Rung, open_backend
from brique.backends.folder import FolderBackend
from brique.errors import BackendAway, BackendRefused
from brique.schema import Kind, TableSpec, infer

OLD = time.time() - 3600


def put(path: Path, text: str, *, age: float = 3600) -> Path:
    path.write_text(text, "utf-8")
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.fixture
def share(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    put(folder / "customers.csv", "code;nom;depuis\n007;Élan;31/12/2020\n008;Sahel;01/02/2021\n009;Niayes;\n")
    book = openpyxl.Workbook()
    book.active.title = "2024"
    book.active.append(["ref", "amount"])
    book.active.append(["a", 1.5])
    other = book.create_sheet("Notes de l'année")
    other.append(["ref", "note"])
    other.append(["a", "ok"])
    book.save(folder / "sales.xlsx")
    os.utime(folder / "sales.xlsx", (OLD, OLD))
    put(folder / "~$sales.xlsx", "lock")
    put(folder / "readme.md", "no table")
    return folder


def specs_of(backend: FolderBackend) -> dict[str, TableSpec]:
    return {spec.name: spec for spec in infer(backend.catalogue(), "share")}


def rows(backend: FolderBackend, spec: TableSpec) -> list[tuple[object, ...]]:
    with backend.snapshot() as snapshot:
        return [row for batch in snapshot.read(spec) for row in batch]


def test_each_sheet_of_each_file_is_a_table_that_cannot_be_written(share: Path) -> None:
    backend = FolderBackend("share", share)
    specs = specs_of(backend)
    assert set(specs) == {"customers", "sales_2024", "sales_notes_de_l_annee"}
    customers = specs["customers"]
    assert customers.read_only == "It comes from a file." and customers.key == ("code",)
    assert customers.by_name["depuis"].kind is Kind.DATE
    assert rows(backend, customers)[:2] == [("007", "Élan", "2020-12-31"), ("008", "Sahel", "2021-02-01")]
    assert rows(backend, specs["sales_notes_de_l_annee"]) == [("a", "ok")]
    assert backend.fetch(customers, ["009", "none"])["009"]["nom"] == "Niayes"


def test_a_file_alone_is_a_backend_too(share: Path) -> None:
    backend = open_backend("c", str(share / "customers.csv"))
    (spec,) = infer(backend.catalogue(), "c")
    with backend.snapshot() as snapshot:
        assert sum(map(len, snapshot.read(spec))) == 3
    (share / "customers.csv").unlink()
    with pytest.raises(BackendAway, match="not there"):
        backend.ping(1)


def test_declared_columns_are_read_the_way_the_file_writes_them(share: Path) -> None:
    backend = FolderBackend("share", share)
    spec = specs_of(backend)["customers"]
    declared = spec.changed(columns=tuple(type(c)(c.name, c.source, c.kind, c.label) for c in spec.columns))
    assert rows(backend, declared)[0] == ("007", "Élan", "2020-12-31")


def test_a_file_that_is_gone_or_broken_is_a_fault_of_its_own_table(share: Path) -> None:
    backend = FolderBackend("share", share)
    specs = specs_of(backend)
    (share / "sales.xlsx").unlink()
    with backend.snapshot() as snapshot:
        with pytest.raises(BackendRefused, match=r"sales\.xlsx"):
            list(snapshot.read(specs["sales_2024"]))
        assert sum(map(len, snapshot.read(specs["customers"]))) == 3
    assert backend.fingerprint(list(specs.values())) is None
    put(share / "customers.csv", "code;nom\n007;x\n")
    with pytest.raises(BackendRefused, match="depuis"):
        rows(backend, specs["customers"])


def test_a_folder_that_is_gone_is_away(share: Path, tmp_path: Path) -> None:
    backend = FolderBackend("share", share)
    specs = specs_of(backend)
    share.rename(tmp_path / "elsewhere")
    for call in (lambda: backend.ping(1), lambda: rows(backend, specs["customers"]), backend.catalogue):
        with pytest.raises(BackendAway):
            call()


def test_a_file_that_is_being_written_is_left_until_it_is_whole(share: Path) -> None:
    backend = FolderBackend("share", share)
    spec = specs_of(backend)["customers"]
    stop = threading.Event()

    def write() -> None:
        with (share / "customers.csv").open("a", encoding="utf-8") as file:
            while not stop.is_set():
                file.write("010;x;\n")
                file.flush()
                stop.wait(0.02)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        time.sleep(0.05)
        with pytest.raises(BackendRefused, match=r"being written|changed while"):
            rows(backend, spec)
    finally:
        stop.set()
        thread.join()
    assert len(rows(backend, spec)) > 3


def test_the_fingerprint_follows_the_files_of_the_tables_asked_for(share: Path) -> None:
    backend = FolderBackend("share", share)
    specs = specs_of(backend)
    customers, sales = [specs["customers"]], [specs["sales_2024"]]
    first, other = backend.fingerprint(customers), backend.fingerprint(sales)
    assert first is not None and first == backend.fingerprint(customers)
    put(share / "customers.csv", "code;nom;depuis\n007;Élan;\n", age=1800)
    assert backend.fingerprint(customers) not in (None, first)
    assert backend.fingerprint(sales) == other
    put(share / "customers.csv", "code;nom;depuis\n007;Élan;\n", age=0)
    assert backend.fingerprint(customers) is None, "a file changed this moment may change again with the same time"


def test_nothing_can_be_written(share: Path) -> None:
    backend = FolderBackend("share", share)
    prepared = backend.prepare(True)
    assert prepared.rung is Rung.NONE and prepared.reason == "It comes from a file."
    with pytest.raises(BackendRefused), backend.session():
        pass


def test_a_name_that_leaves_the_folder_is_not_followed(share: Path, tmp_path: Path) -> None:
    put(tmp_path / "secret.csv", "a;b\n1;2\n")
    backend = FolderBackend("share", share)
    spec = specs_of(backend)["customers"].changed(source_schema="../secret.csv", source="secret")
    with pytest.raises(BackendRefused):
        rows(backend, spec)
