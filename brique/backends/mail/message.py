"""A mail as bytes, from what an effect says. The same effect of the same command always bears the same Message-ID."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

from brique.backends.mail.addresses import address_of, one_line
from brique.backends.protocol import Tag
from brique.errors import BadInput
from brique.schema import Effect

SEND = "send"
"""The one thing that a mail backend can be asked for."""
FIELDS = frozenset({"to", "cc", "bcc", "reply_to", "subject", "text", "html", "attachments"})
RECIPIENTS_MAX = 100
_POLICY = SMTP.clone(cte_type="7bit")


@dataclass(frozen=True)
class Mail:
    """What is handed over: the envelope's recipients, and the message."""

    recipients: tuple[str, ...]
    content: bytes
    id: str


def compose(effect: Effect, *, sender: str, tag: Tag | None, now: datetime) -> Mail:
    """The mail that `effect` asks for. Raises BadInput when an address, a header or a part is not good."""
    given = effect.arguments
    unknown = set(given) - FIELDS
    if effect.name != SEND or unknown:
        raise BadInput(f"A mail has no {', '.join(sorted(unknown)) or effect.name}.")
    message = EmailMessage(_POLICY)
    people = {name: [address_of(text) for text in _texts(given.get(name))] for name in ("to", "cc", "bcc")}
    everyone = dict.fromkeys(one.addr_spec for found in people.values() for one in found)
    if not everyone or len(everyone) > RECIPIENTS_MAX:
        raise BadInput(f"A mail goes to 1 to {RECIPIENTS_MAX} addresses.")
    own = address_of(sender)
    message["From"] = own
    for name in ("to", "cc"):
        if people[name]:
            message[name.capitalize()] = people[name]
    if given.get("reply_to"):
        message["Reply-To"] = address_of(given["reply_to"])
    message["Subject"] = one_line(str(given.get("subject", "")), "The subject")
    message["Date"] = format_datetime(now)
    message["Message-ID"] = identity = message_id(tag, own.domain, message["Subject"])
    message["Auto-Submitted"] = "auto-generated"
    _fill(message, given)
    return Mail(tuple(everyone), message.as_bytes(), identity)


def message_id(tag: Tag | None, domain: str, otherwise: str = "") -> str:
    """A Message-ID that a second try of the same command bears too."""
    if tag is None:
        return f"<{hashlib.blake2b(otherwise.encode(), digest_size=12).hexdigest()}@{domain}>"
    stream = hashlib.blake2b(tag.stream.encode(), digest_size=6).hexdigest()
    return f"<{tag.id.lower()}.{stream}@{domain}>"


def _fill(message: EmailMessage, given: dict[str, Any]) -> None:
    message.set_content(str(given.get("text", "")) or " ")
    if given.get("html"):
        message.add_alternative(str(given["html"]), subtype="html")
    for name, kind, content in given.get("attachments") or ():
        main, _, sub = one_line(str(kind), "The type of a file").partition("/")
        if not main.isalpha() or not sub:
            raise BadInput(f"{kind} is no type of a file.")
        message.add_attachment(
            bytes(content), maintype=main, subtype=sub, filename=one_line(str(name), "The name of a file")
        )


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else [str(one) for one in value]
