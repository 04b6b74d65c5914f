"""The log of the store, while somebody writes for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from brique.app.checkpoints import Checkpoints
from brique.errors import NoRoom
from brique.store import Reader, Store
from tests.store.parts import ORDERS, SPECS, give, open_store, order

PAGES = 200
PAGE_BYTES = 4096 + 24


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr("brique.store.writer._WAL_FRAMES_MAX", PAGES)
    with closing(open_store(tmp_path)) as made:
        yield made


def write(store: Store, checkpoints: Checkpoints, times: int) -> None:
    """As the writing thread does: a transaction, then what is due about the log."""
    for number in range(times):
        with store.transaction() as tx:
            tx.apply_base(
                "orders", [(str(key), order(key, status=f"s{number}")) for key in range(number, number + 5)], []
            )
        checkpoints.after_batch()


def log_bytes(store: Store) -> int:
    return store.path.with_name(store.path.name + "-wal").stat().st_size


def test_the_log_starts_anew_under_constant_writing_and_is_moved_by_another_thread(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = dict[bool | None, set[int]]()
    move = store.checkpoint

    def note(*, restart: bool | None = None) -> int:
        threads.setdefault(restart, set()).add(threading.get_ident())
        return move(restart=restart)

    monkeypatch.setattr(store, "checkpoint", note)
    checkpoints = Checkpoints(store)
    write(store, checkpoints, 2000)
    checkpoints.stop()
    assert log_bytes(store) < 20 * PAGES * PAGE_BYTES  # thousands of transactions of several pages each
    assert threads[None] == {threading.get_ident()}
    assert threads[False].isdisjoint(threads[None])


def test_a_long_reader_is_asked_to_let_the_log_start_anew_only_now_and_then(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(store, ORDERS, [order(1)])
    times: list[bool | None] = []
    move = store.checkpoint

    def note(*, restart: bool | None = None) -> int:
        times.append(restart)
        return move(restart=restart)

    monkeypatch.setattr(store, "checkpoint", note)
    checkpoints = Checkpoints(store)
    with closing(Reader(store.path, SPECS)) as reader, reader.snapshot():
        assert reader.row("orders", "1") is not None
        write(store, checkpoints, 300)
        pages = log_bytes(store) // PAGE_BYTES
        assert pages > 2 * PAGES
        assert 0 < times.count(None) <= pages // PAGES
        assert reader.row("orders", "299") is None
    checkpoints.now()
    checkpoints.stop()


def test_a_disk_without_room_is_tried_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    give(store, ORDERS, [order(1)])
    checkpoints = Checkpoints(store)
    move = store.checkpoint

    def full(*, restart: bool | None = None) -> int:
        raise NoRoom("full")

    monkeypatch.setattr(store, "checkpoint", full)
    write(store, checkpoints, 500)
    checkpoints.now()
    assert store.log_is_long
    monkeypatch.setattr(store, "checkpoint", move)
    checkpoints.now()
    checkpoints.now()
    checkpoints.stop()
    assert not store.log_is_long
