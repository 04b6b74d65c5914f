"""One seed: a store of random tables, random views over it, random changes; kept answers compared with new ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from brique.check import Asked, SetClock, Truth, answer_from_nothing
from brique.clock import stamp
from brique.errors import BriqueError
from brique.schema import Change, Command, Row, State, TableSpec
from brique.store import Reader, StageWriter, Store
from brique.store.db import cells
from brique.views import Keeper, Maker, Offer, View, ViewFailed, Views, letting_go
from tests.views.properties.programs import Failing, random_view
from tests.views.properties.tables import KEYS, key_value, random_row, random_specs, random_value

_ZONES = ("UTC", "Africa/Dakar", "Europe/Paris", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia")
_STATES = (State.APPLIED, State.APPLIED, State.REFUSED, State.CONFLICT, State.WITHDRAWN)
_USERS = ("ana", "bea")
STEPS = 20


class Violation(AssertionError):
    """A kept answer differs from what the view makes of the data from nothing."""


class Life:
    """`counts` says how many changes and checks there were."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.seed, self.random, self.folder = seed, Random(seed), folder
        self.specs = random_specs(self.random)
        self.focus = self.random.choice(list(self.specs))
        self.views: dict[str, View] = {}
        while len(self.views) < 3:
            view = random_view(self.random, f"v{len(self.views)}", self.specs, self.focus)
            self.views[view.name] = view
        self.zone = ZoneInfo(self.random.choice(_ZONES))
        self.clock = SetClock(datetime(2026, 11, 20, self.random.randint(0, 23), 10, tzinfo=UTC))
        self.counts: Counter[str] = Counter()
        self.asked: dict[Asked, Truth] = {}
        self.held: list[Offer] | None = None
        self.commands: dict[int, str] = {}
        self.position = 0
        self.step = 0
        path = folder / f"{seed}.db"
        self.store = Store(path, self.specs, clock=self.clock, search=self.random.random() < 0.2)
        self.store.connection.execute("PRAGMA synchronous=OFF")
        self.eager = self.random.random() < 0.4
        self.keeper = self.new_keeper()
        self.limits = (
            self.random.choice((300, 300, 0)),
            self.random.choice((2000, 2000, 0)),
            self.random.choice((1, 1, 200)),
        )
        self.readers = [Reader(path, self.specs) for _ in range(2)]
        self.processes = [self.process(reader) for reader in self.readers]

    def process(self, reader: Reader) -> Views:
        return Views(self.views, self.specs, lambda: reader, clock=self.clock, offer=self.take, timezone=self.zone)

    def new_keeper(self) -> Keeper:
        """Sometimes one that makes at once what is watched."""
        maker = Maker(self.specs, clock=self.clock, timezone=self.zone) if self.eager else None
        return Keeper(self.views, self.store, maker=maker)

    def run(self, steps: int = STEPS) -> None:
        usual = letting_go.CHECKED_MAX, letting_go.DEPENDENTS_MAX, cells.ROWS_MIN
        letting_go.CHECKED_MAX, letting_go.DEPENDENTS_MAX, cells.ROWS_MIN = self.limits
        try:
            with self.store.transaction() as tx:
                for name in self.specs:
                    tx.loaded(name)
            self.fill()
            for _ in range(12):
                self.read()
            for self.step in range(steps):
                self.act()
                self.learn_truth()
                for _ in range(self.random.randint(0, 3)):
                    self.read()
                self.look_at_kept(4)
            self.release()
            self.look_at_kept(len(self.asked))
        finally:
            letting_go.CHECKED_MAX, letting_go.DEPENDENTS_MAX, cells.ROWS_MIN = usual
            for reader in self.readers:
                reader.close()
            self.store.close()

    def act(self) -> None:
        actions: Mapping[Callable[[], None], int] = {
            self.write: 10, self.write_many: 2, self.remove: 3, self.move: 2, self.roll_back: 2, self.lay: 4,
            self.settle: 4, self.let_go: 1, self.reload: 1, self.pass_time: 3, self.hold: 2, self.release: 3,
            self.restart: 1,
        }  # fmt: skip
        self.random.choices(list(actions), list(actions.values()))[0]()

    # changes

    def a_row(self) -> tuple[TableSpec, Row]:
        """A row to write: often one that is there, with one value changed."""
        spec = self.specs[self.focus if self.random.random() < 0.6 else self.random.choice(list(self.specs))]
        new = random_row(self.random, spec, self.specs)
        held = self.store.reader.row(spec.name, spec.key_of(new))
        if held is None or self.random.random() < 0.2:
            return spec, new
        name = self.random.choice([name for name in spec.names if name not in spec.key])
        return spec, {**held.values, name: random_value(self.random, spec, spec.by_name[name], self.specs)}

    def fill(self) -> None:
        with self.store.transaction() as tx:
            for spec in self.specs.values():
                rows = [random_row(self.random, spec, self.specs) for _ in range(KEYS)]
                tx.apply_base(spec.name, [(spec.key_of(row), row) for row in rows])

    def write(self) -> None:
        self.counts["changes"] += 1
        spec, row = self.a_row()
        with self.store.transaction() as tx:
            tx.apply_base(spec.name, [(spec.key_of(row), row)])

    def write_many(self) -> None:
        with self.store.transaction() as tx:
            for _ in range(self.random.randint(2, 9)):
                self.counts["changes"] += 1
                spec, row = self.a_row()
                gone = [spec.key_of(random_row(self.random, spec, self.specs))] if self.random.random() < 0.2 else []
                tx.apply_base(spec.name, [(spec.key_of(row), row)], gone)

    def remove(self) -> None:
        self.counts["changes"] += 1
        spec, row = self.a_row()
        with self.store.transaction() as tx:
            tx.apply_base(spec.name, [], [spec.key_of(row)])

    def move(self) -> None:
        """A row gets another key: gone here, there in the same transaction."""
        self.counts["changes"] += 1
        spec, row = self.a_row()
        other = {**row, "k": key_value(spec, self.random.randint(1, KEYS))}
        if spec.key_of(row) != spec.key_of(other):
            with self.store.transaction() as tx:
                tx.apply_base(spec.name, [(spec.key_of(other), other)], [spec.key_of(row)])

    def roll_back(self) -> None:
        spec, row = self.a_row()
        partly = self.random.random() < 0.5
        with suppress(KeyError), self.store.transaction() as tx:
            with suppress(KeyError), tx.attempt():
                tx.apply_base(spec.name, [(spec.key_of(row), row)])
                if partly:
                    raise KeyError
            if not partly:
                self.keeper.on_changes(tx, tx.changes)
                raise KeyError

    def lay(self) -> None:
        """A command waits: it changes a row, takes one away or makes one that has no number yet."""
        self.counts["changes"] += 1
        spec, row = self.a_row()
        held = self.store.reader.row(spec.name, spec.key_of(row))
        chance, position = self.random.random(), self.position + 1
        if held is None or chance < 0.25:
            new = {**row, "k": None}
            self.commands[self.command(Change(spec.name, f"new-c{position}", None, new))] = spec.name
        elif chance < 0.4:
            self.commands[self.command(Change(spec.name, held.key, held.values, None))] = ""
        else:
            changed = {name: value for name, value in row.items() if value != held.values[name]}
            before = {name: held.values[name] for name in changed}
            self.commands[self.command(Change(spec.name, held.key, before, changed))] = ""

    def command(self, change: Change) -> int:
        self.position += 1
        with self.store.transaction() as tx:
            command = Command(
                id=f"c{self.position}", name="edit", user="ana", role="write", at=stamp(self.clock.now()),
                backend="erp", changes=(change,),
            )  # fmt: skip
            tx.lay(self.position, command)
        return self.position

    def settle(self) -> None:
        if not self.commands:
            return
        self.counts["changes"] += 1
        position = self.random.choice(list(self.commands))
        table, state = self.commands.pop(position), self.random.choice(_STATES)
        keys = {}
        if table and state is State.APPLIED:
            spec = self.specs[table]
            parts = [str(key_value(spec, self.random.randint(6, 8))), "1"][: len(spec.key)]
            keys = {f"{table}/new-c{position}": ",".join(parts)}
        with self.store.transaction() as tx:
            tx.settle(position, state, keys=keys)
            if state in (State.REFUSED, State.CONFLICT) and self.random.random() < 0.5:
                tx.dismiss(position)

    def let_go(self) -> None:
        with self.store.transaction() as tx:
            tx.let_go(list(self.specs), self.store.reader.settled_seq())

    def reload(self) -> None:
        """All rows of a table anew, as a first copy brings them."""
        self.counts["changes"] += 1
        spec = self.random.choice(list(self.specs.values()))
        rows = {spec.key_of(row): row for row in (random_row(self.random, spec, self.specs) for _ in range(4))}
        writer = StageWriter(self.folder / "stage.db", spec)
        writer.add([tuple(row[name] for name in spec.names) for row in rows.values()])
        staged = writer.finish()
        load = self.store.begin_load(spec.name, staged.path, staged.rows)
        while load.step():
            pass

    def pass_time(self) -> None:
        minutes = self.random.choice((1, 59, 60, 300, 600, 1440, -120))
        self.clock.moment += timedelta(minutes=minutes)
        if minutes < 0:  # what may be behind stays as it is until the clock has caught up
            self.drop_patient()

    def drop_patient(self) -> None:
        with self.store.transaction() as tx:
            for name in tx.representations.names():
                if self.views[name.partition("@")[0]].fresh_seconds is not None:
                    tx.representations.let_go_set(name)
        self.asked = {asked: Truth() for asked in self.asked}
        self.held = None if self.held is None else []

    # what reaches the engine

    def take(self, offer: Offer) -> None:
        if self.held is not None:
            self.held.append(offer)
            return
        with suppress(KeyError), self.store.transaction() as tx:
            if self.random.random() < 0.05:
                self.keeper.accept(tx, offer.payload())
                raise KeyError
        with self.store.transaction() as tx:
            kept = self.keeper.accept(tx, offer.payload())
        self.counts["kept"] += kept

    def hold(self) -> None:
        """From now on, what is made reaches the engine late."""
        if self.held is None:
            self.held = []

    def release(self) -> None:
        offers, self.held = self.held or [], None
        self.random.shuffle(offers)
        for offer in offers:
            self.take(offer)

    def restart(self) -> None:
        self.store._listeners.clear()
        self.keeper = self.new_keeper()

    # reads

    def read(self) -> None:
        """Somebody asks."""
        view = self.random.choice(list(self.views.values()))
        arguments = tuple((parameter.name, self.argument(parameter.name)) for parameter in view.parameters)
        asked = Asked(view.name, arguments, self.random.choice(_USERS))
        if asked not in self.asked:
            for user in _USERS:  # one may be given what was made for the other
                other = Asked(view.name, arguments, user)
                self.asked[other] = Truth()
                self.asked[other].note(self.clock.now(), self.from_nothing(other))
        if self.eager and self.random.random() < 0.4:
            change = self.random.choice((self.keeper.watch, self.keeper.watch, self.keeper.unwatch))
            change(asked.view, dict(asked.arguments), asked.user)
        self.clock.seconds += 10  # failures are not remembered from one read to the next
        self.compare(asked, self.given(asked), "was given")

    def argument(self, name: str) -> Any:
        if name == "t":
            return self.random.choice(("a", "b", "éa"))
        if name == "day":
            return self.random.choice(("2026-11-19", "2026-11-20"))
        if name == "r":
            return str(self.random.choice((1, 2, 3, 3, 7)))
        return self.random.randint(1, 4)

    def given(self, asked: Asked) -> object:
        try:
            found = self.random.choice(self.processes).get(asked.view, dict(asked.arguments), asked.user)
        except ViewFailed:
            return "failed"
        except BriqueError as fault:
            return str(fault)
        return "failed" if found.stale_error else found.body

    def look_at_kept(self, many: int) -> None:
        """What lies ready must be right, whether anybody asks or not."""
        for asked in self.random.sample(list(self.asked), min(many, len(self.asked))):
            kept = self.processes[0].kept(asked.view, dict(asked.arguments), asked.user)
            if kept is not None:
                self.compare(asked, kept.body, "is kept")

    def learn_truth(self) -> None:
        for asked, truth in self.asked.items():
            if self.views[asked.view].fresh_seconds is not None:
                truth.note(self.clock.now(), self.from_nothing(asked))

    def compare(self, asked: Asked, found: object, how: str) -> None:
        self.counts["checks"] += 1
        fresh, expected = self.views[asked.view].fresh_seconds, self.from_nothing(asked)
        if found == expected:
            return
        if fresh is not None and self.asked[asked].allows(found, self.clock.now() - timedelta(seconds=fresh)):
            return
        raise Violation(f"seed {self.seed} step {self.step}: {asked}: {found!r} {how}, {expected!r} is right")

    def from_nothing(self, asked: Asked) -> object:
        return answer_from_nothing(
            self.views[asked.view], asked, self.readers[1], self.specs, self.clock.now(), self.zone, mistakes=(Failing,)
        )
