"""What the dependencies of a view have in common, whatever its arguments: learned, and turned round.

Theory of operation. A view of a customer reads `customers[NUMBER]` and `orders.where(customer=NUMBER)`, whichever
customer it is of. Such a *pattern* is a note whose values are arguments of the view (or the same for all of them); it
is learned when two representations with different arguments show it. One that conforms keeps the pattern's number,
nothing else, and a changed row gives the arguments of those that it touches by arithmetic. What differs from one to the
next and is no argument (where a list of ten ends, which day yesterday was) stays with the representation, as its *use*
of the pattern. What fits no pattern is stored.

A row that was reached by a reference of another needs no more: `products[p]` read through the orders of a customer is
found again by the index on `orders.product`. If an order still leads from the customer to the product, the index finds
it; if none does, that order has changed since, in the column that was read or by leaving the question, and touched the
representation then.

Patterns and masks only grow. One too many costs work, never truth: what a representation depends on is always covered
by the patterns that it names and the notes that it stores.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from brique.schema import TableSpec
from brique.views.notes import Bits, Note, Notes, Use
from brique.views.pattern import CONST, FREE, Compiled, Given, Pattern, Shape, Slot, form_of
from brique.views.view import View

VARIANTS_MAX = 8
"""Patterns of one view that differ by constants only."""
PATTERNS_MAX = 200
"""Patterns of one view."""
_FREE_FROM = 4  # so many variants by constants of comparisons, and the next leaves these open
_WITNESSES = 2
_EVERYWHERE = 8  # representations that have read the same, and none that has not, until it counts as read by all
_CHOICES_MAX = 16
_REMEMBERED_MAX = 20_000


class Patterns:
    """All patterns of the views in use, by number, by table and by form."""

    def __init__(self, views: Mapping[str, View], specs: Mapping[str, TableSpec], bits: Bits) -> None:
        self._views, self._specs, self._bits = views, specs, bits
        self.by_number: dict[int, Compiled] = {}
        self._by_table: dict[str, list[Compiled]] = {}
        self._by_form: dict[tuple[str, tuple[str, ...], Shape], list[Compiled]] = {}
        self._sizes: dict[str, int] = {}
        self._witnesses: dict[Any, set[str]] = {}
        self._seen: dict[tuple[str, tuple[str, ...]], set[str]] = {}
        self._next = 1

    def load(self, packed: Sequence[tuple[int, bytes]]) -> list[str]:
        """Take what was kept; the names of views that are not in use any more."""
        unknown: dict[str, None] = {}
        for number, raw in packed:
            pattern = msgspec.msgpack.decode(raw, type=Pattern)
            self._next = max(self._next, number + 1)
            if pattern.name in self._views:
                self._add(pattern)
            else:
                unknown[pattern.name] = None
        return list(unknown)

    def _add(self, pattern: Pattern) -> Compiled:
        made = Compiled(pattern, self._views[pattern.name], self._specs, self._bits)
        self.by_number[pattern.number] = made
        self._by_table.setdefault(pattern.table, []).append(made)
        self._by_form.setdefault((pattern.name, pattern.given, pattern.form), []).append(made)
        self._sizes[pattern.name] = self._sizes.get(pattern.name, 0) + 1
        return made

    def on(self, table: str) -> Sequence[Compiled]:
        return self._by_table.get(table, ())

    def names_on(self, table: str) -> set[str]:
        """The views that have patterns on a table."""
        return {compiled.pattern.name for compiled in self.on(table)}

    # learning

    def learn(self, name: str, given: Given, notes: Sequence[Note], identity: str) -> tuple[Notes, list[Pattern]]:
        """What a representation keeps of its notes; and the patterns that are new or have grown."""
        plain: dict[int, None] = {}
        uses: list[Use] = []
        left: list[Note] = []
        grown: dict[int, Pattern] = {}
        fits: list[int] = []
        for note in notes:
            found = self._fit(name, given, note, fits[note.via] if note.via >= 0 else 0, identity)
            if found is None:
                fits.append(0)
                left.append(note)
                continue
            pattern, use, is_new = found
            fits.append(pattern.number)
            if is_new or note.mask & ~pattern.mask:
                pattern.mask |= note.mask
                grown[pattern.number] = pattern
            if use.free or use.bound is not None or use.witness is not None:
                uses.append(use)
            else:
                plain[pattern.number] = None
        return Notes(tuple(plain), tuple(uses), tuple(left)), list(grown.values())

    def _fit(self, name: str, given: Given, note: Note, source: int, identity: str) -> tuple[Pattern, Use, bool] | None:
        if source and not note.conditions and note.key is not None:
            form = form_of(note, source)
            for compiled in self._by_form.get((name, given.names, form), ()):
                return compiled.pattern, Use(compiled.pattern.number), False
            made = Pattern(
                0, name, given.names, note.table, note.mask, key=Slot(FREE), source=source, columns=tuple(note.columns)
            )
            return self._new(made)
        form = form_of(note, 0)
        known = self._by_form.get((name, given.names, form), [])
        for compiled in known:
            use = compiled.use(note, given)
            if use is not None:
                return compiled.pattern, use, False
        return self._learn(name, given, note, form, known, identity)

    def _new(self, pattern: Pattern, use: Use | None = None) -> tuple[Pattern, Use, bool] | None:
        if self._sizes.get(pattern.name, 0) >= PATTERNS_MAX:
            return None
        pattern.number, self._next = self._next, self._next + 1
        self._add(pattern)
        return pattern, use or Use(pattern.number), True

    def _learn(
        self, name: str, given: Given, note: Note, form: Shape, known: Sequence[Compiled], identity: str
    ) -> tuple[Pattern, Use, bool] | None:
        """A pattern, when enough representations have shown that the note is one."""
        if len(known) >= VARIANTS_MAX:
            return None
        open_ones = len(known) >= _FREE_FROM
        for key, slots in self._assignments(given, note, open_ones):
            told = {slot.argument for slot in slots if slot.way not in (CONST, FREE)}
            turned = {
                slot.argument
                for slot, condition in zip(slots, note.conditions, strict=True)
                if slot.argument and condition[1] == "eq"
            }
            turned |= {key.argument} if key is not None and key.argument else set()
            everywhere = not told and not turned and bool(given.names)
            if not everywhere and turned != set(given.names):
                continue
            if not self._shown((name, given.names, form, key, slots), identity, everywhere, bool(given.names)):
                continue
            made = Pattern(
                0, name, given.names, note.table, note.mask, form[2], slots, key, form[3], form[4],
                everywhere=everywhere,
            )  # fmt: skip
            found = self._new(made)
            if found is not None:
                use = self.by_number[made.number].use(note, given)
                assert use is not None
                return made, use, True
        return None

    def _assignments(self, given: Given, note: Note, open_ones: bool) -> Iterator[tuple[Slot | None, tuple[Slot, ...]]]:
        choices: list[list[Slot]] = []
        for column, op, value, _, _ in note.conditions:
            plain = tuple(value) if isinstance(value, list) else value
            free = open_ones and op != "eq"
            choices.append([Slot(FREE)] if free else given.choices(note.table, column, plain))
        keys: Sequence[Slot | None] = [None] if note.key is None else given.key_choices(note.table, note.key)
        for key, *slots in itertools.islice(itertools.product(keys, *choices), _CHOICES_MAX):
            yield key, tuple(s for s in slots if s is not None)

    def _shown(self, what: Any, identity: str, everywhere: bool, has_arguments: bool) -> bool:
        """Whether that many representations with different arguments have shown it by now."""
        if not has_arguments:
            return True
        if len(self._witnesses) > _REMEMBERED_MAX:
            self._witnesses.clear()
        shown = self._witnesses.setdefault(what, set())
        shown.add(identity)
        if not everywhere:
            return len(shown) >= _WITNESSES
        # Read by all: a row that a few have in common (the same product in two orders) must not touch the others.
        return len(shown) >= _EVERYWHERE and len(shown) >= len(self._seen.get(what[:2], ()))

    def note_seen(self, name: str, given: Given, identity: str) -> None:
        """A representation of that view is being kept."""
        seen = self._seen.setdefault((name, given.names), set())
        if len(seen) < 4 * _EVERYWHERE:
            seen.add(identity)
