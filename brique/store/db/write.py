"""The data as a command sees it: reads show what the command has asked for so far; nothing is written here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from brique.errors import BadConfiguration, BadInput, NotAllowed, NotFound, Refused
from brique.schema import PENDING, Change, Effect, Reference, Row, Table, TableSpec, join_key
from brique.store.db.access import Access, Stored
from brique.store.db.effects import EFFECTS_MAX, Asked, Attachment, Letters, argument, recipients
from brique.store.db.facade import Db
from brique.store.db.record import spec_of, values_of
from brique.store.db.tracking import Question, Read
from brique.store.db.where import key_parts, plain_value, temporary_key
from brique.store.reader import Reader

T = TypeVar("T", bound=Table)
CHANGES_MAX = 10_000


class WriteDb(Db):
    """A Db for one command, with the id `command_id`. `changes`, `calls` and `mails` are what it has asked for, in
    order; `letters` makes its mails (None: the intranet sends none).

    `insert`, `update`, `delete`, `call` and `mail` only collect; later reads of the same command show its changes.
    """

    def __init__(
        self,
        reader: Reader,
        specs: Mapping[str, TableSpec],
        *,
        command_id: str = "",
        letters: Letters | None = None,
        **options: Any,
    ) -> None:
        super().__init__(reader, specs, **options)
        self.changes: list[Change] = []
        self.calls: list[Asked] = []
        self.mails: list[Asked] = []
        self._letters = letters
        self._command_id = command_id
        self._overlay: dict[str, dict[str, Stored | None]] = {}
        self._unnumbered = 0

    def insert(self, table: type[T] | str, /, **values: Any) -> T:
        """Ask for a new row with these Python values (rows for references); the row as later reads show it.

        A key that is not given is left to the backend. Raises BadInput by field, Refused when the key is taken.
        """
        access = self._writable(self._access(table))
        after = self._typed(access, values, new=True)
        if any(after.get(name) is None for name in access.spec.key):
            key = self._new_key()
        else:
            key = join_key(tuple(after[name] for name in access.spec.key))
            if self._stored_row(access, key) is not None:
                raise Refused(f"{access.spec.label}: there is already a row {key}.", table=access.spec.name, key=key)
        self._ask(Change(table=access.spec.name, key=key, before=None, after=after))
        full = tuple(after.get(name) for name in access.spec.names)
        return cast("T", self._lay(access, Stored(key, 0, 1, full)))

    def update(self, row: T, /, **values: Any) -> T:
        """Ask for other values in `row`; the row as later reads show it. What stays the same is not asked for.

        Raises BadInput by field, NotFound when this command has deleted the row.
        """
        access = self._writable(self._access(spec_of(row).name))
        now = self._now_of(access, row)
        held = now.row(access.spec)
        given = self._typed(access, values, new=False)
        touched = {name: value for name, value in given.items() if not _identical(value, held[name])}
        if not touched:
            return cast("T", self._row(access, now, Read(Question(access.spec.name))))
        before = {name: held[name] for name in touched}
        self._ask(Change(table=access.spec.name, key=row.row_key, before=before, after=touched))
        return cast("T", self._lay(access, _with(access, now, touched)))

    def delete(self, row: Table, /) -> None:
        """Ask for `row` to go. Raises NotFound when this command has deleted it already."""
        access = self._writable(self._access(spec_of(row).name))
        held = self._now_of(access, row).row(access.spec)
        before = {column.name: held[column.name] for column in access.spec.columns if not column.generated}
        self._ask(Change(table=access.spec.name, key=row.row_key, before=before, after=None))
        if self._asked(access.spec.name, row.row_key):
            self._overlay.setdefault(access.spec.name, {})[row.row_key] = None
        else:
            self._overlay.get(access.spec.name, {}).pop(row.row_key, None)

    def call(self, procedure: str, /, *, backend: str = "", **arguments: Any) -> None:
        """Ask the backend to call `procedure` (a stored procedure, a program) with these arguments, in the
        transaction of this command's changes. `backend` names it when the command changes nothing there."""
        given = {name: argument(value) for name, value in arguments.items()}
        self._ask_effect(self.calls, Asked(backend, Effect(procedure, given)))

    def mail(
        self,
        to: Any,
        template_or_subject: str,
        /,
        *,
        cc: Any = (),
        bcc: Any = (),
        reply_to: str = "",
        subject: str = "",
        text: str = "",
        html: str = "",
        attachments: Sequence[Attachment] = (),
        **values: Any,
    ) -> None:
        """Ask for a mail, sent once everything else of this command has been applied, and not at all when it is not.

        `to`, `cc`, `bcc`: addresses, names of accounts, or rows that have an address; one or several. What follows
        is the name of a template ("shipped.html"), which sees `values`, or the subject of a mail with this `text`.
        Raises BadInput when an address or the size is not good.
        """
        if self._letters is None or not self._letters.backend:
            raise BadConfiguration(
                "This intranet sends no mail.", try_this='app.mail("smtp://server", sender="intranet@example.org")'
            )
        effect = self._letters.write(
            template_or_subject,
            to=recipients(to),
            cc=recipients(cc),
            bcc=recipients(bcc),
            reply_to=reply_to,
            subject=subject,
            text=text,
            html=html,
            attachments=attachments,
            values=values,
        )
        self._ask_effect(self.mails, Asked(self._letters.backend, effect))

    def _ask_effect(self, asked: list[Asked], one: Asked) -> None:
        if len(self.calls) + len(self.mails) >= EFFECTS_MAX:
            raise BadInput(f"A command calls and mails at most {EFFECTS_MAX} times.")
        asked.append(one)

    # inside

    def _laid(self, table: str) -> Mapping[str, Stored | None]:
        return self._overlay.get(table, {})

    def _lay(self, access: Access, stored: Stored) -> Table:
        if self._asked(access.spec.name, stored.key):
            self._overlay.setdefault(access.spec.name, {})[stored.key] = stored
        else:  # changed back: the row is as it was
            self._overlay.get(access.spec.name, {}).pop(stored.key, None)
            stored = self._stored_row(access, stored.key) or stored
        return self._row(access, stored, Read(Question(access.spec.name)))

    def _asked(self, table: str, key: str) -> bool:
        return any(change.key == key and change.table == table for change in self.changes)

    def _writable(self, access: Access) -> Access:
        if not access.spec.writable:
            raise NotAllowed(f"{access.spec.label} cannot be changed here: {access.spec.read_only}")
        return access

    def _now_of(self, access: Access, row: Table) -> Stored:
        """The row as this command has left it; as the author saw it when the command has not touched it."""
        laid = self._laid(access.spec.name)
        if row.row_key not in laid:
            seen = values_of(row).row()
            version, pending = row.__dict__["_version"], int(row.__dict__["_pending"])
            return Stored(row.row_key, version, pending, tuple(seen[name] for name in access.spec.names))
        now = laid[row.row_key]
        if now is None:
            raise NotFound(f"{access.spec.label} {row.row_key} is not there any more.", table=access.spec.name)
        return now

    def _typed(self, access: Access, values: Mapping[str, Any], *, new: bool) -> Row:
        """`values` as store values. Raises BadInput with a sentence for each field that does not fit."""
        typed: Row = {}
        faults: dict[str, str] = {}
        for name, value in values.items():
            try:
                typed.update(self._field(access, name, value, new=new))
            except ValueError as fault:
                faults[name] = str(fault)
        for column in access.spec.columns if new else ():
            needed = not (column.nullable or column.defaulted or column.generated)
            if needed and column.name not in faults and typed.get(column.name) is None:
                faults[column.name] = "Is required."
        if faults:
            raise BadInput("Some fields need another value.", fields=faults, table=access.spec.name)
        return typed

    def _field(self, access: Access, name: str, value: Any, *, new: bool) -> Row:
        spec = access.spec
        column = spec.by_name.get(name)
        if column is None:
            reference = access.references.get(name)
            if reference is None:
                raise ValueError("There is no such column.")
            if _stands_for(value, reference):
                return {reference.columns[0]: temporary_key(value)}
            parts = _parts(value, len(reference.columns))
            return {
                target: spec.by_name[target].store(part) for target, part in zip(reference.columns, parts, strict=True)
            }
        if column.generated:
            raise ValueError("Is computed by the backend.")
        if not new and name in spec.key:
            raise ValueError("A key cannot be changed: make a new row and delete this one.")
        if value is None and not column.nullable and not (new and column.defaulted):
            raise ValueError("Is required.")
        own = spec.reference_of.get(name)
        if own is not None and _stands_for(value, own):
            return {name: temporary_key(value)}
        if isinstance(value, Table):
            key_parts(value)  # only in a reference can a row stand that has no number yet
            value = column.python(plain_value(column, value))
        return {name: column.store(value)}

    def _new_key(self) -> str:
        """`new-` and the command's id; a second row that the backend numbers gets `.2` behind it, and so on."""
        self._unnumbered += 1
        return f"{PENDING}{self._command_id}" + (f".{self._unnumbered}" if self._unnumbered > 1 else "")

    def _ask(self, change: Change) -> None:
        """Collect; one more change of the row that was changed last becomes one with that change."""
        last = self.changes[-1] if self.changes else None
        if last is not None and (last.table, last.key) == (change.table, change.key) and last.after is not None:
            merged = _merge(last, change)
            self.changes[-1:] = [merged] if merged is not None else []
            return
        if len(self.changes) >= CHANGES_MAX:
            raise BadInput(f"A command changes at most {CHANGES_MAX} rows.")
        self.changes.append(change)


