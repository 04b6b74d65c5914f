"""Names: identifiers for addresses and code, labels for people, text folded for comparison."""

from __future__ import annotations

import keyword
import re
import unicodedata

_LETTERS = str.maketrans(
    {"œ": "oe", "Œ": "OE", "æ": "ae", "Æ": "AE", "ß": "ss", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L"}
)


def fold(text: str) -> str:
    """`text` without case, accents and ligatures, for search and comparison: "Œuvre à Thiès" -> "oeuvre a thies"."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    return "".join(c for c in plain if not unicodedata.combining(c)).casefold()


def slug(name: str) -> str:
    """An identifier for `name`: lower case, ASCII, words joined by `_`: "Order Details" -> "order_details"."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name) if not name.isupper() else name
    ident = re.sub(r"[^a-z0-9]+", "_", fold(spaced)).strip("_") or "unnamed"
    if ident[0].isdigit():
        ident = f"n{ident}"
    return f"{ident}_" if keyword.iskeyword(ident) or keyword.issoftkeyword(ident) else ident


def distinct(names: list[str], reserved: frozenset[str] = frozenset()) -> list[str]:
    """`names` as identifiers, each one different: a second `id` becomes `id_2`."""
    taken = set(reserved)
    result = []
    for name in names:
        wanted = slug(name)
        ident, number = wanted, 1
        while ident in taken:
            number += 1
            ident = f"{wanted}_{number}"
        taken.add(ident)
        result.append(ident)
    return result


def label(name: str) -> str:
    """A label for people from a name in a schema: "unit_price" -> "Unit price", "OrderID" -> "Order ID"."""
    if not name.isascii() or " " in name.strip():
        return name.strip()
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name.replace("_", " ")).split()
    if not words:
        return name
    if len(words) == 1 and words[0].isupper():
        return words[0]
    plain = [word if word.isupper() and len(word) <= 4 else word.lower() for word in words]
    return " ".join([plain[0][:1].upper() + plain[0][1:], *plain[1:]])
