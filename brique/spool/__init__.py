"""Bytes kept for good, in order: the durable journal that everything acknowledged goes through first."""

from brique.spool.protocol import Entry, Record, Spool
from brique.spool.sqlite import SqliteSpool

__all__ = ["Entry", "Record", "Spool", "SqliteSpool"]