def _stands_for(value: Any, reference: Reference) -> bool:
    """Whether `value` is a row of the table referred to that has no number yet."""
    if not isinstance(value, Table) or len(reference.columns) != 1:
        return False
    return bool(temporary_key(value)) and spec_of(value).name == reference.table


def _parts(value: Any, count: int) -> tuple[Any, ...]:
    """The values that a reference of `count` columns takes from a row, a tuple, a value or None."""
    if value is None:
        return (None,) * count
    parts = key_parts(value) if isinstance(value, Table) else (value if isinstance(value, tuple) else (value,))
    if len(parts) != count:
        raise ValueError(f"Must be a row whose key has {count} columns.")
    return parts


def _identical(left: object, right: object) -> bool:
    return left == right and type(left) is type(right)


def _with(access: Access, stored: Stored, touched: Row) -> Stored:
    values = list(stored.values)
    for name, value in touched.items():
        values[access.places[name]] = value
    return Stored(stored.key, stored.version, max(stored.pending, 1), tuple(values))


def _merge(first: Change, second: Change) -> Change | None:
    """Two changes of one row, one right after the other (the first no deletion), as one; None when nothing is left."""
    assert first.after is not None
    if second.after is None:
        if first.before is None:
            return None
        before = {**(second.before or {}), **first.before}
        return Change(table=first.table, key=first.key, before=before, after=None)
    if first.before is None:
        return Change(table=first.table, key=first.key, before=None, after={**first.after, **second.after})
    before, after = {**(second.before or {}), **first.before}, {**first.after, **second.after}
    real = [name for name in after if not _identical(before[name], after[name])]
    if not real:
        return None
    return Change(
        table=first.table,
        key=first.key,
        before={name: before[name] for name in real},
        after={name: after[name] for name in real},
    )
