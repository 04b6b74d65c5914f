"""Fixtures of the pages: a small shop that is filled, and one that is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages.shop import Shop, shop


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Shop]:
    """A shop whose first copy has not begun."""
    with shop(tmp_path) as made:
        yield made


@pytest.fixture
def filled(bare: Shop) -> Shop:
    """A shop with 60 orders of 40 customers, confirmed half a minute ago."""
    bare.fill()
    return bare
