"""What the handlers share: the tables by name, a copy for a block, ages and addresses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from brique.api.answers import no_such
from brique.api.operation import JSON
from brique.api.parts import Parts
from brique.commands import may
from brique.exports import Freshness, aged, freshness
from brique.http import Stamp, User, at, user_of
from brique.schema import TableSpec, join_key
from brique.views import Copy, StoredRow


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


class Context:
    """The parts as handlers use them."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._stamps: dict[str | None, AgeStamp] = {}
        self._encoder = msgspec.json.Encoder(decimal_format="string")

    def spec(self, request: Request) -> TableSpec:
        """The table in the path. Raises NotFound, with the nearest right name."""
        name = request.path_params["table"]
        spec = self.parts.specs.get(name)
        if spec is None:
            raise no_such(_("There is no table {name}."), name, list(self.parts.specs))
        return spec

    @contextmanager
    def snapshot(self) -> Iterator[Copy]:
        """The copy, the same for all reads of the block."""
        with self.parts.borrow() as copy, copy.snapshot():
            yield copy

    def now(self) -> datetime:
        return self.parts.clock.now()

    def oldest(self, copy: Copy) -> Freshness:
        """The freshness of whatever may be read: that of the backend confirmed longest ago."""
        known = [state.confirmed_at for state in copy.backend_states().values() if state.confirmed_at is not None]
        return aged(min(known, default=None), copy.seq(), self.now())

    def stamp(self, table: str | None = None) -> AgeStamp:
        """The headers of age of `table`, or of whatever may be read, for answers that stand."""
        if table not in self._stamps:
            self._stamps[table] = AgeStamp(self, table)
        return self._stamps[table]

    def encode(self, value: Any) -> bytes:
        return self._encoder.encode(value)

    def json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
        return Response(self.encode(value), status, headers, media_type=JSON)


class AgeStamp(Stamp):
    """`Brique-Age`, and for a table `Brique-Position`, as they are now."""

    def __init__(self, context: Context, table: str | None) -> None:
        super().__init__()
        self._context, self._table = context, table
        self._epoch, self._known = -1, Freshness(None, 0, None)
        self.names = frozenset((b"brique-age",) if table is None else (b"brique-age", b"brique-position"))

    def lines(self, now: float, epoch: int) -> bytes:
        moment = datetime.fromtimestamp(now, UTC)
        if epoch != self._epoch:
            with self._context.snapshot() as copy:
                table = self._table
                self._known = self._context.oldest(copy) if table is None else freshness(copy, table, moment)
            self._epoch = epoch
        headers = aged(self._known.as_of, self._known.position, moment).headers()
        wanted = ((name, text) for name, text in headers.items() if name.lower().encode() in self.names)
        return "".join(f"{name.lower()}: {text}\r\n" for name, text in wanted).encode("latin-1")


def find_row(copy: Copy, spec: TableSpec, key: str) -> StoredRow | None:
    """The row of a key text; one whose letters were left as they are (`Été` for `~C3~89t~C3~A9`) is found too."""
    row = copy.row(spec.name, key)
    if row is None and "~" not in key:
        plain = ",".join(join_key((part,)) for part in key.split(","))
        row = copy.row(spec.name, plain) if plain != key else None
    return row


def sees_all(user: User) -> bool:
    """Whether the user may see the commands of others."""
    return may(user, "admin")


def address(request: Request, path: str) -> str:
    """`path` of the API as the caller must ask for it."""
    return at(request.scope, path)


__all__ = ["Context", "address", "find_row", "sees_all", "user_of"]
