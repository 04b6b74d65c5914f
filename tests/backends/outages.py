"""What every backend on a server promises when that server freezes, is stopped, is killed, or ends connections.

Not collected by itself: a backend's tests inherit from `OutageContract` and give two places on real servers, one shared
by the session (`place`) and one on a server of the test's own (`own_place`), which it may break.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from brique.backends import Backend, Rung
from brique.errors import BackendAway
from brique.schema import TableSpec
from brique.schema.infer import infer
from tests.servers import Server, wait_until

ROWS = 50_000
SECRET = "s3cret"
_ANSWER_SECONDS_MAX = 6.0
"""A call that may take one second, on a machine that does much else; a hang has no end."""


@dataclass
class Place:
    """A database with a table `t` (`id`, a whole number and the key, 1 to `ROWS`; `x`, 500 letters) on a server.

    `open(timeout=, connect_timeout=, read_timeout=)` gives a backend on it. `stranger` is one whose address has a
    password, `SECRET`, which the server does not take, or where no server is. `connections()` counts those of backends,
    `cut()` ends them from the server's side: None where the driver alone decides when it connects.
    """

    server: Server
    open: Callable[..., Backend]
    stranger: Callable[[], Backend]
    connections: Callable[[], int] | None = None
    cut: Callable[[], None] | None = None


def spec_of(backend: Backend) -> TableSpec:
    return next(spec for spec in infer(backend.catalogue(), "erp") if spec.name == "t")


def rows_of(backend: Backend, spec: TableSpec) -> list[tuple[Any, ...]]:
    with backend.snapshot() as snapshot:
        return [row for batch in snapshot.read(spec) for row in batch]


def eventually(work: Callable[[], Any]) -> Any:
    """What `work` says once the backend answers again."""
    answers: list[Any] = []

    def is_there() -> bool:
        try:
            answers.append(work())
        except BackendAway:
            return False
        return True

    wait_until(is_there, 20, "the backend to answer again")
    return answers[-1]


def is_away(call: Callable[[], object]) -> float:
    """The seconds until `call` said that the backend is away."""
    began = time.monotonic()
    with pytest.raises(BackendAway):
        call()
    return time.monotonic() - began


class OutageContract:
    """Subclasses give the fixtures `place` and `own_place`."""

    def readings(self, backend: Backend) -> Iterator[str]:
        """The ways in which `backend` reads a table: each is set before it is yielded."""
        yield "read"

    def test_a_frozen_server_is_away_in_time_whatever_is_asked(self, own_place: Place) -> None:
        server = own_place.server
        backend = own_place.open(timeout=1.0, connect_timeout=1.0, read_timeout=1.0)
        fresh = own_place.open(timeout=1.0, connect_timeout=1.0)
        patient = own_place.open(timeout=20.0, read_timeout=20.0)
        spec = spec_of(patient)
        patient.close()
        eventually(lambda: backend.prepare(True))

        def write() -> None:
            with backend.session() as session:
                server.freeze()
                session.insert(spec, {"id": 0})

        def read() -> None:
            with backend.snapshot() as snapshot:
                for _ in snapshot.read(spec):
                    server.freeze()

        def thaw() -> None:
            server.thaw()
            assert eventually(lambda: backend.fetch(spec, ["1"]))

        took = {"write": is_away(write)}
        took["ping"] = is_away(lambda: backend.ping(0.5))
        took["fetch"] = is_away(lambda: backend.fetch(spec, ["1"]))
        took["catalogue"] = is_away(backend.catalogue)
        took["fingerprint"] = is_away(lambda: backend.fingerprint([spec]))
        took["connect"] = is_away(lambda: fresh.ping(0.5))
        thaw()
        for way in self.readings(backend):
            took[way] = is_away(read)
            thaw()
        assert max(took.values()) < _ANSWER_SECONDS_MAX, took
        assert not backend.fetch(spec, ["0"])
        assert eventually(lambda: backend.prepare(True)).rung is Rung.WATERMARK
        backend.close()
        fresh.close()

    def test_a_server_that_freezes_at_commit_leaves_the_outcome_open(self, own_place: Place) -> None:
        backend = own_place.open(timeout=2.0)
        spec = spec_of(backend)
        with pytest.raises(BackendAway) as caught, backend.session() as session:
            session.insert(spec, {"id": -1})
            own_place.server.freeze()
        assert caught.value.facts["at_commit"] is True
        own_place.server.thaw()
        assert eventually(lambda: backend.fetch(spec, ["1"]))
        backend.close()

    def test_abort_gets_a_thread_out_of_a_frozen_server_and_of_a_connection_attempt(self, own_place: Place) -> None:
        opened = own_place.open(timeout=60, connect_timeout=60)
        spec = spec_of(opened)
        opened.fetch(spec, ["1"])
        fresh = own_place.open(timeout=60, connect_timeout=60)
        own_place.server.freeze()
        for backend in (opened, fresh):
            faults: list[str] = []

            def ask(backend: Backend = backend, faults: list[str] = faults) -> None:
                try:
                    backend.fetch(spec, ["1"])
                except BackendAway as fault:
                    faults.append(fault.message)

            thread = threading.Thread(target=ask)
            thread.start()
            began = time.monotonic()
            while thread.is_alive() and time.monotonic() - began < 20:
                backend.abort()
                thread.join(0.05)
            assert faults == ["erp: the call was given up."]
        own_place.server.thaw()
        opened.close()
        fresh.close()

    def test_a_stopped_or_killed_server_is_away_and_then_back(self, own_place: Place) -> None:
        server = own_place.server
        backend = own_place.open(timeout=5.0)
        spec = spec_of(backend)
        first = backend.fingerprint([spec])
        for end in (server.stop, server.kill):
            with pytest.raises(BackendAway), backend.session() as session:
                session.insert(spec, {"id": -2})
                end()
                session.insert(spec, {"id": -3})
            took = [is_away(lambda: backend.ping(2.0)) for _ in range(3)]
            assert sum(took) < 5.0, f"a closed port is no reason to wait: {took}"
            is_away(lambda: backend.fetch(spec, ["1"]))
            server.start()
            eventually(lambda: backend.ping(5.0))
            assert list(eventually(lambda: backend.fetch(spec, ["1", "-2", "-3"]))) == ["1"]
            assert backend.fingerprint([spec]) != first, "after a restart nothing is certain"
        backend.close()

    def test_a_connection_killed_in_a_session_undoes_it_and_the_next_goes_on(self, place: Place) -> None:
        if place.cut is None:
            pytest.skip("the driver opens connections as it likes")
        backend = place.open(timeout=5.0)
        spec = spec_of(backend)
        with pytest.raises(BackendAway) as caught, backend.session() as session:
            session.insert(spec, {"id": -1})
            place.cut()
            session.insert(spec, {"id": -2})
        assert "at_commit" not in caught.value.facts
        assert backend.fetch(spec, ["-1", "-2"]) == {}, "a later change must not go to another connection by itself"
        with pytest.raises(BackendAway) as caught, backend.session() as session:
            session.insert(spec, {"id": -1})
            place.cut()
        assert caught.value.facts["at_commit"] is True
        with backend.session() as session:
            session.insert(spec, {"id": -1})
        assert backend.fetch(spec, ["-1"])
        backend.close()

    def test_a_session_that_goes_on_after_its_connection_is_gone_does_not_look_committed(self, place: Place) -> None:
        if place.cut is None:
            pytest.skip("the driver opens connections as it likes")
        backend = place.open(timeout=5.0)
        spec = spec_of(backend)
        with pytest.raises(BackendAway) as caught, backend.session() as session:
            session.insert(spec, {"id": -1})
            place.cut()
            with pytest.raises(BackendAway):
                session.insert(spec, {"id": -2})
        assert "at_commit" not in caught.value.facts, "no commit was sent"
        assert backend.fetch(spec, ["-1", "-2"]) == {}
        backend.close()

    def test_idle_connections_that_the_server_closed_are_opened_unnoticed(self, place: Place) -> None:
        if place.cut is None or place.connections is None:
            pytest.skip("the driver opens connections as it likes")
        backend = place.open(timeout=5.0)
        spec = spec_of(backend)
        for _ in range(3):
            with backend.session():
                pass
            backend.fetch(spec, ["1"])
            with backend.snapshot() as snapshot:
                next(iter(snapshot.read(spec)))
            place.cut()
            wait_until(lambda: place.connections is not None and place.connections() == 0, 20, "them to be gone")
        backend.close()

    def test_a_snapshot_whose_connection_is_gone_does_not_go_on_on_another_one(self, place: Place) -> None:
        if place.cut is None:
            pytest.skip("the driver opens connections as it likes")
        backend = place.open(timeout=5.0)
        spec = spec_of(backend)
        for _ in self.readings(backend):
            with pytest.raises(BackendAway), backend.snapshot() as snapshot:
                place.cut()
                list(snapshot.read(spec))
        assert len(eventually(lambda: rows_of(backend, spec))) == ROWS
        backend.close()

    def test_a_password_never_stands_in_a_message(self, place: Place) -> None:
        backend = place.stranger()
        with pytest.raises(BackendAway) as caught:
            backend.ping(5)
        fault: BaseException | None = caught.value
        while fault is not None:
            assert SECRET not in f"{fault} {getattr(fault, 'facts', '')}"
            fault = fault.__cause__
        backend.close()

    def test_threads_files_and_connections_are_gone_after_close(self, place: Place) -> None:
        backend = place.open()  # what a driver keeps for good, it has kept after this
        spec_of(backend)
        backend.close()
        threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            backend = place.open()
            backend.fetch(spec_of(backend), ["1"])
            with backend.session():
                pass
            backend.close()
        wait_until(lambda: threading.active_count() <= threads, 20, "the threads to end")
        wait_until(lambda: len(os.listdir("/proc/self/fd")) <= files + 1, 20, "the sockets to be closed")
        if place.connections is not None:
            wait_until(lambda: place.connections is not None and place.connections() == 0, 20, "them to be gone")
        with pytest.raises(BackendAway, match="closed"):
            backend.ping(1.0)
