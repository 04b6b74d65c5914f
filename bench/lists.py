"""List pages of a million order lines over HTTP: any sort, filter, substring and depth, beside Django's admin and
Datasette over the same rows, all asked in turn in one run.

Each page is asked as a person would get it: HTML, signed in, 25 rows. What a page asks for differs from one request to
the next, so that nobody can keep an answer.
"""

from __future__ import annotations

import random
import re
import statistics
import time
import urllib.parse
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg

from bench.erp import Workshop
from bench.figures import Figures
from bench.lists_peers import COLUMNS, datasette, django, make_database, make_file
from bench.site import Client, Site

ERP = dict(zip(COLUMNS, ("olord", "ollin", "olart", "olqty", "olprx", "olrem", "olamt"), strict=True))
DJANGO_FIELD = {**{name: name for name in COLUMNS}, "ord": "order", "lin": "line"}
DJANGO_PLACE = {name: place for place, name in enumerate(COLUMNS, start=2)}  # of its list_display; 1 is the id
ROWS = 25


@dataclass(frozen=True)
class Page:
    """One page, as each of the three is asked for it."""

    brique: str
    django: str
    datasette: str


@dataclass
class Known:
    """What is in the table: values to ask for, and how many rows there are."""

    rows: int
    values: dict[str, list[object]]
    places: list[tuple[object, ...]] = field(default_factory=list)


def run(figures: Figures, workshop: Workshop) -> None:
    demo = workshop.demo
    with workshop.scratch("lists") as folder:
        url = make_database(demo)
        make_file(demo, folder / "lines.db")
        known = _look(url)
        with (
            Site(["up", demo.url, "--data", str(folder / "data"), "--refresh", "3600"], folder / "data") as site,
            datasette(folder / "lines.db") as its,
            django(url, folder) as theirs,
        ):
            site.wait_ready()
            site.wait_loaded()
            asked = _Asked(site.client(), theirs, its, random.Random(5), known)
            taken = asked.everything(seconds=20.0 if workshop.quick else 240.0, times=6 if workshop.quick else 30)
    _say(figures, known, taken)
    for system, count in asked.failed.items():
        figures.add(f"{system}_failed", count, "requests")


def _look(url: str) -> Known:
    """Values that are there, and the rows in the middle of each order."""
    with psycopg.connect(url) as connection:
        [rows] = connection.execute("SELECT count(*) FROM line").fetchone() or (0,)
        values = {
            name: [
                value
                for (value,) in connection.execute(
                    f"SELECT {name} FROM line TABLESAMPLE SYSTEM (20) ORDER BY random() LIMIT 200".encode()
                )
            ]
            for name in COLUMNS
        }
    return Known(int(rows), values)


Taken = dict[str, dict[str, list[float]]]


