"""What a fault of the driver or server means for the caller, by its code and labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bson.errors import BSONError
from pymongo import errors

from brique.backends.faults import LOST, NOT_NOW, SAYS, SLOW, away, refused
from brique.errors import BackendAway, BackendRefused
from brique.schema import TableSpec

EMPTY = "{columns} must not be empty."
SAME = "There is already a row with the same {columns}."
RULE = "The database's rule {rule} says no."
NO_RIGHT = "The account that brique uses may not do this: {reason}"
UNDONE = "The database undid the transaction: an earlier statement in it had failed."

NO_TRANSACTIONS = (20, 263, 303)
"""Codes by which a server says that it knows no transactions."""
_DUPLICATE = (11000, 11001, 12582)
_INVALID = 121
_RIGHTS = (13, 8000)
_NOT_NOW = frozenset({
    6, 7, 11, 18, 24, 43, 46, 50, 64, 79, 89, 91, 100, 112, 133, 134, 136, 189, 202, 225, 237, 246, 251, 262, 290, 317,
    9001, 10107, 11600, 11602, 13388, 13435, 13436, 14031, 50915,
})  # fmt: skip
"""Tried again later: a primary that steps down, a lock or conflict, a time limit, a cursor or transaction that is
gone, an account being set up, a full disk."""


def explain(fault: Exception, *, backend: str, seconds: float) -> BackendAway | BackendRefused:
    """The brique fault for a fault of the driver."""
    if isinstance(fault, errors.BulkWriteError):
        return _explain_bulk(fault, backend=backend)
    if isinstance(fault, (errors.ExecutionTimeout, errors.NetworkTimeout)) or _is_timeout(fault):
        return away(SLOW, backend=backend, seconds=seconds)
    if isinstance(fault, errors.ConnectionFailure):
        return away(LOST, backend=backend, reason=reason_of(fault))
    if isinstance(fault, errors.OperationFailure):
        details = dict(fault.details or {})
        return _explain_code(fault.code or 0, details, reason_of(fault), labels=fault, backend=backend)
    if isinstance(fault, errors.DocumentTooLarge):
        return refused("A text is too long: {reason}", reason=reason_of(fault))
    if isinstance(fault, (BSONError, errors.InvalidOperation, OverflowError, TypeError, ValueError)):
        return refused(SAYS, reason=reason_of(fault))
    return away(LOST, backend=backend, reason=reason_of(fault))


def _is_timeout(fault: Exception) -> bool:
    return isinstance(fault, errors.PyMongoError) and fault.timeout and not isinstance(fault, errors.OperationFailure)


def _explain_bulk(fault: errors.BulkWriteError, *, backend: str) -> BackendAway | BackendRefused:
    told: Mapping[str, Any] = fault.details or {}
    for found in (*told.get("writeErrors", ()), *told.get("writeConcernErrors", ())):
        return _explain_code(found.get("code", 0), found, str(found.get("errmsg", "")), labels=fault, backend=backend)
    return away(NOT_NOW, backend=backend, reason=reason_of(fault))


def _explain_code(
    code: int, details: Mapping[str, Any], reason: str, *, labels: errors.PyMongoError, backend: str
) -> BackendAway | BackendRefused:
    if code in _DUPLICATE:
        told = refused(SAME, columns=", ".join(duplicated(details, reason)) or "key")
    elif code == _INVALID:
        told = _invalid(details, reason)
    elif code in _RIGHTS:
        told = refused(NO_RIGHT, reason=reason)
    elif code in _NOT_NOW or any(map(labels.has_error_label, ("TransientTransactionError", "RetryableWriteError"))):
        return away(NOT_NOW, backend=backend, reason=reason)
    else:
        told = refused(SAYS, reason=reason)
    told.facts["code"] = str(code)
    return told


def duplicated(details: Mapping[str, Any], reason: str) -> list[str]:
    """The fields of the unique index that a document would have broken; their paths."""
    pattern = details.get("keyPattern")
    if isinstance(pattern, Mapping) and pattern:
        return [str(name) for name in pattern]
    found = re.search(r"index: (\S+) dup key", reason)
    name = found[1].rpartition(".$")[2] if found else ""
    return ["_id"] if name == "_id_" else re.findall(r"(.+?)_-?1(?:_|$)", name)


def _invalid(details: Mapping[str, Any], reason: str) -> BackendRefused:
    """The collection's validator said no: which fields are missing, or which rule."""
    info = details.get("errInfo")
    told = info.get("details") if isinstance(info, Mapping) else None
    missing, rules = list[str](), list[str]()
    _walk(told, missing, rules)
    if missing:
        return refused(EMPTY, columns=", ".join(dict.fromkeys(missing)))
    return refused(RULE, rule=", ".join(dict.fromkeys(rules)) or reason)


