"""SQLite files: read over one connection, written over another, each with its own thread-safe lane."""

from brique.backends.sqlite.backend import SqliteBackend

__all__ = ["SqliteBackend"]
