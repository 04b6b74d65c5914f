"""The status page: how each backend, table and process is, in plain words. It asks nobody but the copy and brique
itself, so it comes at once with every backend down.

People see the backends and their tables; administrators see processes, errors and the demo's switch as well. A script
gets the same as JSON.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from brique.clock import unstamp
from brique.commands import may
from brique.errors import BadInput, BriqueError
from brique.http import Routes, at, no_such_page, user_of, wants_json
from brique.observe import ErrorGroup
from brique.pages.format import DASH, Formats
from brique.pages.formpage import Notice, copy_if_any, formats_for, notice_of
from brique.pages.frame import Frame, set_flash
from brique.pages.ladder import abilities, climbing
from brique.pages.lanes import Lanes, StoppedLane, journal_faults, stopped_lane, taken_over
from brique.pages.loading import progress_of
from brique.pages.parts import Parts, StatusFacts
from brique.pages.places import PlaceLine, place_lines
from brique.pages.render import page
from brique.pages.tiles import tiles
from brique.schema import State, TableSpec
from brique.views import BackendState, Copy, TableState


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


HEALTH: dict[str, tuple[str, str]] = {
    "live": (_("up to date"), "ok"),
    "slow": (_("slow"), "warn"),
    "down": (_("out of reach"), "bad"),
    "": (_("not asked yet"), ""),
}
PROCESS_STATES: dict[str, tuple[str, str]] = {
    "running": (_("running"), "ok"),
    "ready": (_("running"), "ok"),
    "starting": (_("starting"), "warn"),
    "stopping": (_("stopping"), "warn"),
    "waiting": (_("waits before it starts again"), "bad"),
    "stopped": (_("stopped"), ""),
    "failed": (_("failed"), "bad"),
}
DEMO_STATES = {
    "running": (_("The demo's ERP runs."), "ok"),
    "frozen": (_("The demo's ERP is frozen: it takes connections and answers nothing."), "warn"),
    "stopped": (_("The demo's ERP is stopped."), "bad"),
}
DEMO_ACTIONS = {
    "start": _("Start the ERP"),
    "stop": _("Stop the ERP"),
    "kill": _("Kill the ERP"),
    "freeze": _("Freeze the ERP"),
    "thaw": _("Thaw the ERP"),
}
_ERRORS_SHOWN_MAX = 20


def routes(parts: Parts) -> Routes:
    """The routes of these pages."""
    status = StatusPage(parts)
    table = Routes()
    table.get("/-/status", status.show, name="status")
    table.post("/-/status/demo", status.demo, role="admin")
    table.post("/-/status/adopt", Lanes(parts).adopt, role="admin")
    table.get("/-/health", health, role=None, name="health")
    return table


async def health(request: Request) -> Response:
    """Whether this process answers. Open to all, so it says nothing else."""
    return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})


@dataclass(frozen=True)
class BackendLine:
    """One backend: `age_seconds` of its oldest table's data, None when there is no copy."""

    name: str
    label: str
    state: str
    word: str
    kind: str
    since: datetime | None
    confirmed_at: datetime | None
    age_seconds: int | None
    copy_seconds: float | None
    waiting: int
    note: str
    rung: str
    rung_word: str
    climb: str
    abilities: Mapping[str, bool | None]
    abilities_in_words: list[tuple[bool, str]]
    next_try: datetime | None = None
    stopped: StoppedLane | None = None


@dataclass(frozen=True)
class TableLine:
    """One table of the copy."""

    name: str
    label: str
    backend: str
    rows: int
    loaded: bool
    age_seconds: int | None
    fault: str
    href: str


@dataclass
class Lines:
    """What the copy says."""

    backends: list[BackendLine] = field(default_factory=list)
    tables: list[TableLine] = field(default_factory=list)
    places: list[PlaceLine] = field(default_factory=list)
    needing: int = 0
    has_store: bool = True


