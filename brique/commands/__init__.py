"""Commands: checked, kept, laid over the copy, replayed to their backend, settled."""

from brique.commands import check, journal
from brique.commands.acts import EDITED, NOTICE, RETRIED, TOLD, Again, Dismiss, Move, Source
from brique.commands.adopting import Adopt, Adopted, Lead
from brique.commands.adopting import name_of as adopted_of
from brique.commands.claims import Claims
from brique.commands.clerk import ACTS, Act, Clerk, Done
from brique.commands.custom import CommandSpec, Parameter, Wish, backend_of, command_spec, run, stored, wish_of
from brique.commands.desk import Answer, Author, Desk, may
from brique.commands.heirs import arguments_with_heirs, with_heirs
from brique.commands.ledger import Ledger
from brique.commands.life import LIFE, MOVES, WAITS, check_move, may_move
from brique.commands.marks import Marks
from brique.commands.notes import FileNotes, MemoryNotes
from brique.commands.notices import Letter, Notified, notify
from brique.commands.receipts import receipt
from brique.commands.replay import Replay
from brique.commands.report import Outcome, Report
from brique.commands.report import from_payload as report_from_payload
from brique.commands.report import to_payload as report_to_payload
from brique.commands.report import without_rows as report_without_rows
from brique.commands.requests import Claim, Claimed, Give, LedgerAnswer, Receipt, Release, Request
from brique.commands.restart import MarkAhead, Restart
from brique.commands.tokens import own_receipt
from brique.commands.waiting import Parent, Waiting

__all__ = [
    "ACTS",
    "EDITED",
    "LIFE",
    "MOVES",
    "NOTICE",
    "RETRIED",
    "TOLD",
    "WAITS",
    "Act",
    "Adopt",
    "Adopted",
    "Again",
    "Answer",
    "Author",
    "Claim",
    "Claimed",
    "Claims",
    "Clerk",
    "CommandSpec",
    "Desk",
    "Dismiss",
    "Done",
    "FileNotes",
    "Give",
    "Lead",
    "Ledger",
    "LedgerAnswer",
    "Letter",
    "MarkAhead",
    "Marks",
    "MemoryNotes",
    "Move",
    "Notified",
    "Outcome",
    "Parameter",
    "Parent",
    "Receipt",
    "Release",
    "Replay",
    "Report",
    "Request",
    "Restart",
    "Source",
    "Waiting",
    "Wish",
    "adopted_of",
    "arguments_with_heirs",
    "backend_of",
    "check",
    "check_move",
    "command_spec",
    "journal",
    "may",
    "may_move",
    "notify",
    "own_receipt",
    "receipt",
    "report_from_payload",
    "report_to_payload",
    "report_without_rows",
    "run",
    "stored",
    "wish_of",
    "with_heirs",
]
