"""What makes a wish once only: a form's one-time token, an idempotency key, a receipt that its giver has made up."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from brique.errors import BadInput, TokenReused
from brique.schema import Command

OWN_RECEIPT = "receipt "
"""What a token begins with that is the command's receipt, made up by who gives it."""
_OWN_RECEIPT = re.compile(r"[A-Za-z0-9_-]{20,64}")
_CHARS_MAX = 400


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


def own_receipt(text: str) -> str:
    """The token of a command whose receipt its giver has made up: a UUID, a ULID. Raises BadInput for any other text.

    It is longer than the receipts that brique makes, so that none of them can be taken beforehand.
    """
    if not _OWN_RECEIPT.fullmatch(text):
        raise BadInput(
            _("This receipt cannot be used."),
            fields={"_receipt": _("Must be 20 to 64 letters, digits, - or _: a random UUID, say.")},
        )
    return OWN_RECEIPT + text


def check_token(token: str) -> None:
    """Raises BadInput for a token that cannot be kept: too long, unprintable, or a receipt that nobody may make up.

    A form's token comes back from a browser: whoever writes "receipt ..." there could else take the receipt of
    somebody else's command, and with it the key under which a backend knows that command.
    """
    if token.startswith(OWN_RECEIPT):
        own_receipt(token.removeprefix(OWN_RECEIPT))
    elif len(token) > _CHARS_MAX or not token.isprintable():
        raise BadInput(_("This form is not complete."), try_this=_("Open it again."))


def token_key(user: str, token: str) -> str:
    """A token is its user's own: another user's is another one. A receipt that its giver has made up is everybody's."""
    if token.startswith(OWN_RECEIPT):
        return "\n" + token.removeprefix(OWN_RECEIPT)
    return f"{user}\n{token}" if token else ""


def check_same(known: Command, given: Command) -> None:
    """Raises TokenReused when the second command with one token asks for something else."""
    if known.user != given.user:
        raise taken()
    if known.digest != given.digest:
        raise reused(known.id)


def reused(receipt: str) -> TokenReused:
    """The fault of giving another wish with a token that the command `receipt` was given with."""
    return TokenReused(
        "This form was sent before, with other values.",
        try_this="look in the outbox at what was kept, then open the row again",
        receipt=receipt,
    )


def taken() -> TokenReused:
    """The fault of giving a receipt that somebody else's command has."""
    return TokenReused("This receipt is taken.", try_this="make up another one: a random UUID, say")


def digest_of(name: str, table: str, key: str, given: Mapping[str, Any]) -> str:
    """What is asked, as one short text: the same wish always gives the same one."""
    wish = msgspec.msgpack.encode([name, table, key, sorted(given.items())])
    return hashlib.blake2b(wish, digest_size=16).hexdigest()
