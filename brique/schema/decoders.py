"""How old schemas write values, and back: padded text, dates and times kept as numbers, flags, EBCDIC, packed decimals.

A decoder turns what the source holds into the store value that people mean, and a value typed into what the source
expects. Both are total: what does not fit passes unchanged, so that nothing is lost and the page can show it raw.

A decoder has a name, and some have options behind it, parted by colons: `cyymmdd`, `ddmmyy:text`, `flag:O:N`,
`ebcdic:cp297:30`, `packed:7,2`. `DECODERS` finds all of them by name.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, partial
from itertools import pairwise

from brique.schema.kinds import Kind

StoreValue = None | int | float | str | bytes
Convert = Callable[[StoreValue], StoreValue]
PIVOT = 40
"""Years of two digits: 39 is 2039, 40 is 1940."""
DATES = (
    "cyymmdd", "yyyymmdd", "yymmdd", "ddmmyy", "ddmmyyyy", "mmddyy", "mmddyyyy", "yyyyddd", "yyddd", "cyyddd",
)  # fmt: skip
"""The ways of writing a date as a number: c century (0: 1900), y year, m month, d day, ddd day of the year."""
TIMES = ("hhmmss", "hhmm")
_NO_DATES = {"0001-01-01", "9999-12-31"}


@dataclass(frozen=True)
class Decoder:
    """One way of writing values: `decode` from the source, `encode` back to it, and the kind that people see."""

    name: str
    kind: Kind
    decode: Convert
    encode: Convert


def _same(value: StoreValue) -> StoreValue:
    return value


# text


def _trim(value: StoreValue) -> StoreValue:
    return value.rstrip(" ") if isinstance(value, str) else value


def _from_blank(value: StoreValue) -> StoreValue:
    if not isinstance(value, str):
        return value
    text = value.rstrip(" ")
    return (text if text.isascii() else unicodedata.normalize("NFC", text)) or None


def _to_blank(value: StoreValue) -> StoreValue:
    return " " if value is None else value


def _from_code(value: StoreValue, *, digits: int) -> StoreValue:
    number = _digits(value)
    return value if number is None or number < 0 else f"{number:0{digits}d}"


def _to_code(value: StoreValue) -> StoreValue:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


def _from_page(value: StoreValue, *, page: str) -> StoreValue:
    if not isinstance(value, bytes):
        return value
    try:
        text = value.decode(page)
    except UnicodeDecodeError:
        return value
    return unicodedata.normalize("NFC", text.rstrip(" \x00"))


def _to_page(value: StoreValue, *, page: str, length: int) -> StoreValue:
    if not isinstance(value, str):
        return value
    try:
        return unicodedata.normalize("NFC", value).encode(page).ljust(length, b"\x40")
    except UnicodeEncodeError:
        return value


# numbers


def _digits(value: StoreValue) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        text = value.strip()
        return int(text) if text.isascii() and text.isdigit() else None
    return value if isinstance(value, int) else None


def _from_implied(value: StoreValue) -> StoreValue:
    if isinstance(value, str) and re.fullmatch(r"\s*-\d+\s*", value, re.ASCII):
        return int(value)
    number = _digits(value)
    return value if number is None else number


_PLUS, _MINUS = 0xC, 0xD
_MINUS_NIBBLES, _SIGN_NIBBLES = (0xB, 0xD), range(0xA, 0x10)


def _from_packed(value: StoreValue) -> StoreValue:
    """Two digits a byte, and the sign in the last half of the last one: 12345C is 12345."""
    if not isinstance(value, bytes) or not value:
        return value
    digits, sign = value.hex()[:-1], value[-1] & 0xF
    if not digits.isdigit() or sign not in _SIGN_NIBBLES:
        return value
    return -int(digits) if sign in _MINUS_NIBBLES else int(digits)


def _to_packed(value: StoreValue, *, precision: int) -> StoreValue:
    if not isinstance(value, int) or abs(value) >= 10**precision:
        return value
    width = precision // 2 * 2 + 1
    return bytes.fromhex(f"{abs(value):0{width}d}{'d' if value < 0 else 'c'}")


def _from_zoned(value: StoreValue) -> StoreValue:
    """One digit a byte, in its last half; the sign in the first half of the last byte: F1F2D3 is -123."""
    if not isinstance(value, bytes) or not value:
        return value
    zones, digits = value.hex()[0::2], value.hex()[1::2]
    sign = int(zones[-1], 16)
    if not digits.isdigit() or set(zones[:-1]) - {"f"} or sign not in _SIGN_NIBBLES:
        return value
    return -int(digits) if sign in _MINUS_NIBBLES else int(digits)


def _to_zoned(value: StoreValue, *, precision: int) -> StoreValue:
    if not isinstance(value, int) or abs(value) >= 10**precision:
        return value
    digits = f"{abs(value):0{precision}d}"
    return bytes.fromhex("".join(f"f{digit}" for digit in digits[:-1]) + ("d" if value < 0 else "f") + digits[-1])


# flags


def _from_flag(value: StoreValue, *, yes: str, no: str) -> StoreValue:
    text = str(value) if isinstance(value, int) else value.rstrip(" ") if isinstance(value, str) else None
    if text == yes:
        return 1
    if text == no:
        return 0
    return None if text == "" else value


def _to_flag(value: StoreValue, *, yes: str, no: str) -> StoreValue:
    if value is None:
        return " " if no else None
    return {1: yes, 0: no or " "}.get(value, value) if isinstance(value, int) else value


# dates and times


@cache
def _layout(written: str) -> tuple[tuple[str, int, int], ...]:
    """(letters, start, end) of each part: `cyymmdd` is c, yy, mm, dd."""
    starts = [at for at, letter in enumerate(written) if at == 0 or written[at - 1] != letter]
    return tuple((written[start:end], start, end) for start, end in pairwise([*starts, len(written)]))


def _date_of(written: str, text: str) -> date:
    """Raises ValueError."""
    parts = {letters: int(text[start:end]) for letters, start, end in _layout(written)}
    year = parts.get("yyyy", 0)
    if "c" in parts:
        year = 1900 + 100 * parts["c"] + parts["yy"]
    elif "yy" in parts:
        year = parts["yy"] + (2000 if parts["yy"] < PIVOT else 1900)
    if "ddd" in parts:
        found = date(year, 1, 1) + timedelta(days=parts["ddd"] - 1)
        if found.year != year:
            raise ValueError(text)
        return found
    return date(year, parts["mm"], parts["dd"])


def _from_date(value: StoreValue, *, written: str, none: int | None) -> StoreValue:
    if isinstance(value, str) and not value.strip():
        return None
    number = _digits(value)
    width = len(written)
    if number is None or not 0 <= number < 10**width:
        return value
    if number in (0, 10**width - 1, none):
        return None
    try:
        return _date_of(written, f"{number:0{width}d}").isoformat()
    except (ValueError, OverflowError):
        return value


def _to_date(value: StoreValue, *, written: str, none: int | None, as_text: bool) -> StoreValue:
    if value is None:
        number = none or 0
    else:
        try:
            text = _written(written, date.fromisoformat(str(value)))
        except ValueError:
            return value
        number = int(text)
    return f"{number:0{len(written)}d}" if as_text else number


def _written(written: str, day: date) -> str:
    """Raises ValueError when this way of writing has no place for the day."""
    parts = {
        "yyyy": f"{day.year:04d}", "yy": f"{day.year % 100:02d}", "c": str((day.year - 1900) // 100),
        "mm": f"{day.month:02d}", "dd": f"{day.day:02d}", "ddd": f"{day.timetuple().tm_yday:03d}",
    }  # fmt: skip
    text = "".join(parts[letters] for letters, _, _ in _layout(written))
    if len(text) != len(written) or "-" in text or _date_of(written, text) != day:
        raise ValueError(f"{day} cannot be written as {written}")
    return text


def _from_time(value: StoreValue, *, written: str) -> StoreValue:
    if isinstance(value, str) and not value.strip():
        return None
    number, width = _digits(value), len(written)
    if number is None or not 0 <= number < 10**width:
        return value
    if number == 10**width - 1:
        return None
    text = f"{number:0{width}d}".ljust(6, "0")
    hour, minute, second = text[:2], text[2:4], text[4:]
    return f"{hour}:{minute}:{second}" if hour < "24" and minute < "60" and second < "60" else value


def _to_time(value: StoreValue, *, written: str, as_text: bool) -> StoreValue:
    found = re.fullmatch(r"(\d\d):(\d\d)(?::(\d\d))?(?:\.0+)?", value, re.ASCII) if isinstance(value, str) else None
    if found is None or (written == "hhmm" and found[3] not in (None, "00")):
        return value
    text = "".join(part or "00" for part in found.groups())[: len(written)]
    return text if as_text else int(text)


def _from_no_date(value: StoreValue) -> StoreValue:
    return None if isinstance(value, str) and value[:10] in _NO_DATES else value


def _to_no_date(value: StoreValue) -> StoreValue:
    return "0001-01-01" if value is None else value


# by name


def _date_decoder(name: str, written: str, options: list[str]) -> Decoder | None:
    none = next((int(option[5:]) for option in options if re.fullmatch(r"none=\d{1,8}", option)), None)
    known = [option for option in options if option == "text" or re.fullmatch(r"none=\d{1,8}", option)]
    if known != options:
        return None
    encode = partial(_to_date, written=written, none=none, as_text="text" in options)
    return Decoder(name, Kind.DATE, partial(_from_date, written=written, none=none), encode)


def _parts_decoder(name: str, options: list[str]) -> Decoder | None:
    """A date in several columns: its parts come and go as `26/11/20`, in the order of the columns."""
    if sorted(options) not in (["dd", "mm", "yy"], ["dd", "mm", "yyyy"], ["c", "dd", "mm", "yy"]):
        return None
    return Decoder(
        name, Kind.DATE, partial(_from_parts, names=tuple(options)), partial(_to_parts, names=tuple(options))
    )


def _from_parts(value: StoreValue, *, names: tuple[str, ...]) -> StoreValue:
    parts = value.split("/") if isinstance(value, str) else []
    if len(parts) != len(names) or not all(part.isascii() and part.isdigit() for part in parts):
        return value
    if not any(map(int, parts)):
        return None
    if any(len(str(int(part))) > len(name) for part, name in zip(parts, names, strict=True)):
        return value
    text = "".join(f"{int(part):0{len(name)}d}" for part, name in zip(parts, names, strict=True))
    try:
        return _date_of("".join(names), text).isoformat()
    except (ValueError, OverflowError):
        return value


def _to_parts(value: StoreValue, *, names: tuple[str, ...]) -> StoreValue:
    if value is None:
        return "/".join("0" for _ in names)
    try:
        text = _written("".join(names), date.fromisoformat(str(value)))
    except ValueError:
        return value
    ends = [sum(map(len, names[: at + 1])) for at in range(len(names))]
    return "/".join(str(int(text[end - len(name) : end])) for name, end in zip(names, ends, strict=True))


def _time_decoder(name: str, written: str, options: list[str]) -> Decoder | None:
    if options not in ([], ["text"]):
        return None
    encode = partial(_to_time, written=written, as_text=bool(options))
    return Decoder(name, Kind.TIME, partial(_from_time, written=written), encode)


def _flag_decoder(name: str, options: list[str]) -> Decoder | None:
    if len(options) != 2 or not options[0].strip() or options[0] == options[1]:
        return None
    yes, no = options[0], options[1].strip()
    return Decoder(name, Kind.BOOLEAN, partial(_from_flag, yes=yes, no=no), partial(_to_flag, yes=yes, no=no))


def _page_decoder(name: str, options: list[str]) -> Decoder | None:
    page, length = options[0] if options else "", options[1] if len(options) > 1 else "0"
    if not length.isdigit() or len(options) > 2 or not is_code_page(page):
        return None
    encode = partial(_to_page, page=page, length=int(length))
    return Decoder(name, Kind.TEXT, partial(_from_page, page=page), encode)


def is_code_page(name: str) -> bool:
    """Whether a code page of that name is known (EBCDIC's come from the package `ebcdic`)."""
    import ebcdic  # type: ignore[import-untyped]  # noqa: F401  (registers its code pages)

    try:
        return bool(re.fullmatch(r"cp\d+", name) and codecs.lookup(name))
    except LookupError:
        return False


def _number_decoder(name: str, family: str, options: list[str]) -> Decoder | None:
    found = re.fullmatch(r"(\d{1,2})(?:,(\d{1,2}))?", options[0]) if len(options) == 1 else None
    if found is None or not int(found[2] or 0) <= int(found[1]) <= 18 or found[1] == "0":
        return None
    decode, encode = (_from_packed, _to_packed) if family == "packed" else (_from_zoned, _to_zoned)
    return Decoder(name, Kind.DECIMAL, decode, partial(encode, precision=int(found[1])))


def _code_decoder(name: str, options: list[str]) -> Decoder | None:
    if len(options) != 1 or not re.fullmatch(r"[1-9]|1[0-8]", options[0]):
        return None
    return Decoder(name, Kind.TEXT, partial(_from_code, digits=int(options[0])), _to_code)


_PLAIN = {
    decoder.name: decoder
    for decoder in (
        Decoder("trim", Kind.TEXT, _trim, _same),
        Decoder("blank", Kind.TEXT, _from_blank, _to_blank),
        Decoder("implied", Kind.DECIMAL, _from_implied, _same),
        Decoder("nodate", Kind.DATE, _from_no_date, _to_no_date),
    )
}
_FAMILIES = ("parts", "flag", "ebcdic", "zoned", "packed", "code")


@cache
def _find(name: str) -> Decoder | None:
    family, *options = name.split(":")
    if name in _PLAIN:
        return _PLAIN[name]
    if family in DATES:
        return _date_decoder(name, family, options)
    if family in TIMES:
        return _time_decoder(name, family, options)
    if family in ("packed", "zoned"):
        return _number_decoder(name, family, options)
    makers = {"parts": _parts_decoder, "flag": _flag_decoder, "ebcdic": _page_decoder, "code": _code_decoder}
    return makers[family](name, options) if family in makers else None


class _Decoders(Mapping[str, Decoder]):
    """Decoders by name, with their options; going through it gives the names without options."""

    def __getitem__(self, name: str) -> Decoder:
        found = _find(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        yield from (*_PLAIN, *DATES, *TIMES)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @property
    def families(self) -> tuple[str, ...]:
        """Names that need options."""
        return _FAMILIES


DECODERS = _Decoders()
