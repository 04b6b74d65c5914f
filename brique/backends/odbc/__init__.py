"""Any database with an ODBC driver: Arrow batches out, parameters in, a profile for each family of drivers."""

from brique.backends.odbc.backend import OdbcBackend

__all__ = ["OdbcBackend"]
