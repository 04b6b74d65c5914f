"""What the author of a form had before his eyes, sent along with it: so that a change that somebody else made meanwhile
is noticed and shown, not overwritten.

Store values by column, as JSON. Files and long texts travel as a digest only; they are told apart by it, and stand for
the row's own value when that still has the same digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from brique.errors import BadInput
from brique.schema import Row, Value

_LONG_CHARS_MIN = 2_000
_CHARS_MAX = 1_000_000
_DIGEST = "digest"
_CHANGED = "…"
"""Stands for a long value that is not there any more: equal to nothing that a row holds."""


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


def plain(text: str) -> str:
    """`text` with its lines ended in one way: browsers send CRLF whatever the value had."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def pack(values: Row) -> str:
    """`values` for the form's unseen field."""
    return json.dumps({name: _packed(value) for name, value in values.items()}, ensure_ascii=False)


def _packed(value: Value) -> Any:
    if isinstance(value, bytes) or (isinstance(value, str) and len(value) > _LONG_CHARS_MIN):
        return {_DIGEST: digest(value)}
    return value


def digest(value: str | bytes) -> str:
    """A short text that stands for a long value; of text, however its lines end."""
    kind, content = ("b", value) if isinstance(value, bytes) else ("t", plain(value).encode("utf-8", "surrogatepass"))
    return kind + hashlib.blake2b(content, digest_size=16).hexdigest()


class Seen(Mapping[str, Any]):
    """The values that came back. Long ones are the row's own when it still has them, else equal to nothing there."""

    def __init__(self, values: Mapping[str, Any], now: Row | None) -> None:
        self._digests = {name: value[_DIGEST] for name, value in values.items() if isinstance(value, dict)}
        self._values: Row = {name: value for name, value in values.items() if name not in self._digests}
        for name, expected in self._digests.items():
            here = (now or {}).get(name)
            same = isinstance(here, (str, bytes)) and digest(here) == expected
            self._values[name] = here if same else (_CHANGED.encode() if expected.startswith("b") else _CHANGED)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def is_digest(self, name: str) -> bool:
        """Whether only a digest of this value travelled."""
        return name in self._digests

    def agrees(self, name: str, text: str) -> bool:
        """Whether `text` is the long text that was shown."""
        return digest(text) == self._digests.get(name)

    def row(self) -> Row:
        return dict(self._values)


def unpack(text: str, now: Row | None) -> Seen | None:
    """What `pack` wrote, beside the row as it is; None for an empty text. Raises BadInput for anything else."""
    if not text:
        return None
    try:
        values = json.loads(text) if len(text) <= _CHARS_MAX else None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or not all(map(_is_packed, values.values())):
        raise BadInput(_("This form is not complete."), try_this=_("Open it again."))
    return Seen(values, now)


def _is_packed(value: object) -> bool:
    if isinstance(value, dict):
        return value.keys() == {_DIGEST} and isinstance(value[_DIGEST], str)
    return (value is None or isinstance(value, (int, float, str))) and not isinstance(value, bool)