def _walk(told: Any, missing: list[str], rules: list[str]) -> None:
    """Collect what a validator says of missing fields and of fields that break a rule (`net minimum 0`)."""
    if isinstance(told, list):
        for item in told:
            _walk(item, missing, rules)
    if not isinstance(told, Mapping):
        return
    missing += map(str, told.get("missingProperties", ()))
    for item in told.get("propertiesNotSatisfied", ()):
        name = str(item.get("propertyName", "?"))
        for detail in item.get("details", ()):
            kind = str(detail.get("operatorName", ""))
            inner = detail.get("details") or detail.get("schemaRulesNotSatisfied")
            if kind == "bsonType" and detail.get("consideredValue", "") is None:
                missing.append(name)
            elif inner:
                _walk(inner, missing, rules)
            else:
                wanted = (detail.get("specifiedAs") or {}).get(kind, "")
                rules.append(f"{name} {kind} {wanted}".strip())
    for name in ("schemaRulesNotSatisfied", "clausesNotSatisfied"):
        _walk(told.get(name), missing, rules)
    if isinstance(told.get("details"), (list, Mapping)) and "propertyName" not in told:
        _walk(told["details"], missing, rules)
    wanted, kind = told.get("specifiedAs"), str(told.get("operatorName", ""))
    if wanted and kind not in ("$jsonSchema", "properties", "required", "bsonType", "") and not missing and not rules:
        rules.append(str(dict(wanted) if isinstance(wanted, Mapping) else wanted))


def name_columns(fault: BackendRefused, spec: TableSpec) -> BackendRefused:
    """`fault` with the paths of fields that it names as the columns of `spec` that they are."""
    said = fault.facts.get("columns")
    if not isinstance(said, str):
        return fault
    names = {column.source: column.name for column in spec.columns}
    whole = (
        ", ".join(c.name for c in spec.key_columns)
        if all(c.source.startswith("_id.") for c in spec.key_columns)
        else ""
    )
    columns = ", ".join(whole if path == "_id" and whole else names.get(path, path) for path in said.split(", "))
    renamed = refused(str(fault.facts["sentence"]), **{**_values(fault), "columns": columns})
    renamed.facts.update(code=fault.facts.get("code", ""))
    return renamed


def _values(fault: BackendRefused) -> dict[str, object]:
    return {name: value for name, value in fault.facts.items() if name not in ("sentence", "code")}


def is_broken(fault: Exception) -> bool:
    """Whether the client had better be made anew, so that the next call does not wait for its monitors."""
    return isinstance(fault, errors.ConnectionFailure) or _is_timeout(fault)


def reason_of(fault: Exception) -> str:
    """What the server or driver said, on one line, without addresses of accounts, options and dumps of answers."""
    said = str(fault).partition(", full error:")[0].partition(", Timeout: ")[0]
    said = said.partition(" (configured timeouts:")[0].partition(", topology:")[0]
    said = re.sub(r"(?s)mongodb(\+srv)?://[^\s,]*@", r"mongodb\1://***@", said)
    return " ".join(said.split())[:300] or type(fault).__name__
