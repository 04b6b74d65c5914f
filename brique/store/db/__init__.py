"""The data as plain Python, for views and commands: rows of the author's own classes, read as they are looked at."""

from brique.store.db.cells import CellSpec, Counted, Total, part_of
from brique.store.db.chosen import DEFAULTS, choices, chosen
from brique.store.db.clocks import seconds_of
from brique.store.db.effects import Asked, Attachment, Letters
from brique.store.db.facade import Classes, Db, Known
from brique.store.db.groups import Groups, canonical
from brique.store.db.record import Record, row_json, spec_of
from brique.store.db.rows import Rows
from brique.store.db.tracking import KEY_COLUMN, PENDING_COLUMN, Forgetful, Question, Read, Recorder, Sort
from brique.store.db.where import Condition
from brique.store.db.where import sort_key as compare_key
from brique.store.db.write import WriteDb

__all__ = [
    "DEFAULTS",
    "KEY_COLUMN",
    "PENDING_COLUMN",
    "Asked",
    "Attachment",
    "CellSpec",
    "Classes",
    "Condition",
    "Counted",
    "Db",
    "Forgetful",
    "Groups",
    "Known",
    "Letters",
    "Question",
    "Read",
    "Record",
    "Recorder",
    "Rows",
    "Sort",
    "Total",
    "WriteDb",
    "canonical",
    "choices",
    "chosen",
    "compare_key",
    "part_of",
    "row_json",
    "seconds_of",
    "spec_of",
]
