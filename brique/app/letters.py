"""What writes the mails of an intranet."""

from __future__ import annotations

from pathlib import Path

from brique.app.intranet import Declared
from brique.backends import TemplateLetters
from brique.http import Accounts


def letters_of(declared: Declared, accounts: Accounts) -> TemplateLetters | None:
    """The writer of mails; None when the intranet sends none."""
    mails = declared.mails
    if mails is None:
        return None
    return TemplateLetters(mails.name, Path(mails.options["templates"]), address=accounts.address_of)
