"""PostgreSQL by psycopg 3: COPY out, batches in, an exact fingerprint from transaction numbers."""

from brique.backends.postgresql.backend import PostgresBackend

__all__ = ["PostgresBackend"]
