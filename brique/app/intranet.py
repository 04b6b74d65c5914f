"""The Intranet: what a user declares, gathered in one place. It runs nothing; `brique up` and `Inline` run it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from brique.backends import redact
from brique.commands import CommandSpec, command_spec
from brique.errors import BadConfiguration, Refused
from brique.publish import KNOWN, is_place
from brique.schema import NATIVE, OWN, BackendSpec, Table, TableSpec, specs_of
from brique.views import Each, Published, View, published_of, view_of
from brique.words import LANGUAGES

if TYPE_CHECKING:
    from brique.backends import Http

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class PlaceSpec:
    """Somewhere outside where views are kept for other programs."""

    name: str
    url: str = field(repr=False)
    label: str = ""


MAIL_SECONDS = 60.0
"""For handing one mail over: servers look for viruses before they answer."""
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Intranet:
    """An intranet over existing data.

    `languages` are offered in this order (English and French are there); `timezone` is where its people are.
    Tables are the classes declared with one of its backends, or all that `infer` finds.
    """

    def __init__(
        self, title: str = "Intranet", *, languages: tuple[str, ...] = ("en", "fr"), timezone: str = "UTC"
    ) -> None:
        unknown = [language for language in languages if language not in LANGUAGES]
        if unknown or not languages:
            raise BadConfiguration(f"no words in {', '.join(unknown)}", try_this=f"choose of {', '.join(LANGUAGES)}")
        try:
            self.timezone = ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError) as fault:
            raise BadConfiguration(f"no time zone {timezone!r}", try_this="for example Africa/Dakar") from fault
        self.title = title
        self.languages = languages
        self.backends: dict[str, BackendSpec] = {}
        self.mails: BackendSpec | None = None
        self.places: dict[str, PlaceSpec] = {}
        self.folder = _folder_of_caller()
        self._classes: list[type[Table]] = []
        self._inferred: dict[str, tuple[TableSpec, ...]] = {}
        self._views: list[tuple[str, Callable[..., Any], dict[str, Any]]] = []
        self._published: dict[Callable[..., Any], tuple[tuple[PlaceSpec, ...], Each]] = {}
        self._commands: list[tuple[Callable[..., Any], dict[str, Any]]] = []
        self.on_demand: list[Callable[[], None]] = []

    def backend(
        self,
        name: str,
        url: str,
        *,
        refresh: str | float = "30s",
        marker: bool = False,
        feed: bool = False,
        label: str = "",
        http: Http | None = None,
    ) -> BackendSpec:
        """Say where data lives. `refresh` is the pause between two looks at it ("30s", "5m", or seconds); `marker`
        allows the one table `brique_cursor` there, which makes replay exactly-once; `feed` allows triggers that tell
        of changes as they are committed (PostgreSQL); `http` describes a JSON API."""
        if name == NATIVE:
            raise BadConfiguration(f"{name!r} is the name of brique's own tables", try_this="choose another")
        self._check_name(name)
        options: dict[str, Any] = {"feed": True} if feed else {}
        if http is not None:
            options["http"] = http
        made = BackendSpec(name, url, _seconds(refresh), marker, label or name, options)
        self.backends[name] = made
        return made

    def _check_name(self, name: str) -> None:
        if name in self.backends or name in self.places:
            raise BadConfiguration(f"there are two backends or places named {name!r}")
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name):
            raise BadConfiguration(
                f"{name!r} cannot name a backend or place", try_this="lower-case letters, digits and _"
            )

    def place(self, name: str, url: str, *, label: str = "") -> PlaceSpec:
        """Say where other programs find what views publish: "redis://host:6379/0", "mongodb://host/database",
        "couchdb://host:5984/database", "postgresql://user@host/database" or "folder:/path". It is for brique alone to
        write; see `view`."""
        self._check_name(name)
        if not is_place(url):
            raise BadConfiguration(f"{name}: no place is known for {redact(url)}", try_this=KNOWN)
        made = self.places[name] = PlaceSpec(name, url, label or name)
        return made

    def mail(
        self, url: str, *, sender: str, name: str = "mail", templates: str | Path = "templates", label: str = ""
    ) -> BackendSpec:
        """Say which server takes the mails of `db.mail`: "smtp://user:password@host:587" (STARTTLS), "smtps://host".
        `sender` is the address that they come from; `templates` the folder of their templates, beside this file."""
        if self.mails is not None:
            raise BadConfiguration("an intranet sends its mails by one server")
        made = self.backend(name, url, refresh="1h", label=label or "Mail")
        folder = Path(templates) if Path(templates).is_absolute() else self.folder / templates
        options = {"sender": sender, "templates": str(folder), "timeout_seconds": MAIL_SECONDS}
        self.mails = self.backends[name] = replace(made, options=options)
        return self.mails

    def table(self, cls: type[Table]) -> type[Table]:
        """Serve a declared table; a decorator. Tables of a module are added by `add_tables`."""
        if cls not in self._classes:
            self._classes.append(cls)
            if cls._declared["backend"] is OWN:
                self.backends.setdefault(NATIVE, replace(OWN, label=self.title))
        return cls

    def add_tables(self, classes: Iterable[object]) -> None:
        """Serve each Table class among `classes` that belongs to a backend of this intranet, or to brique itself."""
        for cls in classes:
            if isinstance(cls, type) and issubclass(cls, Table) and cls is not Table:
                backend = cls._declared.get("backend")
                if backend is OWN or any(backend is known for known in self.backends.values()):
                    self.table(cls)

    def infer(self, backend: BackendSpec, specs: tuple[TableSpec, ...]) -> None:
        """Serve `specs`, inferred from the backend's own catalogue."""
        self._inferred[backend.name] = specs

    @property
    def has_tables(self) -> bool:
        """Whether there is anything to serve."""
        return bool(self._classes or any(self._inferred.values()))

    def view(
        self,
        path: str,
        *,
        title: str = "",
        role: str = "read",
        fresh: str | float | None = None,
        publish: PlaceSpec | Iterable[PlaceSpec] = (),
        each: Each = None,
    ) -> Callable[[Function], Function]:
        """A read model: a function of the data, kept up to date by what it reads. `path` as in
        "/customers/{number}/statement"; its places are the function's parameters.

        `publish`: where it is kept for other programs as well, whoever may read there; `each`: for which arguments, a
        table (one for each row), or a function of `db` that lists them."""
        return self._add_view(path, publish, each, kind="view", title=title, role=role, fresh=fresh)

    def dashboard(
        self,
        path: str = "/",
        *,
        title: str = "",
        role: str = "read",
        fresh: str | float | None = None,
        publish: PlaceSpec | Iterable[PlaceSpec] = (),
        each: Each = None,
    ) -> Callable[[Function], Function]:
        """A page of figures, charts and short lists: a view whose function returns tiles."""
        return self._add_view(path, publish, each, kind="dashboard", title=title, role=role, fresh=fresh)

    def _add_view(
        self, path: str, publish: PlaceSpec | Iterable[PlaceSpec], each: Each, **options: Any
    ) -> Callable[[Function], Function]:
        if options["fresh"] is not None:
            options["fresh"] = _seconds(options["fresh"])
        places = (publish,) if isinstance(publish, PlaceSpec) else tuple(publish)
        if each is not None and not places:
            raise BadConfiguration(f"view {path}: each={each!r} says for what it is published, and nothing says where")

        def add(function: Function) -> Function:
            self._views.append((path, function, options))
            if places:
                self._published[function] = (places, each)
            return function

        return add

    def command(self, *, label: str = "", role: str = "write") -> Callable[[Function], Function]:
        """An action with rules of its own: a function that checks, then asks for changes."""

        def add(function: Function) -> Function:
            self._commands.append((function, {"title": label, "role": role}))
            return function

        return add

    @staticmethod
    def refuse(text: str, **values: object) -> Refused:
        """The fault to raise in a command that must not go on; `text` is shown to its author."""
        return Refused(text.format(**values) if values else text)

    def declared(self) -> Declared:
        """Everything declared, checked and resolved. Raises BadConfiguration."""
        return Declared(self)


