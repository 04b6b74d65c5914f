"""What a browser would make of a page: its tags and attributes, and whether any of them came from the data."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urlsplit

from tests.security.nasty import MARK

ADDRESSES = {"href", "src", "action", "formaction", "xlink:href", "data", "poster", "srcset", "ping", "background"}
BEGINNINGS = ("<script>", "<img src=x onerror=", "<svg onload=", "<b ", "<b>", "<i>", "<s>", "<u>", "<!--", "<![CDATA[")
RAW = (*(begin + MARK for begin in BEGINNINGS), "</textarea></title>", "<html><script>")
"""How hostile values begin where they were not escaped."""
HTMX_CODE = re.compile(r"^(hx-on|on)", re.I)


class Page(HTMLParser):
    """Collects what is wrong in `faults`; `links` are the addresses that it leads to."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.links: list[str] = []
        self.forms: list[dict[str, str]] = []
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within = tag
        if MARK in tag:
            self.faults.append(f"tag {tag}")
        for name, value in attrs:
            if HTMX_CODE.match(name) or MARK in name:
                self.faults.append(f"{tag} {name}={value}")
            if name in ADDRESSES:
                self._address(tag, value or "")
            if name == "style" and MARK in (value or ""):
                self.faults.append(f"{tag} style={value}")
        if tag in ("iframe", "object", "embed", "base", "applet", "frame", "foreignobject"):
            self.faults.append(f"tag {tag}")
        if tag == "form":
            self.forms.append({name: value or "" for name, value in attrs})

    def _address(self, tag: str, address: str) -> None:
        if tag == "link" and address.startswith("data:image/"):
            return
        try:
            parts = urlsplit(address.strip())
        except ValueError:
            self.faults.append(f"{tag} leads to {address}")
            return
        if parts.scheme or parts.netloc or address.startswith(("//", "\\", "/\\")):
            self.faults.append(f"{tag} leads to {address}")
        else:
            self.links.append(address)

    def handle_data(self, data: str) -> None:
        if self._within in ("script", "style") and MARK in data:
            self.faults.append(f"{self._within} holds {data[:80]}")

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_comment(self, data: str) -> None:
        if MARK in data:
            self.faults.append(f"comment {data[:80]}")


def faults_of(text: str) -> list[str]:
    """What of the data came through as markup."""
    found = [begin for begin in RAW if begin in text]
    return found + Page(text).faults
