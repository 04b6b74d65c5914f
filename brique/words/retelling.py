"""Reasons that were written down in English, told in another language: the sentence of the catalogue that a text was
made from is found again, with what stood in its places. What no sentence fits (a database's own words) stays as it is.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib.resources import files
from json import loads

from brique.words.catalogues import catalogue

_ROOMS = ("backends", "commands")
_PLACE = re.compile(r"\{(\w+)[^}]*\}")
_TOLD = frozenset({"reason", "state", "why"})
"""Places that hold a sentence or word of their own; the others hold names and values."""
_NAMES = frozenset({"backend", "receipt"})
"""Places that hold one word."""
_LETTERS_MIN, _LETTERS_MAX, _SENTENCES_MAX = 6, 4_000, 12


def retell(text: str, language: str) -> str:
    """`text` in `language`, as far as the catalogue knows what it is made of."""
    if language == "en" or not text or len(text) > _LETTERS_MAX:
        return text
    return _retold(text, language)


@lru_cache(maxsize=2_000)
def _retold(text: str, language: str) -> str:
    whole = _one(text, language)
    if whole is not None:
        return whole
    for end in [found.end() for found in re.finditer(r"[.?!](?= )", text)][:_SENTENCES_MAX][::-1]:
        first = _one(text[:end], language)
        if first is not None:
            return f"{first} {_retold(text[end + 1 :], language)}"
    return text


def _one(text: str, language: str) -> str | None:
    """`text` when it was made from one sentence; None when it was not."""
    known = catalogue(language).get(text)
    if known is not None:
        return known
    for pattern, sentence in _patterns(language):
        found = pattern.fullmatch(text)
        if found is not None:
            values = {
                name: _retold(value, language) if name in _TOLD else value for name, value in found.groupdict().items()
            }
            return _PLACE.sub(lambda place: values[place[1]], sentence)  # noqa: B023 - called at once
    return None


@cache
def _patterns(language: str) -> list[tuple[re.Pattern[str], str]]:
    """What texts made from each sentence look like, those that say most themselves first."""
    found: list[tuple[int, re.Pattern[str], str]] = []
    for room in _ROOMS:
        file = files("brique.words") / language / f"{room}.json"
        for english, other in loads(file.read_text("utf-8")).items():
            parts = _PLACE.split(english)
            letters = sum(len(part) for part in parts[::2])
            if len(parts) > 1 and letters >= _LETTERS_MIN:
                found.append((letters, _pattern(parts), other))
    found.sort(key=lambda one: -one[0])
    return [(pattern, other) for _, pattern, other in found]


def _pattern(parts: list[str]) -> re.Pattern[str]:
    """Literal text and names of places, in turn."""
    made, seen = "", set[str]()
    for place, part in enumerate(parts):
        if place % 2 == 0:
            made += re.escape(part)
        elif part in seen:
            made += f"(?P={part})"
        else:
            seen.add(part)
            made += f"(?P<{part}>[^\\s:]+)" if part in _NAMES else f"(?P<{part}>.+?)"
    return re.compile(made, re.DOTALL)
