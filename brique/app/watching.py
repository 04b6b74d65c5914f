"""What crosses the channel about views that are watched: who looks at which, what became different, what to make."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from brique.http import User
from brique.views import Item, Keeper, Watched, user_key

Broadcast = Callable[[str, dict[str, Any]], None]


def look(keeper: Keeper, payload: dict[str, Any]) -> dict[str, Any]:
    """Take what a web process says that its followers look at (`brique.live.Watches`)."""
    begun = [(_watched(view, name, key, user), seen) for view, name, key, user, seen in payload["begun"]]
    ended: Iterable[Item] = ((name, key, whose) for name, key, whose in payload["ended"])
    return {"known": keeper.look(payload["holder"], begun, ended, anew=payload["anew"])}


def _watched(view: str, name: str, key: str, given: dict[str, Any] | str | None) -> Watched:
    user = User(**given) if isinstance(given, dict) else given
    return Watched(view, name, key, user_key(user), user)


def plain_user(user: Any) -> dict[str, Any] | str | None:
    """Who looks, without his secrets."""
    if not isinstance(user, User):
        return None if user is None else str(user)
    return {"name": user.name, "role": user.role, "language": user.language, "via": user.via}


def tell(keeper: Keeper, broadcast: Broadcast) -> None:
    """Tell every web process what became different, and one of them what it is to make."""
    news, wanted = keeper.take_news()
    if news:
        broadcast("views", {"news": news})
    if wanted:
        broadcast("wanted", {"views": wanted})
