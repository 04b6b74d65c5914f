"""brique: the intranet that keeps working when the backend doesn't.

    from brique import Intranet, Table, column, key, ref

    app = Intranet("My company")
    erp = app.backend("erp", "postgresql://…")

    class Customer(Table, backend=erp):
        number: int = key()
        name: str

Serve it with `brique up intranet.py`; or serve data as it is with `brique up northwind.db`.
"""

from brique.app import Inline, Intranet
from brique.schema import BackendSpec, Table, column, key, old_date, padded, ref
from brique.store import Db, WriteDb
from brique.views import Chart, Figure, ShortList

__all__ = [
    "BackendSpec",
    "Chart",
    "Db",
    "Figure",
    "Inline",
    "Intranet",
    "ShortList",
    "Table",
    "WriteDb",
    "column",
    "key",
    "old_date",
    "padded",
    "ref",
]
