"""A form as it came back: fields, files, and what the page itself had put beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import UploadFile
from starlette.requests import Request

TOKEN, SEEN, REPLACES, LANGUAGE, THEN = "_token", "_seen", "_replaces", "_language", "_then"
PICK = "pick."
_OWN = {"_csrf", TOKEN, SEEN, REPLACES, LANGUAGE, THEN}


@dataclass(frozen=True)
class Received:
    """`given`: fields by name, files as bytes. `token`: the one-time token; `seen`: what the author had before him;
    `replaces`: the receipt of a command that this one sends anew; `language`: the one that the form was shown in;
    `then`: which button; `picks`: "yours" or "theirs" for each field in conflict."""

    given: Mapping[str, str | bytes] = field(default_factory=dict)
    token: str = ""
    seen: str = ""
    replaces: str = ""
    language: str = ""
    then: str = ""
    picks: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_files(self) -> bool:
        return any(isinstance(value, bytes) for value in self.given.values())

    @property
    def taken(self) -> frozenset[str]:
        """The fields of which the author takes what somebody else wrote."""
        return frozenset(name for name, side in self.picks.items() if side == "theirs")


async def received(request: Request, *, file_bytes_max: int) -> Received:
    """The form in this request. Of a file, one byte more than `file_bytes_max` is read at most."""
    form = await request.form()
    given: dict[str, str | bytes] = {}
    own: dict[str, str] = {}
    picks: dict[str, str] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            content = await value.read(file_bytes_max + 1)
            if content:
                given[name] = content
        elif name in _OWN:
            own[name] = value
        elif name.startswith(PICK):
            picks[name.removeprefix(PICK)] = value
        else:
            given[name] = value
    return Received(
        given,
        own.get(TOKEN, ""),
        own.get(SEEN, ""),
        own.get(REPLACES, ""),
        own.get(LANGUAGE, ""),
        own.get(THEN, ""),
        picks,
    )
