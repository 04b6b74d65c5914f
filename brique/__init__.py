"""brique: the intranet that keeps working when the backend doesn't.

    from brique import Intranet, Table, column, key, ref

    app = Intranet("My company")
    erp = app.backend("erp", "postgresql://…")

    class Customer(Table, backend=erp):
        number: int = key()
        name: str

Serve it with `brique up intranet.py`; or serve data as it is with `brique up northwind.db`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brique.app import Inline, Intranet
    from brique.backends import Basic, Bearer, Header, Http, Resource
    from brique.schema import (
        BackendSpec,
        Table,
        code,
        column,
        date_parts,
        ebcdic,
        flag,
        implied,
        key,
        old_date,
        old_time,
        packed,
        padded,
        ref,
        zoned,
    )
    from brique.store import Attachment, Db, WriteDb
    from brique.views import Chart, Figure, ShortList

_SCHEMA = "BackendSpec Table code column date_parts ebcdic flag implied key old_date old_time packed padded ref zoned"
_HOMES = {
    "app": ("Inline", "Intranet"),
    "schema": tuple(_SCHEMA.split()),
    "backends": ("Basic", "Bearer", "Header", "Http", "Resource"),
    "store": ("Attachment", "Db", "WriteDb"),
    "views": ("Chart", "Figure", "ShortList"),
}

__all__ = [
    "Attachment",
    "BackendSpec",
    "Basic",
    "Bearer",
    "Chart",
    "Db",
    "Figure",
    "Header",
    "Http",
    "Inline",
    "Intranet",
    "Resource",
    "ShortList",
    "Table",
    "WriteDb",
    "code",
    "column",
    "date_parts",
    "ebcdic",
    "flag",
    "implied",
    "key",
    "old_date",
    "old_time",
    "packed",
    "padded",
    "ref",
    "zoned",
]


def __getattr__(name: str) -> Any:
    """Fetch a public name from its room when it is first asked for, so that one room alone stays light."""
    for room, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"brique.{room}"), name)
    raise AttributeError(f"module 'brique' has no attribute {name!r}")
