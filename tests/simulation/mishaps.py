"""What happens to a simulated life from outside: clocks, accounts, disks, power, restored servers, lost files."""

from __future__ import annotations

import os
import shutil
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from brique.commands import Ledger
from brique.store import Store
from tests.simulation.files import forget, put_empty_store

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

_ZONES = ("UTC", "Africa/Dakar", "Asia/Kathmandu", "America/St_Johns")


class Mishaps:
    """One of each can be made to happen at any step."""

    def __init__(self, simulation: Simulation) -> None:
        self.sim = simulation
        self.random, self.chance = simulation.random, simulation.chance
        self.faults, self.clock, self.door = simulation.faults, simulation.clock, simulation.door
        self.door.flushed = self._store_flushed

    def pass_time(self) -> None:
        self.clock.seconds += self.random.choice((1, 30, 3600))

    def step_clock(self) -> None:
        """Somebody sets the clock, or the zone of the machine."""
        step = self.random.choice((-86_400, -3_600, -5, 5, 3_600, 86_400))
        self.clock.wall += step
        self.faults.counts["clock set back" if step < 0 else "clock set forward"] += 1
        if self.chance() < 0.3:
            self.faults.counts["machine in another zone"] += 1
            set_zone(self.random.choice(_ZONES))

    def sack(self) -> None:
        """An account is taken away, or given back."""
        self.sim.gone = set() if self.sim.gone else {"gone"}
        for life in self.sim.lives.values():
            life.barred &= self.sim.gone  # who could write in the meantime may have been asked about then
        self.sim.model.barred |= self.sim.gone

    def forget(self) -> None:
        """The server loses its last commits, or is restored from its backup; connections to it are cut."""
        name = self.random.choice(self.sim.names)
        backend, ledger = self.sim.backends[name], self.sim.model.ledgers[name]
        is_awaited = self.sim.model.has_late_names(name)
        if name not in self.sim.model.surest or backend.is_locked or self.chance() < (0.1 if is_awaited else 0.6):
            return
        if backend.erp.forget(self.random.randint(1, 9 if is_awaited else 4)):
            self.faults.counts["backend restored from its backup"] += 1
            ledger.forgetful = True
            backend.cut_connections()

    def lose_store(self) -> None:
        """The store's files are gone; it is made again from backend and spool. Claims are not in the spool: what was
        on its way is found out before anybody could withdraw it."""
        if self.sim.is_forgetful or self.sim.zombies:
            return  # who loses both at once cannot be helped
        self.faults.counts["store lost"] += 1
        self.sim.stop_all()
        self._remove_store()
        put_empty_store(self.sim.folder / "store.db", self.door.declared.specs, self.clock, search=self.door.search)
        self.sim.begin_again()

    def _remove_store(self) -> None:
        forget(self.sim.folder / "store.db")
        for file in self.sim.folder.glob("store.db*"):
            file.unlink()

    def take_photo(self) -> None:
        """What of the store is on the disk for good by now, if the power fails before the next flush."""
        self.door.alive()
        self._take_photo()

    def _take_photo(self) -> None:
        self.sim.photo = {
            file.name: file.read_bytes() for file in self.sim.folder.glob("store.db*") if "-shm" not in file.name
        }

    def _store_flushed(self) -> None:
        if self.sim.photo:
            self._take_photo()

    def worsen_disk(self) -> None:
        """The power is going to fail after some calls of the disk, or one flush of it will."""
        disk = self.door.disk
        if disk is None or self.sim.zombies or self.sim.is_forgetful:
            return
        if self.chance() < 0.3:
            self.faults.counts["flush failed"] += 1
            disk.failing_flushes = 1
        else:
            disk.cut_at = disk.calls + self.random.randint(1, 40)

    def lose_power(self) -> None:
        """The power has failed in mid-write: of what was not flushed, some is there, some not, some torn."""
        disk = self.door.disk
        assert disk is not None
        self.faults.counts["power cut: unflushed writes lost, torn, reordered"] += 1
        if not self.sim.photo or self.sim.zombies or self.sim.is_forgetful:
            self.sim.photo = {}
        self.sim.stop_all()
        disk.power_up()
        if self.sim.photo:
            self._put_photo()
        self.door.has_no_power = False
        self.sim.begin_again()

    def _put_photo(self) -> None:
        self._remove_store()
        for name, content in self.sim.photo.items():
            (self.sim.folder / name).write_bytes(content)

    def cut_power(self) -> None:
        """Everything ends; of the store, which does not flush, only what the disk had kept is there."""
        if not self.sim.photo or self.sim.zombies or self.sim.is_forgetful:
            return
        self.faults.counts["power cut: store thrown back"] += 1
        self.sim.stop_all()
        if self.door.disk is not None:
            self.door.disk.power_up()
        self._put_photo()
        self.sim.begin_again()

    def clean_spool(self) -> None:
        """Commands that settled long ago are forgotten, and the spool's records of them."""
        if self.sim.is_forgetful:
            return  # kept for less time than the backend's backups are
        self.faults.counts["spool cleaned"] += 1
        self.sim.model.may_forget = True
        for erp in self.sim.erps.values():
            erp.keep_no_backup()
        before = self.clock.now() - timedelta(seconds=self.random.choice((0, 60, 3600)))
        self.door.run(lambda engine: engine.ledger.forget(before))

    def rebuild(self) -> None:
        """What is laid over the copy can be made again from the spool alone."""
        with self.faults.none(), self.sim.sound_disk():
            engine = self.door.alive()
            engine.ledger.handle([])
            place = self.sim.folder / "again"
            place.mkdir()
            path, specs = place / "store.db", self.door.declared.specs
            put_empty_store(path, specs, self.clock, search=self.door.search)
            again = Store(path, specs, clock=self.clock, search=self.door.search)
            try:
                Ledger(engine.spool, again, self.clock).catch_up()
                self.faults.counts["store made again from the spool"] += 1
                self.sim.model.seen.check_same(engine.store, again)
            finally:
                again.close()
                forget(path)
                shutil.rmtree(place)


def set_zone(zone: str) -> None:
    """The machine is in another zone of time."""
    if os.environ.get("TZ", "UTC") != zone:
        os.environ["TZ"] = zone
        time.tzset()
