"""Log lines: one line each, times in UTC, the process's name, no secrets. Logfmt for people, JSON for machines."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import IO, Any

from brique.observe.secrets import HIDDEN, is_secret_name, redact

_STANDARD = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}
_BARE = re.compile(r"[^\s\"=\\\x00-\x1f\x7f]+")
_LINE_CHARACTERS_MAX = 32_000
_process = "brique"


def process_name() -> str:
    """The name under which this process logs: engine, web-1, ..."""
    return _process


def configure_logs(
    *, level: str = "info", form: str = "logfmt", process: str = "brique", stream: IO[str] | None = None
) -> None:
    """Send every log line of this process to `stream` (standard error), replacing what was configured before.

    Args:
        level: debug, info, warning or error.
        form: logfmt or json.
        process: name of this process, in each line.
    """
    global _process
    _process = process
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(LineFormatter(form=form, process=process))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)


class LineFormatter(logging.Formatter):
    """One line for a record: time, level, process, logger, message, then its extra facts and its traceback."""

    def __init__(self, *, form: str = "logfmt", process: str = "brique") -> None:
        super().__init__()
        self.form = form
        self.process = process

    def format(self, record: logging.LogRecord) -> str:
        facts = self.facts(record)
        if self.form == "json":
            return json.dumps(facts, ensure_ascii=False, default=str)
        return " ".join(f"{name}={_logfmt(value)}" for name, value in facts.items())

    def facts(self, record: logging.LogRecord) -> dict[str, Any]:
        moment = datetime.fromtimestamp(record.created, UTC)
        facts: dict[str, Any] = {
            "time": moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z",
            "level": record.levelname.lower(),
            "process": self.process,
            "logger": record.name,
            "message": _bounded(redact(_message(record))),
        }
        for name, value in record.__dict__.items():
            if name not in _STANDARD and not name.startswith("_"):
                facts[name] = HIDDEN if is_secret_name(name) else _plain(value)
        if record.exc_info and record.exc_info[0] is not None:
            facts["traceback"] = _bounded(redact(self.formatException(record.exc_info)))
        if record.stack_info:
            facts["stack"] = _bounded(redact(record.stack_info))
        return facts


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):  # arguments that do not fit the text: show both
        return f"{record.msg} {record.args!r}"


def _plain(value: object) -> object:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return _bounded(redact(str(value)))


def _bounded(text: str) -> str:
    """The end of a traceback says most, so the middle goes first."""
    if len(text) <= _LINE_CHARACTERS_MAX:
        return text
    half = _LINE_CHARACTERS_MAX // 2
    return f"{text[:half]} [... {len(text) - 2 * half} characters ...] {text[-half:]}"


def _logfmt(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False)
