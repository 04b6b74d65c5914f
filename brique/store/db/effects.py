"""What a command asks for beside changes of rows: to call a procedure, to send a mail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from brique.errors import BadInput
from brique.schema import PENDING, Effect, Kind, Table
from brique.store.db.record import spec_of, values_of
from brique.store.db.where import key_parts

EFFECTS_MAX = 100
"""Calls and mails of one command."""
_MAIL_NAMES = ("email", "e_mail", "mail", "courriel", "email_address", "mail_address")


@dataclass(frozen=True)
class Asked:
    """An effect and the backend that it is asked of; "" for the one of the command's changes."""

    backend: str
    effect: Effect


@dataclass(frozen=True)
class Attachment:
    """A file to send along."""

    name: str
    content: bytes
    type: str = "application/octet-stream"


class Letters(Protocol):
    """What makes mails: knows the templates, and the addresses of people with an account."""

    @property
    def backend(self) -> str:
        """The backend that sends them; "" when the intranet has none."""
        ...

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
        attachments: Sequence[Attachment],
        values: Mapping[str, Any],
    ) -> Effect:
        """The mail: `what` is a template's name or the subject. Raises BadInput and BadConfiguration."""
        ...


def argument(value: Any) -> Any:
    """A Python value as an effect carries it: numbers and texts as they are, moments as ISO text, a decimal as its
    digits, a row as its key (that of one not numbered yet follows when it is). Raises BadInput for anything else."""
    if isinstance(value, Table):
        if value.row_key.startswith(PENDING):
            return value.row_key  # replay puts the number there that the backend has given
        try:
            parts = key_parts(value)
        except ValueError as fault:
            raise BadInput(str(fault)) from fault
        return argument(parts[0]) if len(parts) == 1 else [argument(part) for part in parts]
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        moment = value.astimezone(UTC) if value.tzinfo else value
        text = moment.replace(tzinfo=None).isoformat(timespec="microseconds")
        return f"{text}Z" if value.tzinfo else text
    if isinstance(value, date | time):
        return value.isoformat()
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    if isinstance(value, dict | list | tuple):
        return msgspec.json.encode(value, enc_hook=argument).decode()
    raise BadInput(f"{type(value).__name__} is nothing that a backend can be given.")


def recipients(to: Any) -> list[str]:
    """Addresses and account names of what a command gives as recipients: texts, rows with a column for it, or both
    in a list. Raises BadInput when a row has no address."""
    if isinstance(to, str | Table):
        to = [to]
    if not isinstance(to, Iterable):
        raise BadInput("A mail goes to an address, an account or a row that has an address.")
    return [_address(one) for one in to if one is not None]


def _address(one: Any) -> str:
    if isinstance(one, str):
        return one.strip()
    if not isinstance(one, Table):
        raise BadInput("A mail goes to an address, an account or a row that has an address.")
    spec, row = spec_of(one), values_of(one).row()
    names = [name for name in _MAIL_NAMES if name in row]
    names += [
        column.name
        for column in spec.columns
        if column.kind is Kind.TEXT and "mail" in column.name and column.name not in names
    ]
    found = next((str(row[name]).strip() for name in names if row[name]), "")
    if not found:
        raise BadInput(f"{spec.label} {one} has no e-mail address.", table=spec.name, key=one.row_key)
    return found
