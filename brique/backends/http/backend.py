"""A JSON API as a backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from brique.backends.http.declare import Http, check_base
from brique.backends.http.line import Answer, Line
from brique.backends.http.reading import Pages
from brique.backends.http.session import HttpSession
from brique.backends.protocol import Abilities, Prepared, Rung
from brique.backends.watchdog import Watchdog
from brique.errors import BadConfiguration
from brique.schema import Catalogue, Row, TableSpec, Value

LOOKED_AT = (
    "The API promises no idempotency keys: rows are looked at before they are changed, and a new row whose key it "
    "gives is a person's to decide when the answer was lost."
)


class HttpBackend:
    """The API at `url`. `timeout`: seconds for one request."""

    def __init__(
        self,
        name: str,
        url: str,
        http: Http | None = None,
        *,
        timeout: float = 10.0,
        connect_timeout: float = 5.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.http = http or Http()
        self._watchdog = Watchdog()

        def line() -> Line:
            return Line(
                name,
                check_base(url, name),
                self.http,
                timeout=timeout,
                connect_timeout=connect_timeout,
                watchdog=self._watchdog,
                headers=self.http.headers(environment),
            )

        self._reading, self._writing = line(), line()
        self.pages = Pages(self._reading, self.http)

    def ping(self, timeout: float) -> None:
        """Any answer counts, but one that says: not now."""
        answer = self._reading.ask("GET", self._reading.base, seconds=timeout)
        if answer.status in (429, 502, 503, 504):
            raise self._reading.not_now(answer)

    def catalogue(self) -> Catalogue:
        """An API does not say what it holds: its tables are declared. Raises BadConfiguration when none is."""
        if not self.http.tables:
            raise BadConfiguration(
                f"{self.name}: a JSON API does not say what tables it has",
                try_this="declare them in Python: app.backend(..., http=Http(...)), see Serve a JSON API",
            )
        return Catalogue(())

    def fingerprint(self, tables: Sequence[TableSpec]) -> str | None:
        return None

    @contextmanager
    def snapshot(self) -> Iterator[HttpSnapshot]:
        yield HttpSnapshot(self.pages)

    def fetch(self, spec: TableSpec, keys: Sequence[str]) -> dict[str, Row]:
        session = HttpSession(self._reading, self.http)
        found = {key: session.look(spec, spec.key_values(key)) for key in keys}
        return {key: row for key, row in found.items() if row is not None}

    @contextmanager
    def session(self) -> Iterator[HttpSession]:
        yield HttpSession(self._writing, self.http)

    def watermark(self, stream: str) -> int | None:
        return None

    def prepare(self, marker: bool) -> Prepared:
        abilities = Abilities(transactions=False, marker=False, counts=True, server_keys=True)
        if self.http.idempotent:
            return Prepared(Rung.GUARD, "", abilities)
        return Prepared(Rung.NATURAL_KEY, LOOKED_AT, abilities)

    def abort(self) -> None:
        self._reading.abort()
        self._writing.abort()

    def close(self) -> None:
        self._reading.close()
        self._writing.close()
        self._watchdog.stop()


class HttpSnapshot:
    """A reading of the lists: an API shows no moment of all of them, each list is of its own."""

    fingerprint: str | None = None

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._first: dict[str, Answer] = {}

    def mark(self, spec: TableSpec) -> str | None:
        first, mark = self._pages.first(spec)
        if first is not None:
            self._first[spec.name] = first
        return mark

    def read(self, spec: TableSpec) -> Iterator[list[tuple[Value, ...]]]:
        yield from self._pages.rows(spec, self._first.pop(spec.name, None))
