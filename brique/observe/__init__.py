"""What brique tells about itself: log lines, figures that outlive their process, and errors grouped by kind."""

from brique.observe.errors import CaptureHandler, ErrorGroup, Errors, watch_uncaught
from brique.observe.logs import configure_logs, process_name
from brique.observe.metrics import Counter, Gauge, Histogram, Meter, Metrics, Timer
from brique.observe.readings import Reading, prometheus, read_all
from brique.observe.samples import Sampler, Series, read_samples
from brique.observe.secrets import is_secret_name, redact

__all__ = [
    "CaptureHandler",
    "Counter",
    "ErrorGroup",
    "Errors",
    "Gauge",
    "Histogram",
    "Meter",
    "Metrics",
    "Reading",
    "Sampler",
    "Series",
    "Timer",
    "configure_logs",
    "is_secret_name",
    "process_name",
    "prometheus",
    "read_all",
    "read_samples",
    "redact",
    "watch_uncaught",
]
