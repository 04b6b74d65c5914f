"""The words of the user interface in each language: English in the code, the others in one catalogue for each room.

`translate("{n} rows", "fr", n=3)` looks up the English sentence in `words/fr/*.json`; a sentence without a
translation is shown in English. A test holds that none is missing.
"""

from __future__ import annotations

from brique.words.catalogues import catalogue
from brique.words.retelling import retell

__all__ = ["LANGUAGES", "best_language", "catalogue", "retell", "translate"]

LANGUAGES = ("en", "fr")


def translate(text: str, language: str, **values: object) -> str:
    """`text` in `language`, its `{name}` places filled from `values`."""
    sentence = catalogue(language).get(text, text)
    return sentence.format(**values) if values else sentence


def best_language(accept: str, offered: tuple[str, ...] = LANGUAGES) -> str:
    """The first of `offered` that an Accept-Language header asks for, by its weights; else the first offered."""
    if not accept:
        return offered[0]
    wishes: list[tuple[float, str]] = []
    for part in accept.lower().split(",")[:20]:
        name, _, weight = part.partition(";q=")
        try:
            wishes.append((-float(weight or 1), name.strip().split("-")[0]))
        except ValueError:
            continue
    for _, name in sorted(wishes, key=lambda wish: wish[0]):
        if name in offered:
            return name
    return offered[0]
