"""What a file says of itself besides its age: which rows it holds, when it was made and for whom."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

from brique.exports.listing import Listing, Term
from brique.exports.typed import truth
from brique.words import translate

_SIGNS = {"eq": "=", "ne": "≠", "lt": "<", "le": "≤", "gt": ">", "ge": "≥"}


def lines(
    listing: Listing, language: str, *, now: datetime, zone: tzinfo | None, user: str, has_pending: bool
) -> tuple[tuple[str, str], ...]:
    """(what, value) pairs for people, in `language`."""

    def t(text: str) -> str:
        return translate(text, language)

    said = []
    if listing.query.search:
        said.append((t("Searched for"), listing.query.search))
    if listing.terms:
        said.append((t("Filter"), "; ".join(sentence(listing, term, language) for term in listing.terms)))
    if listing.sort is not None:
        name, descending = listing.sort
        label = listing.spec.by_name[name].label
        said.append((t("Sorted by"), f"{label} ↓" if descending else f"{label} ↑"))
    if has_pending:
        said.append((t("Pending"), t("Holds changes that the backend has not confirmed yet.")))
    moment = now.astimezone(zone or UTC)
    day = "%d/%m/%Y %H:%M:%S" if language == "fr" else "%Y-%m-%d %H:%M:%S"
    made = f"{moment.strftime(day)} ({zone or 'UTC'})"
    said.append((t("Made at"), f"{made}, {user}" if user else made))
    return tuple(said)


def sentence(listing: Listing, term: Term, language: str) -> str:
    """A condition for people: `City = Thiès`, `Shipped is empty`."""

    def t(text: str) -> str:
        return translate(text, language)

    label = listing.spec.by_name[term.column].label
    if term.op == "null":
        return f"{label} {t('is empty') if truth(term.text) else t('is not empty')}"
    words = {"prefix": t("starts with"), "contains": t("contains"), "in": t("is one of")}
    return f"{label} {_SIGNS.get(term.op) or words[term.op]} {term.text}"
