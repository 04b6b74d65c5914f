"""The reader's language, and the mark for sentences that are translated only when they are shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from starlette.requests import HTTPConnection

from brique import words

LANGUAGE_COOKIE = "brique_language"
PLACE = re.compile(r"\{([a-z_]{1,40})\}")


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


def choose_language(own: str, cookie: str, accept: str, offered: tuple[str, ...]) -> str:
    """The first of: the account's own language, the browser's cookie, Accept-Language, the intranet's first."""
    for wish in (own, cookie):
        if wish in offered:
            return wish
    return words.best_language(accept, offered)


def language_of(request: HTTPConnection, offered: tuple[str, ...] = words.LANGUAGES) -> str:
    """The language to answer `request` in; the gate has noted it in `request.state.language`."""
    state = request.scope.get("state") or {}
    noted = state.get("language")
    if isinstance(noted, str):
        return noted
    user = state.get("user")
    own = user.language if user is not None else ""
    cookie = request.cookies.get(LANGUAGE_COOKIE, "")
    return choose_language(own, cookie, request.headers.get("accept-language", ""), offered)


def speaker(language: str) -> Callable[..., str]:
    """`t("{n} rows", n=3)` in `language`, for templates."""

    def t(text: str, **values: object) -> str:
        return words.translate(text, language, **values)

    return t


def say(text: str, language: str, values: Mapping[str, object]) -> str:
    """`text` translated, its `{name}` places filled from `values`.

    A fault's text may hold what somebody typed, braces included; so only plain names are filled, and those that
    are not among the values stay as they are.
    """
    sentence = words.translate(text, language)
    return PLACE.sub(lambda found: str(values.get(found[1], found[0])), sentence)