class Declared:
    """An intranet's tables, views and commands, resolved: what the processes run from."""

    def __init__(self, intranet: Intranet) -> None:
        self.title = intranet.title
        self.languages = intranet.languages
        self.timezone = intranet.timezone
        self.backends = dict(intranet.backends)
        self.mails = intranet.mails
        self.classes: dict[type[Table], TableSpec] = specs_of(intranet._classes)
        specs = [*self.classes.values(), *(spec for specs in intranet._inferred.values() for spec in specs)]
        self.specs: dict[str, TableSpec] = _by_name(specs)
        self.commands: dict[str, CommandSpec] = {}
        for function, options in intranet._commands:
            made = command_spec(function, self.classes, **options)
            if made.name in self.commands or made.name in {"create", "update", "delete", "mail"}:
                raise BadConfiguration(f"there are two commands named {made.name}")
            self.commands[made.name] = made
        self.views: dict[str, View] = {}
        self.places = dict(intranet.places)
        self.published: dict[str, Published] = {}
        for path, function, options in intranet._views:
            view = view_of(path, function, self.classes, **options)
            if view.name in self.views:
                raise BadConfiguration(f"there are two views named {view.name}")
            self.views[view.name] = view
            if function in intranet._published:
                places, each = intranet._published[function]
                self.published[view.name] = self._publish(view, places, each)

    def _publish(self, view: View, places: tuple[PlaceSpec, ...], each: Each) -> Published:
        names = tuple(place.name for place in places)
        if any(self.places.get(place.name) is not place for place in places) or len(set(names)) < len(names):
            raise BadConfiguration(f"view {view.name}: publish={', '.join(names)} names no places of this intranet")
        return published_of(view, names, each, self.classes, self.specs)

    @property
    def kept_views(self) -> dict[str, View]:
        """The views, and those that list for which arguments others are published."""
        listings = [one.listing for one in self.published.values() if one.listing is not None]
        return {**self.views, **{view.name: view for view in listings}}

    def of_backend(self, name: str) -> dict[str, TableSpec]:
        """The tables of one backend."""
        return {spec.name: spec for spec in self.specs.values() if spec.backend == name}


def _folder_of_caller() -> Path:
    """Where the file is that declares an intranet: its templates are beside it."""
    frame = sys._getframe(2)
    name = frame.f_globals.get("__file__")
    return Path(name).resolve().parent if name else Path.cwd()


def _by_name(specs: Iterable[TableSpec]) -> dict[str, TableSpec]:
    found: dict[str, TableSpec] = {}
    for spec in specs:
        if spec.name in found:
            raise BadConfiguration(
                f"two tables are named {spec.name}: in {found[spec.name].backend} and in {spec.backend}",
                try_this="give one of them another name",
            )
        found[spec.name] = spec
    for spec in found.values():
        for reference in spec.references:
            if reference.table not in found:
                raise BadConfiguration(f"{spec.name} refers to {reference.table}, which is not served")
    return found


def _seconds(text: str | float) -> float:
    """ "30s", "5m", "2h", "1d" or a number, as seconds."""
    if isinstance(text, (int, float)):
        return float(text)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip())
    if not found:
        raise BadConfiguration(f"{text!r} is not a time", try_this='write "30s", "5m", "2h" or "1d"')
    return float(found[1]) * _UNITS[found[2]]
