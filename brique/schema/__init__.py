"""What a table, column, key, command and view are. Pure: no disk, no network, no clock."""

from brique.schema.catalogue import Catalogue, SourceColumn, SourceReference, SourceTable
from brique.schema.command import Change, Command, Effect, Row, State
from brique.schema.command import decode as decode_command
from brique.schema.command import encode as encode_command
from brique.schema.declare import (
    OWN,
    BackendSpec,
    Table,
    code,
    column,
    date_parts,
    ebcdic,
    flag,
    implied,
    key,
    old_date,
    old_time,
    packed,
    padded,
    ref,
    specs_of,
    zoned,
)
from brique.schema.decoders import DECODERS, Decoder
from brique.schema.infer import infer, suspected_references
from brique.schema.keys import PENDING
from brique.schema.keys import join as join_key
from brique.schema.keys import split as split_key
from brique.schema.kinds import Kind, Value, fits, from_json, from_python, to_json, to_python
from brique.schema.names import distinct, fold, label, slug
from brique.schema.native import AS_STORED, NATIVE, NATIVE_URL, native_type
from brique.schema.table import Column, Reference, TableSpec
from brique.schema.write_python import write_python

__all__ = [
    "AS_STORED",
    "DECODERS",
    "NATIVE",
    "NATIVE_URL",
    "OWN",
    "PENDING",
    "BackendSpec",
    "Catalogue",
    "Change",
    "Column",
    "Command",
    "Decoder",
    "Effect",
    "Kind",
    "Reference",
    "Row",
    "SourceColumn",
    "SourceReference",
    "SourceTable",
    "State",
    "Table",
    "TableSpec",
    "Value",
    "code",
    "column",
    "date_parts",
    "decode_command",
    "distinct",
    "ebcdic",
    "encode_command",
    "fits",
    "flag",
    "fold",
    "from_json",
    "from_python",
    "implied",
    "infer",
    "join_key",
    "key",
    "label",
    "native_type",
    "old_date",
    "old_time",
    "packed",
    "padded",
    "ref",
    "slug",
    "specs_of",
    "split_key",
    "suspected_references",
    "to_json",
    "to_python",
    "write_python",
    "zoned",
]
