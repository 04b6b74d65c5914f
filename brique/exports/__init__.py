"""A table as a file, and what an address asks of a list (the same question for page, API and export)."""

from brique.exports.listing import (
    COMPARISONS,
    CONTROLS,
    Listing,
    ListLimits,
    Term,
    ValueParser,
    joined,
    near,
    parameter_of,
    parse_listing,
    separated,
)
from brique.exports.typed import part, typed

__all__ = [
    "COMPARISONS",
    "CONTROLS",
    "ListLimits",
    "Listing",
    "Term",
    "ValueParser",
    "joined",
    "near",
    "parameter_of",
    "parse_listing",
    "part",
    "separated",
    "typed",
]