class StatusPage:
    """The pages of one intranet."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def show(self, request: Request) -> Response:
        """The page, or JSON for a program."""
        return self._show(request, [], 200)

    def _show(self, request: Request, notices: list[Notice], status: int) -> Response:
        user, parts = user_of(request), self.parts
        formats = formats_for(parts, request)
        is_admin = may(user, "admin")
        facts = parts.status() if is_admin else StatusFacts()
        with copy_if_any(parts) as copy:
            lines = Reading(parts, request, formats, copy, is_admin).lines()
            if request.query_params.get("format") == "json" or wants_json(request.scope):
                return JSONResponse(as_json(lines, facts, is_admin=is_admin), headers={"Cache-Control": "no-store"})
            context = Frame(parts).context(
                request,
                title=formats.t(_("System status")),
                current="status",
                copy=copy,
                lines=lines,
                facts=facts,
                is_admin=is_admin,
                tiles=tiles(facts, formats) if is_admin else [],
                processes=[_process(process, formats) for process in facts.processes],
                failures=[_failure(group) for group in facts.errors[:_ERRORS_SHOWN_MAX]],
                demo=self._demo(formats) if is_admin else None,
                notices=notices,
                demo_action=at(request.scope, "/-/status/demo"),
                adopt_action=at(request.scope, "/-/status/adopt"),
                taken_over=taken_over(parts, copy) if is_admin and copy is not None else [],
                journal=journal_faults(copy),
            )
        context |= {"pills": _pills(lines, facts, formats), "banners": []}
        return page(parts, request, "status.html", context, status)

    def _demo(self, formats: Formats) -> dict[str, Any] | None:
        panel = self.parts.demo
        if panel is None:
            return None
        sentence, kind = DEMO_STATES.get(panel.state(), (panel.state(), ""))
        actions = [(name, formats.t(DEMO_ACTIONS.get(name, name))) for name in panel.actions()]
        return {"sentence": formats.t(sentence), "kind": kind, "actions": actions}

    async def demo(self, request: Request) -> Response:
        """Stop, freeze or start the demo's ERP; that may take a while, so it runs in a thread."""
        panel = self.parts.demo
        if panel is None:
            raise no_such_page()
        form = await request.form()
        action = str(form.get("action", ""))
        formats = formats_for(self.parts, request)
        try:
            if action not in DEMO_ACTIONS:
                raise BadInput(_("The demo cannot do that."))
            state = await asyncio.to_thread(panel.perform, action)
        except BriqueError as fault:
            notice = notice_of(fault, request, formats.language)
            return await asyncio.to_thread(self._show, request, [notice], fault.status)
        response = RedirectResponse(at(request.scope, "/-/status"), 303)
        sentence, _kind = DEMO_STATES.get(state, (state, ""))
        return set_flash(response, request, "demo", state=formats.t(sentence))


