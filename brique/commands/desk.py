"""The desk: where pages and API hand commands in. Checks them against the copy, then has the engine keep them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec
from anyio import to_thread
from msgspec import structs

from brique.channel import AsyncCaller
from brique.clock import Clock, stamp
from brique.commands import check, custom
from brique.commands.acts import Again
from brique.commands.custom import CommandSpec, Wish
from brique.commands.fresh import until_fresh
from brique.commands.receipts import receipt
from brique.commands.tokens import OWN_RECEIPT, check_token, digest_of, reused
from brique.errors import BadInput, BriqueError, NotAllowed, NotFound, Refused
from brique.schema import Change, Command, Effect, Row, State, TableSpec, encode_command
from brique.store import Reader, StoredCommand, WriteDb

Checked = TypeVar("Checked")
MAIL = "mail"
"""The name of the commands that send the mails which another command asks for."""
_MAIL_LABEL = "Mail:"
_LABEL_MAX = 120


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


class Author(Protocol):
    """Who gives a command."""

    @property
    def name(self) -> str: ...

    @property
    def role(self) -> str: ...


@dataclass(frozen=True)
class Answer:
    """What became of a command so far: its receipt, and its state after a short wait.

    `duplicate`: it had been given before, under the same token. `key` is the row's (a temporary one while the
    backend has not numbered it); table and key are "" of a command that changes no row.
    """

    id: str
    position: int
    state: State
    duplicate: bool = False
    table: str = ""
    key: str = ""


_ROLES = ("read", "write", "admin")


def may(author: Author, role: str) -> bool:
    """Whether the author's role is at least `role`; a role outside the three asks for exactly itself or admin."""
    if role not in _ROLES:
        return author.role in (role, "admin")
    return author.role in _ROLES and _ROLES.index(author.role) >= _ROLES.index(role)


