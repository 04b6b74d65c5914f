"""The text of an HTML mail, for readers that show no HTML: paragraphs, lists, cells, and where links lead. Pure."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_SILENT = frozenset({"style", "script", "head", "title"})
_APART = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote", "pre"})
_BLOCKS = _APART | {"div", "tr", "hr", "section", "header", "footer", "article", "address", "dl", "dt", "dd"}


def text_of(html: str) -> str:
    """`html` as plain text."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    text = "".join(reader.parts)
    lines = [re.sub(r"[ \t]+", " ", line).strip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent = 0
        self._links: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent += 1
        elif tag == "br":
            self.parts.append("\n")
        elif tag == "li":
            self.parts.append("\n- ")
        elif tag in ("td", "th"):
            self.parts.append("  ")
        elif tag == "a":
            self._links.append((dict(attrs).get("href") or "", len(self.parts)))
        elif tag in _BLOCKS:
            self.parts.append("\n\n" if tag in _APART else "\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
        elif tag == "a" and self._links:
            href, since = self._links.pop()
            said = "".join(self.parts[since:]).strip()
            if href.startswith(("http:", "https:", "mailto:")) and said not in (href, href.removeprefix("mailto:")):
                self.parts.append(f" ({href})")
        elif tag in _BLOCKS:
            self.parts.append("\n\n" if tag in _APART else "\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(re.sub(r"\s+", " ", data))
