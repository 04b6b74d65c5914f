"""Telling authors by mail: what needs them is looked for now and then, beside the engine's own work."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable

from brique.app.engine import Engine
from brique.app.intranet import Declared
from brique.app.letters import letters_of
from brique.clock import Clock, SystemClock, unstamp
from brique.commands import Give, Letter, notify, receipt
from brique.errors import BadConfiguration, BadInput, BriqueError, EngineAway, NotFound
from brique.http import Accounts
from brique.schema import Effect
from brique.settings import Settings
from brique.store import Reader, StoredCommand

log = logging.getLogger(__name__)
LOOK_SECONDS = 20.0
_AUTHORS_MAX = 500


class Notifying:
    """Looks for authors to be told. One thread at a time."""

    def __init__(self, declared: Declared, settings: Settings, clock: Clock, accounts: Accounts) -> None:
        self.declared, self.settings, self.clock, self.accounts = declared, settings, clock, accounts
        self.letters = letters_of(declared, accounts)
        self._reader = Reader(settings.data / "store.db", declared.specs)

    @property
    def is_wanted(self) -> bool:
        """Whether the intranet has what sends mails."""
        return self.letters is not None

    def look(self) -> list[Give]:
        """The notices to keep by now."""
        if self.letters is None:
            return []
        try:
            with self._reader.snapshot():
                untold = self._reader.untold(but=self.letters.backend, authors=_AUTHORS_MAX)
                told_at = {name: unstamp(at) for name, at in self._reader.told_at().items()}
        except EngineAway:  # no store yet
            return []
        found = notify(
            self._reachable(untold),
            told_at,
            now=self.clock.now(),
            minutes=self.settings.notice_minutes,
            language_of=self._language,
            write=self._write,
            new_receipt=lambda: receipt(self.clock, secrets.randbits),
            backend=self.letters.backend,
            address=self.settings.public_url,
        )
        return [Give(one.command, one.token) for one in found]

    def _reachable(self, untold: dict[str, list[StoredCommand]]) -> dict[str, list[StoredCommand]]:
        return {name: items for name, items in untold.items() if self.accounts.address_of(name)}

    def _language(self, name: str) -> str:
        try:
            return self.accounts.user(name).language or "en"
        except NotFound:
            return "en"

    def _write(self, letter: Letter) -> Effect | None:
        assert self.letters is not None, "asked for only where there is one"
        try:
            return self.letters.write(
                letter.subject, to=[letter.author], cc=(), bcc=(), reply_to="", subject=letter.subject,
                text=letter.text, html="", attachments=(), values={},
            )  # fmt: skip
        except (BadInput, BadConfiguration) as fault:
            log.warning("%s is not told by mail: %s", letter.author, fault.message)
            return None

    def close(self) -> None:
        self._reader.close()


async def tell_authors(
    engine: Engine, declared: Declared, settings: Settings, open_accounts: Callable[[Settings], Accounts]
) -> None:
    """Send authors notices of what needs them, for ever; nothing where no mail is sent."""
    accounts = open_accounts(settings)
    notifying = Notifying(declared, settings, SystemClock(), accounts)
    try:
        while notifying.is_wanted:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                for notice in await asyncio.to_thread(notifying.look):
                    await engine.keep(notice)
            except BriqueError as fault:
                log.warning("authors are told later: %s", fault.message)
    finally:
        notifying.close()
        accounts.close()
