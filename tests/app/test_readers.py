"""Readers of the copy stay few, however many threads come and go."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from tests.app.site import running
from tests.app.test_not_copied import make_intranet


def opened(data: Path) -> int:
    folder = Path("/proc/self/fd")
    return sum(os.path.realpath(folder / name) == str(data / "store.db") for name in os.listdir(folder))


def test_a_thread_that_has_ended_leaves_its_reader_to_the_next(tmp_path: Path) -> None:
    with running(make_intranet(tmp_path / "garage.db"), tmp_path / "data") as site:
        readers = site.site.web.readers
        found: list[int] = []

        def read() -> None:
            found.append(readers.mine().seq())
            assert readers.mine() is readers.mine()

        def one_after_the_other(count: int) -> None:
            for _ in range(count):
                thread = threading.Thread(target=read)
                thread.start()
                thread.join()

        one_after_the_other(1)
        before = opened(tmp_path / "data")
        one_after_the_other(50)
        assert opened(tmp_path / "data") == before
        assert len(found) == 51


def test_two_threads_at_once_have_a_reader_each(tmp_path: Path) -> None:
    with running(make_intranet(tmp_path / "garage.db"), tmp_path / "data") as site:
        both, found = threading.Barrier(2), []

        def read() -> None:
            found.append(site.site.web.readers.mine())
            both.wait(10)

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found[0] is not found[1]