class _Asked:
    """Asks the three in turn."""

    def __init__(self, brique: Client, django: Client, datasette: Client, chance: random.Random, known: Known) -> None:
        self.clients = {"brique": brique, "django": django, "datasette": datasette}
        self.chance, self.known = chance, known
        self.failed: dict[str, int] = defaultdict(int)

    def everything(self, *, seconds: float, times: int) -> Taken:
        """Milliseconds by system and kind of page: each kind `times` times for brique, and for the peers as often as
        `seconds` allow, at least once."""
        taken: Taken = {name: defaultdict(list) for name in self.clients}
        kinds = self.kinds()
        for system in self.clients:
            self._ask(system, kinds["plain"]())
        end = time.monotonic() + seconds
        for turn in range(times):
            for kind, make in kinds.items():
                page = make()
                taken["brique"][kind].append(self._ask("brique", page))
                if turn == 0 or time.monotonic() < end:
                    for system in ("django", "datasette"):
                        taken[system][kind].append(self._ask(system, page))
        return taken

    def _ask(self, system: str, page: Page) -> float:
        path = getattr(page, system)
        began = time.perf_counter()
        answer = self.clients[system].get(path)
        took = (time.perf_counter() - began) * 1000
        if not answer.ok:
            if system == "brique":
                raise SystemExit(f"brique answered {answer.status} to {path}: {answer.body[:500]!r}")
            self.failed[system] += 1
        return took

    # -- kinds of pages

    def kinds(self) -> dict[str, Callable[[], Page]]:
        found: dict[str, Callable[[], Page]] = {"plain": lambda: self.page()}
        for name in COLUMNS:
            for sign in ("", "-"):
                found[f"sort_{sign}{name}"] = lambda name=name, sign=sign: self.page(sort=(name, sign))  # type: ignore[misc]
                found[f"deep_{sign}{name}"] = lambda name=name, sign=sign: self.deep(name, sign)  # type: ignore[misc]
        found |= {
            "filter_article": lambda: self.page(equal=("article", self.pick("article"))),
            "filter_article_sorted": lambda: self.page(equal=("article", self.pick("article")), sort=("amount", "-")),
            "filter_quantity": lambda: self.page(equal=("quantity", self.pick("quantity")), sort=("price", "")),
            "filter_discount_sorted": lambda: self.page(
                equal=("discount", self.pick("discount")), sort=("article", "")
            ),
            "filter_order": lambda: self.page(equal=("ord", self.pick("ord"))),
            "filter_from": lambda: self.page(least=("amount", self.pick("amount")), sort=("quantity", "")),
            "search": lambda: self.page(search=str(self.pick("article"))[2:]),
            "search_wide": lambda: self.page(search=str(self.pick("article"))[2:5]),
            "search_sorted": lambda: self.page(search=str(self.pick("article"))[2:5], sort=("amount", "-")),
            "search_filtered": lambda: self.page(
                search=str(self.pick("article"))[2:5], equal=("quantity", self.pick("quantity")), sort=("price", "-")
            ),
        }
        return found

    def pick(self, name: str) -> object:
        return self.chance.choice(self.known.values[name])

    def page(
        self,
        *,
        sort: tuple[str, str] | None = None,
        equal: tuple[str, object] | None = None,
        least: tuple[str, object] | None = None,
        search: str = "",
        brique: dict[str, str] | None = None,
        django: dict[str, str] | None = None,
        datasette: dict[str, str] | None = None,
    ) -> Page:
        """A page as all three are asked for it; the last three are what one of them alone is told."""
        ours, theirs, its = dict(brique or {}), dict(django or {}), {"_size": str(ROWS), **(datasette or {})}
        if sort is not None:
            name, sign = sort
            ours["sort"] = sign + ERP[name]
            theirs["o"] = f"{sign}{DJANGO_PLACE[name]}"
            its["_sort_desc" if sign else "_sort"] = name
        if equal is not None:
            name, value = equal
            ours[ERP[name]] = its[f"{name}__exact"] = str(value)
            theirs[f"{DJANGO_FIELD[name]}__exact"] = str(value)
        if least is not None:
            name, value = least
            ours[f"{ERP[name]}__ge"] = its[f"{name}__gte"] = str(value)
            theirs[f"{DJANGO_FIELD[name]}__gte"] = str(value)
        if search:
            ours["q"] = theirs["q"] = its["_search"] = search
        return Page(
            f"/tables/orlnpf?{urllib.parse.urlencode(ours)}",
            f"/admin/shop/line/?{urllib.parse.urlencode(theirs)}",
            f"/lines/line?{urllib.parse.urlencode(its)}",
        )

    def deep(self, name: str, sign: str) -> Page:
        """From somewhere in the middle of an order: each is told in its own way where."""
        value = self.pick(name)
        ours = {"sort": sign + ERP[name], f"{ERP[name]}__{'le' if sign else 'ge'}": str(value), "limit": "1"}
        answer = self.clients["brique"].get(f"/api/tables/orlnpf?{urllib.parse.urlencode(ours)}").json()
        after = re.search(r"[?&]after=([^&]+)", answer["next"] or "")
        return self.page(
            sort=(name, sign),
            brique={"after": urllib.parse.unquote(after[1])} if after else {},
            django={"p": str(self.chance.randrange(2, max(3, self.known.rows // ROWS)))},
            datasette={"_next": f"{value},{self.chance.randrange(1, self.known.rows)}"},
        )


def _say(figures: Figures, known: Known, taken: Taken) -> None:
    figures.note(
        "HTML pages of 25 order lines, signed in, one keep-alive connection each, asked in turn. Django's admin: its "
        "own table of the same rows in the same PostgreSQL, an index on every column. Datasette: a SQLite file of the "
        "same rows, an index on every column and trigrams for its search."
    )
    figures.add("rows", known.rows, "rows")
    figures.add("kinds", len(taken["brique"]), "kinds of pages")
    for system, kinds in taken.items():
        everything = sorted(value for values in kinds.values() for value in values)
        figures.add(f"{system}_requests", len(everything), "requests")
        figures.add(f"{system}_median_ms", statistics.median(everything), "ms")
        figures.add(f"{system}_p99_ms", everything[min(len(everything) - 1, int(len(everything) * 0.99))], "ms")
        slowest = sorted(kinds, key=lambda kind: -statistics.median(kinds[kind]))
        figures.add(f"{system}_slowest_kind_ms", statistics.median(kinds[slowest[0]]), "ms")
        figures.note(f"{system}'s slowest kinds of pages: {', '.join(slowest[:3])}.")
    for system in ("django", "datasette"):
        for what in ("median_ms", "p99_ms"):
            name = f"{system}_vs_brique_{what.removesuffix('_ms')}"
            figures.add(name, figures.value(f"{system}_{what}") / figures.value(f"brique_{what}"), "ratio")
    for group in ("plain", "sort", "deep", "filter", "search"):
        for system, kinds in taken.items():
            values = [value for kind, found in kinds.items() if kind.split("_")[0] == group for value in found]
            figures.add(f"{group}.{system}_median_ms", statistics.median(values), "ms")
