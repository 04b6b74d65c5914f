"""The rows of the demo ERP: five years of a trading house in Senegal, the same for the same seed, size and day.

Rows come as blocks of text in the form that PostgreSQL's COPY reads (columns by tabs, \\N for NULL), since that is
both the fastest way in and easy to cut up for SQLite. Orders are made in the order of their dates: the days share
them out by season, weekday and growth. Money is counted in centimes (1/100 FCFA), so that amounts are exact.
"""

from __future__ import annotations

import itertools
import math
import random
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

from brique.demo import vocabulary as words

LINES = 1_000_000
SEED = 1990
YEARS = 5
AHEAD_DAYS = 130
"""The calendar reaches this far past today: wished deliveries and due dates."""
ORDERS_PER_BLOCK = 5_000
NULL = "\\N"

COLUMNS: dict[str, tuple[str, ...]] = {
    "CUSTPF": ("CUNUM", "CUNAM", "CUADR", "CUCTY", "CUTEL", "CUMAI", "CULIM", "CUSTS", "CUCRE"),
    "ARTIPF": ("ARREF", "ARDES", "ARFAM", "ARUNI", "ARPRX", "ARPOI", "ARSTS"),
    "DEPOPF": ("DECOD", "DENOM", "DECTY"),
    "ORDRPF": ("ORNUM", "ORCUS", "ORDEP", "ORDAT", "ORLIV", "ORSTS", "ORAMT", "ORREF", "ORNOT", "ORUSR"),
    "ORLNPF": ("OLORD", "OLLIN", "OLART", "OLPRX", "OLQTY", "OLREM"),
    "STOKPF": ("STDEP", "START", "STQTY", "STMIN", "STEMP", "STINV"),
    "INVCPF": ("INNUM", "INORD", "INCUS", "INDAT", "INDUE", "INAMT", "INPAI", "INPDT"),
    "JRNLPF": ("JODAT", "JOHEU", "JOUSR", "JOPGM", "JOTXT"),
    "Détail Règlement": (
        "order",
        "group",
        "Mode d'encaissement",
        'Montant "net" (FCFA)',
        "Reçu à",
        "Pièce jointe",
        "vérifié ?",
    ),
}
"""The columns of each table in the order in which blocks write them; generated columns are left out."""

_SEASON = (0.92, 0.95, 1.05, 1.1, 1.08, 1.0, 0.88, 0.74, 0.78, 0.98, 1.15, 1.35)
"""Sales of a month against the mean: rains keep builders home in August, the year's end is busy."""
_WEEKDAY = (1.15, 1.1, 1.05, 1.1, 0.85, 0.5, 0.03)
_GROWTH = 1.12
_LINES_IN_ORDER = ((1, 2, 3, 4, 5, 6, 8, 10, 14), (14, 20, 20, 16, 11, 8, 6, 3, 2))
_QUANTITIES = (
    (1, 2, 3, 4, 5, 6, 8, 10, 12, 20, 24, 50, 100, 166),
    (30, 20, 11, 10, 8, 6, 4, 5, 3, 1.5, 0.8, 0.5, 0.15, 0.05),
)
_DISCOUNTS = (("0", "2.5", "5", "7.25", "10", "12.5", "15", "20"), (70, 5, 11, 1, 8, 1, 2.5, 1.5))
_STATUS: tuple[tuple[int, tuple[float, ...]], ...] = (
    (3, (0.45, 0.50, 0.02, 0.0, 0.03)),
    (15, (0.05, 0.45, 0.35, 0.12, 0.03)),
    (45, (0.01, 0.05, 0.28, 0.62, 0.04)),
    (10**6, (0.0, 0.003, 0.007, 0.95, 0.04)),
)
"""(younger than so many days, shares of S V L F A)."""


@dataclass(frozen=True)
class Block:
    """Some rows of one table, as COPY text: each row ends with a line feed."""

    table: str
    text: str
    rows: int


