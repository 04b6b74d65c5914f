"""From what the user points at to an intranet: a Python file that declares one, or data that describes itself.

What was inferred is kept in the data folder, so that brique starts, and serves the copy, while the backend is away.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from brique.app.intranet import Intranet
from brique.backends import open_backend
from brique.errors import BackendAway, BadConfiguration, BriqueError
from brique.schema import BackendSpec, Catalogue, TableSpec, infer, slug

_CONNECT_SECONDS = 10.0
_KEPT_NAME = "inferred-{name}.msgpack"


class _Kept(msgspec.Struct):
    """The inference of one backend as the data folder keeps it; `version` changes with the inference's own shape."""

    version: int
    specs: tuple[TableSpec, ...]


_VERSION = 1


def is_declaration(what: str) -> bool:
    """Whether `what` is a Python file that declares an Intranet."""
    return what.endswith(".py")


def load_declaration(path: Path) -> Intranet:
    """The Intranet declared in a Python file. Raises BadConfiguration when there is none, or several."""
    if not path.is_file():
        raise BadConfiguration(f"There is no file {path}.")
    spec = importlib.util.spec_from_file_location(f"brique_intranet_{slug(path.stem)}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except BriqueError:
        raise
    except Exception as fault:
        said = fault.msg if isinstance(fault, SyntaxError) else fault
        raise BadConfiguration(f"{path}{_where(fault, path)}: {type(fault).__name__}: {said}") from fault
    found = [value for value in vars(module).values() if isinstance(value, Intranet)]
    if len(found) != 1:
        raise BadConfiguration(
            f"{path} declares {len(found)} intranets; brique serves one.", try_this='app = Intranet("...")'
        )
    found[0].add_tables(vars(module).values())
    if not found[0].has_tables:
        raise BadConfiguration(
            f"{path} declares no table.", try_this="brique new --from WHAT FILE.py writes those of a database down"
        )
    return found[0]


def _where(fault: Exception, path: Path) -> str:
    """`, line 7`: the line of the file at `path` that raised `fault`; "" when none of its lines did."""
    if isinstance(fault, SyntaxError) and fault.filename == str(path):
        return f", line {fault.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(fault.__traceback__) if frame.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""


def from_data(
    whats: Sequence[str],
    data: Path,
    *,
    title: str = "",
    refresh_seconds: float = 30.0,
    marker: bool = False,
    feed: bool = False,
    kept: bool = False,
) -> Intranet:
    """An intranet over the databases and files `whats`, its tables inferred now, or kept from an earlier start when
    a backend does not answer (or at once, with `kept`). Raises BadConfiguration, and BackendAway when nothing was
    kept either."""
    names = _names(whats)
    intranet = Intranet(title or _title(whats[0]))
    taken: set[str] = set()
    for what, name in zip(whats, names, strict=True):
        backend = intranet.backend(
            name, url_of(what), refresh=refresh_seconds, marker=marker, feed=feed, label=_label(what)
        )
        specs = _apart(_inferred(backend, data, kept=kept), taken, name)
        taken |= {spec.name for spec in specs}
        intranet.infer(backend, specs)
    return intranet


def _apart(specs: tuple[TableSpec, ...], taken: set[str], prefix: str) -> tuple[TableSpec, ...]:
    """`specs` with other names for those that another backend's table has; their references follow."""
    names = {spec.name: f"{prefix}_{spec.name}" if spec.name in taken else spec.name for spec in specs}
    return tuple(
        replace(
            spec,
            name=names[spec.name],
            references=tuple(replace(ref, table=names[ref.table]) for ref in spec.references),
        )
        for spec in specs
    )


def look(name: str, url: str) -> tuple[Catalogue, tuple[TableSpec, ...]]:
    """What a backend says of itself, and what brique makes of it."""
    with closing(open_backend(name, url, timeout=_CONNECT_SECONDS, connect_timeout=_CONNECT_SECONDS)) as backend:
        catalogue = backend.catalogue()
    return catalogue, infer(catalogue, name)


def _inferred(backend: BackendSpec, data: Path, *, kept: bool) -> tuple[TableSpec, ...]:
    file = data / _KEPT_NAME.format(name=backend.name)
    known = _read(file)
    if kept and known is not None:
        return known.specs
    try:
        _, specs = look(backend.name, backend.url)
    except BackendAway as fault:
        if known is None:
            hint = "start it and check its address: only the very first start needs it"
            raise BackendAway(fault.message, try_this=fault.try_this or hint, **fault.facts) from fault
        return known.specs
    if not specs:
        raise BadConfiguration(
            f"{backend.label} has no table that can be read.",
            try_this="look at what is in it, and at the rights of the account that reads it",
        )
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = file.with_suffix(".tmp")
    aside.unlink(missing_ok=True)
    aside.touch(mode=0o600)
    aside.write_bytes(msgspec.msgpack.encode(_Kept(_VERSION, specs)))
    aside.replace(file)
    return specs


def _read(file: Path) -> _Kept | None:
    if not file.exists():
        return None
    try:
        kept = msgspec.msgpack.decode(file.read_bytes(), type=_Kept)
    except (msgspec.ValidationError, msgspec.DecodeError):
        return None
    return kept if kept.version == _VERSION else None


def url_of(what: str) -> str:
    """`what` as a URL; a path becomes absolute, so that it means the same in every process."""
    if "://" in what:
        return what
    path = Path(what.removeprefix("folder:")).expanduser()
    if not path.exists():
        raise BadConfiguration(
            f"There is nothing at {what}.",
            try_this="give a SQLite file, the URL of a database (postgresql://, mysql://, mongodb://, odbc://), a CSV, "
            "XLSX or ODS file, a folder of them, or a Python file that declares an Intranet",
        )
    return str(path.resolve())


def _label(what: str) -> str:
    """How people call a backend: its database or file name, never its password."""
    if "://" in what:
        parts = urlsplit(what)
        return parts.path.rsplit("/", 1)[-1] or parts.hostname or parts.scheme
    return Path(what).name or what


def _title(what: str) -> str:
    stem = _label(what).rsplit(".", 1)[0]
    return stem[:1].upper() + stem[1:] if stem else "Intranet"


def _names(whats: Sequence[str]) -> list[str]:
    names: list[str] = []
    for what in whats:
        wanted = slug(_label(what).rsplit(".", 1)[0])[:28]
        name, number = wanted, 1
        while name in names:
            number += 1
            name = f"{wanted}_{number}"
        names.append(name)
    return names
