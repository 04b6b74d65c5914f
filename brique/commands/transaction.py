"""One transaction of replay: commands in, what they did out. Nothing of it counts before the session has committed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from brique.backends import AS_WANTED, Rung, Session, Tag
from brique.commands.numbers import NotNumbered, Numbers, lacks_key, levels
from brique.commands.report import Outcome
from brique.commands.waiting import Waiting
from brique.errors import BackendRefused
from brique.schema import PENDING, Change, Row, State, TableSpec

log = logging.getLogger(__name__)
LOST = "It was sent, and the answer was lost."


@dataclass
class Sent:
    """What a transaction did: keys given for temporary ones and answers of effects, by position; the rows that it
    touched as they now stand, as far as the backend has said so (None: gone), and those to be read again."""

    keys: dict[int, dict[str, str]] = field(default_factory=dict)
    results: dict[int, list[Row]] = field(default_factory=dict)
    rows: dict[str, dict[str, Row | None]] = field(default_factory=dict)
    touched: dict[str, set[str]] = field(default_factory=dict)
    given: list[tuple[str, str]] = field(default_factory=list)
    differing: set[int] | None = None
    """Positions of the commands that have not done, or not for sure, what they wanted and nothing else (None: that is
    not known of any): of the others neither keys nor results nor rows are in here."""
    done: int = 0
    """Changes and effects carried out, which is what cannot be undone where there are no transactions."""

    def has_seen(self, table: str, key: str) -> bool:
        """Whether the row is among those that are reported as they stand."""
        return key in self.rows.get(table, ()) or key in self.touched.get(table, ())

    def touch(self, table: str, key: str) -> None:
        rows = self.rows.get(table)
        if rows:
            rows.pop(key, None)
        self.touched.setdefault(table, set()).add(key)


class Culprit(Exception):
    """The command cannot be applied; what becomes of it."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class Suspect(Exception):
    """The command at `index` of the batch stands in the way (None: one of them does): alone it will be known why."""

    def __init__(self, index: int | None) -> None:
        super().__init__(f"command {index} of the batch")
        self.index = index


