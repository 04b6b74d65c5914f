"""The time cut to steps: each reading of the clock says how long its answer holds."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from brique.errors import BadConfiguration

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
DAY_SECONDS = 86_400


def seconds_of(step: str | timedelta | float) -> int:
    """A step or pause ("30s", "5m", "1h", "1d", a timedelta, or seconds) in whole seconds, from 1 to a day."""
    if isinstance(step, timedelta):
        seconds: float = step.total_seconds()
    elif isinstance(step, str):
        found = re.fullmatch(r"\s*([0-9]{1,6})\s*([smhd])\s*", step)
        seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    else:
        seconds = step
    if not 1 <= seconds <= DAY_SECONDS or seconds != int(seconds):
        raise BadConfiguration(f"{step!r} is no step of time", try_this='from one second to a day, as "30s" or "5m"')
    return int(seconds)


def day(now: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """Midnight before `now` in `zone` and the one after it (days may last 23 to 25 hours)."""
    local = now.astimezone(zone).date()
    return _midnight(local, zone), _midnight(local + timedelta(days=1), zone)


def step(now: datetime, seconds: int, zone: tzinfo) -> tuple[datetime, datetime]:
    """The step that `now` falls in, counted from midnight in `zone`; the last one of a day ends at midnight."""
    start, end = day(now, zone)
    passed = int((now - start).total_seconds()) // seconds * seconds
    since = (start.astimezone(UTC) + timedelta(seconds=passed)).astimezone(zone)
    until = since.astimezone(UTC) + timedelta(seconds=seconds)
    return since, min(until, end.astimezone(UTC)).astimezone(zone)


def _midnight(local: date, zone: tzinfo) -> datetime:
    return datetime.combine(local, time(0), zone)
