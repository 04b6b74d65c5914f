"""Kept answers against answers made from nothing, in random lives of a copy: `brique check`, and brique's own tests."""

from brique.check.asked import Asked, SetClock, Truth, answer_from_nothing
from brique.check.copying import copy_store, made_up
from brique.check.life import Life, Mismatch, Subject
from brique.check.run import Finding, Report, check, check_again
from brique.check.steps import Step, steps_from, steps_json, told

__all__ = [
    "Asked",
    "Finding",
    "Life",
    "Mismatch",
    "Report",
    "SetClock",
    "Step",
    "Subject",
    "Truth",
    "answer_from_nothing",
    "check",
    "check_again",
    "copy_store",
    "made_up",
    "steps_from",
    "steps_json",
    "told",
]
