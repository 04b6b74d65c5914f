"""Who is calling: roles, and what a request knows about its user."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

Role = Literal["read", "write", "admin"]
Via = Literal["session", "token"]

ROLES: tuple[Role, ...] = get_args(Role)


def allows(role: Role, needed: Role) -> bool:
    """Whether `role` may do what `needed` may: read < write < admin."""
    return ROLES.index(role) >= ROLES.index(needed)


@dataclass(frozen=True, slots=True)
class User:
    """The caller of one request, as `request.state.user` shows it.

    `name` is the account's, or `token:NAME` for an API token that belongs to nobody. `csrf` is the secret that each
    unsafe request of a session repeats; it is empty for API tokens. `handle` names the session or the token in lists
    and logs; nobody can sign in with it.
    """

    name: str
    role: Role
    language: str
    via: Via
    csrf: str = ""
    handle: str = ""

    def may(self, needed: Role) -> bool:
        return allows(self.role, needed)


@dataclass(frozen=True, slots=True)
class Person:
    """One account. `disabled` is the moment since which it may not sign in; `email` where mails to it go."""

    name: str
    role: Role
    language: str
    created: datetime
    disabled: datetime | None
    email: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """One signed-in browser. `stale` says that the moment of its last use on disk is old and wants a `touch`."""

    user: User
    created: datetime
    seen: datetime
    expires: datetime
    agent: str
    address: str
    stale: bool = False


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """What the browser is given: `id` is the secret of the cookie and is kept nowhere else."""

    id: str
    csrf: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class Token:
    """One API token without its secret. `owner` is None when it was granted on the command line."""

    id: int
    name: str
    owner: str | None
    role: Role
    created: datetime
    expires: datetime | None
    seen: datetime | None


@dataclass(frozen=True, slots=True)
class Grant:
    """A new API token; `value` is shown once and kept only as a hash."""

    id: int
    value: str
