"""Passwords: what is accepted, and how it is kept (argon2id)."""

from __future__ import annotations

import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from brique.errors import BadInput
from brique.http.language import _

LENGTH_MIN = 10
LENGTH_MAX = 256
DISTINCT_MIN = 5

RUNS = (
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfghjklzxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "01234567890123456789",
)

COMMON = frozenset(
    """password passwort motdepasse mdp azerty azertyuiop qwerty qwertyuiop qwertz letmein welcome bienvenue bonjour
    soleil iloveyou jetaime doudou loulou chouchou admin administrator administrateur administrador root secret changeme
    master dragon monkey football baseball sunshine princess superman batman trustno1 starwars whatever internet
    intranet brique test demo guest invite utilisateur user login connexion marseille senegal dakar capvert comptoir
    nicolas camille alexandre passpass abcabc abcdef aaaaaa""".split()  # noqa: SIM905  (reads better than forty quoted words)
)


class Passwords:
    """Keeps passwords as argon2id hashes. One check takes about 0.1 s and 64 MiB by default: never on an event loop."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._nobody = ""

    def hash(self, password: str) -> str:
        return self._hasher.hash(_form(password))

    def matches(self, kept: str | None, password: str) -> bool:
        """Whether `password` is the one kept; with None (no such account) it is False after the same work."""
        if not self._nobody:  # made by the first check, whoever it is about: a process without sign-in never needs it
            self._nobody = self._hasher.hash("the password of nobody")
        if len(password) > LENGTH_MAX:
            password, kept = "", None
        try:
            self._hasher.verify(kept or self._nobody, _form(password))
        except (VerificationError, InvalidHashError):
            return False
        return kept is not None

    def is_outdated(self, kept: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(kept)


def check_password(password: str, name: str, *, field: str = "password") -> None:
    """Raises BadInput, with the reason under `field`, for a password that is easily guessed."""
    fault = password_fault(password, name)
    if fault:
        raise BadInput(_("This password cannot be used."), fields={field: fault})


def password_fault(password: str, name: str) -> str:
    """Why `password` is refused for the account `name`; empty when it is fine."""
    text = _form(password)
    plain = text.casefold()
    letters = plain.rstrip("0123456789!?.*#@$ ").lstrip("0123456789!?.*#@$ ")
    if len(text) < LENGTH_MIN:
        return _("Use at least 10 characters; a few words in a row are fine.")
    if len(text) > LENGTH_MAX:
        return _("Use at most 256 characters.")
    if len(set(plain)) < DISTINCT_MIN:
        return _("It repeats the same few characters; use more different ones.")
    if len(name) >= 3 and name.casefold() in plain and len(plain) - len(name) < LENGTH_MIN - 2:
        return _("It is too close to the user name.")
    if letters in COMMON or plain in COMMON or _is_run(plain) or _is_run(letters):
        return _("It is among the first that anybody would try; choose another.")
    return ""


def _is_run(plain: str) -> bool:
    return len(plain) >= 4 and any(plain in run or plain in run[::-1] for run in RUNS)


def _form(password: str) -> str:
    """One form for the same typed text on every keyboard (RFC 8265): NFC."""
    return unicodedata.normalize("NFC", password)
