"""Row keys as one text, safe in addresses: the parts joined by commas, everything unusual written `~XX`.

`~n` is NULL and `~e` the empty text, so that every tuple of values has one text and every text one tuple of texts.
"""

from __future__ import annotations

import re

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")
_ESCAPE = re.compile(r"~([0-9A-F]{2})")
PENDING = "new-"
"""How the key of a row starts that its backend has not numbered yet; the command's id follows."""


def _part(value: object) -> str:
    if value is None:
        return "~n"
    if isinstance(value, int):
        return str(value)
    raw = value if isinstance(value, bytes) else str(value).encode()
    if not raw:
        return "~e"
    if raw.isalnum() and raw.isascii():
        return raw.decode()
    return "".join(chr(byte) if byte in _PLAIN else f"~{byte:02X}" for byte in raw)


def join(values: tuple[object, ...]) -> str:
    """The key text of a row whose key columns hold `values` (store values)."""
    if len(values) == 1:
        return _part(values[0])
    return ",".join(map(_part, values))


def split(text: str) -> tuple[str | None, ...]:
    """The parts of a key text, as texts (None for NULL). Raises ValueError when it is not a key text."""
    if "~" not in text and text.isascii():
        return tuple(text.split(","))
    return tuple(_plain(part) for part in text.split(","))


def _plain(part: str) -> str | None:
    if part == "~n":
        return None
    if part == "~e":
        return ""
    raw = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), part)
    if "~" in part and not re.fullmatch(r"(?:[A-Za-z0-9_.-]|~[0-9A-F]{2})+", part):
        raise ValueError(f"not a key: {part!r}")
    try:
        return raw.encode("latin-1").decode()
    except UnicodeError as fault:
        raise ValueError(f"not a key: {part!r}") from fault
