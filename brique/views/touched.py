"""Which questions a change of rows touches: pure.

For each scheme in use on the table, take the values of the old and of the new row. Equal values: the row stays in the
question, which is touched if it looked at a column that differs. Otherwise the row leaves one question and comes into
another: both are touched, whatever they looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from brique.schema import Row
from brique.store import KEY, RowChange
from brique.views.notes import MEMBER_BIT, PENDING_BIT, Bits, Note, digest, scheme_of

Question = tuple[str, str]
"""Table and scheme (columns joined by commas)."""


@dataclass
class Touched:
    """By table and scheme, then by digest: the bits that a mask must meet. `reloaded`: tables replaced as a whole."""

    questions: dict[Question, dict[bytes, int]] = field(default_factory=dict)
    reloaded: frozenset[str] = frozenset()

    def meets(self, note: Note) -> bool:
        """Whether what `note` describes may have changed."""
        if note.table in self.reloaded:
            return True
        bits = self.questions.get((note.table, note.scheme), {}).get(note.value, 0)
        return bool(bits & note.mask)


def touched(
    changes: Iterable[RowChange],
    schemes: Callable[[str], Iterable[str]],
    bits: Bits,
    reloaded: frozenset[str] = frozenset(),
) -> Touched:
    """What `changes` touch among the schemes in use."""
    result = Touched(reloaded=reloaded)
    in_use: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for change in changes:
        if change.table in reloaded or not bits.knows(change.table):
            continue
        if change.table not in in_use:
            in_use[change.table] = [(text, scheme_of(text)) for text in schemes(change.table)]
        differing = _differing(change, bits)
        for text, scheme in in_use[change.table]:
            questions = result.questions.setdefault((change.table, text), {})
            old, new = _asked(change.key, change.before, scheme), _asked(change.key, change.after, scheme)
            if old == new:
                if old is not None:
                    questions[old] = questions.get(old, 0) | differing
                continue
            for value in (old, new):
                if value is not None:
                    questions[value] = questions.get(value, 0) | MEMBER_BIT
    return result


def _differing(change: RowChange, bits: Bits) -> int:
    if change.before is None or change.after is None:
        return MEMBER_BIT
    differing = bits.of(change.table, change.columns)
    return differing | (PENDING_BIT if change.pending_before != change.pending_after else 0)


def _asked(key: str, row: Row | None, scheme: tuple[str, ...]) -> bytes | None:
    """The digest of what a question of `scheme` that finds `row` asked for; None when there is no row."""
    if row is None:
        return None
    if scheme == KEY:
        return digest((key,))
    return digest(row.get(name) for name in scheme)
