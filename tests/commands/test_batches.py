"""Batches with a mark, on real servers: what a refusal costs, two replayers at once, a frozen server in every phase, a
backend that was restored, and a mark that is ahead."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec
import psycopg
import pytest

from brique.backends import Backend, open_backend
from brique.commands import Lead, MarkAhead, Outcome, Replay, Report, Restart, Waiting
from brique.errors import BackendAway
from brique.schema import Change, Command, State, infer
from brique.spool import Ancestor
from tests.postgres import PostgresServer, wait_until

SCHEMA = "CREATE TABLE item(code INTEGER PRIMARY KEY, stock INTEGER NOT NULL CHECK (stock >= 0));"
NOTES = {"sqlite": "id INTEGER PRIMARY KEY", "postgresql": "id serial PRIMARY KEY"}


class Bench:
    """A backend at `url` and what replay has reported about it."""

    def __init__(self, kind: str, url: str, run: Callable[[str], list[tuple[Any, ...]]]) -> None:
        self.url, self.run_sql = url, run
        run(SCHEMA)
        run(f"CREATE TABLE note({NOTES[kind]}, text TEXT NOT NULL)")
        self.backend = self.open()
        self.specs = {spec.name: spec for spec in infer(self.backend.catalogue(), "erp")}
        self.backend.prepare(True)
        self.outcomes: dict[int, Outcome] = {}
        self.reports: list[Report] = []

    def open(self) -> Backend:
        return open_backend("erp", self.url, timeout=1.0, connect_timeout=1.0)

    def report(self, report: Report) -> None:
        self.reports.append(report)
        self.outcomes.update({position: Outcome(position, State.APPLIED) for position in report.done})
        self.outcomes.update({outcome.position: outcome for outcome in report.outcomes})

    def replay(self, backend: Backend | None = None, batch_max: int = 1000, stream: str = "s") -> Replay:
        backend = backend or self.backend
        return Replay(
            backend,
            self.specs,
            stream=stream,
            rung=backend.prepare(True).rung,
            report=self.report,
            real_key=lambda _, key: key,
            batch_max=batch_max,
        )

    def waiting(self, changes: list[Change], first: int = 1) -> list[Waiting]:
        return [
            Waiting(at, State.KEPT, Command(f"R{at}", "c", "awa", "write", "", "erp", (change,)))
            for at, change in enumerate(changes, first)
            if at not in self.outcomes
        ]


@pytest.fixture(params=["sqlite", "postgresql"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    if request.param == "sqlite":
        file = tmp_path / "erp.db"
        db = apsw.Connection(str(file))
        db.set_busy_timeout(5000)
        made = Bench("sqlite", str(file), lambda sql: db.execute(sql).fetchall())
        yield made
        made.backend.close()
        db.close()
        return
    url = request.getfixturevalue("postgres").make_database()
    made = Bench("postgresql", url, asking(url))
    yield made
    made.backend.close()


def asking(url: str) -> Callable[[str], list[tuple[Any, ...]]]:
    def run(sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(url, autocommit=True) as db:
            cursor = db.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    return run


def fill(bench: Bench, count: int) -> None:
    bench.run_sql(
        "INSERT INTO item WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
        f"WHERE i < {count}) SELECT i, 0 FROM n"
    )


@pytest.mark.parametrize("bad", [[7_777], [1], [20_000], [3_000, 3_001, 12_000]])
def test_a_refused_command_among_twenty_thousand_costs_a_few_transactions(bench: Bench, bad: list[int]) -> None:
    fill(bench, 20_000)
    changes = [Change("item", str(n), {"stock": 0}, {"stock": -1 if n in bad else n}) for n in range(1, 20_001)]
    replay = bench.replay()
    assert replay.run(bench.waiting(changes)) == 20_000
    refused = [position for position, outcome in bench.outcomes.items() if outcome.state is State.REFUSED]
    assert sorted(refused) == bad
    assert len(bench.outcomes) == 20_000
    assert bench.run_sql("SELECT count(*) FROM item WHERE stock = code") == [(20_000 - len(bad),)]
    assert replay.sessions <= 20 + 30 * len(bad)


def test_two_replayers_at_once_apply_everything_once(bench: Bench) -> None:
    changes = [Change("note", f"new-R{n}", None, {"text": str(n)}) for n in range(1, 1_001)]
    fence: list[BackendAway] = []

    def drain() -> None:
        backend = bench.open()
        replay = bench.replay(backend, batch_max=20)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            waiting = bench.waiting(changes)
            if not waiting:
                break
            try:
                replay.run(waiting[:100])
            except BackendAway as fault:
                fence.append(fault)
        backend.close()

    threads = [threading.Thread(target=drain) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert bench.run_sql("SELECT count(*), count(DISTINCT text) FROM note") == [(1000, 1000)]
    assert {outcome.state for outcome in bench.outcomes.values()} == {State.APPLIED}
    assert len(bench.outcomes) == 1000


def test_rows_of_several_kinds_in_one_batch_come_back_as_they_stand(bench: Bench) -> None:
    fill(bench, 3)
    changes = [
        Change("item", "1", {"stock": 0}, {"stock": 5}),
        Change("note", "new-R2", None, {"text": "a"}),
        Change("item", "1", {"stock": 5}, {"stock": 6}),
        Change("item", "9", None, {"code": 9, "stock": 9}),
        Change("item", "2", {"stock": 0, "code": 2}, None),
        Change("note", "new-R6", None, {"text": "b"}),
    ]
    bench.replay().run(bench.waiting(changes))
    [report] = [report for report in bench.reports if report.rows]
    item = {"1": {"code": 1, "stock": 6}} if 3 in bench.reports[0].done else {}  # SQLite: as wanted
    assert report.rows["item"] | item == {"1": {"code": 1, "stock": 6}, "9": {"code": 9, "stock": 9}, "2": None}
    assert report.rows["note"] == {"1": {"id": 1, "text": "a"}, "2": {"id": 2, "text": "b"}}
    assert [bench.outcomes[at].keys for at in (2, 6)] == [{"new-R2": "1"}, {"new-R6": "2"}]


def test_many_rows_numbered_by_the_backend_get_their_own_numbers(bench: Bench) -> None:
    changes = [Change("note", f"new-R{n}", None, {"text": str(n)}) for n in range(1, 2_001)]
    bench.replay().run(bench.waiting(changes))
    there = {str(number): text for number, text in bench.run_sql("SELECT id, text FROM note")}
    for position, outcome in bench.outcomes.items():
        assert there[outcome.keys[f"new-R{position}"]] == str(position)


def test_a_restored_backend_gets_what_it_forgot_in_any_number(bench: Bench) -> None:
    fill(bench, 12_000)
    changes = [Change("item", str(n), {"stock": 0}, {"stock": n}) for n in range(1, 12_001)]
    replay = bench.replay()
    replay.run(bench.waiting(changes))
    bench.run_sql("UPDATE item SET stock = 0 WHERE code > 500")
    bench.run_sql("UPDATE brique_cursor SET position = 500 WHERE stream = 's'")

    def applied_after(position: int) -> list[int]:
        found = (at for at, one in sorted(bench.outcomes.items()) if at > position and one.state is State.APPLIED)
        return [at for at, _ in zip(found, range(5000), strict=False)]

    assert Restart(replay).rewind(applied_after) == 11_500
    forgotten = [at for at, one in bench.outcomes.items() if one.state is State.KEPT]
    for at in forgotten:
        del bench.outcomes[at]
    replay.run(bench.waiting(changes))
    assert bench.run_sql("SELECT count(*) FROM item WHERE stock = code") == [(12_000,)]


def test_a_mark_ahead_of_the_outbox_stops_until_a_person_adopts_it(bench: Bench) -> None:
    fill(bench, 10)
    changes = [Change("item", str(n), {"stock": 0}, {"stock": n}) for n in range(1, 4)]
    replay = bench.replay()
    replay.run(bench.waiting(changes))
    bench.outcomes.clear()
    older = bench.waiting(changes[:2])
    again = bench.replay()
    with pytest.raises(MarkAhead) as raised:
        Restart(again).begin(older, shown=2, was_marked=True)
    assert raised.value.facts == {"mark": 3, "last": 2}
    bench.run_sql("UPDATE item SET stock = 99 WHERE code = 2")
    Restart(bench.replay()).begin(older, shown=2, was_marked=True, ahead=Lead(3, 2), adopted=3)
    assert [outcome.state for outcome in bench.outcomes.values()] == [State.APPLIED, State.UNKNOWN]


def test_what_was_given_since_a_lane_was_stopped_is_sent_although_the_mark_is_past_it(bench: Bench) -> None:
    fill(bench, 10)
    changes = [Change("item", str(n), {"stock": 0}, {"stock": n}) for n in range(1, 7)]
    bench.replay().run(bench.waiting(changes[:4]))
    bench.outcomes.clear()
    new = [Change("item", str(n), {"stock": 0}, {"stock": n}) for n in (9, 10)]
    older = bench.waiting([*changes[:2], *new, *changes[4:]])
    with pytest.raises(MarkAhead):  # the outbox has grown past the mark since: that makes nothing right
        Restart(bench.replay()).begin(older, shown=6, was_marked=True, ahead=Lead(4, 2))
    replay = bench.replay()
    Restart(replay).begin(older, shown=6, was_marked=True, ahead=Lead(4, 2), adopted=4)
    assert {at: one.state for at, one in bench.outcomes.items()} == {1: State.APPLIED, 2: State.APPLIED}
    replay.run(older[2:])
    assert bench.run_sql("SELECT code, stock FROM item WHERE stock > 0 ORDER BY code") == [
        (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (9, 9), (10, 10),
    ]  # fmt: skip


def forked(bench: Bench) -> list[Waiting]:
    """A folder was copied after two commands, has gone to four, and the older copy was put back and has got three."""
    fill(bench, 10)
    changes = [Change("item", str(n), {"stock": 0}, {"stock": n}) for n in range(1, 5)]
    bench.replay().run(bench.waiting(changes))
    bench.outcomes.clear()
    new = [Change("item", str(n), {"stock": 0}, {"stock": n}) for n in (8, 9, 10)]
    return [*bench.waiting(changes[:2]), *(named(item, f"N{item.position}") for item in bench.waiting(new, 3))]


def named(item: Waiting, receipt: str) -> Waiting:
    command = msgspec.structs.replace(item.command, id=receipt)
    return Waiting(item.position, item.state, command)


def receipts(items: list[Waiting]) -> Callable[[int], str | None]:
    return {item.position: item.command.id for item in items}.get


def test_a_folder_copied_back_by_hand_is_noticed_although_its_outbox_has_grown_past_the_mark(bench: Bench) -> None:
    kept = forked(bench)
    with pytest.raises(MarkAhead) as raised:
        Restart(bench.replay()).begin(kept, shown=5, was_marked=True, receipt_at=receipts(kept))
    assert raised.value.facts == {"mark": 4, "last": 4, "forked": True}
    assert not bench.outcomes
    replay, lead = bench.replay(), Lead(4, 4, forked=True)
    with pytest.raises(MarkAhead):
        Restart(bench.replay()).begin(kept, shown=5, was_marked=True, ahead=lead, receipt_at=receipts(kept))
    Restart(replay).begin(kept, shown=5, was_marked=True, ahead=lead, adopted=4, receipt_at=receipts(kept))
    states = {at: outcome.state for at, outcome in bench.outcomes.items()}
    assert states == {1: State.APPLIED, 2: State.APPLIED, 3: State.UNKNOWN, 4: State.UNKNOWN}
    replay.run(kept[4:])
    assert bench.run_sql("SELECT code FROM item WHERE stock > 0 ORDER BY code") == [(1,), (2,), (3,), (4,), (10,)]
    Restart(bench.replay()).begin([], shown=5, was_marked=True, receipt_at=receipts(kept))  # its own command by now


def test_another_copy_that_writes_meanwhile_is_noticed_when_the_backend_comes_back(bench: Bench) -> None:
    kept = forked(bench)
    with pytest.raises(MarkAhead):
        Restart(bench.replay()).rewind(lambda _: (), receipt_at=receipts(kept))


def test_a_marker_table_of_a_brique_without_witness_is_taken_over(bench: Bench) -> None:
    kept = forked(bench)
    bench.run_sql("DELETE FROM brique_cursor WHERE stream = 's@'")
    replay = bench.replay()
    Restart(replay).begin(kept[4:], shown=5, was_marked=True, receipt_at=receipts(kept))
    replay.run(kept[4:])
    with pytest.raises(MarkAhead):
        Restart(bench.replay()).begin([], shown=5, was_marked=True, receipt_at=lambda _: "R5")


def test_after_brique_was_restored_nothing_is_sent_that_the_stream_before_had_sent(bench: Bench) -> None:
    fill(bench, 10)
    changes = [Change("item", str(n), {"stock": 0}, {"stock": n}) for n in range(1, 5)]
    bench.replay(stream="old").run(bench.waiting(changes[:3]))
    bench.run_sql("UPDATE item SET stock = 99 WHERE code = 2")
    bench.outcomes.clear()
    restored = bench.waiting(changes)
    replay = bench.replay(stream="new")
    Restart(replay).begin(restored, shown=4, was_marked=True, ancestors=[Ancestor("old", 4)])
    assert {at: one.state for at, one in bench.outcomes.items()} == {
        1: State.APPLIED, 2: State.UNKNOWN, 3: State.APPLIED,
    }  # fmt: skip
    replay.run(bench.waiting(changes))
    assert bench.outcomes[4].state is State.APPLIED
    assert bench.run_sql("SELECT code, stock FROM item WHERE stock > 0 ORDER BY code") == [
        (1, 1),
        (2, 99),
        (3, 3),
        (4, 4),
    ]


class _Freezing:
    """A session or backend that freezes the server right before one of its methods."""

    def __init__(self, inner: Any, phase: str, freeze: Callable[[], None]) -> None:
        self._inner, self._phase, self._freeze = inner, phase, freeze

    def __getattr__(self, name: str) -> Any:
        if name == self._phase:
            self._freeze()
        return getattr(self._inner, name)

    @contextmanager
    def session(self) -> Iterator[Any]:
        if self._phase == "connect":
            self._freeze()
        with self._inner.session() as session:
            yield _Freezing(session, self._phase, self._freeze)
            if self._phase == "commit":
                self._freeze()


@pytest.mark.parametrize("phase", ["connect", "apply", "move_watermark", "commit", "fetch", "watermark"])
def test_a_server_that_freezes_in_any_phase_counts_as_away_and_gets_everything_once(
    own_postgres: PostgresServer, phase: str
) -> None:
    url = own_postgres.make_database()
    bench = Bench("postgresql", url, asking(url))
    changes = [Change("note", f"new-R{n}", None, {"text": str(n)}) for n in range(1, 51)]
    frozen: list[float] = []

    def freeze() -> None:
        if not frozen:
            frozen.append(time.monotonic())
            own_postgres.freeze()

    freezing: Any = _Freezing(bench.backend, phase, freeze)
    replay = bench.replay()
    replay.backend = replay.marks.backend = freezing
    try:
        with pytest.raises(BackendAway):
            replay.run(bench.waiting(changes))
        assert frozen
        assert time.monotonic() - frozen[0] < 15
    finally:
        own_postgres.thaw()

    def drained() -> bool:
        try:
            bench.replay().run(bench.waiting(changes))
        except BackendAway:
            return False
        return len(bench.outcomes) == 50

    wait_until(drained, 30, "everything to be sent")
    assert bench.run_sql("SELECT count(*), count(DISTINCT text) FROM note") == [(50, 50)]
    assert {outcome.state for outcome in bench.outcomes.values()} == {State.APPLIED}
    bench.backend.close()