class Work:
    """Carries commands out in an open session. `stream_of(position)`: the stream that a command belongs to."""

    def __init__(
        self, specs: Mapping[str, TableSpec], numbers: Numbers, stream_of: Callable[[int], str], rung: Rung
    ) -> None:
        self.specs, self.numbers, self.stream_of, self.rung = specs, numbers, stream_of, rung

    def _identify(self, session: Session, item: Waiting) -> None:
        session.identify(Tag(self.stream_of(item.position), item.position, item.command.id))

    # -- many at once ------------------------------------------------------------------------------------------------

    def together(self, session: Session, batch: Sequence[Waiting], sent: Sent) -> None:
        """All of `batch`, in as few calls as its numbers and effects allow. Raises Suspect."""
        flat = [(index, item, change) for index, item in enumerate(batch) for change in item.command.changes]
        barriers = {index: len(item.command.changes) for index, item in enumerate(batch) if item.command.effects}
        if not barriers and not any(change.key.startswith(PENDING) for _, _, change in flat):
            self._apply(session, flat, sent)
            return
        steps = levels([entry[2] for entry in flat], [entry[0] for entry in flat], barriers, self.specs)
        if barriers:
            self._with_effects(session, batch, flat, steps, sent)
        elif not any(steps):
            self._apply(session, flat, sent)
        else:
            order = sorted(range(len(flat)), key=steps.__getitem__)
            for _, places in groupby(order, key=steps.__getitem__):
                self._apply(session, [flat[place] for place in places], sent)

    def _with_effects(
        self,
        session: Session,
        batch: Sequence[Waiting],
        flat: Sequence[tuple[int, Waiting, Change]],
        steps: Sequence[int],
        sent: Sent,
    ) -> None:
        """In the order of the commands, with each one's effects after its changes."""
        by_index = {index: list(entries) for index, entries in groupby(flat, key=itemgetter(0))}
        run: list[tuple[int, Waiting, Change]] = []
        for index, item in enumerate(batch):
            entries = by_index.get(index, [])
            if not item.command.effects and not _builds_within(entries, self.numbers):
                run += entries
                continue
            self._apply(session, run, sent)
            run = []
            self._identify(session, item)
            self._apply(session, entries, sent)
            try:
                self.effects(session, item, sent)
            except (BackendRefused, NotNumbered) as fault:
                raise Suspect(index) from fault
        self._apply(session, run, sent)

    def _apply(self, session: Session, entries: Sequence[tuple[int, Waiting, Change]], sent: Sent) -> None:
        if not entries:
            return
        specs, numbers = self.specs, self.numbers
        wanted: list[tuple[TableSpec, Change]] = []
        for index, _, change in entries:
            spec = specs.get(change.table)
            is_plain = spec is not None and not spec.reference_of and not change.key.startswith(PENDING)
            if spec is not None and is_plain and not lacks_key(change, spec):
                wanted.append((spec, change))
                continue
            try:
                wanted.append((specs[change.table], numbers.change(change)))
            except (KeyError, ValueError, NotNumbered) as fault:
                raise Suspect(index) from fault
        try:
            results = session.apply(wanted)
        except BackendRefused as fault:
            place = fault.facts.get("index")
            raise Suspect(entries[place][0] if isinstance(place, int) else None) from fault
        except (ValueError, TypeError, LookupError) as fault:
            log.debug("a batch cannot be sent together: %s", fault)
            raise Suspect(None) from fault
        if sent.differing is None:
            sent.differing = set()
        sent.done += len(entries)
        if results.count(AS_WANTED) == len(entries) and not (sent.rows or sent.touched):
            return
        for (index, item, original), (spec, change), result in zip(entries, wanted, results, strict=True):
            if not result.rows:
                raise Suspect(index)
            if result.as_wanted and not sent.has_seen(change.table, change.key):
                continue
            sent.differing.add(item.position)
            key = change.key
            if change.before is None:
                key = spec.key_of({**(change.after or {}), **result.key}) if result.key else key
                if key != original.key and original.key.startswith(PENDING):
                    self._give(sent, item, original, key)
            if result.known:
                sent.rows.setdefault(change.table, {})[key] = result.row
                touched = sent.touched.get(change.table)
                if touched:
                    touched.discard(key)
            else:
                sent.touch(change.table, key)

    def _give(self, sent: Sent, item: Waiting, change: Change, key: str) -> None:
        sent.keys.setdefault(item.position, {})[change.key] = key
        sent.given.append((change.table, change.key))
        self.numbers.give(change.table, change.key, key)

    def effects(self, session: Session, item: Waiting, sent: Sent) -> None:
        """What the command asks for beside its changes. Raises BackendRefused, NotNumbered."""
        for effect in item.command.effects:
            answer = session.call(self.numbers.effect(effect))
            sent.done += 1
            sent.results.setdefault(item.position, []).append(answer)

    # -- one by one --------------------------------------------------------------------------------------------------

    def alone(self, session: Session, item: Waiting, sent: Sent, *, doubtful: bool) -> None:
        """One command, change by change. `doubtful`: it was sent before, and only its rows can tell whether it
        arrived. Raises Culprit when it cannot be applied."""
        self._identify(session, item)
        try:
            for place in range(len(item.command.changes)):
                outcome = self._one(session, item, place, sent, doubtful)
                if outcome is not None:
                    raise Culprit(outcome)
            self.effects(session, item, sent)
        except BackendRefused as fault:
            raise Culprit(self.refusal(item, fault.message, doubtful=doubtful)) from fault
        except NotNumbered as fault:
            reason = "The row that it changes is not known: it was never made, or its number was lost in a crash."
            raise Culprit(Outcome(item.position, State.CONFLICT, reason=reason, theirs={str(fault): None})) from fault
        except (ValueError, TypeError, LookupError) as fault:
            log.exception("command %d cannot be sent", item.position)
            raise Culprit(Outcome(item.position, State.REFUSED, reason=f"brique could not send it: {fault}")) from fault

    def _one(self, session: Session, item: Waiting, place: int, sent: Sent, doubtful: bool) -> Outcome | None:
        """Carry one change out; the outcome when it is a conflict."""
        original = item.command.changes[place]
        spec = self.specs.get(original.table)
        if spec is None:
            raise BackendRefused(f"The table {original.table} is not served any more.")
        change = self.numbers.change(original)
        wanted = self.numbers.row(spec, _in_the_end(item.command.changes, place))
        if change.before is None:
            return self._insert(session, spec, item, change, wanted, original, sent, doubtful)
        key = spec.key_values(change.key)
        if change.after is None:
            rows = session.delete(spec, key, change.before)
        else:
            rows = session.update(spec, key, change.before, change.after)
        sent.touch(change.table, change.key)
        if rows:
            sent.done += 1
            return None
        theirs = session.look(spec, key)
        if _is_done(wanted, theirs):
            return None
        reason = "The row is not there any more." if theirs is None else "The row had changed meanwhile."
        return conflict(item, change.table, change.key, theirs, reason, doubtful=doubtful)

    def _insert(
        self,
        session: Session,
        spec: TableSpec,
        item: Waiting,
        change: Change,
        wanted: Row | None,
        original: Change,
        sent: Sent,
        doubtful: bool,
    ) -> Outcome | None:
        after = change.after or {}
        key = spec.key_of(after) if all(after.get(name) is not None for name in spec.key) else ""
        knows = self.rung is Rung.GUARD  # the backend itself: what stands there may be ours, and changed since
        theirs = session.look(spec, spec.key_values(key)) if key and not knows else None
        given: Row = {}
        try:
            given = session.insert(spec, after) if theirs is None else given
        except BackendRefused:
            theirs = session.look(spec, spec.key_values(key)) if key and knows else None
            if theirs is None:
                raise
        if theirs is not None:
            if (doubtful or self.rung is not Rung.WATERMARK) and _is_done(wanted, theirs):
                sent.touch(change.table, key)
                if key != original.key and original.key.startswith(PENDING):
                    self._give(sent, item, original, key)
                return None
            reason = "There is already a row with this key."
            return conflict(item, change.table, key, theirs, reason, doubtful=doubtful)
        sent.done += 1
        key = spec.key_of({**after, **given})
        sent.touch(change.table, key)
        if key != original.key:
            self._give(sent, item, original, key)
        return None

    def refusal(self, item: Waiting, reason: str, *, doubtful: bool) -> Outcome:
        """The backend says no; of what was sent before, that does not say whether it had arrived."""
        if doubtful:
            return Outcome(item.position, State.UNKNOWN, reason=f"{LOST} {reason}")
        return Outcome(item.position, State.REFUSED, reason=reason)


