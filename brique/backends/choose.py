"""Which backend an address means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from brique.backends.faults import redact
from brique.backends.parts import PartsBackend, has_parts
from brique.backends.protocol import Backend
from brique.backends.sqlite import SqliteBackend
from brique.errors import BadConfiguration
from brique.schema import TableSpec

KNOWN = (
    "sqlite:///file, postgresql://user@host/database, mysql://user@host/database, "
    "mongodb://host/database, odbc:///?DSN=name, https://host/path (a JSON API), folder:path, "
    "or the path of a file or folder"
)
_SQLITE_HEADER = b"SQLite format 3\x00"
_SQLITE_SUFFIXES = (".db", ".sqlite", ".sqlite3")


def open_backend(
    name: str,
    url: str,
    *,
    timeout: float = 5.0,
    connect_timeout: float = 3.0,
    read_timeout: float = 30.0,
    marker_schema: str = "",
    options: Mapping[str, Any] | None = None,
    tables: Sequence[TableSpec] = (),
    data: Path | None = None,
    must_exist: bool = True,
) -> Backend:
    """The backend at `url`; nothing is connected yet.

    Seconds: `timeout` for one call, `connect_timeout` to connect, `read_timeout` for one batch of a long read.
    `options` are those of its kind, `tables` what is declared in it, `data` the folder of brique's own files.
    `marker_schema`: where the marker table may be made (PostgreSQL; empty: the account's own).
    `must_exist`: a file or folder that is not there is a mistake, not a backend that is away.
    Raises BadConfiguration when no backend is known for `url`, or its file must be there and is not.
    """
    limits = {"timeout": timeout, "connect_timeout": connect_timeout, "read_timeout": read_timeout}
    if any(map(has_parts, tables)):
        rest = [spec for spec in tables if not has_parts(spec)]
        return PartsBackend(
            open_backend(
                name,
                url,
                **limits,
                marker_schema=marker_schema,
                options=options,
                tables=rest,
                data=data,
                must_exist=must_exist,
            )
        )
    scheme = url.partition(":")[0].lower() if ":" in url and len(url.partition(":")[0]) > 1 else ""
    server = _open_server(scheme, name, url, limits, marker_schema=marker_schema, tables=tables)
    if server is not None:
        return server
    service = _open_service(scheme, name, url, limits, options or {}, data)
    if service is not None:
        return service
    if scheme == "sqlite":
        path, options = _sqlite_path(url)
        return SqliteBackend(
            name, path, timeout=timeout, read_timeout=read_timeout, read_only=options.get("mode") == "ro"
        )
    path = Path(unquote(url[len("folder:") :]) if scheme == "folder" else url)
    if scheme in ("", "folder") or path.exists():
        if must_exist and not path.exists():
            raise BadConfiguration(f"{name}: there is no file or folder {path}", try_this=KNOWN)
        return _open_path(name, path, is_folder=scheme == "folder", timeout=timeout, read_timeout=read_timeout)
    raise BadConfiguration(f"{name}: no backend is known for {redact(url)}", try_this=KNOWN)


def _open_server(
    scheme: str, name: str, url: str, limits: Mapping[str, float], *, marker_schema: str, tables: Sequence[TableSpec]
) -> Backend | None:
    """The backend of a database server; None when `scheme` means none. Its driver may be missing: MissingExtra."""
    if scheme in ("postgresql", "postgres"):
        from brique.backends.postgresql import PostgresBackend

        return PostgresBackend(name, url, **limits, marker_schema=marker_schema)
    if scheme in ("mysql", "mariadb"):
        from brique.backends.mysql import MysqlBackend

        return MysqlBackend(name, url, **limits, marker_schema=marker_schema)
    if scheme == "odbc":
        from brique.backends.odbc import OdbcBackend

        return OdbcBackend(name, url, **limits, marker_schema=marker_schema, tables=tables)
    if scheme in ("mongodb", "mongodb+srv"):
        from brique.backends.mongodb import MongoBackend

        return MongoBackend(name, url, **limits)
    return None


def _open_service(
    scheme: str, name: str, url: str, limits: Mapping[str, float], given: Mapping[str, Any], data: Path | None
) -> Backend | None:
    """The backend that keeps brique's own tables, sends mails or is a JSON API; None when `scheme` means none."""
    timeout, connect_timeout = limits["timeout"], limits["connect_timeout"]
    if scheme == "native":
        from brique.backends.native import NATIVE_FILE, NativeBackend

        path = (data or Path()) / NATIVE_FILE
        return NativeBackend(name, path, timeout=timeout, read_timeout=limits["read_timeout"])
    if scheme in ("smtp", "smtps", "submission"):
        from brique.backends.mail import MailBackend

        return MailBackend(
            name,
            url,
            sender=str(given.get("sender", "")),
            timeout=float(given.get("timeout_seconds", timeout)),
            connect_timeout=connect_timeout,
        )
    if scheme in ("http", "https"):
        from brique.backends.http import HttpBackend

        return HttpBackend(name, url, given.get("http"), timeout=timeout, connect_timeout=connect_timeout)
    return None


def _open_path(name: str, path: Path, *, is_folder: bool, timeout: float, read_timeout: float) -> Backend:
    has_its_name = path.suffix.lower() in _SQLITE_SUFFIXES
    if not is_folder and (is_sqlite(path) if path.is_file() else has_its_name and not path.exists()):
        return SqliteBackend(name, path, timeout=timeout, read_timeout=read_timeout)
    if has_its_name and path.is_file():
        raise BadConfiguration(f"{name}: {path} is no SQLite database", try_this="take another copy of it")
    from brique.backends.folder import FolderBackend

    return FolderBackend(name, path)


def is_sqlite(path: Path) -> bool:
    """Whether a file is a SQLite database (or empty, which SQLite takes for one, with a name that says so)."""
    with path.open("rb") as file:
        head = file.read(16)
    return head == _SQLITE_HEADER or (not head and path.suffix.lower() in _SQLITE_SUFFIXES)


def _sqlite_path(url: str) -> tuple[Path, dict[str, str]]:
    """The file of a `sqlite:` URL: three slashes and a relative path, or four and an absolute one."""
    parts = urlsplit(url)
    text = unquote(parts.path)
    if url.lower().startswith("sqlite:///"):
        text = text[1:]
    path = Path(text)
    if not path.is_absolute() and not path.exists() and Path(f"/{text}").exists():
        path = Path(f"/{text}")
    return path, dict(parse_qsl(parts.query))
