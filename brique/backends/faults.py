"""Faults of backends, in sentences that can be translated: the English sentence and its values travel as facts."""

from __future__ import annotations

import re

from brique.errors import BackendAway, BackendRefused

SLOW = "{backend}: no answer within {seconds:g} s."
ABORTED = "{backend}: the call was given up."
LOST = "{backend}: the connection was lost: {reason}"
NOT_NOW = "{backend}: not now: {reason}"
CLOSED = "{backend}: it is closed."
NO_CONNECTION = "{backend}: no connection within {seconds:g} s."
SAYS = "The database says: {reason}"

READ_ONLY_VIEW = "It is a view: its rows are made from other tables."
READ_ONLY_NO_KEY = "It has no key, so that a row cannot be told apart."
READ_ONLY_RIGHTS = "The account that brique uses may not write here."
READ_ONLY_FILE = "It comes from a file."
READ_ONLY_DATABASE = "The database can only be read."
READ_ONLY_FOREIGN = "It belongs to another database, seen through this one."


def away(sentence: str, **values: object) -> BackendAway:
    """A BackendAway that says `sentence`, its `{name}` places filled from `values`."""
    fault = BackendAway(sentence.format(**values))
    fault.facts.update(values, sentence=sentence)
    return fault


def refused(sentence: str, **values: object) -> BackendRefused:
    """A BackendRefused that says `sentence`, its `{name}` places filled from `values`."""
    fault = BackendRefused(sentence.format(**values))
    fault.facts.update(values, sentence=sentence)
    return fault


def redact(url: str) -> str:
    """`url` without its password, to be shown to people. A password may hold any letter that should have been
    escaped, so all up to the last @ is hidden."""
    hidden = re.sub(r"(?i)(password|passwd|pwd)=[^&;\s]*", r"\1=***", url)
    return re.sub(r"(?s)(://[^:/@?#]*):.*@", r"\1:***@", hidden)
