"""Commands: checked, kept, laid over the copy, replayed to their backend, settled."""

from brique.commands import check, journal
from brique.commands.claims import Claims
from brique.commands.custom import CommandSpec, Parameter, Wish, backend_of, command_spec, run, stored, wish_of
from brique.commands.desk import Answer, Author, Desk, may
from brique.commands.ledger import Claim, Claimed, Dismiss, Give, Ledger, LedgerAnswer, Move, Receipt, Release, Request
from brique.commands.life import MOVES, check_move, may_move
from brique.commands.receipts import receipt
from brique.commands.replay import Replay, Waiting
from brique.commands.report import Outcome, Report
from brique.commands.report import from_payload as report_from_payload
from brique.commands.report import to_payload as report_to_payload

__all__ = [
    "MOVES",
    "Answer",
    "Author",
    "Claim",
    "Claimed",
    "Claims",
    "CommandSpec",
    "Desk",
    "Dismiss",
    "Give",
    "Ledger",
    "LedgerAnswer",
    "Move",
    "Outcome",
    "Parameter",
    "Receipt",
    "Release",
    "Replay",
    "Report",
    "Request",
    "Waiting",
    "Wish",
    "backend_of",
    "check",
    "check_move",
    "command_spec",
    "journal",
    "may",
    "may_move",
    "receipt",
    "report_from_payload",
    "report_to_payload",
    "run",
    "stored",
    "wish_of",
]
