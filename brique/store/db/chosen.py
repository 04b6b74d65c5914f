"""What was chosen for this intranet, as a view reads it: by name, and what is read is noted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from hashlib import blake2b
from typing import Any

from brique.errors import BadConfiguration
from brique.settings import Settings
from brique.store.db.tracking import Recorder


class Chosen:
    """`db.settings.page_rows`: what a view makes of it is made anew when brique runs with another value."""

    __slots__ = ("_recorder", "_values")

    def __init__(self, values: Mapping[str, Any], recorder: Recorder) -> None:
        self._values, self._recorder = values, recorder

    def __getattr__(self, name: str) -> Any:
        if name not in self._values:
            raise BadConfiguration(f"There is no setting {name!r} for views", try_this="see docs/reference/settings.md")
        self._recorder.setting(name, chosen(self._values, name))
        return self._values[name]


def choices(settings: Any) -> dict[str, Any]:
    """What views may read of `settings` (a dataclass): numbers and texts, by name."""
    found = {field.name: getattr(settings, field.name) for field in fields(settings)}
    return {name: value for name, value in found.items() if isinstance(value, (str, int, float, bool))}


DEFAULTS = choices(Settings())


def chosen(values: Mapping[str, Any], name: str) -> bytes:
    """Eight bytes for the value of a setting; others for another value, or none."""
    return blake2b(f"{name}={values.get(name)!r}".encode(), digest_size=8).digest()
