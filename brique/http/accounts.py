"""Accounts: who may sign in, who is signed in, and which programs hold a token.

Secrets that brique makes (session ids, API tokens, the setup link) are 256 random bits and kept only as SHA-256: who
reads the file cannot use them, and looking a hash up by index tells nothing by its time. Secrets that people make
(passwords) are kept as argon2id. Every method is synchronous and safe from any thread; those that check or make a
password take about 0.1 s and those that write wait for a disk flush, so an event loop calls them in a thread.
`session` and `token` only read and take microseconds.

The role and the `disabled` mark are read from the account at each look-up, so that a change holds from the next
request on, in every process.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import apsw
from argon2 import PasswordHasher

from brique.clock import Clock, SystemClock, stamp
from brique.errors import BadConfiguration, BadInput, NotFound, Refused
from brique.http.accounts_file import AccountsFile, Row
from brique.http.faults import SignInFailed
from brique.http.identity import ROLES, Grant, OpenedSession, Person, Role, Session, Token, User, allows
from brique.http.language import _
from brique.http.passwords import Passwords, check_password
from brique.http.throttle import Throttle, ThrottleLimits
from brique.settings import Settings

TOKEN_PREFIX = "brq_"  # noqa: S105  (marks our tokens for secret scanners)
NAME_LENGTH_MAX = 64
EMAIL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,190}")


@dataclass(frozen=True)
class AccountLimits:
    """How long and how many. A session ends `session_idle` after its last use, and `session_length` after sign-in."""

    session_idle: timedelta = timedelta(days=4)
    session_length: timedelta = timedelta(days=30)
    touch_every: timedelta = timedelta(minutes=5)
    sessions_per_user_max: int = 20
    tokens_per_user_max: int = 50
    throttle: ThrottleLimits = field(default_factory=ThrottleLimits)

    @classmethod
    def of(cls, settings: Settings) -> AccountLimits:
        """The limits that the settings name, and the defaults of the others."""
        idle, length = settings.session_idle_hours, settings.session_absolute_hours
        return cls(
            session_idle=timedelta(hours=idle),
            session_length=timedelta(hours=length),
            touch_every=min(cls.touch_every, timedelta(hours=idle / 10)),
        )


class Accounts:
    """The accounts of one intranet, kept in `path` (accounts.db)."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock | None = None,
        limits: AccountLimits | None = None,
        hasher: PasswordHasher | None = None,
    ) -> None:
        self._file = AccountsFile(path)
        self._clock = clock or SystemClock()
        self._limits = limits or AccountLimits()
        self._passwords = Passwords(hasher)
        self._throttle = Throttle(self._file, self._clock, self._limits.throttle)
        self._run_tokens: list[tuple[bytes, User]] = []
        self.instance = self._own_name()

    def close(self) -> None:
        self._file.close()

    def version(self) -> int:
        """Another number after each change of the file, by whatever process; some microseconds."""
        return self._file.version()

    # people

    def has_users(self) -> bool:
        return self._file.row("SELECT 1 FROM account LIMIT 1") is not None

    def create_user(self, name: str, password: str, role: Role, language: str = "") -> Person:
        """Add an account. Raises BadInput (name or password) or Refused (the name is taken)."""
        name = _checked_name(name)
        check_password(password, name)
        kept = self._passwords.hash(password)
        with self._file.change() as db:
            self._insert(db, name, kept, _checked_role(role), language)
            db.execute("DELETE FROM meta WHERE name = 'setup'")
        return self.user(name)

    def user(self, name: str) -> Person:
        """The account of that name, in any case of letters. Raises NotFound."""
        row = self._file.row(f"SELECT {PERSON} FROM account WHERE folded = ?", (_folded(name),))  # noqa: S608
        if row is None:
            raise NotFound(_("There is no user of that name."))
        return _person(row)

    def list_users(self) -> list[Person]:
        return [_person(row) for row in self._file.rows(f"SELECT {PERSON} FROM account ORDER BY folded")]  # noqa: S608

    def set_role(self, name: str, role: Role) -> None:
        """Raises NotFound; Refused when nobody would be left who administers."""
        with self._file.change() as db:
            account = _account(db, name)
            db.execute("UPDATE account SET role = ? WHERE id = ?", (_checked_role(role), account))
            _keep_an_administrator(db)

    def set_language(self, name: str, language: str) -> None:
        with self._file.change() as db:
            db.execute("UPDATE account SET language = ? WHERE id = ?", (language, _account(db, name)))

    def set_email(self, name: str, email: str) -> None:
        """Note where mails to this person go ("" nowhere). Raises BadInput for what is no address."""
        email = email.strip()
        if email and not EMAIL.fullmatch(email):
            raise BadInput(_("This is no e-mail address."), fields={"email": _("Write it as name@example.org.")})
        with self._file.change() as db:
            db.execute("UPDATE account SET email = ? WHERE id = ?", (email, _account(db, name)))

    def address_of(self, name: str) -> str:
        """Where mails to the person of that name go; "" when it has no address, is disabled or is not there."""
        row = self._file.row("SELECT name, email FROM account WHERE folded = ? AND disabled IS NULL", (_folded(name),))
        if row is None:
            return ""
        return str(row[1] or (row[0] if EMAIL.fullmatch(row[0]) else ""))

    def set_password(self, name: str, password: str, *, keep: str = "") -> None:
        """Change the password and end every session but the one whose id is `keep`."""
        person = self.user(name)
        check_password(password, person.name)
        kept = self._passwords.hash(password)
        with self._file.change() as db:
            account = _account(db, name)
            db.execute("UPDATE account SET password = ? WHERE id = ?", (kept, account))
            db.execute("DELETE FROM session WHERE account = ? AND hash <> ?", (account, _hash(keep)))

    def disable(self, name: str, disabled: bool = True) -> None:
        """Shut an account (its sessions end, its tokens stop) or open it again. Raises Refused for the last admin."""
        with self._file.change() as db:
            account = _account(db, name)
            mark = stamp(self._clock.now()) if disabled else None
            db.execute("UPDATE account SET disabled = ? WHERE id = ?", (mark, account))
            db.execute("DELETE FROM session WHERE account = ?", (account,))
            _keep_an_administrator(db)

    def verify(self, name: str, password: str, *, address: str) -> Person:
        """Who signs in with this name and password. Raises SignInFailed, or SlowDown while there is a wait.

        The same work is done, and the same fault raised, for a wrong password, an unknown name and a shut account.
        """
        folded = _folded(name)
        self._throttle.take(folded, address)
        row = self._file.row(f"SELECT {PERSON}, password FROM account WHERE folded = ?", (folded,))  # noqa: S608
        matches = self._passwords.matches(row[-1] if row else None, password)
        if row is None or not matches or row[4] is not None:
            raise SignInFailed(_("The name or the password is wrong."))
        self._throttle.forgive(folded, address)
        if self._passwords.is_outdated(row[-1]):
            renewed = self._passwords.hash(password)
            with self._file.change() as db:
                db.execute("UPDATE account SET password = ? WHERE password = ?", (renewed, row[-1]))
        return _person(row[:-1])

    # the setup link

    def new_setup_token(self) -> str | None:
        """The secret of the one-time link that creates the first administrator; None once there is a user.

        Each call makes the one before worthless, so one process makes it, at start.
        """
        value = secrets.token_urlsafe(32)
        with self._file.change() as db:
            if db.execute("SELECT 1 FROM account LIMIT 1").fetchone():
                return None
            db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('setup', ?)", (_hash(value).hex(),))
        return value

    def setup_holds(self, value: str) -> bool:
        """Whether the setup link with this secret may still be used."""
        row = self._file.row(SETUP)
        return row is not None and hmac.compare_digest(row[0], _hash(value).hex())

    def complete_setup(self, value: str, name: str, password: str, language: str = "") -> Person:
        """Use the setup link up: create the first administrator, once. Raises Refused when it no longer holds."""
        name = _checked_name(name)
        check_password(password, name)
        kept = self._passwords.hash(password)
        with self._file.change() as db:
            row = db.execute(SETUP).fetchone()
            if row is None or not hmac.compare_digest(str(row[0]), _hash(value).hex()):
                raise Refused(
                    _("This setup link is no longer valid."),
                    try_this=_("Use the link that brique printed at its last start, or sign in."),
                )
            db.execute("DELETE FROM meta WHERE name = 'setup'")
            self._insert(db, name, kept, "admin", language)
        return self.user(name)

    # sessions

    def open_session(self, name: str, *, agent: str = "", address: str = "", replaces: str = "") -> OpenedSession:
        """A new session with a new id; `replaces` is the id that the browser came with, which ends here."""
        now = self._clock.now()
        opened = OpenedSession(
            id=secrets.token_urlsafe(32), csrf=secrets.token_urlsafe(32), expires=now + self._limits.session_length
        )
        with self._file.change() as db:
            account = _account(db, name, enabled=True)
            idle_since = stamp(now - self._limits.session_idle)
            db.execute("DELETE FROM session WHERE expires <= ? OR seen <= ?", (stamp(now), idle_since))
            db.execute("DELETE FROM session WHERE hash = ?", (_hash(replaces),))
            db.execute(
                "DELETE FROM session WHERE hash IN "
                "(SELECT hash FROM session WHERE account = ? ORDER BY created DESC LIMIT -1 OFFSET ?)",
                (account, self._limits.sessions_per_user_max - 1),
            )
            at = stamp(now)
            kept = (_hash(opened.id), account, opened.csrf, at, at, stamp(opened.expires), agent[:200], address[:64])
            db.execute("INSERT INTO session VALUES (?, ?, ?, ?, ?, ?, ?, ?)", kept)
        return opened

    def session(self, id: str) -> Session | None:  # noqa: A002
        """The running session of that id. Reads only: when it is `stale`, call `touch` off the event loop."""
        row = self._file.row(f"{SESSIONS} WHERE session.hash = ?", (_hash(id),))
        return self._session(row) if row else None

    def session_user(self, id: str) -> User | None:  # noqa: A002
        """Who is signed in by the session of that id."""
        session = self.session(id)
        return None if session is None else session.user

    def sessions(self, name: str) -> list[Session]:
        """The running sessions of a user, the last used first."""
        rows = self._file.rows(f"{SESSIONS} WHERE account.folded = ? ORDER BY session.seen DESC", (_folded(name),))
        return [session for row in rows if (session := self._session(row))]

    def unwatched_until(self, session: Session) -> float:
        """The moment (a timestamp) at which the session ends by itself or wants a `touch`."""
        touched = session.seen + min(self._limits.touch_every, self._limits.session_idle)
        return min(session.expires, touched).timestamp()

    def touch(self, id: str) -> None:  # noqa: A002
        """Note that the session is in use now."""
        with self._file.change() as db:
            db.execute("UPDATE session SET seen = ? WHERE hash = ?", (stamp(self._clock.now()), _hash(id)))

    def close_session(self, id: str) -> None:  # noqa: A002
        with self._file.change() as db:
            db.execute("DELETE FROM session WHERE hash = ?", (_hash(id),))

    def close_session_by_handle(self, name: str, handle: str) -> None:
        """End one of the user's sessions by the handle that `sessions` shows."""
        with self._file.change() as db:
            db.execute(
                "DELETE FROM session WHERE account = ? AND lower(hex(substr(hash, 1, 8))) = ?",
                (_account(db, name), handle),
            )

    def close_all(self, name: str) -> None:
        """Sign the user out everywhere."""
        with self._file.change() as db:
            db.execute("DELETE FROM session WHERE account = ?", (_account(db, name),))

    # API tokens

    def grant_token(self, name: str, role: Role, *, owner: str | None = None, ttl: timedelta | None = None) -> Grant:
        """A new API token. With an owner it never may more than its owner does, and ends when the owner is shut out."""
        name = _checked_name(name)
        value = TOKEN_PREFIX + secrets.token_urlsafe(32)
        now = self._clock.now()
        with self._file.change() as db:
            account = None if owner is None else _account(db, owner, enabled=True)
            db.execute("DELETE FROM token WHERE expires <= ?", (stamp(now),))
            held = db.execute("SELECT count(*) FROM token WHERE account IS ?", (account,)).fetchone()
            if held and int(held[0]) >= self._limits.tokens_per_user_max:
                raise Refused(_("There are too many API tokens; revoke one first."))
            expires = stamp(now + ttl) if ttl is not None else None
            kept = (_hash(value), name, account, _checked_role(role), stamp(now), expires)
            db.execute(
                "INSERT INTO token (hash, name, account, role, created, expires) VALUES (?, ?, ?, ?, ?, ?)", kept
            )
            return Grant(id=db.last_insert_rowid(), value=value)

    def accept_for_this_run(self, value: str, role: Role = "admin", name: str = "run") -> None:
        """Take `value` (of `--token`) as an API token until this process ends; it is never written down."""
        if not value.strip():
            raise BadConfiguration(
                "The API token for this run is empty", try_this="give --token a value, or leave it out"
            )
        user = User(name=f"token:{name}", role=_checked_role(role), language="", via="token", handle=name)
        self._run_tokens.append((_hash(value), user))

    def token(self, value: str) -> User | None:
        """Who calls with this API token, or None when it is unknown, over, or its owner is shut out. Reads only."""
        hashed = _hash(value)
        for kept, user in self._run_tokens:
            if hmac.compare_digest(kept, hashed):
                return user
        row = self._file.row(f"{TOKENS} WHERE token.hash = ?", (hashed,))
        if row is None:
            return None
        token, owner_role, language, disabled = _token(row), row[7], row[8], row[9]
        if disabled is not None or (token.expires is not None and token.expires <= self._clock.now()):
            return None
        role = token.role if owner_role is None or allows(owner_role, token.role) else owner_role
        name = token.owner or f"token:{token.name}"
        return User(name=name, role=role, language=language or "", via="token", handle=str(token.id))

    def tokens(self, owner: str | None = None) -> list[Token]:
        """The API tokens of `owner`, the newest first; with None those of nobody."""
        where = "WHERE account.folded IS ? ORDER BY token.id DESC"
        return [_token(row) for row in self._file.rows(f"{TOKENS} {where}", (owner and _folded(owner),))]

    def revoke_token(self, id: int, *, owner: str | None = None) -> None:  # noqa: A002
        """End a token. Raises NotFound when `owner` holds no such token."""
        with self._file.change() as db:
            account = None if owner is None else _account(db, owner)
            db.execute("DELETE FROM token WHERE id = ? AND account IS ?", (id, account))
            if not db.changes():
                raise NotFound(_("There is no such API token."))

    def token_until(self, user: User, seconds: float) -> float:
        """The moment (a timestamp) `seconds` from now, or the end of the caller's token when that is sooner."""
        row = self._file.row("SELECT expires FROM token WHERE id = ?", (int(user.handle),))
        later = (self._clock.now() + timedelta(seconds=seconds)).timestamp()
        return min(later, datetime.fromisoformat(row[0]).timestamp()) if row and row[0] else later

    def touch_token(self, id: int) -> None:  # noqa: A002
        """Note that the token is in use, at most once in `touch_every`."""
        now = self._clock.now()
        with self._file.change() as db:
            db.execute(
                "UPDATE token SET seen = ? WHERE id = ? AND (seen IS NULL OR seen < ?)",
                (stamp(now), id, stamp(now - self._limits.touch_every)),
            )

    # inside

    def _own_name(self) -> str:
        """Eight letters of this intranet's own: two on one host must not share a cookie, which ports do not part."""
        with self._file.change() as db:
            db.execute("INSERT OR IGNORE INTO meta VALUES ('instance', ?)", (secrets.token_hex(4),))
            row = db.execute("SELECT value FROM meta WHERE name = 'instance'").fetchone()
            assert row is not None
            return str(row[0])

    def _insert(self, db: apsw.Connection, name: str, kept: str, role: Role, language: str) -> None:
        values = (name, _folded(name), kept, role, language, stamp(self._clock.now()))
        sql = "INSERT INTO account (name, folded, password, role, language, created) VALUES (?, ?, ?, ?, ?, ?)"
        try:
            db.execute(sql, values)
        except apsw.ConstraintError as fault:
            raise Refused(_("There is already a user of that name."), try_this=_("Choose another name.")) from fault

    def _session(self, row: Row) -> Session | None:
        name, role, language, hashed, csrf, created, seen, expires, agent, address = row
        now, seen, expires = self._clock.now(), datetime.fromisoformat(seen), datetime.fromisoformat(expires)
        if now >= expires or now >= seen + self._limits.session_idle:
            return None
        handle = hashed[:8].hex()
        user = User(name=name, role=role, language=language, via="session", csrf=csrf, handle=handle)
        stale = now >= seen + self._limits.touch_every
        return Session(user, datetime.fromisoformat(created), seen, expires, agent, address, stale)


