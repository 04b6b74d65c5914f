"""What happens in a life, as data: so that it can be lived again, shortened, and sent to somebody."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import msgspec

from brique.schema import Row


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Somebody asks for a view. `late`: what is made reaches the engine after the next change only."""

    view: str
    arguments: dict[str, Any]
    user: str = ""
    late: bool = False


class Write(msgspec.Struct, frozen=True, tag="write"):
    """A refresh brings rows (store values) and takes others away, in one transaction."""

    table: str
    rows: tuple[Any, ...] = ()
    gone: tuple[str, ...] = ()


class Lay(msgspec.Struct, frozen=True, tag="lay"):
    """A command changes a row and waits; `after` None takes the row away."""

    table: str
    key: str
    before: Any
    after: Any


class Settle(msgspec.Struct, frozen=True, tag="settle"):
    """The oldest command that waits is applied or refused."""

    applied: bool


class Pass(msgspec.Struct, frozen=True, tag="pass"):
    """Time passes."""

    seconds: int


class Restart(msgspec.Struct, frozen=True, tag="restart"):
    """The engine starts anew."""


Step = Ask | Write | Lay | Settle | Pass | Restart


def told(step: Step) -> str:
    """The step in words."""
    match step:
        case Ask():
            given = ", ".join(f"{name}={value!r}" for name, value in step.arguments.items())
            late = ", and what was made arrives late" if step.late else ""
            return f"{step.user or 'somebody'} asks for {step.view}({given}){late}"
        case Write():
            rows = "; ".join(_row(row) for row in step.rows)
            gone = ", ".join(step.gone)
            return (
                f"a refresh of {step.table}"
                + (f" brings {rows}" if rows else "")
                + (f" and lacks {gone}" if gone else "")
            )
        case Lay():
            what = "deletes it" if step.after is None else f"sets {_row(step.after)}"
            return f"a command on row {step.key} of {step.table} {what} and waits"
        case Settle():
            return f"the oldest command is {'applied' if step.applied else 'refused'}"
        case Pass():
            return f"{step.seconds} seconds pass"
        case _:
            return "the engine starts anew"


def _row(row: Row) -> str:
    return "(" + ", ".join(f"{name}={value!r}"[:60] for name, value in row.items()) + ")"


def steps_json(steps: Sequence[Step]) -> list[Any]:
    """Steps as JSON can hold them; bytes as {"$bytes": base64}."""
    return [_packed(msgspec.to_builtins(step, builtin_types=(bytes,))) for step in steps]


def steps_from(plain: Sequence[Any]) -> list[Step]:
    """The steps of `steps_json`. Raises msgspec.ValidationError."""
    return [msgspec.convert(_unpacked(item), Step, builtin_types=(bytes,)) for item in plain]


def _packed(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {name: _packed(item) for name, item in value.items()}
    return [_packed(item) for item in value] if isinstance(value, (list, tuple)) else value


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        return (
            base64.b64decode(value["$bytes"])
            if set(value) == {"$bytes"}
            else {n: _unpacked(v) for n, v in value.items()}
        )
    return [_unpacked(item) for item in value] if isinstance(value, list) else value
