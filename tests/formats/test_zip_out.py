import io
import zipfile
from pathlib import Path

import pytest

from brique.errors import TooMuch
from brique.formats import zip_out
from brique.formats.zip_out import ZipStream


def test_parts_of_known_and_unknown_length_are_read_back() -> None:
    archive = ZipStream()
    data = archive.part("a.txt", b"first") + archive.begin("é.txt")
    for number in range(100):
        data += archive.feed(f"{number}\n".encode() * 50)
    data += archive.flush() + archive.end() + archive.finish()
    with zipfile.ZipFile(io.BytesIO(data)) as read:
        assert read.testzip() is None
        assert read.read("a.txt") == b"first"
        assert read.read("é.txt").count(b"\n") == 5000


def test_an_archive_beyond_four_gigabytes_has_a_zip64_directory(tmp_path: Path) -> None:
    far = 5 << 30
    archive = ZipStream(offset=far)
    path = tmp_path / "far.zip"
    with path.open("wb") as file:  # a hole stands for the parts before
        file.seek(far)
        file.write(archive.part("a.txt", b"first") + archive.part("b.txt", b"second") + archive.finish())
    with zipfile.ZipFile(path) as read:
        assert read.getinfo("b.txt").header_offset > far
        assert read.read("b.txt") == b"second"


def test_a_part_of_four_gigabytes_is_refused_before_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_out, "PART_BYTES_MAX", 1000)
    archive = ZipStream()
    archive.begin("a.txt")
    archive.feed(b"x" * 900)
    with pytest.raises(TooMuch):
        archive.feed(b"x" * 101)
