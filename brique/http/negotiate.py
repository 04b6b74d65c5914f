"""What the caller wants: JSON or HTML, and whether it already has the answer (ETag)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Scope

from brique.errors import Stale
from brique.http.language import _
from brique.http.site import header, local_path

ACCEPT_PARTS_MAX = 40


def best_accept(accept: str, offered: Sequence[str]) -> str | None:
    """The media type of `offered` that an Accept header likes best; None when it takes none of them.

    An empty header takes all; among equals the first offered wins; the most precise wish sets a type's weight.
    """
    if not accept.strip():
        return offered[0] if offered else None
    wishes = [wish for part in accept.split(",")[:ACCEPT_PARTS_MAX] if (wish := _wish(part))]
    best, best_weight = None, 0.0
    for media_type in offered:
        weight = _weight(media_type, wishes)
        if weight > best_weight:
            best, best_weight = media_type, weight
    return best


def _wish(part: str) -> tuple[str, float] | None:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    weight = 1.0
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                weight = min(max(float(parameter[2:]), 0.0), 1.0)
            except ValueError:
                return None
    return (name, weight) if "/" in name else None


def _weight(media_type: str, wishes: list[tuple[str, float]]) -> float:
    family = media_type.partition("/")[0] + "/*"
    found = {name: weight for name, weight in reversed(wishes) if name in (media_type, family, "*/*")}
    for name in (media_type, family, "*/*"):
        if name in found:
            return found[name]
    return 0.0


def wants_json(scope: Scope) -> bool:
    """Whether the caller is a program: its path begins with /api, or it prefers JSON to HTML."""
    path = local_path(scope)
    if path == "/api" or path.startswith("/api/"):
        return True
    best = best_accept(header(scope, b"accept"), ("text/html", "application/json", "application/problem+json"))
    return best is not None and best.endswith("json")


def wants_html(scope: Scope) -> bool:
    """Whether the caller can show a page: it takes HTML, and is not a program."""
    return not wants_json(scope) and best_accept(header(scope, b"accept"), ("text/html",)) is not None


def etag_of(*parts: bytes) -> str:
    """A strong ETag for these bytes."""
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return f'"{digest.hexdigest()}"'


def has_already(request: HTTPConnection, etag: str) -> bool:
    """Whether If-None-Match names `etag` (compared weakly, as RFC 9110 wants for reads)."""
    wished = ",".join(request.headers.getlist("if-none-match"))
    return bool(wished) and _named(wished, etag)


def respond(
    request: HTTPConnection,
    body: bytes,
    media_type: str,
    *,
    etag: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """`body` with its ETag, or 304 when the caller has it already."""
    etag = etag or etag_of(media_type.encode(), body)
    headers = {**(headers or {}), "ETag": etag}
    if has_already(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)


def check_if_match(request: HTTPConnection, etag: str) -> None:
    """Raises Stale (412) when an If-Match header is there and names another state than `etag` (compared strongly)."""
    wished = request.headers.getlist("if-match")
    if not wished:
        return
    named = [part.strip() for line in wished for part in line.split(",")]
    if "*" not in named and (etag.startswith("W/") or etag not in named):
        raise Stale(_("This has changed since you read it."), try_this=_("Read it again, then decide."))


def _named(wished: str, etag: str) -> bool:
    if wished.strip() == "*":
        return True
    bare = etag.removeprefix("W/")
    return any(part.strip().removeprefix("W/") == bare for part in wished.split(","))
