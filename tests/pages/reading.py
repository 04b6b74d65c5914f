"""A page as a person reads it: words without marks, and links by their text."""

from __future__ import annotations

import html
import re

import httpx


def link(answer: httpx.Response, text: str) -> str:
    """The address of the link with that text."""
    icon = r"(?:<svg(?:(?!</svg>).)*</svg>)?"
    found = re.search(rf'<a[^>]*href="([^"]+)"[^>]*>{icon}\s*{re.escape(html.escape(text))}', answer.text)
    assert found, f"no link {text!r}"
    return html.unescape(found[1])


def words(answer: httpx.Response) -> str:
    """What a person reads, with plain blanks."""
    text = re.sub(r"<(style|script).*?</\1>", " ", answer.text, flags=re.DOTALL)
    text = html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)))
    return text.replace("\u202f", " ").replace("\xa0", " ")
