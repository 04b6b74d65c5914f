"""How far the first copy of a table is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from brique.schema import TableSpec
from brique.views import BackendState, TableState


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


_STEPS = {
    "rows": _("Copying the rows"),
    "indexes": _("Making the indexes"),
    "search": _("Making the search index"),
}


@dataclass(frozen=True)
class Progress:
    """`step` is a sentence to translate; `total` 0 when nobody knows. `other`: the table that is read before this."""

    step: str
    done: int = 0
    total: int = 0
    other: str = ""


def progress_of(spec: TableSpec, state: TableState | None, backends: Mapping[str, BackendState]) -> Progress:
    """The progress of `spec`: of its load, or of the reading before it."""
    if state is not None and state.loading:
        return Progress(_STEPS.get(state.loading, _("Copying")), state.rows_done, state.rows_total)
    backend = backends.get(spec.backend)
    reading = backend.facts.get("reading") if backend is not None else None
    if isinstance(reading, Mapping) and reading.get("table"):
        table = str(reading["table"])
        total = int(reading.get("total") or 0)
        if table == spec.name:
            return Progress(_("Reading from the backend"), int(reading.get("rows") or 0), total)
        return Progress(_("Its turn comes"), 0, 0, table)
    if backend is not None and backend.state == "down":
        return Progress(_("Waiting for the backend"))
    return Progress(_("Its turn comes"))
