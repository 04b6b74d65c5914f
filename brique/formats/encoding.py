"""Which encoding a text file is in, judged by all of its bytes, French first.

A byte order mark decides; then UTF-8 if every byte fits; then, if it is mostly UTF-8, UTF-8 with the odd bytes read as
Windows-1252; else the one of four old encodings in which the accented letters stand where letters should.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_BLOCK = 1 << 20
_SAMPLE = 1 << 16
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_HIGH = re.compile(rb"[\x80-\xff]")
_UNNAMED = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_OLD = ("cp1252", "iso8859-15", "cp850", "mac-roman")
_COMMON = frozenset("éèêëàâçùûüîïôœÉÈÊËÀÂÇÙÛÎÏÔŒñöäßÖÄÜáíóúãõ")
_SIGNS = frozenset("€°«»’–—…£§²³µ·“”\u00a0")
_REPAIR = "brique.cp1252"


def _repair(fault: UnicodeError) -> tuple[str, int]:
    if not isinstance(fault, UnicodeDecodeError):
        raise fault
    wrong = fault.object[fault.start : fault.end]
    return wrong.decode("cp1252", "replace"), fault.end


codecs.register_error(_REPAIR, _repair)


@dataclass(frozen=True)
class Encoding:
    """How to open the file: `open(path, encoding=name, errors=errors)`. `odd`: bytes that are not of `name`."""

    name: str
    errors: str = "strict"
    odd: int = 0


def detect(path: Path) -> Encoding:
    """The encoding of the file; reads it once, in blocks (about 1 GB a second while it is ASCII or UTF-8)."""
    with path.open("rb") as file:
        start = file.read(_SAMPLE)
        for mark, name in _MARKS:
            if start.startswith(mark):
                return Encoding(name, _REPAIR if name == "utf-8-sig" else "replace")
        if b"\x00" in start and (wide := _wide(start)):
            return Encoding(wide, "replace")
        file.seek(0)
        if _is_utf8(file):
            return Encoding("utf-8")
        file.seek(0)
        tally = _tally(file)
    if tally.sequences > 4 * tally.loose:
        return Encoding("utf-8", _REPAIR, tally.loose)
    name = old(b"\n".join(tally.lines))
    # five bytes have no letter in Windows-1252: better a sign in their place than no file
    return Encoding(name, "replace", tally.unnamed if name == "cp1252" else 0)


def _is_utf8(file: IO[bytes]) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while block := file.read(_BLOCK):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


@dataclass
class _Tally:
    """`sequences` of bytes that are UTF-8, `loose` high bytes that are not, `unnamed` in cp1252, and some `lines`."""

    sequences: int = 0
    loose: int = 0
    unnamed: int = 0
    kept: int = 0
    lines: list[bytes] = field(default_factory=list)


def _tally(file: IO[bytes]) -> _Tally:
    tally = _Tally()
    while block := file.read(_BLOCK):
        if block.isascii():
            continue
        sequences = _MULTIBYTE.findall(block)
        tally.sequences += len(sequences)
        tally.loose += len(_HIGH.findall(block)) - sum(map(len, sequences))
        tally.unnamed += len(_UNNAMED.findall(block))
        for line in block.splitlines() if tally.kept < _SAMPLE else ():
            if not line.isascii() and tally.kept < _SAMPLE:
                tally.lines.append(line[:2000])
                tally.kept += len(line[:2000])
    return tally


def _wide(start: bytes) -> str:
    """UTF-16 without a mark: every second byte of Latin text is zero."""
    even, odd, half = start[0::2].count(0), start[1::2].count(0), len(start) // 2 or 1
    if odd > 0.4 * half and even < 0.1 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.4 * half and odd < 0.1 * half else ""


def old(sample: bytes) -> str:
    """The likeliest of the old single-byte encodings; `sample` holds the lines with bytes above 127."""
    scores = {name: _score(sample.decode(name, "replace")) for name in _OLD}
    return max(_OLD, key=lambda name: scores[name])  # on a tie the first, the most common one


def _score(text: str) -> float:
    """Accented letters of Western languages beside letters count for, signs in their place too; odd ones against."""
    score = 0.0
    for at, char in enumerate(text):
        if char < "\x80":
            continue
        before, after = text[at - 1 : at], text[at + 1 : at + 2]
        if char in _COMMON:
            beside = before.isalpha() or after.isalpha()
            clash = char.isupper() and before.islower()
            score += -1 if clash else (1.5 if beside else 0.2)
        elif char in _SIGNS:
            between = before.isalpha() and after.isalpha() and char != "’"
            score += -1 if between else 0.5
        else:
            score -= 1
    return score
