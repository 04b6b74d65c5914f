"""The sign-in throttle: the more wrong passwords for one name or from one address, the longer the wait.

A try is counted before the password is looked at and taken back when it was right, so that a hundred tries at once
gain nothing. The counts live in accounts.db: they hold across processes and restarts. What is counted is a hash of the
name or address (IPv6: its /64), so that a mistyped password in the name field is not kept in clear.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import apsw

from brique.clock import Clock, stamp, unstamp
from brique.http.accounts_file import AccountsFile
from brique.http.faults import SlowDown
from brique.http.language import _


@dataclass(frozen=True)
class ThrottleLimits:
    """After `*_free` failures the wait is 1 s, then doubles with each failure, up to `wait_seconds_max`.

    An office behind one address has more free failures than one name. A count is forgotten after
    `forget_seconds` without a try; at most `rows_count_max` are kept of each kind, the oldest go first.
    """

    name_free: int = 5
    address_free: int = 20
    wait_seconds_max: int = 900
    forget_seconds: int = 3600
    rows_count_max: int = 10_000


class Throttle:
    def __init__(self, file: AccountsFile, clock: Clock, limits: ThrottleLimits) -> None:
        self._file = file
        self._clock = clock
        self._limits = limits

    def take(self, name: str, address: str) -> None:
        """Count one try, or raise SlowDown (not counted) while the name or the address has to wait."""
        now = self._clock.now()
        keys = _keys(name, address)
        with self._file.change() as db:
            found = [_read(db, kind, who, now, self._limits.forget_seconds) for kind, who in keys]
            until = max(entry[1] for entry in found)
            if until > now:
                raise _slow_down(until - now)
            free_of = (self._limits.name_free, self._limits.address_free)
            for (kind, who), (failures, _until), free in zip(keys, found, free_of, strict=True):
                wait = self._wait(failures + 1 - free)
                _write(db, kind, who, failures + 1, now, now + timedelta(seconds=wait))
                self._trim(db, kind)

    def forgive(self, name: str, address: str) -> None:
        """The try was right: the name starts again from nothing, the address gets this one try back."""
        named, addressed = _keys(name, address)
        now = stamp(self._clock.now())
        with self._file.change() as db:
            db.execute("DELETE FROM throttle WHERE kind = ? AND who = ?", named)
            db.execute(
                "UPDATE throttle SET failures = max(failures - 1, 0), until = ? WHERE kind = ? AND who = ?",
                (now, *addressed),
            )

    def _wait(self, past_free: int) -> float:
        if past_free < 0:
            return 0.0
        return float(min(2 ** min(past_free, 30), self._limits.wait_seconds_max))

    def _trim(self, db: apsw.Connection, kind: str) -> None:
        db.execute(
            "DELETE FROM throttle WHERE kind = ?1 AND last <= "
            "(SELECT last FROM throttle WHERE kind = ?1 ORDER BY last DESC LIMIT 1 OFFSET ?2)",
            (kind, self._limits.rows_count_max),
        )


def _keys(name: str, address: str) -> tuple[tuple[str, bytes], tuple[str, bytes]]:
    return ("name", _digest(name)), ("address", _digest(_network(address)))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


def _network(address: str) -> str:
    """The address itself, or the /64 that one IPv6 customer is given."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _read(db: apsw.Connection, kind: str, who: bytes, now: datetime, forget_seconds: int) -> tuple[int, datetime]:
    row = db.execute("SELECT failures, last, until FROM throttle WHERE kind = ? AND who = ?", (kind, who)).fetchone()
    if row is None or unstamp(row[1]) + timedelta(seconds=forget_seconds) < now:
        return 0, now
    return row[0], unstamp(row[2])


def _write(db: apsw.Connection, kind: str, who: bytes, failures: int, now: datetime, until: datetime) -> None:
    db.execute(
        "INSERT INTO throttle (kind, who, failures, last, until) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (kind, who) DO UPDATE SET failures = excluded.failures, last = excluded.last, "
        "until = excluded.until",
        (kind, who, failures, stamp(now), stamp(until)),
    )


def _slow_down(wait: timedelta) -> SlowDown:
    seconds = max(1, math.ceil(wait.total_seconds()))
    return SlowDown(
        _("Too many failed sign-ins. Try again in {retry_after} seconds."),
        retry_after=seconds,
        try_this=_("Wait, then type the name and the password with care."),
    )
