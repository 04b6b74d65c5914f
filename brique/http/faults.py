"""The faults of this room; each says what its caller can do about it."""

from __future__ import annotations

from brique.errors import BadInput, BriqueError, NotAllowed, NotFound, TooMuch
from brique.http.language import _


class SignInNeeded(BriqueError):
    """The caller is nobody yet: sign in, or send an API token."""

    status = 401
    code = "sign-in-needed"


class SignInFailed(BadInput):
    """The name or the password is wrong; it is not said which."""

    code = "sign-in-failed"


class SlowDown(BriqueError):
    """Too many tries: come back in `retry_after` seconds (a fact, and the Retry-After header)."""

    status = 429
    code = "slow-down"

    def __init__(self, message: str, *, retry_after: int, try_this: str = "") -> None:
        super().__init__(message, try_this=try_this, retry_after=retry_after)
        self.retry_after = retry_after


class CrossSite(NotAllowed):
    """An unsafe request that does not come from one of our own pages."""

    code = "cross-site"


class WrongHost(BriqueError):
    """The request names a host that this server does not answer to."""

    status = 421
    code = "wrong-host"


class TooSlow(BriqueError):
    """The answer did not begin within the time that one request is given."""

    status = 503
    code = "too-slow"


class WrongMethod(BriqueError):
    """The address exists, but not for this method; `allowed` lists those it has."""

    status = 405
    code = "method-not-allowed"

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(_("This address does not take that method."), allowed=", ".join(allowed))
        self.allowed = allowed


def no_such_page() -> NotFound:
    return NotFound(
        _("There is no page at this address."), try_this=_("Check the address, or start from the home page.")
    )


def too_large(limit: int) -> TooMuch:
    return TooMuch(_("What was sent is too large."), setting="body_bytes_max", limit=limit)
