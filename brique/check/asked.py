"""Who asks for what, what is right, and how far a view that may be behind is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any

from brique.errors import BriqueError
from brique.schema import TableSpec
from brique.store import Classes, Db, Reader, Recorder
from brique.views import View, body_of

FAILED = "failed"
"""Stands for whatever a view raises by mistake."""


class SetClock:
    """A clock that goes when it is told to."""

    def __init__(self, moment: datetime) -> None:
        self.moment, self.seconds = moment, 0.0

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.seconds


@dataclass(frozen=True)
class Asked:
    """One representation as somebody asked for it."""

    view: str
    arguments: tuple[tuple[str, Any], ...]
    user: Any

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments)
        return f"{self.view}({given})" + (f" for {self.user}" if self.user else "")


@dataclass
class Truth:
    """What a view that may be behind would have said, and until when it would."""

    said: list[tuple[datetime | None, object]] = field(default_factory=list)

    def note(self, now: datetime, answer: object) -> None:
        if self.said and self.said[-1][1] == answer:
            return
        if self.said:
            self.said[-1] = (now, self.said[-1][1])
        self.said.append((None, answer))

    def allows(self, answer: object, since: datetime) -> bool:
        return any(said == answer for end, said in self.said if end is None or end >= since)


def answer_from_nothing(
    view: View,
    asked: Asked,
    reader: Reader,
    specs: Mapping[str, TableSpec],
    now: datetime,
    timezone: tzinfo,
    *,
    classes: Classes | None = None,
    recorder: Recorder | None = None,
    mistakes: tuple[type[Exception], ...] = (Exception,),
) -> object:
    """The bytes that the view makes without anything kept; the sentence of a fault of brique's; FAILED for a
    mistake."""
    with reader.snapshot():
        db = Db(
            reader, specs, classes=classes, recorder=recorder, now=lambda: now, timezone=timezone, user=asked.user
        )  # fmt: skip
        try:
            result = view.run(db, view.arguments(dict(asked.arguments)))
            return body_of(result, dashboard=view.kind == "dashboard", what=f"View {view.name}", bytes_max=16 * 1024**2)
        except BriqueError as fault:
            return str(fault)
        except mistakes:
            return FAILED
        finally:
            db.close()