@dataclass(frozen=True)
class Plan:
    """What to make: `lines` order lines (at least 1), and the rest in proportion. `today` is the last day of data."""

    today: date
    seed: int = SEED
    lines: int = LINES

    @property
    def customers(self) -> int:
        return min(20_000, max(20, self.lines // 50))

    @property
    def articles(self) -> int:
        return min(3_000, max(30, self.lines // 300))

    @property
    def orders(self) -> int:
        return max(1, self.lines // 4)

    @cached_property
    def calendar(self) -> Calendar:
        return Calendar(self.today)


class Calendar:
    """Days by number, 0 the first and `today` the last of the data, each in the ways that the tables write it."""

    def __init__(self, today: date) -> None:
        start = today - timedelta(days=365 * YEARS)
        self.today = 365 * YEARS
        self.days = [start + timedelta(days=number) for number in range(self.today + AHEAD_DAYS + 1)]
        self.cyymmdd = [str((day.year - 1900) * 10000 + day.month * 100 + day.day) for day in self.days]

    def shares(self, orders: int) -> list[int]:
        """How many of `orders` fall on each day up to today."""
        weights = [
            _SEASON[day.month - 1] * _WEEKDAY[day.weekday()] * _GROWTH ** (number / 365)
            for number, day in enumerate(self.days[: self.today + 1])
        ]
        total, so_far, given, shares = sum(weights), 0.0, 0, []
        for weight in weights:
            so_far += weight
            upto = round(orders * so_far / total)
            shares.append(upto - given)
            given = upto
        shares[-1] += orders - given
        return shares


def blocks(plan: Plan) -> Iterator[Block]:
    """Every row of the ERP; referenced tables come first. The same plan gives the same blocks, byte for byte."""
    articles = _articles(plan)
    yield _block("DEPOPF", ["\t".join(depot) for depot in words.DEPOTS])
    yield _block("ARTIPF", [article.row for article in articles])
    yield from _customers(plan)
    yield from _stock(plan, articles)
    yield from _Orders(plan, articles).blocks()
    yield from _journal(plan)


def _block(table: str, rows: list[str]) -> Block:
    return Block(table, "\n".join(rows) + "\n" if rows else "", len(rows))


def _stream(plan: Plan, name: str) -> random.Random:
    """A random source for each table, so that a change to one leaves the others as they are."""
    return random.Random(f"{plan.seed}/{name}")


def _money(centimes: int) -> str:
    return f"{centimes // 100}.{centimes % 100:02d}"


@dataclass(frozen=True)
class _Article:
    row: str
    reference: str
    centimes: int


def _articles(plan: Plan) -> list[_Article]:
    rng = _stream(plan, "ARTIPF")
    made = []
    for number in range(plan.articles):
        family, unit, middle, kilos, goods = words.FAMILIES[number % len(words.FAMILIES)]
        reference = f"A{number + 1:05d}"
        francs = middle * math.exp(rng.gauss(0, 0.6))
        centimes = max(5, round(francs / 5) * 5) * 100 if francs > 200 else round(francs * 2) * 50
        thing = f"{rng.choice(goods)} {rng.choice(words.VARIANTS)} réf. {number + 1}"
        weight = NULL if rng.random() < 0.08 else f"{kilos * math.exp(rng.gauss(0, 0.4)):.3f}"
        status = "S" if rng.random() < 0.02 else "A"
        row = "\t".join((reference, thing, family, unit, _money(centimes), weight, status))
        made.append(_Article(row, reference, centimes))
    return made


def _customers(plan: Plan) -> Iterator[Block]:
    rng = _stream(plan, "CUSTPF")
    towns, weights = list(words.TOWNS), list(words.TOWNS.values())
    calendar = plan.calendar
    first_year = calendar.days[0].year - 25
    for start in range(0, plan.customers, 5_000):
        rows = []
        for number in range(start + 1, min(start + 5_000, plan.customers) + 1):
            trade, family = rng.choice(words.TRADES), rng.choice(words.FAMILY_NAMES)
            name = f"{trade} {family} {rng.choice(words.ENDINGS)}"[:40]
            since = (rng.randint(first_year, calendar.days[0].year) - 1900) * 10000 + rng.randint(1, 12) * 100
            rows.append(
                "\t".join(
                    (
                        f"C{number:06d}",
                        name,
                        f"{rng.randint(1, 240)}, {rng.choice(words.STREETS)}" if rng.random() < 0.9 else NULL,
                        rng.choices(towns, weights)[0],
                        f"+221 {rng.choice((33, 70, 76, 77, 78))} {rng.randint(100, 999)}"
                        f" {rng.randint(0, 99):02d} {rng.randint(0, 99):02d}",
                        f"c{number:06d}@exemple.sn" if rng.random() < 0.55 else NULL,
                        str(rng.choice((0, 250, 500, 1000, 2000, 5000, 20000)) * 1000),
                        rng.choices("ABF", (94, 4, 2))[0],
                        str(since + rng.randint(1, 28)),
                    )
                )
            )
        yield _block("CUSTPF", rows)


def _stock(plan: Plan, articles: list[_Article]) -> Iterator[Block]:
    rng = _stream(plan, "STOKPF")
    calendar = plan.calendar
    for code, _, _ in words.DEPOTS:
        rows = []
        for article in articles:
            floor = rng.choice((0, 5, 10, 10, 20, 50))
            quantity = 0 if rng.random() < 0.004 else int(rng.expovariate(1 / (12 + 3 * floor))) + 1
            shelf = (
                f"{rng.choice('ABCDEFGH')}{rng.randint(1, 24):02d}-{rng.randint(1, 6)}" if rng.random() < 0.9 else NULL
            )
            counted = calendar.cyymmdd[calendar.today - rng.randint(3, 340)] if rng.random() < 0.95 else "0"
            rows.append(f"{code}\t{article.reference}\t{quantity}\t{floor}\t{shelf}\t{counted}")
        yield _block("STOKPF", rows)


def _journal(plan: Plan) -> Iterator[Block]:
    rng = _stream(plan, "JRNLPF")
    calendar, rows = plan.calendar, []
    clerks = list(words.CLERKS)
    for _ in range(max(10, plan.lines // 100)):
        day = calendar.cyymmdd[calendar.today - int(rng.random() ** 2 * 400)]
        time = rng.randint(7, 19) * 10000 + rng.randint(0, 59) * 100 + rng.randint(0, 59)
        program = rng.choice(words.PROGRAMS)
        text = f"Commande {rng.randint(1, plan.orders)} : contrôlée" if program.startswith("ORD") else NULL
        rows.append(f"{day}\t{time}\t{rng.choice(clerks)}\t{program}\t{text}")
        if rng.random() < 0.02:
            rows.append(rows[-1])
    yield _block("JRNLPF", rows)


class _Orders:
    """Orders with their lines, invoices and payments, one block of orders after the other."""

    def __init__(self, plan: Plan, articles: list[_Article]) -> None:
        self._plan = plan
        self._calendar = plan.calendar
        self._rng = _stream(plan, "ORDRPF")
        self._years = {
            year: [self._in_year(article, plan.today.year - year) for article in articles]
            for year in range(self._calendar.days[0].year, plan.today.year + 1)
        }
        self._invoice_numbers: dict[int, int] = {}

    @staticmethod
    def _in_year(article: _Article, years_ago: int) -> tuple[int, str]:
        """(price in centimes, its text after the reference): prices have risen 4 % a year, in steps of 5 FCFA."""
        centimes = article.centimes
        if years_ago and centimes > 20_000:
            centimes = round(centimes * 0.96**years_ago / 500) * 500
        return centimes, f"{article.reference}\t{_money(centimes)}"

    def blocks(self) -> Iterator[Block]:
        sizes = self._sizes()
        shares = self._calendar.shares(len(sizes))
        days = itertools.chain.from_iterable(itertools.repeat(day, share) for day, share in enumerate(shares))
        numbered = zip(itertools.count(1), days, sizes, strict=False)
        while chunk := list(itertools.islice(numbered, ORDERS_PER_BLOCK)):
            yield from self._chunk(chunk)

    def _sizes(self) -> list[int]:
        """The number of lines of each order; together exactly `plan.lines`."""
        values, weights = _LINES_IN_ORDER
        sizes = self._rng.choices(values, weights, k=self._plan.orders)
        excess = sum(sizes) - self._plan.lines
        at = 0
        while excess:
            step = -1 if excess > 0 else 1
            if sizes[at] + step >= 1:
                sizes[at] += step
                excess += step
            at = (at + 7) % len(sizes) if math.gcd(7, len(sizes)) == 1 else (at + 1) % len(sizes)
        return sizes

    def _chunk(self, chunk: list[tuple[int, int, int]]) -> Iterator[Block]:
        """The blocks for some orders, each (number, day, count of lines)."""
        lines, amounts = self._lines(chunk)
        orders: list[str] = []
        invoices: list[str] = []
        payments: list[str] = []
        for (number, day, _), centimes in zip(chunk, amounts, strict=True):
            status, customer = self._status(day), self._customer()
            orders.append(self._order(number, day, status, customer, centimes))
            if status == "F":
                row, paid, paid_on = self._invoice(number, day, customer, centimes)
                invoices.append(row)
                if paid and self._rng.random() < 0.02:
                    payments += self._payments(number, paid, paid_on)
        yield _block("ORDRPF", orders)
        yield _block("ORLNPF", lines)
        yield _block("INVCPF", invoices)
        yield _block("Détail Règlement", payments)

    def _lines(self, chunk: list[tuple[int, int, int]]) -> tuple[list[str], list[int]]:
        """The rows of all lines, and the amount of each order as the ERP adds it up: each line rounded, half away."""
        rng, count = self._rng, sum(size for _, _, size in chunk)
        draw, articles = rng.random, self._plan.articles
        wanted = iter([int(draw() ** 2.2 * articles) for _ in range(count)])
        quantities = iter(rng.choices(_QUANTITIES[0], _QUANTITIES[1], k=count))
        discounts = iter(
            rng.choices([(text, 20000 - round(float(text) * 200)) for text in _DISCOUNTS[0]], _DISCOUNTS[1], k=count)
        )
        rows: list[str] = []
        amounts: list[int] = []
        days = self._calendar.days
        for number, day, size in chunk:
            prices, amount = self._years[days[day].year], 0
            for line in range(1, size + 1):
                price, text = prices[next(wanted)]
                quantity = next(quantities)
                discount, left = next(discounts)
                amount += (price * quantity * left + 10000) // 20000
                rows.append(f"{number}\t{line}\t{text}\t{quantity}\t{discount}")
            amounts.append(amount)
        return rows, amounts

    def _status(self, day: int) -> str:
        age, draw = self._calendar.today - day, self._rng.random()
        for below, shares in _STATUS:
            if age < below:
                return "SVLFA"[min(4, bisect_right(list(itertools.accumulate(shares)), draw))]
        raise AssertionError("the last row of _STATUS holds every age")

    def _customer(self) -> str:
        """Some buy much and most little; the stride scatters the big ones over the codes."""
        rank = int(self._rng.random() ** 2 * self._plan.customers)
        return f"C{rank * 7919 % self._plan.customers + 1:06d}"

    def _order(self, number: int, day: int, status: str, customer: str, centimes: int) -> str:
        rng, calendar = self._rng, self._calendar
        wished = calendar.cyymmdd[day + rng.randint(1, 21)] if rng.random() < 0.8 else "0"
        theirs = f"BC-{calendar.days[day].year}/{rng.randint(1, 9999):04d}" if rng.random() < 0.3 else NULL
        remark = rng.choice(words.REMARKS) if rng.random() < 0.06 else NULL
        depot = words.DEPOTS[int(rng.random() ** 2 * len(words.DEPOTS))][0]
        clerk = rng.choices(_CLERKS, cum_weights=_CLERK_WEIGHTS)[0]
        when = calendar.cyymmdd[day]
        amount = _money(centimes)
        return f"{number}\t{customer}\t{depot}\t{when}\t{wished}\t{status}\t{amount}\t{theirs}\t{remark}\t{clerk}"

    def _invoice(self, order: int, day: int, customer: str, centimes: int) -> tuple[str, int, int]:
        """(row, centimes paid, day of payment)."""
        rng, calendar = self._rng, self._calendar
        made = min(calendar.today, day + rng.randint(1, 25))
        due = made + rng.choice((30, 30, 30, 60, 90))
        overdue = calendar.today - due
        paid, paid_on, draw = 0, 0, rng.random()
        if draw < (0.9975 if overdue > 60 else 0.93 if overdue > 0 else 0.35):
            paid, paid_on = centimes, min(calendar.today, max(made, due + rng.randint(-25, 40)))
        elif draw > 0.999 or (overdue <= 60 and draw > 0.97):
            paid, paid_on = centimes // 200 * 100, min(calendar.today, due)
        year = calendar.days[made].year
        serial = self._invoice_numbers[year] = self._invoice_numbers.get(year, 0) + 1
        dates = f"{calendar.cyymmdd[made]}\t{calendar.cyymmdd[due]}"
        settled = calendar.cyymmdd[paid_on] if paid else "0"
        money = f"{_money(centimes)}\t{_money(paid)}"
        row = f"F{year % 100:02d}{serial:06d}\t{order}\t{customer}\t{dates}\t{money}\t{settled}"
        return row, paid, paid_on

    def _payments(self, order: int, centimes: int, day: int) -> list[str]:
        rng, rows, left = self._rng, [], centimes
        parts = rng.choice((1, 1, 2, 3))
        for part in range(1, parts + 1):
            share = left if part == parts else left // 2
            left -= share
            hour, minute, second = rng.randint(8, 18), rng.randint(0, 59), rng.randint(0, 59)
            at = f"{self._calendar.days[day]} {hour:02d}:{minute:02d}:{second:02d}+00"
            paper = f"\\\\x89504e470d0a1a0a{rng.getrandbits(128):032x}" if rng.random() < 0.3 else NULL
            checked = rng.choice(("t", "f", NULL))
            when = at if rng.random() < 0.9 else NULL
            rows.append(f"{order}\t{part}\t{rng.choice(words.PAYMENTS)}\t{_money(share)}\t{when}\t{paper}\t{checked}")
        return rows


_CLERKS = list(words.CLERKS)
_CLERK_WEIGHTS = list(itertools.accumulate(words.CLERKS.values()))
