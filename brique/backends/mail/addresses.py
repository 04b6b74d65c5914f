"""Addresses of people, checked: what is not one never gets into a header. Pure."""

from __future__ import annotations

import re
from email.headerregistry import Address

from brique.errors import BadInput

_LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_DOMAIN = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
_SPEC = re.compile(rf"({_LOCAL})@({_DOMAIN})", re.ASCII)
_WRITTEN = re.compile(r'(?:"([^"<>]*)"\s*|([^"<>@,;]*?)\s*)<([^<>\s]+)>|([^<>\s]+)')
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\x85]")
_LENGTH_MAX = 254


def address_of(text: str) -> Address:
    """`a@b.org` or `Awa Ba <a@b.org>` as an address; a domain with other letters than ASCII in its ASCII form.

    Raises BadInput for anything else, line breaks above all.
    """
    if len(text) > 4 * _LENGTH_MAX or _CONTROL.search(text):
        raise BadInput("This is no e-mail address: it holds a line break, or is too long.")
    found = _WRITTEN.fullmatch(text.strip())
    if not found:
        raise BadInput(f"{text or 'Nothing'} is no e-mail address.")
    name = (found[1] or found[2] or "").replace('\\"', '"')
    local, _, domain = (found[3] or found[4]).rpartition("@")
    try:
        domain = domain.encode("idna").decode() if not domain.isascii() else domain
    except UnicodeError as fault:
        raise BadInput(f"{text} is no e-mail address.") from fault
    spec = f"{local}@{domain}"
    if not _SPEC.fullmatch(spec) or len(spec) > _LENGTH_MAX:
        raise BadInput(f"{text or 'Nothing'} is no e-mail address.")
    return Address(display_name=name, username=local, domain=domain)


def one_line(text: str, what: str) -> str:
    """`text`, which goes into a header. Raises BadInput when it holds a line break or another control character."""
    if _CONTROL.search(text):
        raise BadInput(f"{what} must be one line.")
    return text
