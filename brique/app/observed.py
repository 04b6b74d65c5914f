"""What a process tells about itself: its log, its figures, its errors."""

from __future__ import annotations

import logging

from brique.http import Exchange
from brique.observe import CaptureHandler, Errors, Metrics, configure_logs, watch_uncaught
from brique.settings import Settings

_OPEN_ENDED = ("/-/live",)
"""What lasts as long as somebody has a page open says nothing about how fast pages are answered."""


class Observed:
    """Log, figures and errors of the process called `process`. Make it first: what comes later may already fail."""

    def __init__(self, settings: Settings, process: str) -> None:
        configure_logs(level=settings.log_level, form=settings.log_format, process=process)
        self.errors = Errors(settings.data / "errors.db", groups_max=settings.error_groups_max, process=process)
        logging.getLogger().addHandler(CaptureHandler(self.errors))
        watch_uncaught(self.errors)
        self.metrics = Metrics(settings.data / "metrics", process)
        self._requests = self.metrics.meter("requests")
        self._faults = self.metrics.meter("faults")
        self._seconds = self.metrics.timer("request_seconds")

    def exchange(self, exchange: Exchange) -> None:
        """Count one request and its answer."""
        self._requests.mark()
        if exchange.route not in _OPEN_ENDED:
            self._seconds.update(exchange.seconds)
        if exchange.status >= 500:
            self._faults.mark()
