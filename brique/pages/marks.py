"""The mark beside a row that a command is laid over, or that needs a person."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from brique.pages.format import Formats
from brique.pages.story import STATES
from brique.schema import TableSpec
from brique.views import Copy, StoredRow


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


def mark(copy: Copy, spec: TableSpec, row: StoredRow, formats: Formats, at: Callable[[str], str]) -> Markup:
    """The pill beside a row that is pending or needs a person; it leads to the receipt."""
    commands = copy.commands_on(spec.name, row.key)
    needing = [found for found in commands if found.state.needs_person and not found.dismissed]
    told = needing[-1] if needing else (commands[-1] if commands else None)
    word, kind = (_("conflict"), "bad") if row.pending == 2 else (_("pending"), "warn")
    if told is None:
        return Markup('<span class="pill {}">{}</span>').format(kind, formats.t(word))
    if told.state.needs_person:
        word, kind = STATES[told.state]
    href = at(f"/outbox/{told.command.id}")
    return Markup('<a class="pill {}" href="{}">{}</a>').format(kind, href, formats.t(word))
