"""Limits follow the settings; password work is bounded."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest

from brique.errors import Busy
from brique.http import AccountLimits, Limits, Site
from brique.http.forms import PASSWORDS_AT_ONCE_MAX, PASSWORDS_WAITING_MAX, PasswordWork
from brique.settings import Settings


def test_limits_sessions_and_names_follow_the_settings() -> None:
    settings = Settings(
        body_bytes_max=5_000_000,
        request_seconds_max=3.0,
        graceful_seconds=5.0,
        session_idle_hours=0.1,
        session_absolute_hours=2.0,
        listen="10.0.0.5:8000",
        public_url="https://intranet.example",
    )
    limits = Limits.of(settings)
    assert (limits.body_bytes_max, limits.request_seconds_max, limits.stop_seconds_max) == (5_000_000, 3.0, 4)
    accounts = AccountLimits.of(settings)
    assert (accounts.session_idle, accounts.session_length) == (timedelta(hours=0.1), timedelta(hours=2))
    assert accounts.touch_every < accounts.session_idle / 5
    site = Site.of(settings, "erp")
    assert all(site.answers_to(host) for host in ("10.0.0.5:8000", "intranet.example", "erp", "localhost"))
    assert not site.answers_to("10.0.0.6")


@pytest.mark.anyio
async def test_password_work_is_done_few_at_a_time_and_refused_when_too_many_wait() -> None:
    work, go_on = PasswordWork(), threading.Event()
    lock, running, most = threading.Lock(), 0, 0

    def check() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        go_on.wait(10)
        with lock:
            running -= 1

    waiting = [asyncio.create_task(work.run(check)) for _ in range(PASSWORDS_WAITING_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await work.run(check)
    go_on.set()
    await asyncio.gather(*waiting)
    assert most <= PASSWORDS_AT_ONCE_MAX
    await work.run(check)