class Reading:
    """Reads what the copy says; `copy` is None while there is no store."""

    def __init__(self, parts: Parts, request: Request, formats: Formats, copy: Copy | None, is_admin: bool) -> None:
        self.parts, self.request, self.formats, self.copy, self.is_admin = parts, request, formats, copy, is_admin
        self.t: Callable[..., str] = formats.t
        self.now = parts.clock.now()

    def lines(self) -> Lines:
        """A line for each backend and table, of one state of the store."""
        states: Mapping[str, BackendState] = self.copy.backend_states() if self.copy is not None else {}
        lines = Lines(has_store=self.copy is not None)
        for name in self.parts.backends:
            lines.backends.append(self._backend(name, states.get(name)))
        for spec in self.parts.specs.values():
            lines.tables.append(self._table(spec, states))
        lines.places = place_lines(self.parts, self.formats, self.copy, is_admin=self.is_admin)
        if self.copy is not None:
            lines.needing = self.copy.needing_person()
        return lines

    def _backend(self, name: str, state: BackendState | None) -> BackendLine:
        spec = self.parts.backends[name]
        known = state.state if state is not None else ""
        word, kind = HEALTH.get(known, (known, ""))
        faults = state.facts.get("faults") if state is not None else None
        if known == "live" and faults:
            word, kind = _("changed"), "warn"
        stopped = None
        if state is not None and known != "live":
            stopped = stopped_lane(name, spec.label or name, state.facts, self.formats)
        if stopped is not None:
            word, kind = _("stopped"), "bad"
        confirmed = state.confirmed_at if state is not None else None
        rung = state.rung if state is not None else ""
        word_of_rung, climb = climbing(
            rung, self.formats.retell(state.rung_reason) if state is not None else "", self.t
        )
        known_abilities = state.facts.get("abilities", {}) if state is not None else {}
        seconds = state.facts.get("copy_seconds") if state is not None else None
        return BackendLine(
            name=name,
            label=spec.label or name,
            state=known,
            word=self.t(word),
            kind=kind,
            since=state.since if state is not None else None,
            confirmed_at=confirmed,
            age_seconds=self._age(confirmed),
            copy_seconds=float(seconds) if isinstance(seconds, (int, float)) else None,
            waiting=self._waiting(name),
            note=self._note(state, faults) if stopped is None else self.t(_("waits for an administrator: see above")),
            rung=rung,
            rung_word=word_of_rung,
            climb=climb,
            abilities=known_abilities,
            abilities_in_words=abilities(known_abilities, rung, self.t),
            next_try=state.next_try if state is not None and known == "down" and stopped is None else None,
            stopped=stopped,
        )

    def _age(self, moment: datetime | None) -> int | None:
        return None if moment is None else max(0, int((self.now - moment).total_seconds()))

    def _waiting(self, backend: str) -> int:
        if self.copy is None:
            return 0
        counts = self.copy.command_counts(backend=backend)
        return counts.get(State.KEPT, 0) + counts.get(State.SENDING, 0)

    def _note(self, state: BackendState | None, faults: object) -> str:
        """What is wrong, since when, and when it is tried again; what still works is said by the page."""
        if state is None:
            return ""
        reason = (
            self.formats.retell(state.last_error).rstrip(".") if self.is_admin else ""
        )  # it names machines and accounts
        parts = []
        if state.state == "down":
            parts.append(self.t(_("out of reach {since}"), since=self.formats.since(state.since, self.now))
                         if state.since else "")  # fmt: skip
            parts.append(reason)
            left = (state.next_try - self.now).total_seconds() if state.next_try else 0
            again = self.t(_("new try in {time}"), time=self.formats.age(left)) if left >= 1 else ""
            parts.append(again or self.t(_("being tried now")))
        elif state.state == "slow":
            parts.append(reason)
        if isinstance(faults, Mapping):
            parts += [f"{self._label(str(name))}{self.t(': ')}{text}" for name, text in faults.items()]
        return ", ".join(part for part in parts if part)

    def _label(self, table: str) -> str:
        spec = self.parts.specs.get(table)
        return spec.label if spec is not None else table

    def _table(self, spec: TableSpec, states: Mapping[str, BackendState]) -> TableLine:
        state = self._state(spec)
        faults = states[spec.backend].facts.get("faults") if spec.backend in states else None
        fault = state.fault if state is not None else ""
        if not fault and isinstance(faults, Mapping):
            fault = str(faults.get(spec.name, ""))
        if not fault and (state is None or not state.loaded):
            progress = progress_of(spec, state, states)
            share = f" {self.formats.number(progress.done)}" if progress.done else ""
            total = f" / {self.formats.number(progress.total)}" if progress.total else ""
            fault = f"{self.t(progress.step)}{share}{total}"
        backend = self.parts.backends.get(spec.backend)
        return TableLine(
            name=spec.name,
            label=spec.label,
            backend=(backend.label or backend.name) if backend else spec.backend,
            rows=state.rows if state is not None else 0,
            loaded=state is not None and state.loaded,
            age_seconds=self._age(state.confirmed_at) if state is not None else None,
            fault=fault,
            href=at(self.request.scope, f"/tables/{spec.name}"),
        )

    def _state(self, spec: TableSpec) -> TableState | None:
        if self.copy is None:
            return None
        try:
            return self.copy.table_state(spec.name)
        except BriqueError:  # not in the store yet
            return None


