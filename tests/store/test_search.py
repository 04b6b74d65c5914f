"""Folding, documents and the choice of trigrams."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brique.schema import fold
from brique.store import sample, search


@given(st.text())
@example("Ꭰ and ΑΣ, İ")
def test_fast_folding_is_folding(text: str) -> None:
    assert search.folded(text) == fold(text)


@pytest.mark.parametrize(
    ("question", "texts", "wanted"),
    [
        ("thiès", ("THIES ville",), True),
        ("hie", ("Thiès",), True),
        ("hi", ("Thiès",), False),
        ("th", ("rue de Thiès",), True),
        ("t", ("rue de Thiès",), True),
        ("ville thi", ("Thiès", "ville"), True),
        ("oeuvre", ("Chef d'œuvre",), True),
        ("10248", (10248, "x"), True),
        ("x", (b"x", None), False),
        ("a\x02b", ("a b",), True),
        ("", ("a",), True),
    ],
)
def test_every_word_must_be_found(question: str, texts: tuple[object, ...], wanted: bool) -> None:
    assert search.found(question, texts) is wanted  # type: ignore[arg-type]


@given(st.lists(st.text(max_size=12), max_size=4), st.text(max_size=12))
def test_the_index_never_misses_what_the_check_finds(texts: list[str], question: str) -> None:
    text = search.document(tuple(texts))
    grams = {text[i : i + 3] for i in range(len(text) - 2)}
    if search.found(question, tuple(texts)):
        for word in search.words(question):
            assert set(search._trigrams(word)) <= grams


def test_frequent_trigrams_are_not_asked_for_beside_a_rare_one() -> None:
    documents = [f"\x02\x02pompe\x02\x02{n:05d}" for n in range(1000)]
    guide = sample.Sample(sample.pack(documents))
    chosen = sample.chosen(["pom", "omp", "mpe", "004", "042"], guide)
    assert "042" in chosen
    assert not {"omp", "mpe", "pom"} <= set(chosen)
    assert sample.chosen(["pom", "omp"], None) == ["pom", "omp"]
    assert sample.chosen([], guide) == []
