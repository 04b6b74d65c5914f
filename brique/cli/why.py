"""`brique why ADDRESS`: why a page says what it says."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click
import msgspec

from brique.app import Behind, Cause, Known, OfTable, why_at
from brique.cli.options import DATA
from brique.clock import SystemClock

_STATES = {
    "ready": "ready",
    "let go": "let go of",
    "ended": "ended by the clock",
    "failing": "failing, the last good bytes",
}
_CAUSES = {
    "clock": "the clock: the time for which the bytes before were made had passed",
    "first": "the first who asked (since it is kept)",
    "forgotten": "a change that the log does not reach back to any more",
}
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


@click.command()
@click.argument("address")
@DATA
@click.option("--user", metavar="NAME", help="Only what is kept for everybody, or for this person.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as one JSON object.")
def why(address: str, data: Path, user: str | None, as_json: bool) -> None:
    """Why the page at ADDRESS is as it is: what it was made of, what ended the bytes before, and when.

    ADDRESS is a path (/customers/7/statement, /tables/customer/7, /api/views/statement?number=7) or the whole address
    of a page. Asks the store alone: brique may run or not.
    """
    found = why_at(data, address, user=user)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        return
    now = SystemClock().now()
    if found.view is not None:
        lines = _view(found, now)
    else:
        lines = _page(found, now) if found.table is None else _table(found.table, now)
    click.echo("\n".join(lines))


def _view(found: Behind, now: datetime) -> list[str]:
    view = found.view
    assert view is not None
    given = ", ".join(f"{name}={value}" for name, value in view.arguments.items())
    lines = [f"{view.kind} {view.view}({given}) of {view.code}, for the role {view.role}"]
    if not view.kept:
        other = "only bytes that other code has made, which are not shown" if view.other_code else "nothing is kept"
        lines.append(f"not ready: {other}; the next reader has it made")
    for known in view.kept:
        lines += ["", *_known(known, view.fresh_seconds, now)]
    lines += [f"warning: {text}" for text in view.warnings]
    for table, confirmed in view.tables.items():
        lines.append(f"{table}: confirmed by its backend {_ago(confirmed, now)}")
    return lines


def _known(known: Known, fresh: float | None, now: datetime) -> list[str]:
    whose = f" for {known.user} alone" if known.user else ""
    lines = [
        f"{_STATES[known.state]}{whose}: {known.bytes} bytes, made {_ago(known.made_at, now)}, in {known.took_ms:g} ms",
        f"made {'once' if known.makes == 1 else f'{known.makes} times'} since it is kept, last use told "
        f"{_ago(known.used_at, now)}",
    ]
    if known.error:
        lines.append(f"the view fails: {known.error}")
    said = _cause(known.cause, now)
    lines.append(f"no longer ready since {said}" if known.state == "let go" else f"because of {said}")
    if known.until:
        behind = f" (or {fresh:g} s behind changes of whole tables)" if fresh else ""
        lines.append(f"holds until {datetime.fromisoformat(known.until):%Y-%m-%d %H:%M:%S} UTC, by the clock{behind}")
    if known.depends:
        lines.append("depends on:")
    wide = max((len(one.question) for one in known.depends), default=0)
    for one in known.depends:
        how = {"pattern": f"pattern {one.pattern}", "reference": f"reference {one.pattern}"}.get(one.by, "its own")
        total = ", from kept totals" if one.total else ""
        wider = "" if one.narrow else ", a whole table or range"
        lines.append(
            f"  {one.question:<{min(wide, 70)}}  {', '.join(one.columns) or 'which rows'}  ({how}{total}{wider})"
        )
    return lines


def _cause(cause: Cause, now: datetime) -> str:
    if cause.what in _CAUSES:
        return _CAUSES[cause.what]
    if cause.what == "reload":
        return f"all rows of {cause.table}, read anew {_ago(cause.at, now)}"
    columns = f" ({', '.join(cause.columns)})" if cause.columns else " (it came or went)"
    who = f"command {cause.by} of {cause.user}, receipt {cause.receipt}" if cause.by else "a refresh"
    return f"row {cause.key} of {cause.table}{columns}, changed by {who}, {_ago(cause.at, now)}"


def _ago(moment: str | None, now: datetime) -> str:
    """`2026-11-20 10:41:00 UTC, 5 min ago`."""
    if not moment:
        return "never"
    at = datetime.fromisoformat(moment)
    return f"{at:%Y-%m-%d %H:%M:%S} UTC, {_long((now - at).total_seconds())} ago"


def _long(seconds: float) -> str:
    for size, unit in _UNITS:
        if abs(seconds) >= size:
            return f"{seconds / size:.0f} {unit}"
    return "0 s"


def _table(found: OfTable, now: datetime) -> list[str]:
    what = f"row {found.key} of {found.table}" if found.key else f"list of {found.table}, {found.rows} rows"
    lines = [
        f"{what}: made of the copy, no bytes of it are kept in the store",
        f"confirmed by its backend {_ago(found.confirmed_at, now)}",
    ]
    if not found.is_there:
        lines.append("there is no such row" if found.key else "its first copy is not there yet")
    lines += [f"laid over it: {receipt}" for receipt in found.waiting]
    lines += [f"change: {_cause(cause, now)}" for cause in found.last]
    if not found.last:
        lines.append("no change of it is in the log")
    return lines


def _page(found: Behind, now: datetime) -> list[str]:
    assert found.page is not None
    lines = ["a page of brique's own: made of the copy, no bytes of it are kept in the store"]
    return lines + [f"{table}: confirmed by its backend {_ago(at, now)}" for table, at in found.page.tables.items()]
