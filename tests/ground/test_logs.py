"""Log lines: one line each, in UTC, with facts and without secrets."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest

from brique.observe import configure_logs, is_secret_name, redact


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def test_a_line_says_when_how_grave_which_process_and_what(stream: io.StringIO) -> None:
    configure_logs(process="web-1", stream=stream)
    logging.getLogger("brique.engine").info(
        "kept %d commands", 3, extra={"backend": "erp", "waiting": 2, "note": 'a "b"'}
    )
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert line.startswith("time=20")
    assert 'Z level=info process=web-1 logger=brique.engine message="kept 3 commands" backend=erp waiting=2' in line
    assert 'note="a \\"b\\""' in line


def test_json_lines_hold_the_same_facts(stream: io.StringIO) -> None:
    configure_logs(form="json", process="engine", stream=stream)
    logging.getLogger("x").warning("Café\nline two", extra={"n": 1})
    facts = json.loads(stream.getvalue())
    assert (facts["level"], facts["process"], facts["message"], facts["n"]) == (
        "warning",
        "engine",
        "Café\nline two",
        1,
    )


def test_a_traceback_stays_on_its_line_and_hides_secrets(stream: io.StringIO) -> None:
    configure_logs(stream=stream)
    try:
        raise ValueError("cannot open postgresql://brique:s3cr3t@db/erp")
    except ValueError:
        logging.getLogger("x").exception("failed")
    assert stream.getvalue().count("\n") == 1
    assert "s3cr3t" not in stream.getvalue()
    assert "Traceback" in stream.getvalue()


def test_nobody_can_forge_a_second_line(stream: io.StringIO) -> None:
    configure_logs(stream=stream)
    logging.getLogger("x").info("user %s", "eve\ntime=2026-01-01 level=error message=forged", extra={"who": "a\r\nb"})
    assert stream.getvalue().count("\n") == 1
    assert "\r" not in stream.getvalue()


def test_levels_warnings_and_misfit_arguments(stream: io.StringIO) -> None:
    configure_logs(level="warning", stream=stream)
    logging.getLogger("x").info("not shown")
    logging.getLogger("x").warning("%d rows", "many")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(capture=True)
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
    text = stream.getvalue()
    assert "not shown" not in text
    assert "%d rows" in text
    assert "old way" in text


def test_secret_facts_are_hidden_by_their_name(stream: io.StringIO) -> None:
    configure_logs(stream=stream)
    logging.getLogger("x").info(
        "signed in", extra={"session_id": "abc123", "password": "hunter2", "keyboard": "azerty"}
    )
    assert "abc123" not in stream.getvalue()
    assert "hunter2" not in stream.getvalue()
    assert "keyboard=azerty" in stream.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://brique:s3cr3t@db:5432/erp", "postgresql://brique:[hidden]@db:5432/erp"),
        ("mongodb+srv://u:p%40ss@h/x?y=1", "mongodb+srv://u:[hidden]@h/x?y=1"),
        ("mysql://root:a@b@db/erp", "mysql://root:[hidden]@db/erp"),
        ("odbc:///?DSN=AS400;PWD=hunter2;UID=brique", "odbc:///?DSN=AS400;PWD=[hidden];UID=brique"),
        ("see http://intranet:8000/tables?x=a@b", "see http://intranet:8000/tables?x=a@b"),
        ("Authorization: Bearer abcdef.123456", "Authorization: Bearer [hidden]"),
        ("password=hunter2&next=/", "password=[hidden]&next=/"),
        ("{'api_key': 'k-1', 'n': 2}", "{'api_key': [hidden], 'n': 2}"),
        ('{"csrf_token": "abc", "page": 1}', '{"csrf_token": [hidden], "page": 1}'),
        ("Cookie: sid=12", "Cookie: [hidden]"),
        ("the password is wrong", "the password is wrong"),
        ("12:30 rows=5 place=here", "12:30 rows=5 place=here"),
        ("tokenizer=fast", "tokenizer=fast"),
    ],
)
def test_secrets_in_text_are_hidden_and_the_rest_stays(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_names_of_secrets_are_told_from_names_that_only_look_so() -> None:
    assert all(
        map(is_secret_name, ("password", "db_password", "API-Key", "access_token", "tokens", "session", "Cookie"))
    )
    assert not any(map(is_secret_name, ("keyboard", "monkey", "passenger", "tokenize", "secretary", "compass")))


def test_redaction_takes_no_time_on_hostile_text() -> None:
    for text in (
        "://" * 20_000,
        "a://b:" + "@" * 50_000,
        "password=" * 20_000,
        "x" * 100_000 + ":",
        "token: {" * 10_000,
    ):
        redact(text)
