"""What people decide about commands that are not done with: take back, retry, say what became of them, put away.

Everybody decides about his own commands, an administrator about all; who may only read, about none. Whoever sends a
command anew as it was sends it for its author: his wish, his right to it (checked again at replay), and he learns what
becomes of it. Who did it, and from where, is in the audit trail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from anyio import to_thread

from brique.commands import custom
from brique.commands.acts import EDITED, RETRIED, Again, Source
from brique.commands.custom import CommandSpec
from brique.commands.desk import Answer, Author, Desk, may
from brique.commands.heirs import arguments_with_heirs, with_heirs
from brique.errors import BriqueError, NotAllowed, NotFound, Refused
from brique.schema import Change, Row, State
from brique.store import StoredCommand

Act = Literal["retry", "withdraw", "dismiss", "arrived", "lost", "resend"]
ACTS: tuple[Act, ...] = ("retry", "withdraw", "dismiss", "arrived", "lost", "resend")
"""What can be done to many at once. `arrived`, `lost` and `resend` say of those whose outcome is unknown that they
arrived, that they did not, and that they did not and are to be sent again."""
NEEDY = (State.REFUSED, State.CONFLICT, State.UNKNOWN)
_AT_ONCE = 256


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


@dataclass(frozen=True)
class Done:
    """What became of one of many: `instead` is the receipt of the command that was kept, `fault` why nothing was done
    (None: it was)."""

    receipt: str
    instead: str = ""
    fault: BriqueError | None = None


@dataclass(frozen=True)
class _Behalf:
    """The author of a command, for whom somebody else sends it anew."""

    name: str
    role: str


class Clerk:
    """Decisions, through one desk. `source`: from where they come."""

    def __init__(self, desk: Desk, source: Source) -> None:
        self.desk, self.source = desk, source

    async def withdraw(self, author: Author, receipt: str) -> None:
        """Take a command back that has not been sent. Raises Refused when it is too late."""
        item = await self._find(author, receipt, State.KEPT)
        await self._move(author, item, State.WITHDRAWN, "")

    async def decide(self, author: Author, receipt: str, *, arrived: bool) -> None:
        """Say of a command whose outcome is unknown whether it arrived. Raises Refused for any other."""
        item = await self._find(author, receipt, State.UNKNOWN)
        await self._move(author, item, State.APPLIED if arrived else State.REFUSED, f"decided by {author.name}")

    async def dismiss(self, author: Author, receipt: str) -> None:
        """Say that a refused, conflicting or unknown command has been dealt with. Raises Refused for any other."""
        item = await self._find(author, receipt, *NEEDY)
        payload = {"position": item.position, "by": author.name, "source": msgspec.to_builtins(self.source)}
        await self.desk.caller.acall("dismiss", payload)

    async def leave(self, author: Author, receipt: str) -> None:
        """Say that a command whose outcome is unknown has not arrived, and is not to be sent again."""
        item = await self._find(author, receipt, *NEEDY)
        if item.state is State.UNKNOWN:
            await self.decide(author, receipt, arrived=False)
        if not item.dismissed:
            await self.dismiss(author, receipt)

    async def retry(self, author: Author, receipt: str, *, token: str = "", lost: bool = False) -> Answer:
        """Send the same wish anew, checked against the copy as it is now; a new command that replaces this one.

        `lost`: its outcome was unknown, and the author says that it has not arrived. Raises Refused when the command
        is in no state for that, was sent anew before, or the row already is as it was asked for; and what giving a
        command raises.
        """
        return await self._anew(author, receipt, RETRIED, {}, token, lost=lost)

    async def edit(
        self, author: Author, receipt: str, values: Mapping[str, Any], *, token: str = "", lost: bool = False
    ) -> Answer:
        """As `retry`, with other values for some columns (store values), or other arguments (Python values)."""
        return await self._anew(author, receipt, EDITED, values, token, lost=lost)

    async def _anew(
        self, author: Author, receipt: str, how: str, values: Mapping[str, Any], token: str, *, lost: bool
    ) -> Answer:
        item = await self._find(author, receipt, *NEEDY, State.WITHDRAWN)
        command = item.command
        for_whom = author if command.user == author.name else _Behalf(command.user, command.role)
        if item.state is State.UNKNOWN and not lost:
            raise Refused(_("Say first whether it has arrived."), receipt=receipt)
        again = Again(receipt, how, author.name, self.source, lost)
        given: dict[str, Any] = {"token": token, "origin": self.source.origin or "form", "replaces": again}
        if command.name in self.desk.commands:
            arguments = await to_thread.run_sync(self._arguments, self.desk.commands[command.name], command.arguments)
            return await self.desk.run(for_whom, command.name, {**arguments, **values}, **given)
        if not command.changes and command.effects:
            if values:
                raise Refused(_("This cannot be sent again as it was: enter it anew."))
            return await self.desk.repeat(for_whom, command, **given)
        return await self._change_anew(for_whom, item, values, given)

    async def _change_anew(
        self, author: Author, item: StoredCommand, values: Mapping[str, Any], given: dict[str, Any]
    ) -> Answer:
        if len(item.command.changes) != 1:
            raise Refused(_("This cannot be sent again as it was: enter it anew."))
        change = await to_thread.run_sync(self._meant, *item.command.changes)
        wanted = {**(change.after or {}), **values}
        if change.before is None:
            return await self.desk.create(author, change.table, wanted, **given)
        if change.after is None:
            if values:
                raise Refused(_("This cannot be sent again as it was: enter it anew."))
            return await self.desk.delete(author, change.table, change.key, **given)
        now = await to_thread.run_sync(self._values, change.table, change.key)
        answer = await self.desk.update(author, change.table, change.key, seen=now, given=wanted, **given)
        if answer is None:
            raise Refused(_("The row already is as it was asked for."))
        return answer

    async def adopt(self, author: Author, backend: str, mark: int) -> None:
        """Take the mark that `backend` is stopped at for good. Raises NotAllowed for all but administrators, Refused
        when it is not stopped, or at another mark."""
        if not may(author, "admin"):
            raise NotAllowed(_("Only an administrator may do this."))
        payload = {"backend": backend, "mark": mark, "by": author.name, "source": msgspec.to_builtins(self.source)}
        await self.desk.caller.acall("adopt", payload)

    async def many(self, author: Author, act: Act, receipts: Sequence[str], *, token: str = "") -> list[Done]:
        """Do `act` to each of `receipts`, and say of each what became of it, in their order. What cannot be done to
        one does not stop the others; the same `token` does nothing twice.

        Retries are given one after the other, the oldest first, because one may build on another.
        """
        if act in ("retry", "resend"):
            order = sorted(dict.fromkeys(receipts), key=await to_thread.run_sync(self._positions, tuple(receipts)))
            done = {name: await self._one(author, act, name, token) for name in order}
            return [done[name] for name in receipts]
        found: list[Done] = []
        for start in range(0, len(receipts), _AT_ONCE):
            part = receipts[start : start + _AT_ONCE]
            found += await asyncio.gather(*(self._one(author, act, name, token) for name in part))
        return found

    async def _one(self, author: Author, act: Act, receipt: str, token: str) -> Done:
        try:
            if act in ("retry", "resend"):
                own = f"{token}.{receipt}" if token else ""
                answer = await self.retry(author, receipt, token=own, lost=act == "resend")
                return Done(receipt, answer.id)
            if act == "withdraw":
                await self.withdraw(author, receipt)
            elif act == "dismiss":
                await self.dismiss(author, receipt)
            elif act == "arrived":
                await self.decide(author, receipt, arrived=True)
            else:
                await self.leave(author, receipt)
        except BriqueError as fault:
            return Done(receipt, fault=fault)
        return Done(receipt)

    def _positions(self, receipts: Sequence[str]) -> Any:
        """What sorts receipts by the place of their commands in the spool."""
        with self.desk.borrow() as reader, reader.snapshot():
            found = {name: item.position for name in receipts if (item := reader.command(name)) is not None}
        return lambda name: found.get(name, 0)

    async def _find(self, author: Author, receipt: str, *states: State) -> StoredCommand:
        """The command, which must be in one of `states`, for an author who may write."""
        if not may(author, "write"):
            raise NotAllowed(_("You may not do this."))
        item = await to_thread.run_sync(self.desk.find, author, receipt)
        if item.state not in states:
            raise Refused(_("It was too late for that: look at what has become of it."), state=str(item.state))
        return item

    async def _move(self, author: Author, item: StoredCommand, state: State, reason: str) -> None:
        source = msgspec.to_builtins(self.source)
        payload = {"position": item.position, "state": str(state), "by": author.name, "reason": reason}
        await self.desk.caller.acall("move", {**payload, "source": source})

    def _arguments(self, spec: CommandSpec, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a command to run it anew, on the rows that are meant now."""
        with self.desk.borrow() as reader, reader.snapshot():
            return custom.given(spec, arguments_with_heirs(reader, spec, arguments))

    def _meant(self, change: Change) -> Change:
        """`change` on the row, and with the references, that are meant now."""
        with self.desk.borrow() as reader, reader.snapshot():
            return with_heirs(reader, change, self.desk.specs)

    def _values(self, table: str, key: str) -> Row:
        """The row as the copy has it; raises NotFound when it is not there."""
        with self.desk.borrow() as reader:
            row = reader.row(table, key)
        if row is None:
            raise NotFound(_("The row is not there any more."))
        return row.values
