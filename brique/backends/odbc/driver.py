"""pyodbc and arrow-odbc, when they are there; and what a driver says of itself."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from brique.errors import MissingExtra

_TRANSACTIONS_NONE = 0
_GETDATA_ANY_COLUMN = 1


def pyodbc() -> ModuleType:
    """The module. Raises MissingExtra when it, or the driver manager below it, is not installed."""
    try:
        module = importlib.import_module("pyodbc")
    except ImportError as fault:
        raise MissingExtra(
            f"ODBC needs pyodbc and a driver manager ({fault})",
            try_this='pip install "brique[odbc]", and unixODBC from your system (apt install unixodbc)',
        ) from fault
    module.__dict__["pooling"] = False  # a pooled connection would keep the session of a call that was given up
    return module


def arrow_odbc() -> ModuleType | None:
    """The module; None when it is not installed: rows are then read one by one."""
    try:
        return importlib.import_module("arrow_odbc")
    except ImportError:
        return None


@dataclass(frozen=True)
class Facts:
    """What `SQLGetInfo` says of a driver and its database. `quote`: the letter around names ("" when there is none);
    `catalog`: the database of the connection, where databases stand beside each other on a server."""

    database: str
    catalog: str
    version: str
    driver: str
    quote: str
    transactions: bool
    isolation: int
    read_only: bool
    any_column: bool


def facts_of(connection: Any) -> Facts:
    """Ask the driver; what it does not answer is taken for the usual."""
    module = pyodbc()

    def ask(name: str, otherwise: Any) -> Any:
        try:
            return connection.getinfo(getattr(module, name))
        except (module.Error, AttributeError):
            return otherwise

    return Facts(
        database=str(ask("SQL_DBMS_NAME", "")),
        catalog=str(ask("SQL_DATABASE_NAME", "") or ""),
        version=str(ask("SQL_DBMS_VER", "")),
        driver=str(ask("SQL_DRIVER_NAME", "")),
        quote=str(ask("SQL_IDENTIFIER_QUOTE_CHAR", '"')).strip(),
        transactions=ask("SQL_TXN_CAPABLE", 2) != _TRANSACTIONS_NONE,
        isolation=int(ask("SQL_DEFAULT_TXN_ISOLATION", 0) or 0),
        read_only=bool(ask("SQL_DATA_SOURCE_READ_ONLY", False)),
        any_column=bool(int(ask("SQL_GETDATA_EXTENSIONS", 0) or 0) & _GETDATA_ANY_COLUMN),
    )


def driver_text(connection_keys: dict[str, str]) -> str:
    """What is known of the driver before it is loaded: its path or name, or what the data source says."""
    keys = {name.lower(): value for name, value in connection_keys.items()}
    if "driver" in keys:
        return keys["driver"]
    return str(pyodbc().dataSources().get(keys.get("dsn", ""), ""))
