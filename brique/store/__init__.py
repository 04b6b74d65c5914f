"""The local copy: rows with pending changes laid over them, change log, commands, ready bytes. One SQLite file.

The engine's thread owns the `Store`; everybody else reads by a `Reader`, one for each thread.
"""

from brique.store.commands import StoredCommand
from brique.store.diff import Diff, diff
from brique.store.layout import search_columns, sortable
from brique.store.load import Load
from brique.store.query import OPS, Filter, ListPage, ListQuery, Op
from brique.store.reader import ChangesForgotten, LoggedChange, Reader, label_of
from brique.store.representations import Dependency, Representation, Representations
from brique.store.rows import StoredRow
from brique.store.stage import Staged, StageWriter
from brique.store.states import BackendState, TableState
from brique.store.transaction import RowChange, Tx
from brique.store.writer import Store

__all__ = [
    "OPS",
    "BackendState",
    "ChangesForgotten",
    "Dependency",
    "Diff",
    "Filter",
    "ListPage",
    "ListQuery",
    "Load",
    "LoggedChange",
    "Op",
    "Reader",
    "Representation",
    "Representations",
    "RowChange",
    "StageWriter",
    "Staged",
    "Store",
    "StoredCommand",
    "StoredRow",
    "TableState",
    "Tx",
    "diff",
    "label_of",
    "search_columns",
    "sortable",
]
