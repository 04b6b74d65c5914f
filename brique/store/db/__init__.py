"""The data as plain Python, for views and commands: rows of the author's own classes, read as they are looked at."""

from brique.store.db.clocks import seconds_of
from brique.store.db.effects import Asked, Attachment, Letters
from brique.store.db.facade import Classes, Db, Known
from brique.store.db.groups import Groups
from brique.store.db.record import Record, row_json, spec_of
from brique.store.db.rows import Rows
from brique.store.db.tracking import KEY, PENDING_COLUMN, WHOLE, Forgetful, ReadDependency, Recorder, Scheme
from brique.store.db.write import WriteDb

__all__ = [
    "KEY",
    "PENDING_COLUMN",
    "WHOLE",
    "Asked",
    "Attachment",
    "Classes",
    "Db",
    "Forgetful",
    "Groups",
    "Known",
    "Letters",
    "ReadDependency",
    "Record",
    "Recorder",
    "Rows",
    "Scheme",
    "WriteDb",
    "row_json",
    "seconds_of",
    "spec_of",
]
