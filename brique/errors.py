"""Faults that a caller can act on: one class for each thing to do about it.

Every fault says what broke and why (the message) and what to try (`try_this`); facts travel as fields so that
pages, API and command line can each show them their own way.
"""

from __future__ import annotations


class BriqueError(Exception):
    """Base of all faults. `status` is the HTTP status it suggests, `code` its stable name in the API."""

    status = 500
    code = "error"

    def __init__(self, message: str, *, try_this: str = "", **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.try_this = try_this
        self.facts = facts


class BadInput(BriqueError):
    """What the caller gave cannot be used: fix it and call again. `fields` maps a field name to its fault."""

    status = 422
    code = "invalid"

    def __init__(self, message: str, *, fields: dict[str, str] | None = None, try_this: str = "", **facts: object):
        super().__init__(message, try_this=try_this, **facts)
        self.fields = fields or {}


class BadConfiguration(BriqueError):
    """A declaration, setting or argument is wrong: brique does not start with it."""

    code = "configuration"


class NotFound(BriqueError):
    """There is nothing of that name or key."""

    status = 404
    code = "not-found"


class NotAllowed(BriqueError):
    """The user may not do this."""

    status = 403
    code = "forbidden"


class Stale(BriqueError):
    """The row has changed since the caller read it: read it again, then decide. `theirs` holds the new values."""

    status = 412
    code = "stale"


class Refused(BriqueError):
    """A rule of the intranet or of the backend says no; the same command would be refused again."""

    status = 409
    code = "refused"


class TokenReused(BriqueError):
    """An idempotency key came back with another payload."""

    status = 422
    code = "idempotency-key-reused"


class TooMuch(BriqueError):
    """A named limit was passed."""

    status = 413
    code = "limit"


class Busy(BriqueError):
    """A queue is full: try again later."""

    status = 503
    code = "busy"


class NoRoom(BriqueError):
    """The disk is full: nothing was acknowledged."""

    status = 507
    code = "disk-full"


class EngineAway(BriqueError):
    """The engine does not answer (it may be restarting); reads go on, the write was not acknowledged."""

    status = 503
    code = "engine-away"


class BackendAway(BriqueError):
    """The backend cannot be reached, or did not answer in time: outcome unknown, try later."""

    status = 503
    code = "backend-away"


class BackendRefused(BriqueError):
    """The backend answered and said no (constraint, right, type): trying again will not help."""

    status = 409
    code = "backend-refused"


class MissingExtra(BriqueError):
    """An optional part is not installed; the message names the extra that brings it."""

    code = "missing-extra"
