"""Fixtures: a world over a fresh store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from brique.views import View, view_of
from tests.views.world import CLASSES, World, world


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """`make(function, ...)`: a world with each function as a view at /NAME/{its first parameters}."""
    with ExitStack() as stack:

        def made(*functions: Callable[..., Any], fresh: float | None = None, **options: Any) -> World:
            views: dict[str, View] = {}
            for function in functions:
                view = view_of(f"/{function.__name__}", function, CLASSES, fresh=fresh)
                views[view.name] = view
            return stack.enter_context(world(tmp_path / "store.db", views, **options))

        yield made
