"""Views: plain functions of the data whose answers are kept ready, and let go of when what they read changes.

A web process has `Views`, the engine a `Keeper`. Pages, API and exports read the copy through the names below.
"""

from brique.store import (
    OUTBOX,
    STATUS,
    BackendState,
    Beside,
    ChangesForgotten,
    Classes,
    Db,
    Deed,
    Filter,
    Group,
    ListPage,
    ListQuery,
    LoggedChange,
    Op,
    Pulse,
    Record,
    Rows,
    StoredCommand,
    StoredRow,
    TableState,
    bearings,
    label_of,
    pulse,
    row_json,
    search_columns,
    sortable,
    topics_since,
)
from brique.store import Reader as Copy
from brique.views.chance import closely
from brique.views.claims import Claims
from brique.views.differ import difference
from brique.views.encode import body_of, etag_of
from brique.views.explain import Cause, Known, Why, cause_of, why
from brique.views.guard import watched as guarded
from brique.views.keeper import Keeper, kept_name
from brique.views.making import ANSWERS, Maker, user_key
from brique.views.offer import Offer, offer_from
from brique.views.published import Each, Made, Published, Ready, published_of
from brique.views.reading import Representation, ViewFailed, Views
from brique.views.recorder import Recording
from brique.views.tiles import Chart, Figure, ShortList, Tile
from brique.views.topic import DOUBT, Watched
from brique.views.view import Parameter, View, view_of
from brique.views.watched import LEASE_SECONDS, Item
from brique.views.wording import Dependency

__all__ = [
    "ANSWERS",
    "DOUBT",
    "LEASE_SECONDS",
    "OUTBOX",
    "STATUS",
    "BackendState",
    "Beside",
    "Cause",
    "ChangesForgotten",
    "Chart",
    "Claims",
    "Classes",
    "Copy",
    "Db",
    "Deed",
    "Dependency",
    "Each",
    "Figure",
    "Filter",
    "Group",
    "Item",
    "Keeper",
    "Known",
    "ListPage",
    "ListQuery",
    "LoggedChange",
    "Made",
    "Maker",
    "Offer",
    "Op",
    "Parameter",
    "Published",
    "Pulse",
    "Ready",
    "Record",
    "Recording",
    "Representation",
    "Rows",
    "ShortList",
    "StoredCommand",
    "StoredRow",
    "TableState",
    "Tile",
    "View",
    "ViewFailed",
    "Views",
    "Watched",
    "Why",
    "bearings",
    "body_of",
    "cause_of",
    "closely",
    "difference",
    "etag_of",
    "guarded",
    "kept_name",
    "label_of",
    "offer_from",
    "published_of",
    "pulse",
    "row_json",
    "search_columns",
    "sortable",
    "topics_since",
    "user_key",
    "view_of",
    "why",
]
