"""The words for how exactly-once is reached promise no more than the rung does."""

from __future__ import annotations

from brique.backends import Rung
from brique.pages.ladder import RUNGS, abilities, climbing

FORGETFUL = {"flushed": False}


def said(found: dict[str, bool | None], rung: str) -> str:
    return " ".join(words for _, words in abilities(found, rung, str))


def test_every_rung_has_words() -> None:
    assert set(RUNGS) == set(Rung)


def test_only_a_mark_tells_that_a_backend_has_forgotten() -> None:
    assert "brique notices" in said(FORGETFUL, "watermark")
    for rung in set(Rung) - {Rung.WATERMARK}:
        assert "may forget" in said(FORGETFUL, rung)
        assert "notices" not in said(FORGETFUL, rung)


def test_an_api_is_not_told_to_allow_a_marker_table() -> None:
    _, climb = climbing("natural-key", "", str)
    assert "idempotent=True" in climb
    assert "marker" not in climb


def test_what_a_backend_does_not_say_is_left_out() -> None:
    assert abilities({"flushed": None, "counts": True}, "compare", str) == [
        (True, "says how many rows a change changed")
    ]
