"""Commands that only call a procedure, several in one transaction, on a real PostgreSQL."""

from __future__ import annotations

from contextlib import closing

from brique.backends import open_backend
from brique.commands import Replay, Report, Waiting
from brique.schema import Command, Effect, State
from tests.commands.test_batches import asking
from tests.postgres import PostgresServer


def test_calls_without_changes_are_made_when_they_are_sent_together(postgres: PostgresServer) -> None:
    url = postgres.make_database()
    run = asking(url)
    run("CREATE TABLE told(word text)")
    run("CREATE FUNCTION tell(word text) RETURNS int LANGUAGE sql AS 'INSERT INTO told VALUES ($1) RETURNING 1'")
    told: list[Report] = []
    words = [str(n) for n in range(5)]
    with closing(open_backend("erp", url, timeout=5.0, connect_timeout=5.0)) as backend:
        rung = backend.prepare(True).rung
        replay = Replay(backend, {}, stream="s", rung=rung, report=told.append, real_key=lambda _, key: key)
        calls = [Effect("tell", {"word": word}) for word in words]
        items = [
            Waiting(at, State.KEPT, Command(f"R{at}", "c", "awa", "write", "", "erp", (), effects=(call,)))
            for at, call in enumerate(calls, 1)
        ]
        assert replay.run(items) == len(items)
        assert replay.sessions == 1
    assert run("SELECT word FROM told ORDER BY word") == [(word,) for word in words]
    assert {item.state for report in told for item in report.outcomes} == {State.APPLIED}
    assert sum(len(item.results) for report in told for item in report.outcomes) == len(words)
