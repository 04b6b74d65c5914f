"""Decimals of any size as text that sorts like the numbers: for columns whose scale the source does not say.

Zero is `5`; a positive number is `6`, its adjusted exponent + 5000 on four digits, then its significant digits;
a negative one is `4`, the complement of that exponent, the nines' complement of the digits and `:` (which sorts
after every digit, so that -1.5 comes after -1.55). Exact both ways; trailing zeros are not kept.
"""

from __future__ import annotations

from decimal import Decimal

_BIAS = 5000
_NINES = str.maketrans("0123456789", "9876543210")


def encode(number: Decimal) -> str:
    """`number` as sortable text. Raises ValueError for NaN, infinities and exponents beyond ±4999."""
    if not number.is_finite():
        raise ValueError(f"{number} has no place in a sort")
    if not number:
        return "5"
    sign, digits, _ = number.as_tuple()
    exponent = number.adjusted() + _BIAS
    if not 0 <= exponent <= 9999:
        raise ValueError(f"{number} is too large or too small")
    text = "".join(map(str, digits)).lstrip("0").rstrip("0")
    if sign:
        return f"4{9999 - exponent:04d}{text.translate(_NINES)}:"
    return f"6{exponent:04d}{text}"


def decode(text: str) -> Decimal:
    """The number that `encode` wrote. Raises ValueError for any other text."""
    if text == "5":
        return Decimal(0)
    if len(text) < 6 or text[0] not in "46" or not text[1:5].isdigit():
        raise ValueError(f"not a sortable decimal: {text!r}")
    exponent, digits, sign = int(text[1:5]), text[5:], 0
    if text[0] == "4":
        exponent, digits, sign = 9999 - exponent, digits.removesuffix(":").translate(_NINES), 1
    return Decimal((sign, tuple(map(int, digits)), exponent - _BIAS - len(digits) + 1))
