"""The engine: the only writer of spool and store, behind one door that the other processes call.

| method | payload | does |
| --- | --- | --- |
| give | command, token, followers, again, wait_ms | keeps a command; waits up to `wait_ms` for its end |
| known | user, token | what a token has given before |
| move, dismiss | position, ... | a person's decision |
| claim | waiting, for_good | what may be sent: nobody can withdraw it from now on |
| release | positions, reason, for_good | what was claimed has not arrived |
| adopt | backend, mark, by, source | a person takes a backend's mark, which is ahead of the spool, for good |
| report | Report | outcomes of replay |
| load | table, stage, rows | makes the first copy of a table from a stage file |
| refreshed | backend, at, began, tables, changes | takes a refresh in, in one transaction |
| rows | began, changes | takes rows in that a backend has told of |
| backend | name, fields | what the status page shows |
| offer | representation | bytes that a web process has computed |
| watch | holder, begun, ended, anew | which views the followers of a web process look at, for some seconds |
| publish | outgoing | what a place has, and has not |
| rebuild | place, view | all of it is sent to the place again |
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from brique.app import watching
from brique.app.intranet import Declared
from brique.app.publishing import Publishing
from brique.app.writer import Writer
from brique.clock import Clock, unstamp
from brique.commands import (
    Adopt,
    Again,
    Claim,
    Claimed,
    Dismiss,
    Give,
    Ledger,
    Move,
    Receipt,
    Release,
    Report,
    report_from_payload,
)
from brique.errors import BadConfiguration, BadInput, Busy, NoRoom
from brique.refresh import Health, read_changes
from brique.schema import State, decode_command
from brique.settings import Settings
from brique.spool import SpoolLimits, SqliteSpool
from brique.store import RowChange, Store, Tx, choices
from brique.views import Keeper, Maker

log = logging.getLogger(__name__)
_SETTLED_MAX = 10_000
_HOUSEKEEPING_SECONDS = 600.0
Broadcast = Callable[[str, dict[str, Any]], None]


class Engine:
    """The engine of `declared`, its files in `settings.data`. `broadcast(topic, payload)` reaches every process."""

    def __init__(self, declared: Declared, settings: Settings, clock: Clock, broadcast: Broadcast) -> None:
        self.declared, self.settings, self.clock = declared, settings, clock
        self.broadcast = broadcast
        folder = settings.data
        self.spool = SqliteSpool(folder / "spool", limits=SpoolLimits.of(settings), takes_over=folder / "spool.db")
        self.store = Store(
            folder / "store.db", declared.specs, clock=clock, change_log_rows_max=settings.change_log_rows_max
        )
        maker = Maker(
            declared.specs,
            clock=clock,
            classes=declared.classes,
            timezone=declared.timezone,
            twice=bool(settings.views_twice),
            settings=choices(settings),
        )
        self.keeper = Keeper(
            declared.kept_views,
            self.store,
            maker=maker,
            bytes_max=settings.kept_bytes_max,
            settings=choices(settings),
        )
        self.publishing = Publishing(declared, self.store, self.keeper, clock)
        self.ledger = Ledger(self.spool, self.store, clock)
        self.writer = Writer(
            self.ledger,
            self.store,
            batch_max=settings.commit_batch_max,
            queue_max=settings.spool_queue_max,
            after_batch=self._tell_changes,
            chore=self._catch_up,
        )
        self._waiters: dict[int, list[asyncio.Future[State]]] = {}
        self._settled: dict[int, State] = {}
        self._touched: set[str] = set()
        self._given: set[str] = set()
        self._down: set[str] = set()
        self.store.listen(self._note_changes)

    def start(self) -> None:
        """Bring the store up to the spool, then take requests."""
        self._check_pair()
        self._tell_recovery()
        shown = self.ledger.catch_up()
        if shown:
            log.info("%d records of the spool were not in the store yet", shown)
        self.writer.start()

    def _check_pair(self) -> None:
        """Store and spool belong together: the store remembers how far in this spool it has come. Raises
        BadConfiguration for a store of another spool, which only mixed backups bring about."""
        spool = self.spool
        names = {spool.name(), *(ancestor.name for ancestor in spool.ancestors())}
        with self.store.transaction() as tx:
            known, shown = tx.meta("stream"), tx.spool_position()
            if known is not None and known not in names:
                raise BadConfiguration(
                    f"store.db and spool in {self.settings.data} are not of the same time.",
                    try_this="keep spool and remove store.db: the copy is made again, and what waits is shown again",
                )
            tx.set_meta("stream", spool.name())
            tx.set_meta("stream_ancestors", json.dumps([[one.name, one.last] for one in spool.ancestors()]))
        if shown > spool.last():
            log.error("the spool has lost its records %d to %d; the store knows them", spool.last() + 1, shown)
            spool.skip_to(shown)

    def _tell_recovery(self) -> None:
        """What the spool found when it was opened: into the log, and into the store for the status page."""
        found = self.spool.recovery
        for number, line in enumerate(found.lines()):
            log.log(logging.INFO if not number or found.is_sound else logging.ERROR, "%s", line)
        with self.store.transaction() as tx:
            tx.set_meta("spool_recovery", "\n".join(found.lines()))
            tx.set_meta("spool_sound", int(found.is_sound))

    async def look_after(self) -> None:
        """Housekeeping, for ever: commands that settled long ago are forgotten."""
        while True:
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)
            try:
                await self._forget()
                await self._compact()
                await asyncio.wrap_future(self.writer.run(self._tidy))
            except (Busy, NoRoom) as fault:
                log.info("housekeeping waits: %s", fault.message)

    async def _forget(self) -> None:
        before = self.clock.now() - timedelta(days=self.settings.keep_settled_days)
        forgotten = 0
        while count := await asyncio.wrap_future(self.writer.run(partial(self.ledger.forget, before))):
            forgotten += count
        if forgotten:
            log.info("%d commands settled before %s were forgotten", forgotten, before)

    def _tidy(self) -> None:
        """What the clock has ended a day ago is not kept for who may ask again."""
        with self.store.transaction() as tx:
            self.keeper.tidy(tx, self.clock.now())

    async def _compact(self) -> None:
        """Write anew one segment of the spool that holds little but what is forgotten; the reading and writing of it
        happens beside the writing thread."""
        worn = await asyncio.wrap_future(self.writer.run(lambda: self.ledger.worn(self.spool.stretches())))
        if worn is None:
            return
        made = await asyncio.to_thread(self.spool.rewrite, worn.first, worn.is_needed)
        if made is not None:
            freed = await asyncio.wrap_future(self.writer.run(partial(self.spool.replace, made)))
            log.info("the spool's segment %d was written anew: %d KiB are free", worn.first, freed // 1024)

    def stop(self) -> None:
        """Finish what was taken and close the files."""
        self.writer.stop()
        self.store.close()
        self.spool.close()

    async def handle(self, method: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Answer one call. Raises BadInput for an unknown method, and whatever the method raises."""
        handler = self._METHODS.get(method)
        if handler is None:
            raise BadInput(f"the engine has no method {method!r}")
        return await handler(self, payload)

    async def _give(self, payload: dict[str, Any]) -> dict[str, Any]:
        command = decode_command(payload["command"])
        followers = tuple(map(decode_command, payload.get("followers", ())))
        again = msgspec.convert(payload["again"], Again) if "again" in payload else None
        give = Give(command, payload.get("token", ""), followers, again, fresh=payload.get("fresh", False))
        receipt = await self.keep(give)
        wait_ms = 0 if command.backend in self._down else payload.get("wait_ms", 0)
        state = await self._wait(receipt.position, wait_ms)
        return {
            "id": receipt.id,
            "position": receipt.position,
            "duplicate": receipt.duplicate,
            "state": str(state or State.KEPT),
        }

    async def keep(self, give: Give) -> Receipt:
        """Keep a command, and wake the backends that it is for."""
        receipt = await self.writer.ask_soon(give)
        assert isinstance(receipt, Receipt)
        if not self._given:
            asyncio.get_running_loop().call_soon(self._tell_given)
        self._given.update((give.command.backend, *(follower.backend for follower in give.followers)))
        return receipt

    def _tell_given(self) -> None:
        """Wake the backends for which commands were kept in this turn of the loop, each once."""
        backends, self._given = self._given, set()
        for backend in backends:
            self.broadcast("commands", {"backend": backend})

    async def _known(self, payload: dict[str, Any]) -> dict[str, Any]:
        known = self.writer.run(lambda: self.ledger.known(payload["user"], payload["token"]))
        return dict(await asyncio.wrap_future(known))

    async def _wait(self, position: int, wait_ms: int) -> State | None:
        """The state that the command settles in within `wait_ms`; None when it does not."""
        if position in self._settled or not wait_ms:
            return self._settled.get(position)
        future: asyncio.Future[State] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(position, []).append(future)
        try:
            return await asyncio.wait_for(future, wait_ms / 1000)
        except TimeoutError:
            return None
        finally:
            others = self._waiters.get(position, [])
            if future in others:
                others.remove(future)
            if not others:
                self._waiters.pop(position, None)

    async def _receipt(self, payload: dict[str, Any]) -> dict[str, Any]:
        found = self.writer.run(partial(self.ledger.receipt_at, payload["position"]))
        return {"receipt": await asyncio.wrap_future(found)}

    async def _move(self, payload: dict[str, Any]) -> dict[str, Any]:
        await self.writer.ask_soon(msgspec.convert(payload, Move))
        return {}

    async def _dismiss(self, payload: dict[str, Any]) -> dict[str, Any]:
        await self.writer.ask_soon(msgspec.convert(payload, Dismiss))
        return {}

    async def _claim(self, payload: dict[str, Any]) -> dict[str, Any]:
        claimed = await self.writer.ask_soon(Claim(tuple(payload["positions"]), payload["for_good"]))
        assert isinstance(claimed, Claimed)
        return claimed.to_payload()

    async def _release(self, payload: dict[str, Any]) -> dict[str, Any]:
        positions = tuple(payload["positions"])
        tried, next_try = payload.get("tried", False), payload.get("next_try")
        release = Release(positions, payload["reason"], payload["for_good"], tried, next_try)
        await self.writer.ask_soon(release)
        return {}

    async def _adopt(self, payload: dict[str, Any]) -> dict[str, Any]:
        wish = msgspec.convert(payload, Adopt)
        await asyncio.wrap_future(self.writer.run(partial(self.ledger.adopt, wish)))
        self.broadcast("adopted", {"backend": wish.backend})
        return {}

    async def _report(self, payload: dict[str, Any]) -> dict[str, Any]:
        report = report_from_payload(payload)
        await self.writer.ask_soon(report)
        self._wake_waiters(report)
        return {}

    def _wake_waiters(self, report: Report) -> None:
        if report.as_wanted:
            self._wake_applied(report.done)
        for outcome in report.outcomes:
            if outcome.state.settled:
                self._wake(outcome.position, outcome.state)

    def _wake_applied(self, positions: Sequence[int]) -> None:
        """`_wake` for many, of which few are waited for."""
        awaited = self._waiters.keys() & positions if self._waiters else set()
        self._settled.update(dict.fromkeys(positions, State.APPLIED))
        for old in list(islice(self._settled, max(0, len(self._settled) - _SETTLED_MAX))):
            del self._settled[old]
        for position in awaited:
            self._wake(position, State.APPLIED)

    def _wake(self, position: int, state: State) -> None:
        self._settled[position] = state
        if len(self._settled) > _SETTLED_MAX:
            del self._settled[next(iter(self._settled))]
        for future in self._waiters.pop(position, ()):
            if not future.done():
                future.set_result(state)

    async def _load(self, payload: dict[str, Any]) -> dict[str, Any]:
        table, stage, rows = payload["table"], Path(payload["stage"]), payload["rows"]
        begin = self.writer.run(lambda: self.store.begin_load(table, stage, rows, began=payload["began"]))
        load = await asyncio.wrap_future(begin)
        await asyncio.wrap_future(self.writer.load(load))
        self.broadcast("changed", {"tables": [table]})
        return {}

    async def _refreshed(self, payload: dict[str, Any]) -> dict[str, Any]:
        await asyncio.wrap_future(self.writer.run(lambda: self._take_in(payload)))
        return {}

    def _take_in(self, payload: dict[str, Any]) -> None:
        path = payload["changes"]
        changes = read_changes(Path(path)) if path else []
        with self.store.transaction() as tx:
            for item in changes:
                tx.apply_base(item.table, item.upserts, item.deletes, began=payload["began"])
            if not payload["unchanged"]:
                tx.let_go(payload["tables"], payload["began"])
                tx.backend_state(
                    payload["backend"], reading=None, copy_seconds=payload["seconds"], marks=payload["marks"]
                )
            tx.confirmed(payload["backend"], payload["tables"], unstamp(payload["at"]))
            for table, fault in payload["faults"].items():
                tx.table_fault(table, fault)
        if path:
            Path(path).unlink(missing_ok=True)

    async def _rows(self, payload: dict[str, Any]) -> dict[str, Any]:
        def take() -> None:
            file = Path(payload["changes"])
            with self.store.transaction() as tx:
                for item in read_changes(file):
                    tx.apply_base(item.table, item.upserts, item.deletes, began=payload["began"])
            file.unlink(missing_ok=True)

        await asyncio.wrap_future(self.writer.run(take))
        return {}

    async def _backend(self, payload: dict[str, Any]) -> dict[str, Any]:
        def note() -> None:
            if "rung" in payload["fields"]:
                self.ledger.climbed(payload["name"], payload["fields"]["rung"])
            with self.store.transaction() as tx:
                tx.backend_state(payload["name"], **payload["fields"])

        if "state" in payload["fields"]:
            is_down = payload["fields"]["state"] == Health.DOWN
            (self._down.add if is_down else self._down.discard)(payload["name"])
        await asyncio.wrap_future(self.writer.run(note))
        self.broadcast("backend", {"name": payload["name"]})
        return {}

    async def _offer(self, payload: dict[str, Any]) -> dict[str, Any]:
        def take() -> bool:
            with self.store.transaction() as tx:
                return self.keeper.accept(tx, payload)

        return {"kept": await asyncio.wrap_future(self.writer.run(take))}

    async def _watch(self, payload: dict[str, Any]) -> dict[str, Any]:
        return dict(await asyncio.wrap_future(self.writer.run(partial(watching.look, self.keeper, payload))))

    def _catch_up(self) -> float | None:
        """Make some of what is watched and had to wait; in how many seconds there is more to do."""
        wait = self.keeper.next_in()
        if wait == 0.0:
            with self.store.transaction() as tx:
                self.keeper.catch_up(tx)
            wait = self.keeper.next_in()
        return wait

    async def _publish(self, payload: dict[str, Any]) -> dict[str, Any]:
        await asyncio.wrap_future(self.writer.run(partial(self.publishing.take, payload)))
        return {}

    async def _rebuild(self, payload: dict[str, Any]) -> dict[str, Any]:
        rebuild = partial(self.publishing.rebuild, payload["place"], payload.get("view", ""))
        count = await asyncio.wrap_future(self.writer.run(rebuild))
        self.broadcast("publish", {"place": payload["place"]})
        return {"keys": count}

    async def _ping(self, _: dict[str, Any]) -> dict[str, Any]:
        if self.writer.failure is not None:
            raise RuntimeError("the writing thread has ended")
        return {}

    def _note_changes(self, tx: Tx, changes: Sequence[RowChange]) -> None:
        self._touched.update(tx.reloaded, (change.table for change in changes))

    def _tell_changes(self) -> None:
        """Tell every process which tables and views have changed; called in the writing thread after a commit."""
        if self._touched:
            tables, self._touched = sorted(self._touched), set()
            self.broadcast("changed", {"tables": tables})
        watching.tell(self.keeper, self.broadcast)

    _METHODS: ClassVar[dict[str, Callable[[Engine, dict[str, Any]], Awaitable[dict[str, Any]]]]] = {
        "give": _give,
        "known": _known,
        "receipt": _receipt,
        "move": _move,
        "dismiss": _dismiss,
        "claim": _claim,
        "release": _release,
        "adopt": _adopt,
        "report": _report,
        "load": _load,
        "refreshed": _refreshed,
        "rows": _rows,
        "backend": _backend,
        "offer": _offer,
        "watch": _watch,
        "publish": _publish,
        "rebuild": _rebuild,
        "ping": _ping,
    }
