"""Every sentence that people see has a translation, and the translations have the same places."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from string import Formatter

from brique.words import catalogue, translate

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
