"""Mails written when a command is given, from Jinja templates in a folder: what is sent later is what was meant.

An HTML template is escaped by itself; the text beside it is derived from it, or comes from a template of the same name
that ends in `.txt`. The subject is the argument `subject`, else what the template has set under that name, else its
`<title>`.
"""

from __future__ import annotations

import html as escapes
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import jinja2

from brique.backends.mail.addresses import address_of, one_line
from brique.backends.mail.message import RECIPIENTS_MAX, SEND
from brique.backends.mail.plain import text_of
from brique.errors import BadConfiguration, BadInput
from brique.schema import Effect

BYTES_MAX = 10 * 1024 * 1024
"""Texts and files of one mail; a command has its own limit in the settings."""
_SUFFIXES = (".html", ".txt")
_TITLE = re.compile(r"(?is)<title>(.*?)</title>")


class File(Protocol):
    """A file to send along."""

    @property
    def name(self) -> str: ...

    @property
    def content(self) -> bytes: ...

    @property
    def type(self) -> str: ...


class TemplateLetters:
    """Writes mails for the backend `backend`. `address(name)` finds the address of an account ("" when it has none)."""

    def __init__(
        self, backend: str, folder: Path | None, *, address: Callable[[str], str], bytes_max: int = BYTES_MAX
    ) -> None:
        self.backend = backend
        self._folder, self._address, self._bytes_max = folder, address, bytes_max
        loader = jinja2.FileSystemLoader(folder) if folder is not None else jinja2.DictLoader({})
        self._templates = jinja2.Environment(
            loader=loader,
            autoescape=jinja2.select_autoescape(("html",), default_for_string=False),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def write(
        self,
        what: str,
        *,
        to: Sequence[str],
        cc: Sequence[str],
        bcc: Sequence[str],
        reply_to: str,
        subject: str,
        text: str,
        html: str,
        attachments: Sequence[File],
        values: Mapping[str, Any],
    ) -> Effect:
        """The mail as an effect, checked: what it says can be sent. Raises BadInput and BadConfiguration."""
        if what.endswith(_SUFFIXES):
            found, text_made, html_made = self._render(what, values)
            subject, text, html = subject or found, text or text_made, html or html_made
        else:
            subject = subject or what
            text = text or (text_of(html) if html else "")
        if not subject.strip() or not (text.strip() or html.strip()):
            raise BadConfiguration(
                f"the mail {what!r} has no {'text' if subject.strip() else 'subject'}",
                try_this='<title>...</title> in the template, or db.mail(to, "Subject", text="...")',
            )
        given: dict[str, Any] = {"to": self._people(to), "subject": one_line(" ".join(subject.split()), "The subject")}
        for name, people in (("cc", cc), ("bcc", bcc)):
            if people:
                given[name] = self._people(people)
        if len(given["to"]) + len(given.get("cc", ())) + len(given.get("bcc", ())) > RECIPIENTS_MAX or not given["to"]:
            raise BadInput(f"A mail goes to 1 to {RECIPIENTS_MAX} addresses.")
        if reply_to:
            given["reply_to"] = str(address_of(reply_to))
        given |= {"text": text, "html": html} if html else {"text": text}
        if attachments:
            given["attachments"] = [[file.name, file.type, file.content] for file in attachments]
        self._check_size(given)
        return Effect(SEND, given)

    def _people(self, people: Sequence[str]) -> list[str]:
        """Addresses; a name without @ is that of an account."""
        found = []
        for one in people:
            text = one if "@" in one else self._address(one)
            if not text:
                raise BadInput(f"{one} is no e-mail address, and no account that has one.")
            found.append(str(address_of(text)))
        return list(dict.fromkeys(found))

    def _check_size(self, given: Mapping[str, Any]) -> None:
        size = sum(len(content) for _, _, content in given.get("attachments", ()))
        size += len(given["text"].encode()) + len(given.get("html", "").encode())
        if size > self._bytes_max:
            raise BadInput(f"A mail has at most {self._bytes_max} bytes, this one {size}.")

    def _render(self, name: str, values: Mapping[str, Any]) -> tuple[str, str, str]:
        """Subject ("" when it says none), text and HTML."""
        subject, body = self._one(name, values)
        if name.endswith(".txt"):
            return subject, body, ""
        if not subject:
            title = _TITLE.search(body)
            subject = escapes.unescape(title[1]) if title else ""
        beside = f"{name.removesuffix('.html')}.txt"
        try:
            self._templates.get_template(beside)
        except jinja2.TemplateNotFound:
            return subject, text_of(body), body
        return subject, self._one(beside, values)[1], body

    def _one(self, name: str, values: Mapping[str, Any]) -> tuple[str, str]:
        try:
            module = self._templates.get_template(name).make_module(dict(values))
            subject = getattr(module, "subject", "")
            text = str(subject) if isinstance(subject, str) else ""
            return escapes.unescape(text) if hasattr(subject, "__html__") else text, str(module)
        except jinja2.TemplateNotFound as fault:
            hint = f"put it into {self._folder or 'the folder templates'}"
            raise BadConfiguration(f"there is no mail template {fault.name}", try_this=hint) from fault
        except jinja2.TemplateSyntaxError as fault:
            raise BadConfiguration(f"{fault.name}, line {fault.lineno}: {fault.message}") from fault
        except jinja2.UndefinedError as fault:
            raise BadConfiguration(f"{name}: {fault.message}", try_this="give it to db.mail by that name") from fault
