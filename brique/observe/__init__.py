"""What brique tells about itself: log lines, figures that outlive their process, and errors grouped by kind."""

from brique.observe.errors import CaptureHandler, ErrorGroup, Errors, watch_uncaught
from brique.observe.logs import LineFormatter, configure_logs, process_name
from brique.observe.metrics import Counter, Gauge, Histogram, Meter, Metrics, Timer
from brique.observe.readings import Reading, prometheus, read_all
from brique.observe.samples import Sampler, Series, read_samples
from brique.observe.secrets import is_secret_name, redact
from brique.observe.trace import LINES_MAX, Trace, traced, tracing

__all__ = [
    "LINES_MAX",
    "CaptureHandler",
    "Counter",
    "ErrorGroup",
    "Errors",
    "Gauge",
    "Histogram",
    "LineFormatter",
    "Meter",
    "Metrics",
    "Reading",
    "Sampler",
    "Series",
    "Timer",
    "Trace",
    "configure_logs",
    "is_secret_name",
    "process_name",
    "prometheus",
    "read_all",
    "read_samples",
    "redact",
    "traced",
    "tracing",
    "watch_uncaught",
]
