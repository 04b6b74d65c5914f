"""Options, each in one row: name, type, default, unit, help and bounds. They are read once, at the start.

A value comes from, in this order: the command line's flag, the environment (`BRIQUE_NAME`), the file `brique.toml` in
the data folder, the default. An unknown name or a value that does not fit stops the start and names itself. From the
same table come the defaults, the command line's help, the reference page, and the checks of how values relate.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from brique import errors

FILE_NAME = "brique.toml"
PREFIX = "BRIQUE_"
KIB, MIB, GIB = 1024, 1024**2, 1024**3
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("logfmt", "json")

# Set by brique itself for the processes that it starts: they are no settings.
_NOT_SETTINGS = {
    "BRIQUE_TOKEN",
    "BRIQUE_READY_FD",
    "BRIQUE_SETTINGS",
    "BRIQUE_LISTEN_FDS",
    "BRIQUE_GENERATION",
    "BRIQUE_PROCESS",
}

Value = int | float | str | Path
V = TypeVar("V", bound=Value)


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. `low` and `high` bound numbers; `choices` bounds text."""

    name: str
    type: type[Value]
    default: Value
    unit: str
    help: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]

    @property
    def environment(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


def _row(
    default: V,
    unit: str,
    help: str,  # noqa: A002 - the word of the table
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> V:
    """One row of the table: a field of `Settings` whose metadata is the rest of the row."""
    rest = {"unit": unit, "help": help, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The table, and the values that hold. Made by `load` (checked), or with some values: `Settings(page_rows=5)`."""

    # where
    data: Path = _row(Path("brique-data"), "folder", "Where everything that brique keeps is kept.")  # noqa: RUF009 - a Path never changes
    listen: str = _row("127.0.0.1:8000", "host:port", "Address to serve on; [::1]:8000 for IPv6.")
    public_url: str = _row("", "URL", "How people reach brique when it is behind a proxy; empty: as they ask.")
    trusted_proxies: str = _row("", "addresses", "Proxies whose X-Forwarded headers are believed, with commas between.")

    # processes
    web_processes: int = _row(2, "processes", "Processes that answer requests.", low=1, high=64)
    graceful_seconds: float = _row(10.0, "s", "Time for a process to end before it is killed.", low=0.1, high=600)
    ready_seconds: float = _row(30.0, "s", "Time for a process to become ready.", low=0.5, high=600)

    # requests
    body_bytes_max: int = _row(64 * MIB, "bytes", "Largest request body, files included.", low=KIB)
    request_seconds_max: float = _row(30.0, "s", "Longest time for a page, but for downloads.", low=0.5, high=3600)
    ready_bytes_max: int = _row(64 * MIB, "bytes", "Answers kept ready in each web process; 0: none.", low=0)
    developer_panel: int = _row(0, "0 or 1", "1: administrators see below each page how it came about.", low=0, high=1)
    views_twice: int = _row(0, "0 or 1", "1: each view is run twice, compared and watched closely.", low=0, high=1)
    kept_bytes_max: int = _row(512 * MIB, "bytes", "Of what views make, so much is kept, the last used.", low=MIB)
    page_rows: int = _row(25, "rows", "Rows on a list page.", low=1)
    page_rows_max: int = _row(200, "rows", "Most rows on a page or in an API answer.", low=1, high=10_000)
    export_rows_max: int = _row(0, "rows", "Most rows in an export; 0: no limit.", low=0)
    cell_bytes_max: int = _row(4 * MIB, "bytes", "Largest single value.", low=64)
    live_connections_max: int = _row(
        10_000, "connections", "Open pages that each web process keeps up to date at once.", low=0, high=1_000_000
    )
    live_session_connections_max: int = _row(100, "connections", "The same, of one sign-in.", low=1, high=1_000_000)
    live_heartbeat_seconds: float = _row(
        15.0, "s", "A stream of events without news shows so often that it is alive.", low=0.1, high=3600
    )
    live_stalled_seconds_max: float = _row(
        60.0, "s", "A follower who takes no event for so long is cut off.", low=1, high=3600
    )
    live_wait_seconds_max: float = _row(
        60.0, "s", "Longest time that a read waits for news when it is asked to (`Prefer: wait`).", low=0, high=3600
    )
    live_body_bytes_max: int = _row(
        16 * KIB, "bytes", "Longest answer that travels inside an event; of others the ETag alone.", low=0, high=MIB
    )

    # signing in
    session_idle_hours: float = _row(12.0, "h", "A session ends after this time without a request.", low=0.01)
    session_absolute_hours: float = _row(168.0, "h", "A session ends after this time in any case.", low=0.01)

    # writing
    settle_wait_ms: int = _row(300, "ms", "A write waits so long for its end before it says 'pending'.", low=0)
    spool_queue_max: int = _row(
        10_000, "commands", "Commands that wait for the disk before writers are told 'busy'.", low=1, high=1_000_000
    )
    commit_batch_max: int = _row(512, "commands", "Commands that share one flush to disk.", low=1, high=100_000)
    replay_batch_max: int = _row(
        1000,
        "commands",
        "Commands sent to a backend in one transaction, usually: down to a tenth while it is slow, up to five times as "
        "many while it is quick.",
        low=1,
        high=100_000,
    )
    keep_settled_days: float = _row(
        30.0,
        "days",
        "Settled commands, and the tokens that make a write once only, are kept so long.",
        low=0,
    )
    bulk_commands_max: int = _row(
        1000, "commands", "Most commands that one bulk action in the outbox decides.", low=1, high=100_000
    )
    notice_minutes: float = _row(
        10.0, "min", "An author gets at most one mail in this time about writes that need him.", low=0
    )
    change_log_rows_max: int = _row(100_000, "rows", "Length of the change log.", low=1000)

    # backends
    backend_timeout_seconds: float = _row(
        5.0, "s", "A backend that takes longer is treated as down.", low=0.05, high=600
    )
    backend_connect_seconds: float = _row(3.0, "s", "Time to connect to a backend.", low=0.05, high=600)
    probe_seconds_min: float = _row(0.25, "s", "First pause before a backend that is down is tried again.", low=0.01)
    probe_seconds_max: float = _row(5.0, "s", "Longest pause before a backend that is down is tried again.", low=0.01)
    publish_keys_max: int = _row(1_000_000, "keys", "Most keys that are published at one place.", low=1)
    publish_value_bytes_max: int = _row(4 * MIB, "bytes", "Largest value that is published.", low=KIB, high=16 * MIB)
    refresh_seconds: float = _row(30.0, "s", "Pause between two refreshes of a table.", low=0.1)

    # room on disk
    free_disk_bytes_min: int = _row(256 * MIB, "bytes", "Below this free room refreshes stop growing the copy.", low=0)
    spool_free_bytes_min: int = _row(64 * MIB, "bytes", "Below this free room writes are refused.", low=0)

    spool_bytes_max: int = _row(16 * GIB, "bytes", "Beyond this size of the spool writes are refused.", low=MIB)
    spool_segment_bytes: int = _row(
        64 * MIB, "bytes", "The spool begins a new file after so much.", low=64 * KIB, high=GIB
    )
    spool_segment_records: int = _row(
        250_000, "records", "The spool begins a new file after so many records.", low=1, high=10_000_000
    )
    command_bytes_max: int = _row(16 * MIB, "bytes", "Largest command that is kept.", low=KIB, high=GIB)

    # looking after it
    error_groups_max: int = _row(500, "groups", "Kinds of errors that are kept; the oldest go first.", low=1)
    log_level: str = _row("warning", "", "Least weight of what is logged.", choices=LOG_LEVELS)
    log_format: str = _row("logfmt", "", "Form of a log line.", choices=LOG_FORMATS)

    @property
    def address(self) -> tuple[str, int]:
        """`listen` as host and port."""
        return parse_address(self.listen)

    def as_json(self) -> dict[str, int | float | str | bool]:
        """The values as JSON can hold them; `load(flags=...)` takes them back."""
        values = {name: getattr(self, name) for name in TABLE}
        return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def _kind(default: Value) -> type[Value]:
    return Path if isinstance(default, Path) else type(default)  # Path() makes a PosixPath


_DEFAULTS = Settings()
TABLE: dict[str, Setting] = {
    row.name: Setting(
        name=row.name, type=_kind(getattr(_DEFAULTS, row.name)), default=getattr(_DEFAULTS, row.name), **row.metadata
    )
    for row in fields(Settings)
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and for each name where its value came from: flag, environment, file or default."""

    settings: Settings
    origins: dict[str, str]


def load(
    flags: Mapping[str, Any] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Settings:
    """The settings that hold. See `load_with_origins`."""
    return load_with_origins(flags, environment=environment, file=file).settings


def load_with_origins(
    flags: Mapping[str, Any] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Loaded:
    """The settings that hold and where each came from.

    Args:
        flags: from the command line, by setting name; a None means "not given".
        environment: `os.environ` unless told.
        file: `brique.toml` in the data folder unless told; it need not exist, unless told.
    Raises:
        BadConfiguration: an unknown name, a value that does not fit, values that contradict each other.
    """
    given_flags = {name: value for name, value in (flags or {}).items() if value is not None}
    given_environment = _from_environment(os.environ if environment is None else environment)
    given_file = _from_file(
        file if file is not None else _data_folder(given_flags, given_environment) / FILE_NAME,
        must_exist=file is not None,
    )
    values: dict[str, Value] = {}
    origins = dict.fromkeys(TABLE, "default")
    for origin, given in (("file", given_file), ("environment", given_environment), ("flag", given_flags)):
        for name, value in given.items():
            setting = _known(name, origin)
            values[name] = check(setting, value, origin=origin)
            origins[name] = origin
    settings = Settings(**values)  # type: ignore[arg-type]  # each value was checked against its row
    check_relations(settings)
    return Loaded(settings, origins)


def _data_folder(flags: Mapping[str, Any], environment: Mapping[str, str]) -> Path:
    """The data folder, which must be known before the file in it can be read."""
    origin = "flag" if "data" in flags else "environment"
    given = flags.get("data", environment.get("data", TABLE["data"].default))
    return Path(str(check(TABLE["data"], given, origin=origin)))


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and name not in _NOT_SETTINGS
    }


def _from_file(path: Path, *, must_exist: bool) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        if must_exist:
            raise errors.BadConfiguration(f"There is no settings file {path}") from error
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise errors.BadConfiguration(
            f"The settings file {path} cannot be read: {error}", try_this="Write one line for each: page_rows = 25"
        ) from error
    except NotADirectoryError as error:
        raise errors.BadConfiguration(
            f"{path.parent} is a file; a folder is needed", try_this="Give another one with --data."
        ) from error
    except OSError as error:
        raise errors.BadConfiguration(f"The settings file {path} cannot be read: {error.strerror}") from error
    if "data" in content:
        raise errors.BadConfiguration(
            f"The settings file {path} sets 'data', the folder that it lies in",
            try_this="Give --data or BRIQUE_DATA instead.",
        )
    return content


def _known(name: str, origin: str) -> Setting:
    if name in TABLE:
        return TABLE[name]
    near = difflib.get_close_matches(name.lower().replace("-", "_"), TABLE, n=1, cutoff=0.5)
    shown = PREFIX + name.upper() if origin == "environment" else name
    right = (TABLE[near[0]].environment if origin == "environment" else near[0]) if near else ""
    raise errors.BadConfiguration(
        f"There is no setting {shown} (from the {origin})",
        try_this=f"Did you mean {right}?" if right else "`brique settings` lists them all.",
        setting=name,
    )


def check(setting: Setting, value: object, *, origin: str = "flag") -> Value:
    """`value` (text, or what TOML gave) as the setting's type. Raises BadConfiguration that names value and bounds."""
    try:
        result = _convert(setting, value)
    except (ValueError, TypeError) as error:
        raise _unfit(setting, value, origin, str(error)) from error
    if isinstance(result, (int, float)) and not isinstance(result, bool):
        if setting.low is not None and result < setting.low:
            raise _unfit(setting, value, origin, f"it is below {setting.low:g}")
        if setting.high is not None and result > setting.high:
            raise _unfit(setting, value, origin, f"it is above {setting.high:g}")
    if setting.choices and result not in setting.choices:
        raise _unfit(setting, value, origin, f"choose one of {', '.join(setting.choices)}")
    if setting.name == "listen":
        try:
            parse_address(str(result))
        except ValueError as error:
            raise _unfit(setting, value, origin, str(error)) from error
    return result


_MULTIPLES = {"k": KIB, "kb": KIB, "kib": KIB, "m": MIB, "mb": MIB, "mib": MIB, "g": GIB, "gb": GIB, "gib": GIB}


def _convert(setting: Setting, value: object) -> Value:
    if setting.type in (str, Path):
        if not isinstance(value, (str, Path)):
            raise TypeError("a text is expected")
        if "\0" in str(value):
            raise ValueError("it holds a zero byte")
        return Path(value) if setting.type is Path else str(value)
    if isinstance(value, bool):
        raise TypeError(f"{_expected(setting)} is expected")
    if isinstance(value, str):
        value = _number(value.strip().replace("_", ""), bytes_too=setting.unit == "bytes")
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        raise ValueError("it is not a number")
    if setting.type is int and isinstance(value, float) and not value.is_integer():
        raise ValueError("a whole number is expected")
    if not isinstance(value, (int, float)):
        raise TypeError(f"{_expected(setting)} is expected")
    return int(value) if setting.type is int else float(value)


def _number(text: str, *, bytes_too: bool) -> int | float:
    """A number, with k, M, G after it for bytes. Raises ValueError."""
    digits = text.rstrip("KMGkmgiIbB")
    multiple = _MULTIPLES.get(text[len(digits) :].strip().lower(), 0) if bytes_too and digits != text else 1
    try:
        if not multiple:
            raise ValueError
        return int(digits.strip() if bytes_too else text) * multiple
    except ValueError:
        try:
            return float(digits.strip() if multiple and bytes_too else text) * multiple
        except ValueError:
            raise ValueError("a number is expected") from None


def _expected(setting: Setting) -> str:
    return "a whole number" if setting.type is int else "a number"


def _unfit(setting: Setting, value: object, origin: str, why: str) -> errors.BadConfiguration:
    unit = f" ({setting.unit})" if setting.unit else ""
    return errors.BadConfiguration(
        f"{setting.name} cannot be {str(value)!r} (from the {origin}): {why}",
        try_this=f"{setting.help}{unit} Default: {_shown(setting.default)}.",
        setting=setting.name,
        value=str(value),
    )


def parse_address(listen: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:8000`, `[::1]:8000`, `:8000` or `8000`. Raises ValueError."""
    host, _, port = listen.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("write an IPv6 address in brackets: [::1]:8000")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError("write host:port, as in 127.0.0.1:8000")
    return host or ("127.0.0.1" if ":" not in listen else "0.0.0.0"), int(port)  # noqa: S104 - asked for by ":8000"


_RELATIONS: tuple[tuple[str, str, Callable[[Settings], bool]], ...] = (
    ("page_rows", "page_rows_max", lambda s: s.page_rows <= s.page_rows_max),
    ("probe_seconds_min", "probe_seconds_max", lambda s: s.probe_seconds_min <= s.probe_seconds_max),
    ("session_idle_hours", "session_absolute_hours", lambda s: s.session_idle_hours <= s.session_absolute_hours),
    ("commit_batch_max", "spool_queue_max", lambda s: s.commit_batch_max <= s.spool_queue_max),
    ("cell_bytes_max", "body_bytes_max", lambda s: s.cell_bytes_max <= s.body_bytes_max),
    ("cell_bytes_max", "command_bytes_max", lambda s: s.cell_bytes_max <= s.command_bytes_max),
    ("spool_free_bytes_min", "free_disk_bytes_min", lambda s: s.spool_free_bytes_min <= s.free_disk_bytes_min),
)


def check_relations(settings: Settings) -> None:
    """Raise BadConfiguration when a smaller thing is set above the larger one that must hold it."""
    for small, large, holds in _RELATIONS:
        if not holds(settings):
            raise errors.BadConfiguration(
                f"{small} ({getattr(settings, small)}) is above {large} ({getattr(settings, large)})",
                try_this=f"Lower {small} or raise {large}.",
                setting=small,
            )
    if settings.settle_wait_ms >= settings.request_seconds_max * 1000:
        raise errors.BadConfiguration(
            f"settle_wait_ms ({settings.settle_wait_ms}) is not below request_seconds_max "
            f"({settings.request_seconds_max:g} s)",
            try_this="Lower settle_wait_ms or raise request_seconds_max.",
            setting="settle_wait_ms",
        )


def _shown(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int) and value >= MIB and value % MIB == 0:
        return f"{value // MIB}M"
    return str(value) or "empty"


def reference_markdown() -> str:
    """The table as a page of the documentation."""
    lines = [
        "| setting | default | unit | what it does |",
        "| --- | --- | --- | --- |",
    ]
    for row in TABLE.values():
        choices = f" One of {', '.join(row.choices)}." if row.choices else ""
        lines.append(f"| `{row.name}` | {_shown(row.default)} | {row.unit} | {row.help}{choices} |")
    return "\n".join(lines) + "\n"
