"""Bodies in: of a declared type, of a bounded size, JSON, an object; its members as store values of a table."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
from starlette.requests import Request

from brique.api.answers import Unreadable, WrongMediaType
from brique.api.rows import META
from brique.commands import CommandSpec, Parameter, own_receipt
from brique.errors import BadInput
from brique.exports import near
from brique.http import header
from brique.schema import PENDING, Column, Kind, Row, TableSpec, from_json, join_key, to_python

# Numbers with a decimal point stay exact until the column is known.
_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_DIGITS_MAX = 400
TOKEN_CHARS_MAX = 200


def _(text: str) -> str:
    """Mark `text` for the catalogue; it is translated when it is shown."""
    return text


async def read_object(request: Request, accepted: tuple[str, ...], *, required: bool = True) -> dict[str, Any]:
    """The JSON object that was sent; a body without Content-Type is taken for one.

    Raises WrongMediaType (415), Unreadable (400), BadInput when it is no object, TooMuch above the route's limit.
    """
    check_media_type(request, accepted)
    body = await request.body()
    if not body and not required:
        return {}
    try:
        value = _DECODER.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as fault:
        raise Unreadable(_("The body is not JSON: {why}."), why=str(fault)[:200] or type(fault).__name__) from fault
    if not isinstance(value, dict):
        raise BadInput(_("The body must be a JSON object."), try_this=_("Send one member for each value."))
    return value


def check_media_type(request: Request, accepted: tuple[str, ...]) -> None:
    """Raises WrongMediaType; parameters are read leniently, but text that is not UTF-8 is not taken."""
    sent = header(request.scope, b"content-type")
    if sent in accepted:
        return
    name, *parameters = (piece.strip().lower() for piece in sent.split(";"))
    charset = next((part.partition("=")[2].strip('" ') for part in parameters if part.startswith("charset=")), "utf-8")
    if (name and name not in accepted) or charset not in ("utf-8", "utf8", "us-ascii"):
        raise WrongMediaType(
            _("A body of type {sent} is not taken here."), accepted=accepted, method=request.method
        ) from None


def token_of(request: Request, given: dict[str, Any] | None = None) -> str:
    """What makes the write once only: the Idempotency-Key, or a receipt of the caller's own (the header Brique-Receipt,
    or the member `_receipt`, which is taken out of `given`); "" when there is none.

    Raises BadInput when it is too long or not printable, or when there are both.
    """
    token = header(request.scope, b"idempotency-key").strip()
    if len(token) > 1 and token[0] == token[-1] == '"':
        token = token[1:-1]
    if len(token) > TOKEN_CHARS_MAX or not token.isprintable():
        raise BadInput(
            _("The Idempotency-Key cannot be used."),
            fields={"Idempotency-Key": _("Must be a short text of printable letters.")},
            where="header",
        )
    own = [request.headers.get("brique-receipt"), given.pop("_receipt", None) if given else None]
    receipts = {one for one in own if one is not None}
    if len(receipts) > 1 or (receipts and token):
        raise BadInput(_("Give either an Idempotency-Key or a receipt of your own."))
    for one in receipts:
        return own_receipt(one if isinstance(one, str) else "")
    return f"api {token}" if token else ""  # never the one-time token of a form


def store_values(spec: TableSpec, given: Mapping[str, Any], now: Row | None = None, *, bytes_max: int) -> Row:
    """The members of a body as store values, none larger than `bytes_max`.

    `now`: the row that they patch (a merge patch goes into JSON columns).

    Raises BadInput by field: an unknown column (the nearest right one is named), a value that does not fit.
    """
    values: Row = {}
    faults: dict[str, str] = {}
    unknown = ""
    for name, value in given.items():
        column = spec.by_name.get(name)
        if column is None:
            if name not in META:
                faults[name] = _("There is no such column.")
                unknown = unknown or name
            continue
        if isinstance(value, str) and value.startswith(PENDING) and name in spec.reference_of:
            values[name] = value  # a row that waits for its number; the desk looks whether it is there
            continue
        try:
            values[name] = _sized(store_value(column, value, (now or {}).get(name)), bytes_max)
        except (ValueError, ArithmeticError) as fault:
            faults[name] = str(fault) if isinstance(fault, ValueError) else _("Is too large.")
    if faults:
        close = near(unknown, spec.names) if unknown else ""
        raise BadInput(
            _("Some fields need another value."),
            fields=faults,
            try_this=_("Did you mean {near}?") if close else "",
            near=close,
        )
    return values


def store_value(column: Column, value: Any, now: Any = None) -> Any:
    """A JSON value as store value of `column`; an object goes into the document that is there as a merge patch.

    Raises ValueError with a sentence for people, ArithmeticError for numbers without measure.
    """
    if column.kind is Kind.JSON:
        there = column.json(now)
        value = plain_numbers(merged(there, value) if isinstance(value, dict) and isinstance(there, dict) else value)
        return column.store(value) if value is not None else None
    return column.store_json(_exact(column.kind, value))


def _sized(value: Any, bytes_max: int) -> Any:
    if isinstance(value, (str, bytes)) and len(value if isinstance(value, bytes) else value.encode()) > bytes_max:
        raise ValueError(_("Is too large."))
    return value


def merged(there: Any, patch: Any) -> Any:
    """`there` after a JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(there) if isinstance(there, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def plain_numbers(value: Any) -> Any:
    """`value` with the numbers that JSON knows. Raises ValueError for those that it does not."""
    if isinstance(value, Decimal):
        number = float(value)
        if number in (float("inf"), float("-inf")):
            raise ValueError(_("Is too large."))
        return number
    if isinstance(value, dict):
        return {name: plain_numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain_numbers(item) for item in value]
    return value


def _exact(kind: Kind, value: Any) -> Any:
    """A decoded JSON value in the form that `from_json` takes."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return value
    if isinstance(value, Decimal) and abs(value.adjusted()) > _DIGITS_MAX:
        raise ValueError(_("Is too large."))
    if kind is Kind.DECIMAL:
        return str(value)
    if isinstance(value, Decimal) and kind is not Kind.INTEGER:
        return plain_numbers(value)
    if kind is Kind.REAL:
        return Decimal(value)
    return value


def arguments(spec: CommandSpec, given: Mapping[str, Any], *, some: bool = False) -> dict[str, Any]:
    """The members of a body as a command's arguments: Python values, key texts for rows; `some`: only those that are
    given. Raises BadInput by field."""
    by_name = {parameter.name: parameter for parameter in spec.parameters}
    values: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for name, value in given.items():
        parameter = by_name.get(name)
        if parameter is None:
            faults[name] = _("There is no such field.")
            continue
        try:
            values[name] = _argument(parameter, value)
        except (ValueError, ArithmeticError) as fault:
            faults[name] = str(fault) if isinstance(fault, ValueError) else _("Is too large.")
    for parameter in spec.parameters:
        if parameter.required and given.get(parameter.name) is None and (parameter.name in given or not some):
            faults[parameter.name] = _("Is required.")
    if faults:
        raise BadInput(_("Some fields need another value."), fields=faults)
    return {name: value for name, value in values.items() if value is not None}


def _argument(parameter: Parameter, value: Any) -> Any:
    if value is None:
        return None
    if parameter.table:
        if isinstance(value, int) and not isinstance(value, bool):
            return join_key((value,))
        if not isinstance(value, str) or not value:
            raise ValueError(_("Must be the key of a row."))
        return value
    return to_python(parameter.kind, from_json(parameter.kind, _exact(parameter.kind, value)))
