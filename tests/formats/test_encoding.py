from pathlib import Path

import pytest

from brique.formats.encoding import detect
from tests.formats.tables import saved

FRENCH = (
    "N°;Libellé;Ville;Prix\n1;Crème brûlée à l'ancienne;Thiès;12 €\n2;Cœur de bœuf, forêt;Évry;3,50 €\n"
    "3;Maïs doux « extra »;Besançon;4,00\n4;Où est passé le maître d'hôtel ?;Nîmes;5,00\n"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "mac-roman"])
def test_french_is_read_in_the_encodings_that_programs_write(tmp_path: Path, encoding: str) -> None:
    path = saved(tmp_path / "a.csv", FRENCH.encode(encoding))
    found = detect(path)
    assert path.read_text(encoding=found.name, errors=found.errors).lstrip("\ufeff") == FRENCH


@pytest.mark.parametrize("encoding", ["iso8859-15", "cp850"])
def test_older_encodings_are_told_by_where_their_letters_stand(tmp_path: Path, encoding: str) -> None:
    text = FRENCH.replace("€", "EUR").replace("œ", "oe") if encoding == "cp850" else FRENCH
    path = saved(tmp_path / "a.csv", text.encode(encoding))
    found = detect(path)
    assert path.read_text(encoding=found.name, errors=found.errors) == text


def test_a_few_old_bytes_in_a_utf8_file_are_mended_and_counted(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.csv", FRENCH.encode() * 3 + "Thiès\n".encode("cp1252"))
    found = detect(path)
    assert (found.name, found.odd) == ("utf-8", 1)
    assert path.read_text(encoding=found.name, errors=found.errors) == FRENCH * 3 + "Thiès\n"


def test_a_late_accent_is_found_however_long_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.csv", b"plain ascii line\n" * 100_000 + "Thiès\n".encode("cp1252"))
    assert detect(path).name == "cp1252"


def test_plain_ascii_and_nothing_are_utf8(tmp_path: Path) -> None:
    assert detect(saved(tmp_path / "a.csv", b"a,b\n1,2\n")).name == "utf-8"
    assert detect(saved(tmp_path / "b.csv", b"")).name == "utf-8"


def test_bytes_without_a_letter_do_not_stop_the_reading(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.csv", b"caf\xe9 cr\xe8me \x81\n")
    found = detect(path)
    assert path.read_text(encoding=found.name, errors=found.errors) == "café crème \ufffd\n"
    assert found.odd == 1
