"""What the search box finds: every word of the question somewhere in the row's texts, without case and accents.

The search index holds one *document* for each row: its words, folded, each after two marks. A word of three letters or
more is looked up by its trigrams (anywhere in a word), a shorter one by marks and letters: `du` is the trigram
`mark d u`, so it finds the words that start with it. Trigrams are only necessary, not sufficient, so what the index
brings is checked against the document (`found`); a single trigram needs no check.
"""

from __future__ import annotations

from functools import lru_cache

from brique.schema import Value, fold

MARK = "\x02"
_CUT = str.maketrans({"\x00": " ", MARK: " "})
_DOCUMENT_CHARS_MAX = 20_000  # of one row's texts; what lies beyond is not found
_WORDS_MAX = 12
_WORD_CHARS_MAX = 60
_TRIGRAMS_MAX = 8
"""More would cost more to read than they sort out: the check does the rest."""
_SEPARATOR = MARK + MARK


def document(values: tuple[Value, ...]) -> str:
    """The text under which a row with these texts is found."""
    text = " ".join([value if type(value) is str else str(value) for value in values if _searchable(value)])
    if len(text) > _DOCUMENT_CHARS_MAX:
        text = text[:_DOCUMENT_CHARS_MAX]
    words = fold(text.translate(_CUT)).split()
    return _SEPARATOR + _SEPARATOR.join(words) if words else ""


def _searchable(value: Value) -> bool:
    return value is not None and type(value) is not bytes


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
    text = document(values)
    return all(needle in text for needle in _needles(question))


def found_in(*given: Value) -> bool:
    """`found` as an SQL function: the question, then the texts."""
    return found(str(given[0]), given[1:])


def contained_in(*given: Value) -> bool:
    """`contains` as an SQL function."""
    return contains(given[0], str(given[1]))


def contains(value: Value, folded: str) -> bool:
    """Whether `value` written as text contains `folded`, without case and accents."""
    return value is not None and type(value) is not bytes and folded in fold(str(value))


def _trigrams(word: str) -> list[str]:
    if len(word) < 3:
        return [(_SEPARATOR + word)[-3:]]
    grams = list(dict.fromkeys(word[i : i + 3] for i in range(len(word) - 2)))
    if len(grams) <= _TRIGRAMS_MAX:
        return grams
    step = (len(grams) - 1) / (_TRIGRAMS_MAX - 1)
    return [grams[round(i * step)] for i in range(_TRIGRAMS_MAX)]


def match(question: str) -> str:
    """The question for FTS5; "" when it has no word."""
    grams = dict.fromkeys(gram for word in words(question) for gram in _trigrams(word))
    return " ".join('"' + gram.replace('"', '""') + '"' for gram in list(grams)[:16])


def match_part(part: str) -> str:
    """For FTS5: rows whose texts may contain `part`, which may lie across words; "" when the index cannot help."""
    grams = dict.fromkeys(g for w in words(part) if len(w) > 2 for g in _trigrams(w))
    return " ".join('"' + gram.replace('"', '""') + '"' for gram in list(grams)[:16])


def exact(question: str) -> bool:
    """Whether the search index alone decides the question."""
    return all(len(word) <= 3 for word in words(question))
