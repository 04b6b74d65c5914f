"""The local copy: rows with pending changes laid over them, change log, commands, ready bytes. One SQLite file.

The engine's thread owns the `Store`; everybody else reads by a `Reader`, one for each thread.
"""

from brique.store.bulletin import ChangesForgotten, LoggedChange
from brique.store.changes import RowChange
from brique.store.commands import StoredCommand
from brique.store.db import (
    DEFAULTS,
    KEY_COLUMN,
    PENDING_COLUMN,
    Asked,
    Attachment,
    CellSpec,
    Classes,
    Condition,
    Counted,
    Db,
    Forgetful,
    Groups,
    Known,
    Letters,
    Question,
    Read,
    Record,
    Recorder,
    Rows,
    Sort,
    Total,
    WriteDb,
    canonical,
    choices,
    chosen,
    compare_key,
    part_of,
    row_json,
    seconds_of,
    spec_of,
)
from brique.store.deeds import Deed
from brique.store.diff import Diff, diff
from brique.store.labels import label_of
from brique.store.layout import collated, search_columns, sortable
from brique.store.load import Load
from brique.store.outbox import Beside, Group
from brique.store.publications import PlaceState, Publication, Publications
from brique.store.pulse import OUTBOX, STATUS, Pulse, bearings, pulse, topics_since
from brique.store.query import OPS, Filter, ListPage, ListQuery, Op
from brique.store.reader import Reader
from brique.store.representations import BY_CLOCK, NEVER, Dependency, Making, Representation, Representations, Sign
from brique.store.rows import StoredRow
from brique.store.spans import Span, count_in, positions_in, spans_of
from brique.store.stage import Staged, StageWriter
from brique.store.states import BackendState, TableState
from brique.store.transaction import Tx
from brique.store.writer import Store

__all__ = [
    "BY_CLOCK",
    "DEFAULTS",
    "KEY_COLUMN",
    "NEVER",
    "OPS",
    "OUTBOX",
    "PENDING_COLUMN",
    "STATUS",
    "Asked",
    "Attachment",
    "BackendState",
    "Beside",
    "CellSpec",
    "ChangesForgotten",
    "Classes",
    "Condition",
    "Counted",
    "Db",
    "Deed",
    "Dependency",
    "Diff",
    "Filter",
    "Forgetful",
    "Group",
    "Groups",
    "Known",
    "Letters",
    "ListPage",
    "ListQuery",
    "Load",
    "LoggedChange",
    "Making",
    "Op",
    "PlaceState",
    "Publication",
    "Publications",
    "Pulse",
    "Question",
    "Read",
    "Reader",
    "Record",
    "Recorder",
    "Representation",
    "Representations",
    "RowChange",
    "Rows",
    "Sign",
    "Sort",
    "Span",
    "StageWriter",
    "Staged",
    "Store",
    "StoredCommand",
    "StoredRow",
    "TableState",
    "Total",
    "Tx",
    "WriteDb",
    "bearings",
    "canonical",
    "choices",
    "chosen",
    "collated",
    "compare_key",
    "count_in",
    "diff",
    "label_of",
    "part_of",
    "positions_in",
    "pulse",
    "row_json",
    "search_columns",
    "seconds_of",
    "sortable",
    "spans_of",
    "spec_of",
    "topics_since",
]
