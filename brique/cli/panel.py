"""The demo's ERP for the status page: what it can be told there."""

from __future__ import annotations

from pathlib import Path

from brique.demo import ACTIONS, Demo


class Panel:
    """The demo in `folder`, as the pages' DemoPanel."""

    def __init__(self, folder: Path) -> None:
        self._demo = Demo(folder)

    def state(self) -> str:
        return self._demo.state()

    def actions(self) -> tuple[str, ...]:
        return ACTIONS[self._demo.state()]

    def perform(self, action: str) -> str:
        return self._demo.perform(action)
