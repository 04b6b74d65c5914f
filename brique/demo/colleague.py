"""The colleague at the green screen: changes rows in the ERP itself, past the intranet.

So a refresh has something to bring, and a pending write something to be in conflict with.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import psycopg

from brique.errors import BackendAway, BackendRefused, BadInput, NotFound

CONNECT_SECONDS_MAX = 5
STATEMENT_SECONDS_MAX = 10
STATUSES = "SVLFA"
RECENT_ORDERS = 200
"""A random order is one of so many of the latest open ones, so that it stands on the first pages."""


@dataclass(frozen=True)
class Edit:
    """One value that was changed: `key` holds the row's key values, `column` its name in the ERP."""

    table: str
    key: tuple[str | int, ...]
    column: str
    before: str
    after: str

    def __str__(self) -> str:
        key = ", ".join(str(part).strip() for part in self.key)
        return f"{self.table} {key}: {self.column} {self.before} -> {self.after}"


class Colleague:
    """Works in the ERP at `url`, each change in a transaction of its own. `rng` chooses what is left to chance.

    Raises (every method):
        BackendAway: the ERP is stopped or frozen.
        BackendRefused: a rule of the ERP said no; the message is the ERP's.
        NotFound: there is no such row, or no open order to choose from.
    """

    def __init__(self, url: str, rng: random.Random | None = None) -> None:
        self._url = url
        self._rng = rng or random.Random()

    def change_quantity(self, order: int | None = None, line: int | None = None, quantity: int | None = None) -> Edit:
        """Set the quantity of a line (a random line of a random open order, and another quantity, when not given)."""
        with self._work() as connection:
            order = self._order(connection, order)
            rows = connection.execute(
                'SELECT "OLLIN", "OLQTY" FROM "ORLNPF" WHERE "OLORD" = %s ORDER BY "OLLIN" FOR UPDATE', (order,)
            ).fetchall()
            lines: dict[int, int] = dict(rows)
            if not lines or (line is not None and line not in lines):
                raise NotFound(f"Order {order} has no line {'' if line is None else line}".rstrip())
            line = self._rng.choice(sorted(lines)) if line is None else line
            before = lines[line]
            after = before + self._rng.randint(1, 9) if quantity is None else quantity
            connection.execute(
                'UPDATE "ORLNPF" SET "OLQTY" = %s WHERE "OLORD" = %s AND "OLLIN" = %s', (after, order, line)
            )
        return Edit("ORLNPF", (order, line), "OLQTY", str(before), str(after))

    def change_status(self, order: int | None = None, status: str = "") -> Edit:
        """Move an order to `status` (one of S V L F A), or one step further: entered, validated, shipped, invoiced."""
        if status and (len(status) != 1 or status not in STATUSES):
            raise BadInput(f"{status!r} is not a status", try_this=f"one of {', '.join(STATUSES)}")
        with self._work() as connection:
            order = self._order(connection, order)
            row = connection.execute('SELECT "ORSTS" FROM "ORDRPF" WHERE "ORNUM" = %s FOR UPDATE', (order,)).fetchone()
            if row is None:
                raise NotFound(f"The ERP has no order {order}")
            before = row[0]
            after = status or {"S": "V", "V": "L", "L": "F"}.get(before, "")
            if not after:
                raise BackendRefused(f"Order {order} is {before}: no status follows")
            connection.execute('UPDATE "ORDRPF" SET "ORSTS" = %s WHERE "ORNUM" = %s', (after, order))
        return Edit("ORDRPF", (order,), "ORSTS", before, after)

    def change_remark(self, order: int | None = None, remark: str = "") -> Edit:
        """Write another remark on an order."""
        with self._work() as connection:
            order = self._order(connection, order)
            row = connection.execute('SELECT "ORNOT" FROM "ORDRPF" WHERE "ORNUM" = %s FOR UPDATE', (order,)).fetchone()
            if row is None:
                raise NotFound(f"The ERP has no order {order}")
            after = remark or f"Vu au téléphone, rappeler avant {self._rng.randint(9, 17)} h"
            connection.execute('UPDATE "ORDRPF" SET "ORNOT" = %s WHERE "ORNUM" = %s', (after, order))
        return Edit("ORDRPF", (order,), "ORNOT", row[0] or "", after)

    def change_stock(self, depot: str, article: str, quantity: int) -> Edit:
        """Set the quantity that a depot holds of an article."""
        with self._work() as connection:
            row = connection.execute(
                'SELECT "STQTY" FROM "STOKPF" WHERE "STDEP" = %s AND "START" = %s FOR UPDATE', (depot, article)
            ).fetchone()
            if row is None:
                raise NotFound(f"Depot {depot} does not hold article {article}")
            connection.execute(
                'UPDATE "STOKPF" SET "STQTY" = %s WHERE "STDEP" = %s AND "START" = %s', (quantity, depot, article)
            )
        return Edit("STOKPF", (depot, article), "STQTY", str(row[0]), str(quantity))

    def delete_line(self, order: int, line: int) -> Edit:
        """Delete a line of an open order."""
        with self._work() as connection:
            row = connection.execute(
                'DELETE FROM "ORLNPF" WHERE "OLORD" = %s AND "OLLIN" = %s RETURNING "OLQTY"', (order, line)
            ).fetchone()
            if row is None:
                raise NotFound(f"Order {order} has no line {line}")
        return Edit("ORLNPF", (order, line), "OLQTY", str(row[0]), "")

    def busy(self, changes: int) -> list[Edit]:
        """Make some random changes, as an ordinary morning would: mostly quantities, some statuses and remarks."""
        made = []
        for _ in range(changes):
            work = self._rng.choices((self.change_quantity, self.change_status, self.change_remark), (6, 3, 1))[0]
            made.append(work())
        return made

    def _work(self) -> _Work:
        return _Work(self._url)

    def _order(self, connection: psycopg.Connection, order: int | None) -> int:
        if order is not None:
            return order
        rows = connection.execute(
            """SELECT "ORNUM" FROM "ORDRPF" WHERE "ORSTS" IN ('S', 'V')
            AND EXISTS (SELECT FROM "ORLNPF" WHERE "OLORD" = "ORNUM") ORDER BY "ORNUM" DESC LIMIT %s""",
            (RECENT_ORDERS,),
        ).fetchall()
        if not rows:
            raise NotFound("No order is open")
        return int(self._rng.choice(rows)[0])


class _Work:
    """One transaction, with psycopg's faults turned into ours."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection | None = None

    def __enter__(self) -> psycopg.Connection:
        try:
            self._connection = psycopg.connect(
                self._url,
                connect_timeout=CONNECT_SECONDS_MAX,
                options=f"-c statement_timeout={STATEMENT_SECONDS_MAX}s",
                application_name="colleague",
            )
        except psycopg.OperationalError as fault:
            raise BackendAway(f"The ERP does not answer: {fault}", try_this="brique demo start") from fault
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: object) -> None:
        assert self._connection is not None
        with self._connection as connection:
            try:
                if fault is None:
                    connection.commit()
            except psycopg.Error as late:
                fault = late
        if isinstance(fault, psycopg.OperationalError):
            raise BackendAway(f"The ERP went away: {fault}", try_this="brique demo start") from fault
        if isinstance(fault, psycopg.Error):
            raise BackendRefused(fault.diag.message_primary or str(fault)) from fault
