"""How old the data on a page is, and whether that is older than it should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from brique.pages.parts import Parts
from brique.schema import TableSpec
from brique.views import BackendState

_REFRESHES_MISSED = 4
_SECONDS_MIN = 60.0


@dataclass(frozen=True)
class Age:
    """`moment`: when the backend confirmed the data (None: never). `late`: it is away, or has missed refreshes; it will
    have by `late_at`."""

    moment: datetime | None
    seconds: int = 0
    late: bool = False
    late_at: datetime | None = None


def age_of(parts: Parts, backends: Mapping[str, BackendState], spec: TableSpec, confirmed_at: datetime | None) -> Age:
    """The age of the rows of `spec`, that their backend confirmed at `confirmed_at`."""
    return _age(parts, backends, (spec.backend,), confirmed_at)


def oldest(parts: Parts, backends: Mapping[str, BackendState], names: tuple[str, ...]) -> Age:
    """The age of the oldest of some backends' data."""
    moments = [state.confirmed_at for name in names if (state := backends.get(name)) is not None]
    known = [moment for moment in moments if moment is not None]
    return _age(parts, backends, names, min(known) if known else None)


def _age(parts: Parts, backends: Mapping[str, BackendState], names: tuple[str, ...], moment: datetime | None) -> Age:
    if moment is None:
        return Age(None)
    seconds = max(0, int((parts.clock.now() - moment).total_seconds()))
    away = any(state.state != "live" for name in names if (state := backends.get(name)) is not None)
    pauses = [parts.backends[name].refresh_seconds for name in names if name in parts.backends]
    limit = max(_SECONDS_MIN, _REFRESHES_MISSED * max(pauses, default=0.0))
    return Age(moment, seconds, away or seconds > limit, moment + timedelta(seconds=limit))
