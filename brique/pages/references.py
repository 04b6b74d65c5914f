"""Rows that a form names: their labels, and the row that a person means by what he typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from brique.errors import BriqueError
from brique.exports import typed
from brique.schema import PENDING, Column, TableSpec, Value, join_key
from brique.views import Copy

_MEANT_MAX = 3


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


class References(Protocol):
    """What forms ask about rows of other tables."""

    def labels(self, wanted: Sequence[tuple[str, str, Column]]) -> dict[tuple[str, str], str]:
        """Readable labels by (table, text in the field); rows that are not there are left out."""
        ...

    def value(self, table: str, column: Column, text: str, *, by_key: bool) -> Value:
        """What `text` means: a key chosen from the list, a value typed by hand, or words that only one row answers.

        Raises ValueError with a sentence when several rows answer.
        """
        ...


class CopyReferences:
    """References in the copy; use it inside a snapshot."""

    def __init__(self, copy: Copy, specs: Mapping[str, TableSpec]) -> None:
        self.copy = copy
        self.specs = specs

    def labels(self, wanted: Sequence[tuple[str, str, Column]]) -> dict[tuple[str, str], str]:
        keys: dict[str, dict[str, list[str]]] = {}
        for table, text, column in wanted:
            by_key = keys.setdefault(table, {})
            for key in self._keys(table, column, text):
                by_key.setdefault(key, []).append(text)
        found: dict[tuple[str, str], str] = {}
        for table, texts in keys.items():
            try:
                labels = self.copy.labels(table, texts.keys())
            except BriqueError:  # a table that is not in the copy yet: the key is shown
                continue
            for key, name in labels.items():
                for text in texts[key]:
                    found.setdefault((table, text), name)
        return found

    def value(self, table: str, column: Column, text: str, *, by_key: bool) -> Value:
        text = text.strip()
        if text.startswith(PENDING):
            return text
        keys = self._keys(table, column, text)
        present = self._present(table, keys)
        if not present:
            present = self._meant(table, text)
        if present:
            return present[0] if by_key else self.specs[table].key_values(present[0])[0]
        if by_key:
            return keys[0] if keys else text
        return self._plain_value(column, text)

    def _keys(self, table: str, column: Column, text: str) -> list[str]:
        """The keys that `text` may be, the likeliest first."""
        found = []
        try:
            self.specs[table].key_values(text)
            found.append(text)
        except ValueError:
            pass
        if len(self.specs[table].key) == 1:
            try:
                key = join_key((typed(self.specs[table].key_columns[0], text),))
            except ValueError:
                return found
            if key not in found:
                found.append(key)
        return found

    def _present(self, table: str, keys: list[str]) -> list[str]:
        try:
            return [key for key in keys if self.copy.row(table, key) is not None]
        except BriqueError:
            return []

    def _meant(self, table: str, text: str) -> list[str]:
        """The one row that answers to these words. Raises ValueError when there are several."""
        try:
            found = self.copy.lookup(table, text, _MEANT_MAX)
        except BriqueError:
            return []
        exact = [key for key, name in found if name.casefold() == text.casefold()]
        if len(found) > 1 and len(exact) != 1:
            raise ValueError(_("Several rows answer to this: choose one from the list."))
        return exact or [key for key, _label in found]

    def _plain_value(self, column: Column, text: str) -> Value:
        try:
            return typed(column, text)
        except ValueError as fault:
            raise ValueError(_("There is no such row.")) from fault


class NoReferences:
    """While there is no copy: nothing is looked up, and keys are taken as they are typed."""

    def labels(self, wanted: Sequence[tuple[str, str, Column]]) -> dict[tuple[str, str], str]:
        return {}

    def value(self, table: str, column: Column, text: str, *, by_key: bool) -> Value:
        return text
