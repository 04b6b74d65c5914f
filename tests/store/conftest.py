from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from brique.store import Reader, Store
from tests.store.parts import SPECS, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(tmp_path)
    yield made
    made.close()


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    made = Reader(store.path, SPECS)
    yield made
    made.close()