def _pills(lines: Lines, facts: StatusFacts, formats: Formats) -> list[tuple[str, str]]:
    t = formats.t
    away = sum(line.kind == "bad" and line.stopped is None for line in lines.backends)
    stopped = sum(line.stopped is not None for line in lines.backends)
    pills = []
    if not lines.has_store:
        pills.append((t(_("the engine has not made the copy yet")), "bad"))
    elif away:
        one = away == 1
        pills.append((t(_("1 backend out of reach") if one else _("{n} backends out of reach"), n=away), "bad"))
    if stopped:
        pills.append((t(_("1 backend stopped") if stopped == 1 else _("{n} backends stopped"), n=stopped), "bad"))
    slow = sum(line.state == "slow" and line.stopped is None for line in lines.backends)
    if slow:
        pills.append((t(_("1 backend is slow") if slow == 1 else _("{n} backends are slow"), n=slow), "warn"))
    if not pills:
        pills.append((t(_("everything answers")), "ok"))
    if facts.version:
        node = t(_("node {node}"), node=facts.node) if facts.node else ""
        pills.append((" · ".join(filter(None, (f"brique {facts.version}", node))), ""))
    return pills


def _process(process: Mapping[str, Any], formats: Formats) -> dict[str, Any]:
    state = str(process.get("state", ""))
    word, kind = PROCESS_STATES.get(state, (state, ""))
    started = process.get("started")
    if isinstance(started, str):
        try:
            started = unstamp(started)
        except ValueError:
            started = None
    return {
        "name": process.get("name", ""),
        "word": formats.t(word),
        "kind": kind,
        "pid": process.get("pid") or DASH,
        "rss": formats.size(process["rss_bytes"]) if process.get("rss_bytes") else DASH,
        "restarts": formats.number(process.get("restarts") or 0),
        "started": started if isinstance(started, datetime) else None,
    }


def _failure(group: ErrorGroup) -> dict[str, Any]:
    return {
        "type": group.type.rpartition(".")[2],
        "message": group.message,
        "count": group.count,
        "last": unstamp(group.last_seen),
        "place": group.place,
        "process": group.process,
        "request": group.request,
        "traceback": group.traceback,
    }


def as_json(lines: Lines, facts: StatusFacts, *, is_admin: bool) -> dict[str, Any]:
    """The same for a program: times in ISO, sizes in bytes, words in English only where they are states."""
    answer: dict[str, Any] = {
        "status": "ok" if lines.has_store and all(line.state == "live" for line in lines.backends) else "degraded",
        "needs_person": lines.needing,
        "backends": [
            {
                "name": line.name,
                "state": line.state or "unknown",
                "since": _iso(line.since),
                "confirmed_at": _iso(line.confirmed_at),
                "age_seconds": line.age_seconds,
                "waiting": line.waiting,
                "rung": line.rung,
                "abilities": dict(line.abilities),
                **({"stopped": {"mark": line.stopped.mark, "last": line.stopped.last}} if line.stopped else {}),
                **({"note": line.note, "next_try": _iso(line.next_try)} if is_admin else {}),
            }
            for line in lines.backends
        ],
        "tables": [
            {"name": line.name, "rows": line.rows, "loaded": line.loaded, "age_seconds": line.age_seconds}
            for line in lines.tables
        ],
        "places": [line.as_json(is_admin=is_admin) for line in lines.places],
    }
    if is_admin:
        answer |= {
            "version": facts.version,
            "node": facts.node,
            "disk_free_bytes": facts.disk_free_bytes,
            "store_bytes": facts.store_bytes,
            "spool_bytes": facts.spool_bytes,
            "processes": [
                {name: _iso(value) if isinstance(value, datetime) else value for name, value in process.items()}
                for process in facts.processes
            ],
            "errors": [
                {"type": group.type, "message": group.message, "count": group.count, "last_seen": group.last_seen}
                for group in facts.errors[:_ERRORS_SHOWN_MAX]
            ],
        }
    return answer


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