def _builds_within(entries: Sequence[tuple[int, Waiting, Change]], numbers: Numbers) -> bool:
    """Whether one of these changes needs a number that is not known yet: what was queued before it must go first."""
    for _, _, change in entries:
        try:
            numbers.change(change)
        except (NotNumbered, ValueError):
            return True
    return False


def conflict(item: Waiting, table: str, key: str, theirs: Row | None, reason: str, *, doubtful: bool) -> Outcome:
    """The row is not as its author saw it; whose work that is, is not known of what was sent before."""
    if doubtful:
        reason = f"{LOST} {reason} Look in the backend whether it was done."
    state = State.UNKNOWN if doubtful else State.CONFLICT
    return Outcome(item.position, state, reason=reason, theirs={f"{table}/{key}": theirs})


def _in_the_end(changes: Sequence[Change], place: int) -> Row | None:
    """What the command wants of the row of the change at `place`: its values, and those of later changes of it."""
    change = changes[place]
    wanted = change.after
    for later in changes[place + 1 :]:
        if (later.table, later.key) == (change.table, change.key):
            wanted = None if later.after is None else {**(wanted or {}), **later.after}
    return wanted


def is_shown(changes: Sequence[Change], place: int, theirs: Row | None) -> bool:
    """Whether the row is as the command wants it in the end."""
    return _is_done(_in_the_end(changes, place), theirs)


def _is_done(wanted: Row | None, theirs: Row | None) -> bool:
    """Whether the row already is as it should be: our own earlier try, or somebody of the same mind."""
    if wanted is None or theirs is None:
        return wanted is theirs
    return all(theirs.get(name) == value for name, value in wanted.items())
