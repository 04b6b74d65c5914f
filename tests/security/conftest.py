"""One running application for the whole folder: its tests change nothing that another one reads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.security.world import World, running


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("nasty")) as made:
        yield made
