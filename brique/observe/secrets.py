"""What must not be written down: passwords in addresses, tokens in headers, values with a telling name."""

from __future__ import annotations

import re

HIDDEN = "[hidden]"
_WORDS = (
    r"passwd|password|passphrase|pwd|secret|token|api[_-]?key|private[_-]?key|access[_-]?key|credentials?"
    r"|authorization|cookie|session(?:[_-]?id)?|csrf|mot[_-]?de[_-]?passe"
)
_NAME = re.compile(rf"(?:^|[_-])(?:{_WORDS})s?(?:$|[_-])", re.IGNORECASE)
_IN_ADDRESS = re.compile(
    r"(?P<start>[a-z][a-z0-9+.-]{0,20}://[^\s:/@'\"]{0,200}):(?!\d{1,5}(?:[/?#\s'\"]|$))(?:[^\s'\"/]|/(?!/)){0,500}?@(?=[^@\s/]*(?:[/\s'\"?]|$))",
    re.I,
)
_IN_HEADER = re.compile(r"\b(?P<start>(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_IN_PAIR = re.compile(
    rf"(?P<start>(?<![a-z])(?:[a-z]{{1,20}}[_-])?(?:{_WORDS})[\"']?\s{{0,3}}[=:]\s{{0,3}})"
    r"(?P<value>\"[^\"]{0,500}\"|'[^']{0,500}'|\{[^}]{0,500}\}|[^\s,;&\"'()\[\]{}]{1,500})",
    re.IGNORECASE,
)


def is_secret_name(name: str) -> bool:
    """Whether a variable, field or header of this name holds a secret."""
    return _NAME.search(name) is not None


def redact(text: str) -> str:
    """`text` without passwords in URLs, bearer tokens, and values of `password=`, `token:` and the like."""
    if "://" in text:
        text = _IN_ADDRESS.sub(rf"\g<start>:{HIDDEN}@", text)
    if "=" in text or ":" in text or " " in text:
        text = _IN_HEADER.sub(rf"\g<start>{HIDDEN}", text)
        text = _IN_PAIR.sub(_hide_pair, text)
    return text


def _hide_pair(match: re.Match[str]) -> str:
    value = match["value"]
    if value.lower() in {"bearer", "basic", "none", "true", "false"}:
        return match[0]
    return match["start"] + HIDDEN
