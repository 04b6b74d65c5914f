"""An SMTP server as a backend: it has no rows, and takes one kind of effect, `send`.

The last rung of the ladder: what it has taken cannot be looked up. So one mail is one command, tried again as long as
it has certainly not been taken, and `unknown`, for a person to decide, once the answer to a whole mail was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NoReturn

from brique.backends.faults import refused
from brique.backends.mail.addresses import address_of
from brique.backends.mail.line import Line
from brique.backends.mail.message import compose
from brique.backends.mail.relay import relay_of
from brique.backends.protocol import Abilities, Applied, Prepared, Rung, Tag
from brique.backends.watchdog import Watchdog
from brique.errors import BadConfiguration, BadInput
from brique.schema import Catalogue, Change, Effect, Row, TableSpec, Value

NO_ROWS = "A mail server keeps no rows."
REASON = "A mail that was handed over cannot be looked up: when the answer is lost, a person decides."


def _now() -> datetime:
    return datetime.now(UTC)


class MailBackend:
    """The server at `url`; mails come from `sender`. `timeout`: seconds for handing one mail over."""

    def __init__(
        self,
        name: str,
        url: str,
        *,
        sender: str,
        timeout: float = 60.0,
        connect_timeout: float = 5.0,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self.name = name
        try:
            self.sender = str(address_of(sender))
        except BadInput as fault:
            raise BadConfiguration(f"{name}: the sender {sender!r} is no e-mail address") from fault
        self.timeout = timeout
        self.now = now
        self._watchdog = Watchdog()
        self.line = Line(name, relay_of(url, name), connect_timeout=connect_timeout, watchdog=self._watchdog)

    def ping(self, timeout: float) -> None:
        self.line.ping(timeout)

    def catalogue(self) -> Catalogue:
        return Catalogue(())

    def fingerprint(self, tables: Sequence[TableSpec]) -> str | None:
        return "mail"

    @contextmanager
    def snapshot(self) -> Iterator[NoRows]:
        yield NoRows()

    def fetch(self, spec: TableSpec, keys: Sequence[str]) -> dict[str, Row]:
        return {}

    @contextmanager
    def session(self) -> Iterator[MailSession]:
        yield MailSession(self)

    def watermark(self, stream: str) -> int | None:
        return None

    def prepare(self, marker: bool) -> Prepared:
        abilities = Abilities(transactions=False, marker=False, counts=False, server_keys=False)
        return Prepared(Rung.NONE, REASON, abilities)

    def abort(self) -> None:
        self.line.abort()

    def close(self) -> None:
        self.line.close()
        self._watchdog.stop()


class NoRows:
    """What a mail server shows of tables."""

    fingerprint: str | None = "mail"

    def mark(self, spec: TableSpec) -> str | None:
        return None

    def read(self, spec: TableSpec) -> Iterator[list[tuple[Value, ...]]]:
        raise refused(NO_ROWS)


class MailSession:
    """One command: its mail."""

    def __init__(self, backend: MailBackend) -> None:
        self._backend = backend
        self._tag: Tag | None = None

    def identify(self, tag: Tag) -> None:
        self._tag = tag

    def call(self, effect: Effect) -> Row:
        backend = self._backend
        try:
            mail = compose(effect, sender=backend.sender, tag=self._tag, now=backend.now())
        except (BadInput, ValueError, TypeError) as fault:
            raise refused("{reason}", reason=str(fault)) from fault
        return backend.line.send(address_of(backend.sender).addr_spec, mail, backend.timeout)

    def insert(self, spec: TableSpec, row: Row) -> Row:
        self._no()

    def update(self, spec: TableSpec, key: tuple[Value, ...], before: Row, after: Row) -> int:
        self._no()

    def delete(self, spec: TableSpec, key: tuple[Value, ...], before: Row) -> int:
        self._no()

    def look(self, spec: TableSpec, key: tuple[Value, ...]) -> Row | None:
        return None

    def apply(self, changes: Sequence[tuple[TableSpec, Change]]) -> list[Applied]:
        if changes:
            self._no()
        return []

    def move_watermark(self, stream: str, previous: int, position: int) -> bool:
        return False

    def _no(self) -> NoReturn:
        raise refused(NO_ROWS)
