"""What the search box finds: every word of the question somewhere in the row's texts, without case and accents.

The search index holds one *document* for each row: its words, folded, each after two marks. A word of three letters or
more is looked up by its trigrams (anywhere in a word), a shorter one by marks and letters: `du` is the trigram
`mark d u`, so it finds the words that start with it. Trigrams are only necessary, not sufficient, so what the index
brings is checked against the document (`found`); a single trigram needs no check.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from brique.schema import Value, fold
from brique.store.sample import Sample, chosen

MARK = "\x02"
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_CUT = str.maketrans({"\x00": " ", MARK: " "})
_DOCUMENT_CHARS_MAX = 20_000  # of one row's texts; what lies beyond is not found
_WORDS_MAX = 12
_WORD_CHARS_MAX = 60
_SEPARATOR = MARK + MARK


def document(values: tuple[Value, ...]) -> str:
    """The text under which a row with these texts is found."""
    words = _text(values).split()
    return _SEPARATOR + _SEPARATOR.join(words) if words else ""


def _text(values: tuple[Value, ...]) -> str:
    """All texts of a row as one, folded, within its limit."""
    texts = [v if type(v) is str else str(v) for v in values if v is not None and type(v) is not bytes]
    text = " ".join(texts)
    if len(text) > _DOCUMENT_CHARS_MAX:
        text = text[:_DOCUMENT_CHARS_MAX]
    if "\x00" in text or MARK in text:
        text = text.translate(_CUT)
    return folded(text)


def folded(text: str) -> str:
    """`fold(text)`, fast for texts of which only some letters are not ASCII."""
    return text.lower() if text.isascii() else _NOT_ASCII.sub(_fold_run, text.lower())


def _fold_run(run: re.Match[str]) -> str:
    return _folded_run(run[0])


@lru_cache(maxsize=16_384)
def _folded_run(run: str) -> str:
    return fold(run)


def document_of(*values: Value) -> str:
    """`document` as an SQL function."""
    return document(values)


@lru_cache(maxsize=1024)
def words(question: str) -> tuple[str, ...]:
    """The words of a question as they are looked up, at most some and none too long."""
    split = fold(question.translate(_CUT)).split()[:_WORDS_MAX]
    return tuple(dict.fromkeys(word[:_WORD_CHARS_MAX] for word in split))


@lru_cache(maxsize=1024)
def _needles(question: str) -> tuple[str, ...]:
    return tuple(word if len(word) > 2 else MARK + word for word in words(question))


def found(question: str, values: tuple[Value, ...]) -> bool:
    """Whether a row with these texts answers the question."""
    needles = _needles(question)
    text = _text(values)
    for needle in needles:
        if needle[0] == MARK:
            text = _SEPARATOR + _SEPARATOR.join(text.split())
            break
    return all(needle in text for needle in needles)


def found_in(*given: Value) -> bool:
    """`found` as an SQL function: the question, then the texts."""
    return found(str(given[0]), given[1:])


def contained_in(*given: Value) -> bool:
    """`contains` as an SQL function."""
    return contains(given[0], str(given[1]))


def contains(value: Value, part: str) -> bool:
    """Whether `value` written as text contains `part` (folded), without case and accents."""
    return value is not None and type(value) is not bytes and part in folded(str(value))


def _trigrams(word: str) -> list[str]:
    if len(word) < 3:
        return [(_SEPARATOR + word)[-3:]]
    return list(dict.fromkeys(word[place : place + 3] for place in range(len(word) - 2)))


def match(question: str, sample: Sample | None = None) -> tuple[str, bool]:
    """The question for FTS5, "" when it has no word; and whether what FTS5 finds needs no check."""
    asked = words(question)
    grams = [gram for word in asked for gram in _trigrams(word)]
    taken = chosen(grams, sample)
    return _quoted(taken), len(taken) == len(set(grams)) and all(len(word) <= 3 for word in asked)


def match_part(part: str, sample: Sample | None = None) -> str:
    """For FTS5: rows whose texts may contain `part`, which may lie across words; "" when the index cannot help."""
    return _quoted(chosen([gram for word in words(part) if len(word) > 2 for gram in _trigrams(word)], sample))


def _quoted(grams: Iterable[str]) -> str:
    return " ".join('"' + gram.replace('"', '""') + '"' for gram in grams)
