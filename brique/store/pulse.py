"""A short sign of what the store holds, to be compared with an earlier one: which pages may show something else now."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from brique.store.reader import Reader

OUTBOX = "-outbox"
"""The topic of commands: given, tried, settled, dealt with."""
STATUS = "-status"
"""The topic of backends and loads: live, slow or down, how far a first copy is."""
_LOOKED_AT_MAX = 5_000


@dataclass(frozen=True, slots=True)
class Pulse:
    """`seq` is the store's position; `outbox` and `status` are digests, equal when nothing there has changed."""

    seq: int = 0
    outbox: str = ""
    status: str = ""

    def text(self) -> str:
        """For a client to give back: `parse` takes it."""
        return f"{self.seq}.{self.outbox}.{self.status}"

    @classmethod
    def parse(cls, text: str) -> Pulse | None:
        """The pulse that a client gives back; None for anything else."""
        seq, _, rest = text.partition(".")
        outbox, dot, status = rest.partition(".")
        if not (seq.isascii() and seq.isdigit() and len(seq) < 19 and dot and len(rest) < 40):
            return None
        return cls(int(seq), outbox, status)


def pulse(reader: Reader) -> Pulse:
    """The pulse of the store as it is."""
    with reader.snapshot():
        outbox: list[object] = [reader.settled_seq(), reader.needing_person()]
        outbox += reader.query("SELECT state, backend, user, n FROM command_count")
        outbox += reader.query("SELECT max(position) FROM command")
        status: list[object] = [
            (state.name, state.state, state.last_error, state.rung) for state in reader.backend_states().values()
        ]
        status += reader.query(
            "SELECT table_name, loaded, loading, rows_done, rows_total, confirmed_at IS NULL FROM table_state"
        )
        return Pulse(reader.seq(), _digest(outbox), _digest(status))


def bearings(reader: Reader) -> str:
    """A sign of all that pages show: equal to an earlier one only if none of it has changed, ages included."""
    with reader.snapshot():
        told: list[object] = [*reader.query("SELECT * FROM table_state"), *reader.query("SELECT * FROM backend_state")]
        return f"{reader.stream_id()} {pulse(reader).text()} {_digest(told)}"


def topics_since(reader: Reader, old: Pulse, new: Pulse) -> frozenset[str] | None:
    """What has changed between two pulses: table names, OUTBOX, STATUS. None when that cannot be told: all may have."""
    topics: set[str] = set()
    if new.outbox != old.outbox:
        topics.add(OUTBOX)
    if new.status != old.status:
        topics.add(STATUS)
    if new.seq == old.seq:
        return frozenset(topics)
    if not 0 < new.seq - old.seq <= _LOOKED_AT_MAX:
        return None
    with reader.snapshot():
        oldest = next(reader.query("SELECT min(seq) FROM change"))[0]
        if oldest is not None and old.seq < oldest - 1:
            return None
        found = reader.query("SELECT DISTINCT table_name FROM change WHERE seq > ?", [old.seq])
        return frozenset(topics | {str(name) for (name,) in found})


def _digest(facts: list[object]) -> str:
    return blake2b(repr(facts).encode(), digest_size=6).hexdigest()