class Desk:
    """Commands in. `borrow` lends a reader of the copy for a block.

    Checks read a few rows by key, which takes a tenth of what a change of thread does: they run where they are called.
    What an author of the intranet has written runs in a thread of its own.
    """

    def __init__(
        self,
        *,
        caller: AsyncCaller,
        borrow: Callable[[], AbstractContextManager[Reader]],
        specs: Mapping[str, TableSpec],
        commands: Mapping[str, CommandSpec],
        clock: Clock,
        random_bits: Callable[[int], int],
        wait_ms: int,
        write_db: Callable[[Reader, str, str], WriteDb],
        backends: Collection[str] = (),
    ) -> None:
        self.caller, self.borrow, self.specs, self.commands = caller, borrow, specs, commands
        self.backends = backends
        self.clock, self.random_bits, self.wait_ms = clock, random_bits, wait_ms
        self._write_db = write_db

    def at_once(self) -> Desk:
        """The same desk, whose answers come as soon as a command is kept."""
        desk = copy(self)
        desk.wait_ms = 0
        return desk

    def new_token(self) -> str:
        """A one-time token for a form; the form's command keeps it as its idempotency key."""
        return receipt(self.clock, self.random_bits)

    async def create(
        self,
        author: Author,
        table: str,
        given: Row,
        *,
        token: str = "",
        origin: str = "form",
        replaces: str | Again = "",
    ) -> Answer:
        """Keep a new row. Raises NotFound (table), NotAllowed, BadInput (by field), and the engine's faults.

        Of all these methods: `token` makes the wish once only (see `own_receipt` for one that is the receipt);
        `replaces` is the receipt of a command that this one is kept instead of. Raises Refused when that is too late.
        """
        spec = self._spec(author, table)
        digest = digest_of("create", table, "", given)
        known = await self._known(author, token, digest)
        if known is not None:
            return known
        name = self._receipt(token)
        change = await self._once(author, token, digest, lambda copy: check.create(copy, spec, given, receipt=name))
        if isinstance(change, Answer):
            return change
        return await self._give(author, name, "create", (change,), token, origin, digest, replaces=replaces)

    async def update(
        self,
        author: Author,
        table: str,
        key: str,
        *,
        seen: Row,
        given: Row,
        token: str = "",
        origin: str = "form",
        replaces: str | Again = "",
    ) -> Answer | None:
        """Keep a change of a row; None when nothing changes. Also raises Stale (fact `theirs`)."""
        spec = self._spec(author, table)
        return await until_fresh(
            lambda: self._update(author, spec, key, seen, given, token=token, origin=origin, replaces=replaces)
        )

    async def _update(
        self,
        author: Author,
        spec: TableSpec,
        key: str,
        seen: Row,
        given: Row,
        *,
        token: str,
        origin: str,
        replaces: str | Again,
    ) -> Answer | None:
        digest = digest_of("update", spec.name, key, given)
        known = await self._known(author, token, digest)
        if known is not None:
            return known
        change = await self._once(
            author, token, digest, lambda copy: check.update(copy, spec, key, seen=seen, given=given)
        )
        if change is None:
            return await self._known(author, token, digest)
        if isinstance(change, Answer):
            return change
        name = self._receipt(token)
        return await self._give(author, name, "update", (change,), token, origin, digest, replaces=replaces)

    async def delete(
        self,
        author: Author,
        table: str,
        key: str,
        *,
        seen: Row | None = None,
        token: str = "",
        origin: str = "form",
        replaces: str | Again = "",
    ) -> Answer:
        """Keep the deletion of a row."""
        spec = self._spec(author, table)
        return await until_fresh(
            lambda: self._delete(author, spec, key, seen, token=token, origin=origin, replaces=replaces)
        )

    async def _delete(
        self,
        author: Author,
        spec: TableSpec,
        key: str,
        seen: Row | None,
        *,
        token: str,
        origin: str,
        replaces: str | Again,
    ) -> Answer:
        digest = digest_of("delete", spec.name, key, {})
        known = await self._known(author, token, digest)
        if known is not None:
            return known
        change = await self._once(author, token, digest, lambda copy: check.delete(copy, spec, key, seen=seen))
        if isinstance(change, Answer):
            return change
        name = self._receipt(token)
        return await self._give(author, name, "delete", (change,), token, origin, digest, replaces=replaces)

    async def run(
        self,
        author: Author,
        name: str,
        arguments: Mapping[str, Any],
        *,
        token: str = "",
        origin: str = "form",
        replaces: str | Again = "",
    ) -> Answer:
        """Run a declared command on the copy and keep what it asks for. Also raises Refused by its own rule."""
        spec = self.commands.get(name)
        if spec is None:
            raise NotFound("There is no command {name}.", name=name)
        if not may(author, spec.role):
            raise NotAllowed("You may not do this.", command=name)
        return await until_fresh(
            lambda: self._run(author, spec, arguments, token=token, origin=origin, replaces=replaces)
        )

    async def _run(
        self,
        author: Author,
        spec: CommandSpec,
        arguments: Mapping[str, Any],
        *,
        token: str,
        origin: str,
        replaces: str | Again,
    ) -> Answer:
        name = spec.name
        stored = custom.stored(spec, arguments)
        digest = digest_of(name, "", "", stored)
        known = await self._known(author, token, digest)
        if known is not None:
            return known
        made = self._receipt(token)

        def run(reader: Reader) -> Wish:
            try:
                return custom.run(spec, self._write_db(reader, made, author.name), arguments, self.specs, self.backends)
            except BadInput:
                check.copied(reader, [parameter.table for parameter in spec.parameters if parameter.table])
                raise

        wish = await self._once(author, token, digest, lambda copy: run(copy.reader), aside=True)
        if isinstance(wish, Answer):
            return wish
        if not wish:
            raise Refused("There is nothing to change.")
        return await self._give(
            author,
            made,
            name,
            wish.changes,
            token,
            origin,
            digest,
            label=spec.label,
            arguments=stored,
            wish=wish,
            replaces=replaces,
        )

    async def repeat(self, author: Author, command: Command, *, token: str, origin: str, replaces: Again) -> Answer:
        """Keep the effects of `command` (a mail, a call) once more; it changes no row."""
        digest = digest_of(command.name, "", command.id, {})
        known = await self._known(author, token, digest)
        if known is not None:
            return known
        wish = Wish(command.backend, (), calls=command.effects)
        return await self._give(
            author,
            self._receipt(token),
            command.name,
            (),
            token,
            origin,
            digest,
            label=command.label,
            arguments=command.arguments,
            wish=wish,
            replaces=replaces,
            after=command.after,
        )

    def find(self, author: Author, identity: str) -> StoredCommand:
        """The command with this receipt. Raises NotFound, also for the commands of others unless admin."""
        with self.borrow() as reader:
            item = reader.command(identity)
        if item is None or not (item.command.user == author.name or may(author, "admin")):
            raise NotFound("There is no command with the receipt {receipt}.", receipt=identity)
        return item

    def _spec(self, author: Author, table: str) -> TableSpec:
        spec = self.specs.get(table)
        if spec is None:
            raise NotFound("There is no table {table}.", table=table)
        if not may(author, "write"):
            raise NotAllowed("You may read here, not write.")
        return spec

    async def _known(self, author: Author, token: str, digest: str) -> Answer | None:
        """What this token gave before; asked first, because the row that it made or changed would make a second
        check fail. Raises TokenReused when it asked for something else, BadInput for what is no token."""
        if not token:
            return None
        check_token(token)
        known = await self.caller.acall("known", {"user": author.name, "token": token})
        if not known:
            return None
        if known["digest"] != digest:
            raise reused(known["id"])
        state = State(known["state"])
        return Answer(known["id"], known["position"], state, True, known["table"], known["key"])

    async def _once(
        self,
        author: Author,
        token: str,
        digest: str,
        ask: Callable[[check.ReaderCopy], Checked],
        *,
        aside: bool = False,
    ) -> Checked | Answer:
        """`ask` on one snapshot of the copy, in a thread if `aside`. When it fails because the same wish was kept
        meanwhile (of three clicks at once, another one was quicker), the answer to that."""

        def run() -> Checked:
            with self.borrow() as reader, check.ReaderCopy(reader) as seen:
                return ask(seen)

        try:
            return await to_thread.run_sync(run) if aside else run()
        except BriqueError:
            known = await self._known(author, token, digest)
            if known is None:
                raise
            return known

    def _again(self, author: Author, replaces: str | Again) -> Again:
        """What is replaced; nothing when that is a command of somebody else, which the author may not decide about.
        Where `by` is given, the clerk has looked."""
        again = Again(replaces) if isinstance(replaces, str) else replaces
        if again.receipt and not again.by:
            try:
                self.find(author, again.receipt)
            except NotFound:
                return Again("")
        return again

    def _receipt(self, token: str) -> str:
        """The receipt of a new command: the one that its giver has made up, if he has."""
        return token.removeprefix(OWN_RECEIPT) if token.startswith(OWN_RECEIPT) else self.new_token()

    async def _give(
        self,
        author: Author,
        identity: str,
        name: str,
        changes: tuple[Change, ...],
        token: str,
        origin: str,
        digest: str,
        *,
        label: str = "",
        arguments: Mapping[str, Any] | None = None,
        replaces: str | Again = "",
        wish: Wish | None = None,
        after: tuple[str, ...] = (),
    ) -> Answer:
        again = await to_thread.run_sync(self._again, author, replaces) if replaces else Again("")
        wish = wish or Wish(custom.backend_of(changes, self.specs), changes)
        alone = not (wish.changes or wish.calls)
        command = Command(
            id=identity,
            name=name,
            user=author.name,
            role=author.role,
            at=stamp(self.clock.now()),
            backend=wish.mail_backend if alone else wish.backend,
            changes=changes,
            arguments=dict(arguments or {}),
            origin=origin,
            label=label,
            replaces=again.receipt,
            digest=digest,
            effects=wish.mails[:1] if alone else wish.calls,
            after=after,
        )
        payload: dict[str, Any] = {
            "command": encode_command(command),
            "token": token,
            "wait_ms": self.wait_ms,
            "fresh": not again.receipt,
        }
        followers = [self._mail(command, mail, wish, alone=alone) for mail in wish.mails[alone:]]
        if followers:
            payload["followers"] = [encode_command(follower) for follower in followers]
        if again.receipt:
            payload["again"] = msgspec.to_builtins(again)
        given = await self.caller.acall("give", payload)
        if given["duplicate"]:
            known = await self._known(author, token, digest)
            assert known is not None, "it was just found under this token"
            return known
        return Answer(
            id=given["id"],
            position=given["position"],
            state=State(given["state"]),
            table=changes[0].table if changes else "",
            key=changes[0].key if changes else "",
        )

    def _mail(self, parent: Command, mail: Effect, wish: Wish, *, alone: bool) -> Command:
        """A mail that `parent` asks for as a command of its own, which waits for the parent unless that is nothing but
        a mail as well (`alone`)."""
        return structs.replace(
            parent,
            id=self.new_token(),
            name=MAIL,
            backend=wish.mail_backend,
            changes=(),
            arguments={},
            label=f"{_MAIL_LABEL} {mail.arguments.get('subject', '')}"[:_LABEL_MAX],
            replaces="",
            effects=(mail,),
            after=() if alone else (parent.id,),
        )
