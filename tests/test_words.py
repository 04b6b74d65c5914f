"""Every sentence that people see has a translation, and the translations have the same places."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from string import Formatter

import pytest

from brique.words import catalogue, retell, translate

PACKAGE = Path(__file__).parent.parent / "brique"
_IN_TEMPLATE = re.compile(r"""\b(?:t|_)\(\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')""")


def sentences_in_python() -> set[str]:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            first = node.args[0]
            if name in {"t", "_", "translate"} and isinstance(first, ast.Constant) and isinstance(first.value, str):
                found.add(first.value)
    return found


def sentences_in_templates() -> set[str]:
    found = set()
    for path in PACKAGE.rglob("*.html"):
        for double, single in _IN_TEMPLATE.findall(path.read_text("utf-8")):
            found.add((double or single).replace('\\"', '"').replace("\\'", "'"))
    return found


def places(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name}


def test_every_sentence_has_a_french_translation() -> None:
    french = catalogue("fr")
    missing = sorted((sentences_in_python() | sentences_in_templates()) - set(french))
    assert not missing, "brique/words/fr lacks:\n" + "\n".join(missing)


def test_translations_have_the_places_of_their_sentence() -> None:
    faults = [f"{en!r} -> {fr!r}" for en, fr in catalogue("fr").items() if places(en) != places(fr)]
    assert not faults, "\n".join(faults)


def test_a_sentence_without_translation_is_shown_in_english() -> None:
    assert translate("Nobody ever wrote this {n}", "fr", n=3) == "Nobody ever wrote this 3"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "It was sent, and the answer was lost. The row had changed meanwhile.",
            "Cela a été envoyé, et la réponse s’est perdue. La ligne avait changé entre-temps.",
        ),
        (
            "It builds on create order (R7), which ended as refused: The database says: CHECK failed: stock >= 0",
            "Elle s’appuie sur create order (R7), qui s’est terminée : refusé, car : La base répond : "
            "CHECK failed: stock >= 0",
        ),
        ("erp: no answer within 1.5 s.", "erp : pas de réponse en 1.5 s."),
        ("There is already a row with the same name.", "Il y a déjà une ligne avec la même valeur de name."),
        ("stock: 1 {x} ORA-00001: unique constraint violated", "stock: 1 {x} ORA-00001: unique constraint violated"),
    ],
)
def test_reasons_are_told_in_the_reader_s_language_and_quote_the_database(said: str, told: str) -> None:
    assert retell(said, "fr").replace("\u202f", " ").replace("\u00a0", " ") == told
    assert retell(said, "en") == said
