"""The table of operations: every row is a route and a part of the description."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from brique.api.context import Context
from brique.api.operation import JSON, MERGE_PATCH, Answer, Operation, Parameter
from brique.api.outbox import PAGE_COMMANDS_MAX, Outbox
from brique.api.outcome import Outcomes
from brique.api.parts import Parts
from brique.api.rest import Rest
from brique.api.tables import Tables
from brique.exports import MEDIA_TYPES, SUFFIXES
from brique.http import EVENT_STREAM


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


TEXT: dict[str, Any] = {"type": "string"}
TAGS = {
    "tables": _("Tables and their rows, from the local copy: no call waits for a backend."),
    "commands": _("Actions with rules of their own."),
    "views": _("Read models, ready when they are asked for."),
    "outbox": _("What became of each write."),
    "about": _("Where everything is."),
}

KEY = Parameter(
    "key",
    "path",
    TEXT,
    _("The key of the row, as `_key` gives it; the parts of a composite key are joined by commas."),
    True,
)
RECEIPT = Parameter("receipt", "path", TEXT, _("The receipt that the write was answered with."), True)
TOKEN = Parameter(
    "Idempotency-Key",
    "header",
    {"type": "string", "minLength": 1, "maxLength": 200},
    _("A text of your own for this write: sent again, it is answered again and done once."),
)
OWN_RECEIPT = Parameter(
    "Brique-Receipt",
    "header",
    {"type": "string", "minLength": 20, "maxLength": 64, "pattern": "^[A-Za-z0-9_-]+$"},
    _("A receipt of your own (a random UUID) instead of an Idempotency-Key; or the member `_receipt`."),
)
USER = Parameter("user", "query", TEXT, _("Commands of one user (for administrators)."))
IF_MATCH = Parameter(
    "If-Match", "header", TEXT, _("The ETag of the row as you know it; refused with 412 when it has changed.")
)
IF_NONE_MATCH = Parameter(
    "If-None-Match", "header", TEXT, _("An ETag that you have; answered with 304 when it still holds.")
)
PREFER = Parameter(
    "Prefer",
    "header",
    TEXT,
    _("`wait=5` waits up to so many seconds for the write to be settled, `respond-async` not at all."),
)
PREFER_NEWS = Parameter(
    "Prefer",
    "header",
    {"type": "string", "examples": ["wait=30"]},
    _("`wait=30` beside If-None-Match waits up to so many seconds for another answer than the one you have."),
)
LAST_EVENT = Parameter(
    "Last-Event-ID",
    "header",
    TEXT,
    _("With Accept: text/event-stream, the id of the last event that you had: you are told only what is news."),
)

FRESH = ("Brique-Age", "Brique-Position")
WRITTEN = ("ETag", "Brique-Position", "Brique-Receipt", "Link", "Idempotency-Replayed", "Preference-Applied")
NOT_MODIFIED = Answer(304, _("Not modified."), None, ("ETag",))


def operations(parts: Parts, context: Context) -> list[Operation]:
    """Every operation of the API but the description of itself."""
    outcomes = Outcomes(context)
    tables, outbox, rest = Tables(context, outcomes), Outbox(context, outcomes), Rest(context, outcomes)
    found = [
        *_about(rest, tables),
        *_rows(tables),
        *_writes(tables),
        *_files(tables),
        *_commands(rest),
        *_receipts(outbox, parts),
    ]
    return [_followed(operation) if operation.is_followable else operation for operation in found]


def _followed(operation: Operation) -> Operation:
    """`operation` with what can be asked of an address that can be followed."""
    stream = Answer(200, "", {"type": "string"}, media_type=EVENT_STREAM)
    answers = tuple(
        replace(answer, headers=(*answer.headers, "Preference-Applied")) if answer.status in (200, 304) else answer
        for answer in operation.answers
    )
    parameters = (*operation.parameters, PREFER_NEWS, LAST_EVENT)
    return replace(operation, parameters=parameters, answers=(*answers, stream))


def _about(rest: Rest, tables: Tables) -> list[Operation]:
    return [
        Operation(
            "index", "GET", "/api", "about", "read", _("Where everything is"), rest.index,
            parameters=(IF_NONE_MATCH,),
            answers=(Answer(200, _("The index."), "Index", ("ETag",)), NOT_MODIFIED),
        ),
        Operation(
            "tables", "GET", "/api/tables", "tables", "read", _("All tables"), tables.catalogue,
            parameters=(IF_NONE_MATCH,),
            answers=(Answer(200, _("All tables, with their columns and ages."), "Tables", ("ETag",)), NOT_MODIFIED),
        ),
    ]  # fmt: skip


def _rows(tables: Tables) -> list[Operation]:
    page = Answer(200, _("A page of rows."), "{table}_page", ("ETag", "Link", *FRESH))
    row = Answer(200, _("The row."), "{table}", ("ETag", "Link", "Content-Location", *FRESH))
    question = Parameter("q", "query", {"type": "string", "maxLength": 200}, _("What to look for."))
    found = Answer(200, _("Rows as key and label, the likeliest first."), "Labels", ("ETag", *FRESH))
    return [
        Operation(
            "list", "GET", "/api/tables/{table}", "tables", "read", _("List rows of {label}"), tables.list_rows,
            description=_(
                "Conditions on columns are parameters: `column=value`, or `column__op=value` with ne, lt, le, gt, ge, "
                "prefix, contains, in (values between commas) or null (true or false). All of them must hold."
            ),
            parameters=(IF_NONE_MATCH,), per="table", lists=True, answers=(page, NOT_MODIFIED), faults=(422,),
        ),
        Operation(
            "get", "GET", "/api/tables/{table}/{key}", "tables", "read", _("Get a row of {label}"), tables.get_row,
            parameters=(KEY, IF_NONE_MATCH), per="table", answers=(row, NOT_MODIFIED), faults=(404,),
        ),
        Operation(
            "lookup", "GET", "/api/lookup/{table}", "tables", "read", _("Look up a row of {label}"), tables.lookup,
            parameters=(question, IF_NONE_MATCH), per="table", answers=(found, NOT_MODIFIED),
        ),
    ]  # fmt: skip


def _writes(tables: Tables) -> list[Operation]:
    applied = Answer(200, _("Applied by the backend."), "Outcome", WRITTEN)
    created = Answer(201, _("Created in the backend."), "Outcome", ("Location", *WRITTEN))
    pending = Answer(
        202, _("Kept: it will be sent to the backend. Its receipt tells its end."), "Outcome", ("Location", *WRITTEN)
    )
    common: dict[str, Any] = {"per": "table", "writes": True}
    return [
        Operation(
            "create", "POST", "/api/tables/{table}", "tables", "write", _("Create a row of {label}"),
            tables.create_row, body="{table}_new", parameters=(TOKEN, OWN_RECEIPT, PREFER),
            answers=(created, pending), faults=(400, 409, 413, 415, 422), **common,
        ),
        Operation(
            "change", "PATCH", "/api/tables/{table}/{key}", "tables", "write", _("Change a row of {label}"),
            tables.change_row, body="{table}_change", media_types=(MERGE_PATCH, JSON),
            description=_(
                "Only the members given are changed; null empties one. Without If-Match the values that you change "
                "are compared with those that the row has now."
            ),
            parameters=(KEY, IF_MATCH, TOKEN, OWN_RECEIPT, PREFER), answers=(applied, pending),
            faults=(400, 404, 409, 412, 413, 415, 422), **common,
        ),
        Operation(
            "delete", "DELETE", "/api/tables/{table}/{key}", "tables", "write", _("Delete a row of {label}"),
            tables.delete_row, parameters=(KEY, IF_MATCH, TOKEN, OWN_RECEIPT, PREFER), answers=(applied, pending),
            faults=(404, 409, 412, 422), **common,
        ),
    ]  # fmt: skip


def _files(tables: Tables) -> list[Operation]:
    media_types = tuple(MEDIA_TYPES.values())
    form = Parameter("format", "path", {"type": "string", "enum": list(SUFFIXES)}, _("The form of the file."), True)
    column = Parameter("column", "path", TEXT, _("A binary column."), True)
    files = tuple(
        Answer(200, _("The file, with its age inside."), {}, ("Content-Disposition", *FRESH), media_type=media_type)
        for media_type in media_types
    )
    blob = Answer(200, _("The bytes."), {}, ("ETag", "Content-Disposition"), media_type="application/octet-stream")
    return [
        Operation(
            "export", "GET", "/api/tables/{table}.{format}", "tables", "read", _("Export {label} as a file"),
            tables.export, per="table", lists=True, parameters=(form,),
            description=_("All rows that the conditions leave, as one streamed file. It takes what a list takes."),
            answers=files, faults=(404, 413, 422), produces=media_types,
        ),
        Operation(
            "get_file", "GET", "/api/tables/{table}/{key}/{column}.bin", "tables", "read",
            _("Get a binary value of {label}"), tables.get_blob, per="table", blobs=True,
            parameters=(KEY, column, IF_NONE_MATCH), answers=(blob, NOT_MODIFIED), faults=(404,),
            produces=("application/octet-stream",),
        ),
    ]  # fmt: skip


def _commands(rest: Rest) -> list[Operation]:
    applied = Answer(200, _("Applied by the backend."), "Outcome", WRITTEN)
    pending = Answer(
        202, _("Kept: it will be sent to the backend. Its receipt tells its end."), "Outcome", ("Location", *WRITTEN)
    )
    shown = Answer(200, _("What the view says."), {}, ("ETag", *FRESH))
    return [
        Operation(
            "run", "POST", "/api/commands/{command}", "commands", "read", "{label}", rest.run_command,
            per="command", body="command_{command}", parameters=(TOKEN, OWN_RECEIPT, PREFER),
            answers=(applied, pending), faults=(400, 404, 409, 413, 415, 422),
        ),
        Operation(
            "view", "GET", "/api/views/{view}", "views", "read", "{label}", rest.get_view,
            per="view", parameters=(IF_NONE_MATCH,), answers=(shown, NOT_MODIFIED), faults=(404, 422),
        ),
    ]  # fmt: skip


def _receipts(outbox: Outbox, parts: Parts) -> list[Operation]:
    receipt = Answer(200, _("The command."), "Receipt", ("ETag", "Retry-After"))
    page = Answer(200, _("Commands, newest first."), "Receipts", ("ETag", "Link"))
    limit = {"type": "integer", "minimum": 1, "maximum": PAGE_COMMANDS_MAX, "default": parts.settings.page_rows}
    asked = (
        Parameter(
            "state",
            "query",
            {"type": "string", "examples": ["kept,sending"]},
            _("States between commas: kept, sending, applied, refused, conflict, unknown, withdrawn."),
        ),
        Parameter("backend", "query", TEXT, _("Commands of one backend.")),
        Parameter("table", "query", TEXT, _("Commands that change rows of one table.")),
        USER,
        Parameter("cause", "query", TEXT, _("Commands that failed for one cause, as the list of causes names it.")),
        Parameter(
            "dismissed",
            "query",
            {"type": "string", "enum": ["true", "false"]},
            _("Whether it was dealt with."),
        ),
        Parameter("limit", "query", limit, _("How many.")),
        Parameter(
            "after", "query", {"type": "integer", "minimum": 1}, _("The position of the last one of the page before.")
        ),
        IF_NONE_MATCH,
    )
    return [
        Operation(
            "receipts", "GET", "/api/outbox", "outbox", "read", _("List writes"), outbox.list_receipts,
            parameters=asked, answers=(page, NOT_MODIFIED), faults=(422,),
        ),
        Operation(
            "decide_many", "POST", "/api/outbox", "outbox", "write", _("Decide about many writes"),
            outbox.act_on_many, parameters=(TOKEN,), body="Decisions",
            answers=(Answer(200, _("What became of each."), "Decided"),), faults=(400, 413, 415, 422),
        ),
        Operation(
            "causes", "GET", "/api/outbox/causes", "outbox", "read", _("What failed, by its cause"),
            outbox.list_causes, parameters=(asked[1], USER, IF_NONE_MATCH),
            answers=(Answer(200, _("Causes, the most frequent first."), "Causes", ("ETag",)), NOT_MODIFIED),
        ),
        Operation(
            "receipt", "GET", "/api/outbox/{receipt}", "outbox", "read", _("What became of a write"),
            outbox.get_receipt, parameters=(RECEIPT, IF_NONE_MATCH), answers=(receipt, NOT_MODIFIED), faults=(404,),
        ),
        Operation(
            "audit", "GET", "/api/outbox/{receipt}/audit", "outbox", "read", _("What people did about a write"),
            outbox.get_audit, parameters=(RECEIPT, IF_NONE_MATCH),
            answers=(Answer(200, _("Who did what, when, from where."), "Audit", ("ETag",)), NOT_MODIFIED),
            faults=(404,),
        ),
        *_decisions(outbox, receipt),
    ]  # fmt: skip


def _decisions(outbox: Outbox, receipt: Answer) -> list[Operation]:
    anew = (
        Answer(200, _("Applied by the backend."), "Outcome", WRITTEN),
        Answer(202, _("Kept: it will be sent to the backend. Its receipt tells its end."), "Outcome",
               ("Location", *WRITTEN)),
    )  # fmt: skip
    return [
        Operation(
            "withdraw", "POST", "/api/outbox/{receipt}/withdraw", "outbox", "write",
            _("Take a write back that was not sent"), outbox.withdraw, parameters=(RECEIPT,), answers=(receipt,),
            faults=(404, 409, 415),
        ),
        Operation(
            "dismiss", "POST", "/api/outbox/{receipt}/dismiss", "outbox", "write",
            _("Say that a write has been dealt with"), outbox.dismiss, parameters=(RECEIPT,), answers=(receipt,),
            faults=(404, 409, 415),
        ),
        Operation(
            "decide", "POST", "/api/outbox/{receipt}/decide", "outbox", "write",
            _("Say whether a write of unknown outcome arrived"), outbox.decide, parameters=(RECEIPT,), body="Decision",
            answers=(receipt,), faults=(400, 404, 409, 413, 415, 422),
        ),
        Operation(
            "retry", "POST", "/api/outbox/{receipt}/retry", "outbox", "write", _("Send a write again as it was"),
            outbox.retry, parameters=(RECEIPT, TOKEN, PREFER), body="Lost", optional_body=True, answers=anew,
            description=_(
                "A new command that replaces this one, checked against the copy as it is now. Of one whose outcome is "
                "unknown, say that it has not arrived."
            ),
            faults=(400, 404, 409, 412, 413, 415, 422),
        ),
        Operation(
            "edit", "POST", "/api/outbox/{receipt}/edit", "outbox", "write", _("Send a write again with other values"),
            outbox.edit, parameters=(RECEIPT, TOKEN, PREFER), body="Edit", answers=anew,
            faults=(400, 404, 409, 412, 413, 415, 422),
        ),
    ]  # fmt: skip