PERSON = "name, role, language, created, disabled, email"
SETUP = "SELECT value FROM meta WHERE name = 'setup'"
SESSIONS = (
    "SELECT account.name, account.role, account.language, session.hash, session.csrf, session.created, session.seen, "
    "session.expires, session.agent, session.address "
    "FROM session JOIN account ON account.id = session.account AND account.disabled IS NULL"
)
TOKENS = (
    "SELECT token.id, token.name, account.name, token.role, token.created, token.expires, token.seen, "
    "account.role, account.language, account.disabled FROM token LEFT JOIN account ON account.id = token.account"
)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold()


def _person(row: Row) -> Person:
    name, role, language, created, disabled, email = row
    return Person(name, role, language, datetime.fromisoformat(created), _moment(disabled), email)


def _token(row: Row) -> Token:
    number, name, owner, role, created, expires, seen = row[:7]
    return Token(number, name, owner, role, datetime.fromisoformat(created), _moment(expires), _moment(seen))


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text is not None else None


def _checked_name(name: str) -> str:
    """`name` as it is kept: NFC, no space around it. Raises BadInput; `:` and `/` would break Basic and paths."""
    name = unicodedata.normalize("NFC", name).strip()
    if not name:
        raise BadInput(_("A name is needed."), fields={"name": _("Type a name.")})
    if len(name) > NAME_LENGTH_MAX:
        raise BadInput(_("This name cannot be used."), fields={"name": _("Use at most 64 characters.")})
    if any(not (letter.isalnum() or letter in " ._-@'+") for letter in name):
        fault = _("Use letters, digits, spaces and . _ - @ ' + only.")
        raise BadInput(_("This name cannot be used."), fields={"name": fault})
    return name


def _checked_role(role: str) -> Role:
    for known in ROLES:
        if known == role:
            return known
    raise BadInput(_("There is no such role."), fields={"role": _("Choose read, write or admin.")})


def _account(db: apsw.Connection, name: str, *, enabled: bool = False) -> int:
    row = db.execute("SELECT id, disabled FROM account WHERE folded = ?", (_folded(name),)).fetchone()
    if row is None or (enabled and row[1] is not None):
        raise NotFound(_("There is no user of that name."))
    return int(row[0])


def _keep_an_administrator(db: apsw.Connection) -> None:
    """Undo the transaction (by raising) when it would leave the intranet without an administrator."""
    if not db.execute("SELECT 1 FROM account WHERE role = 'admin' AND disabled IS NULL LIMIT 1").fetchone():
        raise Refused(
            _("This is the last administrator."),
            try_this=_("Make somebody else an administrator first, then try again."),
        )
