"""The outbox for the command line: read from the copy, decided through the engine where one runs.

Where none runs, the files are written directly, with the lock of the data folder held for as long: there is never a
second writer. Whoever may read the data folder may do everything, so every decision is an administrator's; the audit
trail has the name of the account of the machine.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from brique.app.engine import Engine
from brique.app.intranet import Declared
from brique.app.letters import letters_of
from brique.app.lock import take
from brique.app.roles import ENGINE_SOCKET, engine_limits, open_accounts
from brique.app.run_file import read_run
from brique.channel import AsyncCaller, AsyncChannel, Direct
from brique.clock import SystemClock
from brique.commands import Act, Answer, Clerk, Desk, Done, Lead, Source
from brique.errors import BadInput, Busy, EngineAway, NotFound, Refused
from brique.exports import typed
from brique.schema import Column, State
from brique.settings import Settings
from brique.store import Deed, Reader, StoredCommand, WriteDb

T = TypeVar("T")
_PING_SECONDS = 2.0
_LOCK_SECONDS = 2.0
_LOOKS = 5
_PAGE = 500
OPEN = (State.KEPT, State.SENDING, State.REFUSED, State.CONFLICT, State.UNKNOWN)
NEEDY = (State.REFUSED, State.CONFLICT, State.UNKNOWN)


@dataclass(frozen=True)
class Asked:
    """Which commands: `states` as on the page (open, needs, all, or states); the others "" for all."""

    states: tuple[str, ...] = ("open",)
    backend: str = ""
    table: str = ""
    user: str = ""
    cause: str = ""

    def of(self) -> tuple[tuple[State, ...], bool | None]:
        """The states, and whether what a person has dealt with is left out (False: yes). Raises BadInput."""
        states: list[State] = []
        dismissed: bool | None = None
        for name in self.states:
            if name in ("open", "needs"):
                states += OPEN if name == "open" else NEEDY
                dismissed = False
            elif name == "all":
                states += State
            elif name in set(map(str, State)):
                states.append(State(name))
            else:
                known = ", ".join(("open", "needs", "all", *State))
                raise BadInput(f"There is no state {name!r}.", try_this=f"one of {known}")
        return tuple(dict.fromkeys(states)), dismissed


@dataclass(frozen=True)
class One:
    """A command with what people did about it, and what stands around it in the queues of its rows."""

    item: StoredCommand
    deeds: tuple[Deed, ...]
    waits_for: tuple[str, ...]
    waited_for_by: tuple[str, ...]


class Outbox:
    """The commands of the data folder `data`. Close it, or use it as a block."""

    def __init__(self, data: Path) -> None:
        run = read_run(data)
        self.settings: Settings = run.loaded()
        self.declared: Declared = run.intranet(kept=True).declared()
        self.author = _Machine(f"cli:{getpass.getuser()}")
        self.reader = Reader(self.settings.data / "store.db", self.declared.specs)
        self._readers = [self.reader]

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self._readers:
            reader.close()

    # what there is

    def find(self, asked: Asked, limit: int | None = None) -> Iterator[StoredCommand]:
        """Commands, the newest first, a page at a time; `limit` None: all of them. Raises EngineAway while there is no
        copy, BadInput."""
        states, dismissed = asked.of()
        after: int | None = None
        left = limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(_PAGE, left)
            found = self.reader.outbox(
                states,
                user=asked.user or None,
                backend=asked.backend or None,
                limit=size,
                after=after,
                dismissed=dismissed,
                table=asked.table or None,
                fingerprint=asked.cause or None,
            )
            yield from found
            if len(found) < size:
                return
            after = found[-1].position
            left = None if left is None else left - len(found)

    def one(self, receipt: str) -> One:
        """All that is known of one command. Raises NotFound."""
        with self.reader.snapshot():
            item = self.reader.command(receipt)
            if item is None:
                raise NotFound(
                    f"There is no command with the receipt {receipt}.", try_this="brique spool list --state all"
                )
            beside = self.reader.beside(item)
            deeds = self.reader.deeds([item.position]).get(item.position, [])
        before, after = (tuple(name for name, _position in side) for side in (beside.before, beside.after))
        return One(item, tuple(deeds), before, after)

    def deeds(self, items: list[StoredCommand]) -> Mapping[int, list[Deed]]:
        """What people did about these commands, by position."""
        return self.reader.deeds([item.position for item in items])

    # decisions

    def many(self, act: Act, receipts: list[str]) -> list[Done]:
        """Do `act` to each; a result for each, in their order."""
        return self._with_clerk(lambda clerk: clerk.many(self.author, act, receipts))

    def edit(self, receipt: str, given: Mapping[str, str], *, lost: bool) -> Answer:
        """Send it anew with other values, given as the API writes them. Raises BadInput by field."""
        values = self._values(self.one(receipt).item, given)
        return self._with_clerk(lambda clerk: clerk.edit(self.author, receipt, values, lost=lost))

    def stopped(self, backend: str) -> Lead:
        """How far `backend` is ahead of this spool. Raises NotFound for an unknown one, Refused when it is not."""
        if backend not in self.declared.backends:
            raise NotFound(f"There is no backend {backend!r}.", try_this=f"one of {', '.join(self.declared.backends)}")
        state = self.reader.backend_states().get(backend)
        ahead = Lead.of(state.facts) if state is not None else None
        if ahead is None:
            raise Refused(f"{backend} is not stopped: there is nothing to take over.")
        return ahead

    def adopt(self, backend: str, mark: int) -> None:
        """Take the mark that `backend` is stopped at for good. Raises Refused when it is at another one."""
        self._with_clerk(lambda clerk: clerk.adopt(self.author, backend, mark))

    def _values(self, item: StoredCommand, given: Mapping[str, str]) -> dict[str, Any]:
        command = item.command
        custom = self.declared.commands.get(command.name)
        if custom is not None:
            kinds = {one.name: one for one in custom.parameters}
            columns = {name: Column(name, name, one.kind, name) for name, one in kinds.items()}
            made = _read(columns, given)
            return {
                name: made[name] if kinds[name].table or made[name] is None else columns[name].python(made[name])
                for name in made
            }
        table = command.changes[0].table if len(command.changes) == 1 else ""
        if table not in self.declared.specs:
            raise BadInput("This cannot be sent again as it was: enter it anew.")
        return _read(dict(self.declared.specs[table].by_name), given)

    def _with_clerk(self, work: Callable[[Clerk], Awaitable[T]]) -> T:
        async def run() -> T:
            async with self._caller() as caller:
                return await work(Clerk(self._desk(caller), Source("cli", socket.gethostname())))

        return asyncio.run(run())

    @asynccontextmanager
    async def _caller(self) -> AsyncIterator[AsyncCaller]:
        """The engine that runs; else one that lives as long as this block, with the lock of the data folder."""
        channel = AsyncChannel(self.settings.data / ENGINE_SOCKET, limits=engine_limits(self.settings))
        try:
            lock = await self._lock_unless_running(channel)
            if lock is None:
                yield channel
                return
            with _engine(self.declared, self.settings, lock) as direct:
                yield direct
        finally:
            await channel.aclose()

    async def _lock_unless_running(self, channel: AsyncChannel) -> int | None:
        """The lock of the data folder; None when an engine answers. Raises Busy when neither is to be had."""
        fault: Busy | None = None
        for _try in range(_LOOKS):
            if await _answers(channel):
                return None
            try:
                return await asyncio.to_thread(take, self.settings.data, wait_seconds=_LOCK_SECONDS)
            except Busy as raised:  # it may be starting
                fault = raised
        assert fault is not None, "it has looked at least once"
        raise fault

    def _desk(self, caller: AsyncCaller) -> Desk:
        clock, readers = SystemClock(), threading.local()
        letters = letters_of(self.declared, open_accounts(self.settings))

        @contextmanager
        def borrow() -> Iterator[Reader]:
            if not hasattr(readers, "mine"):
                readers.mine = Reader(self.settings.data / "store.db", self.declared.specs)
                self._readers.append(readers.mine)
            yield readers.mine

        def write_db(reader: Reader, command_id: str, user: str) -> WriteDb:
            return WriteDb(
                reader,
                self.declared.specs,
                command_id=command_id,
                classes=self.declared.classes,
                now=clock.now,
                timezone=self.declared.timezone,
                user=user,
                letters=letters,
            )

        return Desk(
            caller=caller,
            borrow=borrow,
            specs=self.declared.specs,
            commands=self.declared.commands,
            clock=clock,
            random_bits=secrets.randbits,
            wait_ms=0,
            write_db=write_db,
            backends=tuple(self.declared.backends),
        )


@dataclass(frozen=True)
class _Machine:
    """Who acts on the command line."""

    name: str
    role: str = "admin"


def _read(columns: Mapping[str, Column], given: Mapping[str, str]) -> dict[str, Any]:
    """Texts as store values; an empty text is no value. Raises BadInput by field."""
    values: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for name, text in given.items():
        if name not in columns:
            faults[name] = f"There is no such field: {', '.join(columns)}."
            continue
        try:
            values[name] = typed(columns[name], text) if text else None
        except ValueError as fault:
            faults[name] = str(fault)
    if faults:
        raise BadInput("Some fields need another value.", fields=faults)
    return values


async def _answers(channel: AsyncChannel) -> bool:
    """Whether an engine runs and answers."""
    try:
        await channel.acall("ping", {}, _PING_SECONDS)
    except EngineAway:
        return False
    return True


@contextmanager
def _engine(declared: Declared, settings: Settings, lock: int) -> Iterator[Direct]:
    """An engine of our own over the files, whose `lock` is given back at the end."""
    try:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="engine", daemon=True)
        thread.start()
        engine = Engine(declared, settings, SystemClock(), lambda _topic, _payload: None)
        engine.start()
        try:
            yield Direct(engine.handle, loop=loop)
        finally:
            engine.stop()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
    finally:
        with suppress(OSError):
            os.close(lock)


__all__ = ["NEEDY", "OPEN", "Act", "Answer", "Asked", "Done", "One", "Outbox"]
