"""From where a request comes, for the audit trail."""

from __future__ import annotations

from starlette.requests import Request

from brique.commands import Source


def source_of(request: Request, origin: str) -> Source:
    """The machine that asks, as the server sees it (behind a trusted proxy: as that says)."""
    return Source(origin, request.client.host if request.client is not None else "")
