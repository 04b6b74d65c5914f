"""`brique spool`: the commands that are kept, what became of them, and decisions about them, one by one or many.

It ends with 0 when everything was done, 1 after a fault, 3 when some of many could not be done, 4 when the spool is
damaged.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from brique.app import Act, Asked, Done, One, Outbox, check_spool_of
from brique.cli.options import DATA
from brique.cli.tell import filled, shown, tell
from brique.errors import BadInput
from brique.formats import guard

SOME_FAILED, DAMAGED = 3, 4
_COLORS = {"kept": "yellow", "sending": "yellow", "applied": "green", "withdrawn": "dim"}
_FIELDS = (
    "receipt", "position", "state", "dismissed", "at", "user", "origin", "backend", "name", "label", "rows", "tries",
    "next_try", "settled_at", "reason", "cause", "replaces", "replaced_by", "changes", "effects", "audit",
)  # fmt: skip
_WHAT_LETTERS_MAX = 60


def filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which commands, as on the page."""
    for option in (
        click.option("--cause", default="", metavar="CAUSE", help="Failed for this cause, as --json names it."),
        click.option("--user", default="", metavar="NAME", help="Given by this person."),
        click.option("--table", default="", metavar="NAME", help="Changes rows of this table."),
        click.option("--backend", default="", metavar="NAME", help="For this backend."),
        click.option(
            "--state", "states", multiple=True, metavar="STATE",
            help="open (the default), needs (a person), all, or states: kept, sending, applied, refused, conflict, "
            "unknown, withdrawn. Several with commas.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def asked_of(states: tuple[str, ...], backend: str, table: str, user: str, cause: str) -> Asked:
    """The options as a question."""
    names = tuple(name.strip() for text in states for name in text.split(",") if name.strip())
    return Asked(names or ("open",), backend, table, user, cause)


@click.group()
def spool() -> None:
    """The commands that are kept: what waits, what needs a person, what became of each."""


@spool.command("list")
@DATA
@filters
@click.option("--all", "everything", is_flag=True, help="As --state all.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many, the newest."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(data: Path, everything: bool, limit: int, as_json: bool, **question: Any) -> None:
    """List commands, the newest first; by default those that are not done with."""
    asked = asked_of(**question) if not everything else asked_of(**(question | {"states": ("all",)}))
    with Outbox(data) as outbox:
        found = [_plain(one) for one in _whole(outbox, outbox.find(asked, limit))]
    if as_json:
        for item in found:
            click.echo(json.dumps(item, ensure_ascii=False))
    elif sys.stdout.isatty():
        _table(found)
    else:
        for item in found:
            click.echo("  ".join([item["receipt"], f"{item['state']:<9}", item["at"], f"{item['user']:<12}"]), nl=False)
            click.echo(f"  {_line(_what(item))}  {_line(item['reason'])}")


@spool.command()
@DATA
@click.argument("receipt")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def show(data: Path, receipt: str, as_json: bool) -> None:
    """Show one command: what it asks, what became of it, and who did what about it."""
    with Outbox(data) as outbox:
        item = _plain(outbox.one(receipt))
    if as_json:
        click.echo(json.dumps(item, ensure_ascii=False, indent=2))
        return
    for line in _told(item):
        click.echo(_line(line))


def _decision(name: str, act: Act, text: str, question: str) -> None:
    @spool.command(name, help=text)
    @DATA
    @click.argument("receipts", nargs=-1, metavar="[RECEIPT]...")
    @filters
    @click.option("--yes", is_flag=True, help="Do it to all that the filters leave, without asking.")
    @click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
    def decide(data: Path, receipts: tuple[str, ...], yes: bool, as_json: bool, **asked: Any) -> None:
        _decide(data, act, receipts, asked, question, yes=yes, as_json=as_json)


_decision(
    "retry", "retry", "Send again what was refused, is in conflict or was taken back: the same wish, as a new command.",
    "Send {n} commands again?",
)  # fmt: skip
_decision("withdraw", "withdraw", "Take back what has not been sent.", "Take {n} commands back?")


@spool.command()
@DATA
@click.argument("receipts", nargs=-1, metavar="[RECEIPT]...")
@click.option("--arrived", "act", flag_value="arrived", help="It arrived (its outcome was unknown).")
@click.option("--lost", "act", flag_value="lost", help="It did not arrive: leave it.")
@click.option("--send-again", "act", flag_value="resend", help="It did not arrive: send it again.")
@click.option("--put-away", "act", flag_value="dismiss", help="It was dealt with: refused, in conflict or unknown.")
@filters
@click.option("--yes", is_flag=True, help="Do it to all that the filters leave, without asking.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def resolve(data: Path, receipts: tuple[str, ...], act: Act | None, yes: bool, as_json: bool, **asked: Any) -> None:
    """Say what became of commands that need a person."""
    if act is None:
        raise click.UsageError("Say which: --arrived, --lost, --send-again or --put-away.")
    _decide(data, act, receipts, asked, "Decide so about {n} commands?", yes=yes, as_json=as_json)


@spool.command()
@DATA
@click.argument("receipt")
@click.argument("values", nargs=-1, required=True, metavar="NAME=VALUE...")
@click.option("--lost", is_flag=True, help="Its outcome was unknown, and it did not arrive.")
def edit(data: Path, receipt: str, values: tuple[str, ...], lost: bool) -> None:
    """Send a command again with other values, written as the API writes them: 2026-11-21, 12.50, true."""
    given: dict[str, str] = {}
    for text in values:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise BadInput(f"{text!r} is no value.", try_this="write NAME=VALUE")
        given[name] = value
    with Outbox(data) as outbox:
        answer = outbox.edit(receipt, given, lost=lost)
    click.echo(f"{receipt} was sent again as {answer.id}.")


@spool.command()
@DATA
@filters
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="File to write. [standard output]"
)
def export(data: Path, form: str, output: Path | None, **question: Any) -> None:
    """Write commands as a file, with their audit: JSON lines, or CSV that no spreadsheet runs."""
    if not question["states"]:
        question["states"] = ("all",)
    with Outbox(data) as outbox:
        items = map(_plain, _whole(outbox, outbox.find(asked_of(**question))))
        lines = _csv(items) if form == "csv" else (json.dumps(item, ensure_ascii=False) + "\n" for item in items)
        if output is None:
            for line in lines:
                click.echo(line, nl=False)
        else:
            with output.open("w", encoding="utf-8", newline="") as file:
                file.writelines(lines)


@spool.command()
@DATA
@click.argument("backend")
@click.option("--yes", is_flag=True, help="Do it without asking.")
def adopt(data: Path, backend: str, yes: bool) -> None:
    """Go on with a backend that has applied more than this spool knows of, because another copy of this data folder
    (or a newer state of it) has been writing there. Stop that copy first."""
    with Outbox(data) as outbox:
        ahead = outbox.stopped(backend)
        if ahead.forked:
            click.echo(f"{backend} has applied another command as number {ahead.mark} than the one that is there here.")
        else:
            click.echo(f"{backend} has applied commands up to {ahead.mark}; this spool ended at {ahead.last}.")
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError("Once no other copy runs, add --yes.")
            click.confirm("Does no other copy of this data folder run any more, and is this one to go on?", abort=True)
        outbox.adopt(backend, ahead.mark)
    click.echo(f"{backend}: what waits goes on; what may have been applied there shows on the outbox page.")


@spool.command()
@DATA
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def check(data: Path, as_json: bool) -> None:
    """Read the spool whole, every record against its checksum, and say what was found; it may be in use."""
    found = check_spool_of(data)
    if as_json:
        click.echo(json.dumps({"sound": found.is_sound, "records": found.records, "first": found.first,
                               "last": found.last, "bytes": found.bytes, "segments": found.segments,
                               "report": found.lines()}, ensure_ascii=False))  # fmt: skip
    else:
        for line in found.lines():
            click.echo(line)
    if not found.is_sound:
        if not as_json:
            click.echo(
                "Try: compare what people entered at these positions with the backends, or restore the spool from a "
                "backup (brique restore); everything else goes on.",
                err=True,
            )
        sys.exit(DAMAGED)


# -- what they share ---------------------------------------------------------------------------------------------------


def _decide(
    data: Path, act: Act, receipts: tuple[str, ...], asked: dict[str, Any], question: str, *, yes: bool, as_json: bool
) -> None:
    """Do `act` to the receipts given, or to what the filters leave; tell what became of each."""
    with Outbox(data) as outbox:
        names = list(receipts)
        if not names:
            names = _of_filters(outbox, act, asked, question, yes=yes)
        done = outbox.many(act, names) if names else []
    for one in done:
        _result(one, as_json=as_json)
    if any(one.fault is not None for one in done):
        sys.exit(SOME_FAILED if len(done) > 1 else 1)


_STATES: dict[str, tuple[str, ...]] = {
    "retry": ("refused", "conflict"),
    "withdraw": ("kept",),
    "arrived": ("unknown",),
    "lost": ("unknown",),
    "resend": ("unknown",),
    "dismiss": ("refused", "conflict", "unknown"),
}
"""What an act is about when no state was asked for."""


def _of_filters(outbox: Outbox, act: Act, asked: dict[str, Any], question: str, *, yes: bool) -> list[str]:
    """The receipts that the filters leave, the oldest first, once somebody has said yes."""
    if not any(asked.values()):
        raise click.UsageError("Name receipts, or choose by --state, --backend, --table, --user or --cause.")
    if not asked["states"]:
        asked["states"] = _STATES[act]
    found = [item.command.id for item in outbox.find(asked_of(**asked)) if not item.dismissed][::-1]
    if not found:
        click.echo("There is no such command.", err=True)
    elif not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"This is about {len(found)} commands: add --yes.")
        click.confirm(question.format(n=len(found)), abort=True)
    return found


def _result(one: Done, *, as_json: bool) -> None:
    fault = one.fault
    if as_json:
        problem = {"code": fault.code, "message": filled(fault, fault.message)} if fault is not None else None
        click.echo(json.dumps({"receipt": one.receipt, "done": fault is None, "replaced_by": one.instead or None,
                               "problem": problem}, ensure_ascii=False))  # fmt: skip
    elif fault is not None:
        click.echo(f"{one.receipt}:", err=True)
        tell(fault)
    else:
        click.echo(f"{one.receipt} was sent again as {one.instead}." if one.instead else f"{one.receipt}: done.")


def _whole(outbox: Outbox, found: Iterable[Any]) -> Iterator[One]:
    """Commands with their audit, a page at a time."""
    page: list[Any] = []
    for item in found:
        page.append(item)
        if len(page) == 500:
            yield from _with_deeds(outbox, page)
            page = []
    yield from _with_deeds(outbox, page)


def _with_deeds(outbox: Outbox, page: list[Any]) -> Iterator[One]:
    deeds = outbox.deeds(page) if page else {}
    for item in page:
        yield One(item, tuple(deeds.get(item.position, ())), (), ())


def _plain(one: One) -> dict[str, Any]:
    """A command as plain data."""
    item, command = one.item, one.item.command
    replaced = [deed.other for deed in one.deeds if deed.what in ("retried", "edited")]
    plain: dict[str, Any] = {
        "receipt": command.id,
        "position": item.position,
        "state": str(item.state),
        "dismissed": item.dismissed,
        "at": command.at,
        "user": command.user,
        "origin": command.origin,
        "backend": command.backend,
        "name": command.name,
        "label": command.label,
        "rows": [f"{change.table}/{change.key}" for change in command.changes],
        "tries": item.tries,
        "next_try": item.next_try,
        "settled_at": item.settled_at,
        "reason": item.reason,
        "cause": item.cause,
        "replaces": command.replaces or None,
        "replaced_by": replaced[0] if replaced else None,
        "changes": [
            {"table": c.table, "key": c.key, "before": _values(c.before), "after": _values(c.after)}
            for c in command.changes
        ],
        "effects": [effect.name for effect in command.effects],
        "audit": [
            {"at": d.at, "what": d.what, "by": d.by, "origin": d.origin, "address": d.address, "other": d.other or None}
            for d in one.deeds
        ],
    }
    plain["what"] = _what(plain)
    if one.waits_for or one.waited_for_by:
        plain |= {"waits_for": list(one.waits_for), "waited_for_by": list(one.waited_for_by)}
    return plain


def _values(row: dict[str, Any] | None) -> dict[str, Any] | None:
    """Store values as JSON can hold them: bytes by their number."""
    if row is None:
        return None
    return {name: f"{len(value)} bytes" if isinstance(value, bytes) else value for name, value in row.items()}


def _what(item: dict[str, Any]) -> str:
    rows = (row.partition("/new-")[0] + "/new" if "/new-" in row else row for row in item["rows"])
    asked = [*rows, *(f"{name}()" for name in item["effects"])]
    shown = ", ".join(asked[:3]) + (f" … {len(asked)}" if len(asked) > 3 else "")
    return f"{item['label'] or item['name']} {shown}"


def _table(found: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("Receipt", "State", "When", "Who", "What", "Why"):
        table.add_column(head, overflow="fold", no_wrap=head in ("Receipt", "State", "When"))
    for item in found:
        color = _COLORS.get(item["state"], "red" if not item["dismissed"] else "dim")
        when = datetime.fromisoformat(item["at"]).astimezone().strftime("%Y-%m-%d %H:%M")
        table.add_row(
            item["receipt"], f"[{color}]{item['state']}[/]", when, _plainly(item["user"]),
            _plainly(_what(item)[:_WHAT_LETTERS_MAX]), _plainly(item["reason"]),
        )  # fmt: skip
    Console().print(table)


def _plainly(text: str) -> str:
    """`text` without anything that rich or a terminal would act on."""
    return "".join(letter if letter.isprintable() else " " for letter in text).replace("[", r"\[")


def _line(text: str) -> str:
    """`text` on one line, so that nobody's words can be taken for ours."""
    return " ".join(shown(text).split("\n"))


def _told(item: dict[str, Any]) -> Iterator[str]:
    """One command for people."""
    yield f"{item['receipt']}  {item['state']}{'  (dealt with)' if item['dismissed'] else ''}"
    yield f"  {_what(item)}  for {item['backend']}"
    yield f"  given {item['at']} by {item['user']} ({item['origin']})"
    if item["tries"]:
        yield f"  tried {item['tries']} times; next try {item['next_try'] or 'when the backend answers'}"
    if item["reason"]:
        yield f"  why: {item['reason']}"
    for name, text in (("waits_for", "waits for"), ("waited_for_by", "waited for by")):
        if item.get(name):
            yield f"  {text} {', '.join(item[name])}"
    for name, text in (("replaces", "replaces"), ("replaced_by", "replaced by")):
        if item[name]:
            yield f"  {text} {item[name]}"
    for change in item["changes"]:
        yield f"  {change['table']}/{change['key']}"
        before, after = change["before"] or {}, change["after"] or {}
        for column in dict.fromkeys([*before, *after]):
            was = json.dumps(before[column], ensure_ascii=False) if column in before else "-"
            will = json.dumps(after[column], ensure_ascii=False) if column in after else "-"
            yield f"    {column}: {was} -> {will}"
    for deed in item["audit"]:
        where = ", ".join(part for part in (deed["origin"], deed["address"]) if part)
        yield f"  {deed['at']}  {deed['what']} by {deed['by']} ({where}){'  ' + deed['other'] if deed['other'] else ''}"


def _csv(items: Iterable[dict[str, Any]]) -> Iterator[str]:
    """CSV a line at a time, every text guarded against being run."""
    buffer = io.StringIO()
    out = csv.writer(buffer, lineterminator="\r\n")
    out.writerow(_FIELDS)
    for item in items:
        out.writerow([_cell(item[name]) for name in _FIELDS])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict):
        value = json.dumps(value, ensure_ascii=False) if value else ""
    return guard(value) if isinstance(value, str) else value
