"""Notices: an author is told by mail that commands of his need him; one mail for all of them, and not often.

The badge in the menu says the same at once. What is told here are refused, conflicting and unknown commands that
nobody has dealt with (a withdrawn one never is: its author did that). A notice is itself a command, sent by the mail
backend like any other mail, and its record in the spool says what it has told: a lost store forgets nothing of it.

What calls `notify`, and what it promises:

- it is given what needs a person and was not told yet, when each author was told last, and what writes a mail;
- it gives at most one command for each author, none when he was told less than `minutes` ago or has no address;
- equal arguments give commands with equal tokens, so that keeping them twice (after a crash) sends one mail.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from brique.clock import stamp
from brique.commands.acts import NOTICE
from brique.schema import Command, Effect
from brique.store import StoredCommand
from brique.words import retell, translate

LINES_MAX = 20
COMMANDS_MAX = 1000
"""Commands that one notice tells of; more of them are told by the next."""


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


@dataclass(frozen=True)
class Letter:
    """What a notice says. `author`: the name of the account that it goes to."""

    author: str
    subject: str
    text: str


@dataclass(frozen=True)
class Notified:
    """A notice to keep, with the token that makes it once only."""

    command: Command
    token: str


def notify(
    untold: Mapping[str, Sequence[StoredCommand]],
    told_at: Mapping[str, datetime],
    *,
    now: datetime,
    minutes: float,
    language_of: Callable[[str], str],
    write: Callable[[Letter], Effect | None],
    new_receipt: Callable[[], str],
    backend: str,
    address: str = "",
) -> list[Notified]:
    """The notices that are due. `untold`: by author; `write` makes the mail, None when he has no address; `backend`
    sends it; `address`: of the intranet, for the link ("" when nobody has said it)."""
    notices = []
    for author, items in untold.items():
        last = told_at.get(author)
        if not items or (last is not None and now - last < timedelta(minutes=minutes)):
            continue
        told = list(items)[:COMMANDS_MAX]
        letter = letter_of(author, told, len(items), language_of(author), address)
        mail = write(letter)
        if mail is None:
            continue
        positions = [item.position for item in told]
        digest = hashlib.blake2b(repr((author, positions)).encode(), digest_size=16).hexdigest()
        command = Command(
            id=new_receipt(),
            name=NOTICE,
            user=author,
            role=told[-1].command.role,
            at=stamp(now),
            backend=backend,
            changes=(),
            arguments={"positions": positions},
            origin="engine",
            label=letter.subject,
            digest=digest,
            effects=(mail,),
        )
        notices.append(Notified(command, f"notice {digest}"))
    return notices


def letter_of(author: str, items: Sequence[StoredCommand], count: int, language: str, address: str = "") -> Letter:
    """What the notice says, in the author's language."""

    def t(text: str, **values: object) -> str:
        return translate(text, language, **values)

    subject = t(_("{n} of your entries need you"), n=count) if count > 1 else t(_("One of your entries needs you"))
    lines = [t(_("What you entered could not be carried out as it is:")), ""]
    for item in items[:LINES_MAX]:
        command = item.command
        rows = ", ".join(f"{change.table} {change.key}" for change in command.changes[:3])
        lines.append(f"- {command.id}  {command.label or command.name} {rows}".rstrip())
        if item.reason:
            lines.append(f"  {retell(item.reason, language)}")
    if count > LINES_MAX:
        lines.append(t(_("… and {n} more."), n=count - LINES_MAX))
    lines += ["", t(_("In the outbox you can correct it and send it again, or put it away."))]
    if address:
        lines.append(f"{address.rstrip('/')}/outbox?state=needs")
    return Letter(author, subject, "\n".join(lines) + "\n")
