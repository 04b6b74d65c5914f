"""How exactly-once is reached with a backend, and what it can do, in words for the status page."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


RUNGS: dict[str, tuple[str, str]] = {
    "watermark": (_("exactly once: the marker table moves with each batch"), ""),
    "guard": (_("exactly once: the backend knows each command that it has taken"), ""),
    "compare": (
        _("exactly once by comparing old values; a new row that the backend numbers may need a person"),
        _("allow the marker table (marker=True) to make it certain for new rows too"),
    ),
    "natural-key": (
        _("exactly once by looking for the key before a row is made"),
        _("declare idempotent=True, if the API does once what it is sent twice under one key"),
    ),
    "none": (_("one try only; a person decides when the answer is lost"), ""),
}
"""How exactly-once is reached, and how to climb to the next rung."""
_CAN: dict[str, tuple[str, str]] = {
    "transactions": (_("transactions"), _("no transactions")),
    "marker": (_("a marker table"), _("no marker table")),
    "counts": (_("says how many rows a change changed"), _("does not say how many rows a change changed")),
    "server_keys": (_("gives back the keys of new rows"), _("does not give back the keys of new rows")),
    "flushed": (
        _("what it has committed is on its disk"),
        _("may forget what it has committed when it crashes, and nothing tells"),
    ),
}
"""What a backend can do: the words when it can, and when it cannot."""
_NOTICED = _("may forget what it has committed when it crashes: brique notices and sends it again")
"""What is said of a backend that does not flush, where a mark in it tells what it has forgotten."""


def climbing(rung: str, reason: str, t: Callable[[str], str]) -> tuple[str, str]:
    """The words for a rung, and what stands against a better one and what would help."""
    sentence, climb = RUNGS.get(rung, (rung, ""))
    hint = t(climb) if climb else ""
    if reason and hint:
        hint = hint[0].upper() + hint[1:]
    return t(sentence) if sentence else "", " ".join(filter(None, (reason, hint)))


def abilities(found: Mapping[str, bool | None], rung: str, t: Callable[[str], str]) -> list[tuple[bool, str]]:
    """What was found out about a backend, in words; what it does not say is left out."""
    words = dict(_CAN)
    if rung == "watermark":
        words["flushed"] = (words["flushed"][0], _NOTICED)
    return [
        (bool(found[name]), t(said[not found[name]])) for name, said in words.items() if found.get(name) is not None
    ]
