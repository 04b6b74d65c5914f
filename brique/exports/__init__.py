"""A table as a file, and what an address asks of a list (the same question for page, API and export)."""

from brique.exports.download import Download, Downloads
from brique.exports.export import MEDIA_TYPES, SUFFIXES, Export, Options, disposition, export, parse_export
from brique.exports.freshness import Freshness, aged, check_copied, freshness
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
from brique.exports.notes import sentence
from brique.exports.typed import part, typed

__all__ = [
    "COMPARISONS",
    "CONTROLS",
    "MEDIA_TYPES",
    "SUFFIXES",
    "Download",
    "Downloads",
    "Export",
    "Freshness",
    "ListLimits",
    "Listing",
    "Options",
    "Term",
    "ValueParser",
    "aged",
    "check_copied",
    "disposition",
    "export",
    "freshness",
    "joined",
    "near",
    "parameter_of",
    "parse_export",
    "parse_listing",
    "part",
    "sentence",
    "separated",
    "typed",
]
