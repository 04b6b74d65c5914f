"""The figures of requests: how fast pages are answered, not how long somebody keeps one open."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from brique.app import observed
from brique.http import Exchange
from brique.observe import read_all
from brique.settings import Settings


def test_how_long_a_page_is_open_is_no_time_of_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observed, "watch_uncaught", lambda _errors: None)  # these two are for the whole process
    monkeypatch.setattr(observed, "configure_logs", lambda **_: None)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    watched = observed.Observed(Settings(data=tmp_path), "web-1")
    watched.exchange(Exchange("GET", "/tables/{table}", 200, 0.02, 100, "a"))
    watched.exchange(Exchange("GET", "/-/live", 200, 600.0, 100, "b"))
    found = read_all(tmp_path / "metrics")
    assert found["requests"].value == 2
    assert found["request_seconds"].value == 1
    watched.metrics.close()
    watched.errors.close()
