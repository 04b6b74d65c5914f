"""The SQL of one database: its profile's, with the names quoted as its driver says."""

from __future__ import annotations

import re
from dataclasses import dataclass

from brique.backends.faults import refused
from brique.backends.odbc.driver import Facts
from brique.backends.odbc.profile import NewKey, Profile
from brique.backends.odbc.types import OdbcColumn, understand
from brique.schema import Kind


@dataclass(frozen=True)
class Dialect:
    """`driver` is the profile of the driver, `profile` that of the SQL behind it: usually the same."""

    profile: Profile
    driver: Profile
    facts: Facts

    def quoted(self, name: str) -> str:
        """`name` as an SQL identifier."""
        quote = self.facts.quote
        if not quote:
            if not re.fullmatch(r"[A-Za-z_#@$][A-Za-z0-9_#@$]*", name):
                raise refused("The driver cannot quote the name {name}.", name=name)
            return name
        closing = {"[": "]"}.get(quote, quote)
        return quote + name.replace(closing, closing * 2) + closing

    def qualified(self, schema: str, name: str) -> str:
        """A table as SQL names it; without a schema, the connection's own decides."""
        return f"{self.quoted(schema)}.{self.quoted(name)}" if schema else self.quoted(name)

    def place_in_catalogue(self, schema: str) -> dict[str, str]:
        """Where the catalogue functions of ODBC are to look: in the connection's own database, and in `schema`."""
        catalog = self.facts.catalog if self.profile.catalogs else ""
        return {name: part for name, part in (("catalog", catalog), ("schema", schema)) if part}

    def first(self, select: str, rows: int) -> str:
        """`select`, ended after `rows` rows."""
        return self.profile.first.format(select=select, rows=rows)

    def exact(self, cell: str, column: OdbcColumn) -> str:
        """A text cell to be compared letter by letter."""
        types = self.profile.exact_types
        if types and not re.fullmatch(types, column.type):
            return cell
        return self.profile.exact.format(cell=cell)

    def place(self, column: OdbcColumn) -> str:
        """The place of a parameter for this column."""
        profile = self.profile
        if not profile.cast or re.fullmatch(profile.types_plain, column.type):
            return "?"
        name = f"{column.type[1:]}[]" if column.type.startswith("_") else column.type
        return profile.cast.format(type=name)

    def output(self, column: OdbcColumn) -> str:
        """The expression that reads a column. Times with fractions come as text: ODBC's own have none."""
        cell = self.quoted(column.name)
        has_fraction = understand(column).kind is Kind.TIME and column.digits
        return f"CAST({cell} AS VARCHAR(32))" if has_fraction else cell

    @property
    def new_key(self) -> NewKey:
        """How new keys are asked for; the driver's dialect where the profile is only lent (`profile=`)."""
        return self.profile.new_key
