"""Tables as the Python that declares them: what `infer` found, written down to be read, corrected and kept.

The classes give back the same tables under the same names, so that going from an inferred intranet to a written one
loses neither addresses nor pending commands. The text passes a strict type checker.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from brique.schema.declare import _label_columns as usual_label_columns
from brique.schema.decoders import DATES, TIMES
from brique.schema.infer import NO_KEY
from brique.schema.kinds import Kind
from brique.schema.names import label, slug
from brique.schema.table import Column, Reference, TableSpec

WIDTH = 110
_TYPES = {
    Kind.TEXT: "str",
    Kind.INTEGER: "int",
    Kind.DECIMAL: "Decimal",
    Kind.REAL: "float",
    Kind.BOOLEAN: "bool",
    Kind.DATE: "date",
    Kind.DATETIME: "datetime",
    Kind.TIME: "time",
    Kind.BINARY: "bytes",
    Kind.JSON: "dict[str, object]",
    Kind.ANY: "object",
}
_IMPORTED = {"Decimal": "decimal", "date": "datetime", "datetime": "datetime", "time": "datetime"}
_HELPERS = (
    "code", "column", "ebcdic", "flag", "implied", "key", "old_date", "old_time", "packed", "padded", "ref", "zoned",
)  # fmt: skip
_RESERVED = frozenset({"app", "os", "quote", "Intranet", "Table", "Decimal", *_HELPERS, *_IMPORTED})


@dataclass(frozen=True)
class _Names:
    """How things are called in the file: a class for each table; another name for what a column hides."""

    classes: dict[str, str]
    hidden: frozenset[str]

    def of(self, name: str) -> str:
        """`name` of a type or helper; with `_` behind it where a column of that name would hide it."""
        return f"{name}_" if name in self.hidden else name


def write_python(specs: Sequence[TableSpec], *, backend: str, url: str, title: str) -> str:
    """The source of a Python file that declares `specs`, tables of the backend `backend` at `url`.

    A password in `url` is not written: the file reads it from the environment.
    """
    names = _names(specs)
    variable = f"{backend}_" if backend in _RESERVED or backend in names.classes.values() else backend
    address, has_password = _address(url, backend)
    by_name = {spec.name: spec for spec in specs}
    classes = [_class(spec, by_name, names, variable) for spec in specs]
    body = "\n\n\n".join(classes)
    head = _imports(body, names, has_password=has_password)
    start = f"app = Intranet({_text(title)})\n{variable} = app.backend({_text(backend)}, {address})"
    return f'"""{_plain(title)}"""\n\n{head}\n\n{start}\n\n\n{body}\n' if classes else f"{head}\n\n{start}\n"


def _names(specs: Sequence[TableSpec]) -> _Names:
    classes: dict[str, str] = {}
    for spec in specs:
        wanted = "".join(part[:1].upper() + part[1:] for part in spec.name.split("_"))
        while wanted in _RESERVED or wanted in classes.values():
            wanted += "Row"
        classes[spec.name] = wanted
    columns = {name for spec in specs for name in spec.names}
    types = {name.partition("[")[0] for name in _TYPES.values()}
    return _Names(classes, frozenset(columns & (types | set(_HELPERS))))


def _address(url: str, backend: str) -> tuple[str, bool]:
    """The URL as Python writes it, and whether its password comes from the environment."""
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        password = None
    mark = "\x00"
    if password is None:
        bare, count = re.subn(r"(?i)([?&](?:pwd|password)=)[^&]+", rf"\1{mark}", url)  # as ODBC writes it
        if not count:
            return _text(url), False
    else:
        user, _, host = parts.netloc.rpartition("@")
        bare = urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:{mark}@{host}"))
    written = _text(bare.replace("{", "{{").replace("}", "}}"))
    variable = f"{backend.upper()}_PASSWORD"
    return f"f{written}".replace("\\x00", f"{{quote(os.environ['{variable}'], safe='')}}"), True


def _imports(body: str, names: _Names, *, has_password: bool) -> str:
    """The imports that `body` needs, in the order that sorters expect."""
    lines = ["from __future__ import annotations", ""]
    standard = ["import os"] if has_password else []
    used = {name: origin for name, origin in _IMPORTED.items() if _is_used(names.of(name), body)}
    for origin in sorted(set(used.values())):
        standard += _from(origin, sorted(name for name, home in used.items() if home == origin), names)
    if has_password:
        standard.append("from urllib.parse import quote")
    helpers = [name for name in _HELPERS if _is_used(f"{names.of(name)}(", body)]
    ours = _from("brique", ["Intranet", "Table", *helpers], names)
    builtin = sorted(name for name in names.hidden if name not in _IMPORTED and name not in _HELPERS)
    aliases = [f"{name}_ = {name}" for name in builtin if _is_used(f"{name}_", body)]
    return "\n".join([*lines, *([*standard, ""] if standard else []), *ours, *(["", *aliases] if aliases else [])])


def _from(origin: str, wanted: Sequence[str], names: _Names) -> list[str]:
    plain = [name for name in wanted if name not in names.hidden]
    aliased = [f"from {origin} import {name} as {name}_" for name in wanted if name in names.hidden]
    return [*([f"from {origin} import {', '.join(plain)}"] if plain else []), *aliased]


def _is_used(word: str, body: str) -> bool:
    return any(f"{before}{word}" in body for before in (": ", " = "))


def _class(spec: TableSpec, specs: dict[str, TableSpec], names: _Names, variable: str) -> str:
    name = names.classes[spec.name]
    options = [f"backend={variable}"]
    if slug(name) != spec.name:
        options.append(f"name={_text(spec.name)}")
    if spec.source != name:
        options.append(f"source={_text(spec.source)}")
    if spec.source_schema:
        options.append(f"schema={_text(spec.source_schema)}")
    if spec.label != label(name):
        options.append(f"label={_text(spec.label)}")
    if spec.help:
        options.append(f"help={_text(spec.help)}")
    if spec.read_only and (spec.key or spec.read_only != NO_KEY):
        options.append(f"read_only={_text(spec.read_only)}")
    if spec.is_view:
        options.append("is_view=True")
    if spec.label_columns and spec.label_columns != usual_label_columns(list(spec.columns), list(spec.key)):
        options.append(f"label_columns={_tuple(spec.label_columns)}")
    if spec.list_columns and spec.list_columns != spec.names:
        options.append(f"list_columns={_tuple(spec.list_columns)}")
    head = _call(f"class {name}", ["Table", *options], "")
    singles = _single_references(spec, specs)
    lines = [_column(column, spec, singles.get(column.name), names) for column in spec.columns]
    lines += [_composite(ref, spec, names) for ref in spec.references if len(ref.columns) > 1]
    return f"{head}:\n" + "\n".join(lines)


def _single_references(spec: TableSpec, specs: dict[str, TableSpec]) -> dict[str, str]:
    """The table that a column refers to, where it can be declared as a reference: it takes its kind from there."""
    found: dict[str, str] = {}
    for ref in spec.references:
        target = specs.get(ref.table)
        if len(ref.columns) != 1 or target is None or ref.target_columns != target.key or ref.columns[0] in found:
            continue
        mine, theirs = spec.by_name[ref.columns[0]], target.key_columns[0]
        same = (mine.kind, mine.decoder, mine.scale) == (theirs.kind, theirs.decoder, theirs.scale)
        if same and not (mine.name in spec.key and _leads_back(target, spec, specs)):
            found[mine.name] = target.name
    return found


def _leads_back(target: TableSpec, spec: TableSpec, specs: dict[str, TableSpec]) -> bool:
    """Whether the keys refer to each other in a circle, so that none would have a kind of its own."""
    seen: set[str] = set()
    while target.name not in seen:
        if target.name == spec.name:
            return True
        seen.add(target.name)
        ref = target.reference_of.get(target.key[0])
        following = specs.get(ref.table) if ref is not None else None
        if following is None:
            return False
        target = following
    return True


def _column(column: Column, spec: TableSpec, target: str | None, names: _Names) -> str:
    is_key = column.name in spec.key
    kind, _, rest = _TYPES[column.kind].partition("[")
    hint = names.classes[target] if target else names.of(kind) + (f"[{rest}" if rest else "")
    if column.nullable and not is_key:
        hint = f"{hint} | None"
    options: list[str] = []
    if target:
        helper = "ref"
        options += ["is_key=True"] if is_key else []
    elif is_key:
        helper = "key"
        options += [f"decoder={_text(column.decoder)}"] if column.decoder else []
    else:
        helper, said = _helper(column)
        options += said
    options += _options(column)
    source = [_text(column.source)] if column.source != column.name else []
    if helper == "column" and not source and not options:
        return f"    {column.name}: {hint}"
    return _call(f"    {column.name}: {hint} = {names.of(helper)}", [*source, *options], "    ")


def _helper(column: Column) -> tuple[str, list[str]]:
    """What declares an old way of writing, and its own options."""
    name, _, rest = column.decoder.partition(":")
    if not name:
        return "column", []
    if name in ("trim", "blank"):
        return "padded", ["blank_is_none=True"] if name == "blank" else []
    if name == "flag":
        yes, _, no = rest.partition(":")
        return "flag", [
            f"{word}={_text(value)}" for word, value in (("yes", yes), ("no", no)) if value != word[0].upper()
        ]
    if name in (*DATES, *TIMES) and set(rest.split(":")) <= {"", "text"}:
        usual = {"old_date": "cyymmdd", "old_time": "hhmmss"}
        helper = "old_date" if name in DATES else "old_time"
        written = [f"written={_text(name)}"] if name != usual[helper] else []
        return helper, [*written, *(["text=True"] if rest else [])]
    if name == "implied":
        return "implied", []
    if name == "ebcdic":
        page, _, length = rest.partition(":")
        return "ebcdic", [f"page={_text(page)}", *([f"length={length}"] if length else [])]
    return "column", [f"decoder={_text(column.decoder)}"]


def _options(column: Column) -> list[str]:
    options = []
    if column.label != label(column.name):
        options.append(f"label={_text(column.label)}")
    for name in ("scale", "precision", "length_max"):
        value = getattr(column, name)
        if value is not None:
            options.append(f"{name}={value}")
    if column.choices:
        options.append(f"choices={_tuple(column.choices)}")
    if column.generated:
        options.append("generated=True")
    if column.defaulted:
        options.append("defaulted=True")
    if column.help:
        options.append(f"help={_text(column.help)}")
    return options


def _composite(reference: Reference, spec: TableSpec, names: _Names) -> str:
    """A reference by several columns: an attribute beside them."""
    name = reference.table
    while name in spec.by_name:
        name = f"{name}_row"
    sources = [_text(spec.by_name[column].source) for column in reference.columns]
    return _call(f"    {name}: {names.classes[reference.table]} | None = {names.of('ref')}", sources, "    ")


def _call(head: str, arguments: Sequence[str], indent: str) -> str:
    """`head(arguments)` on one line, or one argument a line when that is too long."""
    line = f"{head}({', '.join(arguments)})"
    if len(line) <= WIDTH:
        return line
    inner = "".join(_argument(argument, f"{indent}    ") for argument in arguments)
    return f"{head}(\n{inner}{indent})"


def _argument(argument: str, indent: str) -> str:
    """One argument on its own line; a long tuple one item a line."""
    name, opened, rest = argument.partition("=(")
    if len(indent) + len(argument) < WIDTH or not opened:
        return f"{indent}{argument},\n"
    items: tuple[str, ...] = ast.literal_eval(f"({rest}")
    lines = "".join(f"{indent}    {_text(item)},\n" for item in items)
    return f"{indent}{name}=(\n{lines}{indent}),\n"


def _tuple(values: Sequence[str]) -> str:
    return f"({', '.join(map(_text, values))}{',' if len(values) == 1 else ''})"


def _text(value: str) -> str:
    """A Python literal in double quotes where that needs no escape."""
    written = repr(value)
    inner = written[1:-1]
    return f'"{inner}"' if written[0] == "'" and '"' not in inner and "\\'" not in inner else written


def _plain(title: str) -> str:
    """`title` as a docstring's text."""
    return " ".join(title.replace("\\", "/").replace('"', "'").split()) + "."
