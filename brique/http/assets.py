"""Files that never change under their address: the address holds a hash of the bytes."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from starlette.requests import Request
from starlette.responses import Response

from brique.errors import BadConfiguration
from brique.http.compress import coding_of, zstd
from brique.http.faults import no_such_page
from brique.http.negotiate import has_already
from brique.http.ready import Standing, stand_ready
from brique.http.routes import Routes

PREFIX = "/-/assets"
FOREVER = "public, max-age=31536000, immutable"
PACKED_BYTES_MIN = 512
TEXT_TYPES = ("text/", "image/svg+xml", "application/json", "application/manifest+json")


@dataclass(frozen=True, slots=True)
class _Asset:
    body: bytes
    packed: dict[str, bytes]
    media_type: str
    digest: str


class Assets:
    """`files` by name; compressed once, at start. `url(name)` is the address to write in a page."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._assets = {name: _asset(name, body) for name, body in files.items()}

    def url(self, name: str) -> str:
        """Raises BadConfiguration for a name that is not there."""
        asset = self._assets.get(name)
        if asset is None:
            raise BadConfiguration(f"There is no asset {name!r}", try_this=f"one of {', '.join(sorted(self._assets))}")
        return f"{PREFIX}/{asset.digest}/{name}"

    def routes(self) -> Routes:
        routes = Routes()
        routes.get(PREFIX + "/{digest}/{name:path}", self.answer, role=None, name="asset")
        return routes

    async def answer(self, request: Request) -> Response:
        """The file. Under another hash (a page from before or after an upgrade) today's file, to be asked for again."""
        asset = self._assets.get(request.path_params["name"])
        if asset is None:
            raise no_such_page()
        fresh = request.path_params["digest"] == asset.digest
        headers = {
            "Cache-Control": FOREVER if fresh else "no-cache",
            "ETag": f'"{asset.digest}"',
            "Vary": "Accept-Encoding",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        stand_ready(request.scope, Standing(lambda: True, shared=True))
        if has_already(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        coding = coding_of(request.headers.get("accept-encoding", ""))
        if coding in asset.packed:
            headers["Content-Encoding"] = coding
            return Response(asset.packed[coding], headers=headers, media_type=asset.media_type)
        return Response(asset.body, headers=headers, media_type=asset.media_type)


def _asset(name: str, body: bytes) -> _Asset:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise BadConfiguration(f"An asset cannot be called {name!r}")
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    if media_type == "text/javascript" or name.endswith((".js", ".mjs")):
        media_type = "text/javascript"
    packed: dict[str, bytes] = {}
    if len(body) >= PACKED_BYTES_MIN and media_type.startswith(TEXT_TYPES):
        best = {"gzip": gzip.compress(body, 9, mtime=0), "zstd": zstd(body, level=19)}
        packed = {coding: small for coding, small in best.items() if len(small) < len(body)}
    return _Asset(body, packed, media_type, hashlib.sha256(body).hexdigest()[:16])
