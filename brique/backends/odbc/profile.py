"""What families of ODBC drivers do differently: one `Profile` each. Pure.

A profile has two halves. The *driver* half says how to talk to a shared library: connection options, how text travels.
The *dialect* half says what SQL the database behind it takes. Both are chosen by what is found (`for_driver`,
`for_database`), the dialect also by the address (`?profile=db2i`). What can be asked of the driver (`SQLGetInfo`) is
not written here: see `detect`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class NewKey(StrEnum):
    """How the key that the database gives to a new row is asked for."""

    RETURNING = "INSERT … RETURNING key"
    FINAL_TABLE = "SELECT key FROM FINAL TABLE (INSERT …)"
    OUTPUT = "INSERT … OUTPUT INSERTED.key"
    QUERY = "a query after the INSERT"
    NONE = "it cannot be asked for"


@dataclass(frozen=True)
class Profile:
    """One family. In SQL patterns `{…}` are places; an empty pattern means that there is none.

    Driver: `options` are added to the connection string unless it says otherwise; `host`, `port` and `database` are
    the words for them there; `bulk`: reading by Arrow is sound; `wide`: text travels as UTF-16.
    Dialect: `first` limits a select to `{rows}`; `lock` ends a select whose rows shall stay as they are;
    `exact` makes a text compare letter by letter (`compares_exactly` says that comparing then does; else a row is read
    before it is changed); `cast` turns a parameter into a type that the driver does not bind; `types_plain` need no
    cast. `snapshot` begins a consistent read, `share` asks for its name, `join` begins another read in it.
    `savepoints`: a failed statement spoils its transaction unless a savepoint is there. `counts`: a change says how
    many rows it changed. `moments_utc`: types whose values are moments of UTC.
    """

    name: str
    title: str
    database_names: str = "(?!)"
    driver_names: str = "(?!)"
    # the driver
    options: Mapping[str, str] = field(default_factory=dict)
    host: str = "SERVER"
    port: str = "PORT"
    database: str = "DATABASE"
    bulk: bool = True
    wide: bool = False
    # the dialect
    begin: tuple[str, ...] = ()
    snapshot: tuple[str, ...] = ()
    share: str = ""
    join: tuple[str, ...] = ()
    savepoints: bool = False
    first: str = "{select} FETCH FIRST {rows} ROWS ONLY"
    lock: str = ""
    exact: str = "{cell}"
    exact_types: str = ""
    compares_exactly: bool = False
    cast: str = ""
    types_plain: str = ""
    counts: bool = True
    new_key: NewKey = NewKey.NONE
    new_key_query: str = ""
    defaults: str = "DEFAULT VALUES"
    octets: str = ""
    moments_utc: str = "(?!)"
    call: str = "{{CALL {name}({places})}}"
    result_of_call: str = ""
    # the catalogue: `partial` asks for unique indexes (schema, name) that do not hold for every row; `catalogs`: its
    # functions tell of every database of the server, so that the connection's own must be named
    catalogs: bool = False
    schemas_hidden: str = r"(?i)(information_schema|sys|pg_.*)"
    tables_hidden: str = "(?!)"
    extras: str = ""
    comments: str = ""
    partial: str = ""
    fingerprint: str = ""
    view_text: str = ""
    marker_type: str = "VARCHAR(128) NOT NULL PRIMARY KEY"
    marker_conflict: str = ""
    is_db2i: bool = False


_ISO_EXTRAS = """
SELECT table_schema, table_name, column_name,
       CASE WHEN is_identity = 'YES' THEN coalesce(identity_generation, 'BY DEFAULT') ELSE '' END,
       CASE WHEN is_generated = 'ALWAYS' THEN 'ALWAYS' ELSE '' END, coalesce(column_default, '')
FROM information_schema.columns
"""
_PG_COMMENTS = """
SELECT n.nspname, c.relname, coalesce(a.attname, ''), d.description
FROM pg_description d JOIN pg_class c ON c.oid = d.objoid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid AND d.objsubid > 0
WHERE d.classoid = 'pg_class'::regclass
"""
_PG_PARTIAL = """
SELECT n.nspname, c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.indpred IS NOT NULL OR i.indexprs IS NOT NULL OR NOT i.indisvalid
"""
_PG_FINGERPRINT = """
SELECT CASE WHEN txid_snapshot_xmin(s) = txid_snapshot_xmax(s) THEN
  txid_snapshot_xmin(s)::text || ':' || pg_postmaster_start_time()::text || ':' || current_database() END
FROM txid_current_snapshot() AS s
"""
POSTGRESQL = Profile(
    name="postgresql",
    title="PostgreSQL",
    database_names="PostgreSQL",
    driver_names=r"psqlodbc|postgres",
    options={
        "BoolsAsChar": "0", "ByteaAsLongVarBinary": "1", "MaxVarcharSize": "255", "MaxLongVarcharSize": "1000000",
        "UseDeclareFetch": "1", "Fetch": "5000", "Protocol": "7.4-0", "ConnSettings": "SET+timezone='UTC'",
    },
    snapshot=("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",),
    share="SELECT pg_export_snapshot()",
    join=("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY", "SET TRANSACTION SNAPSHOT '{name}'"),
    savepoints=True,
    first="{select} LIMIT {rows}",
    lock=" FOR UPDATE",
    exact='{cell}::text COLLATE "C"',
    compares_exactly=True,
    cast="CAST(? AS {type})",
    types_plain=r"(?i)(int[248]|serial|bigserial|numeric|float[48]|bool|date|timestamp(tz)?|bytea"
    r"|text|varchar|bpchar|char|name)",
    new_key=NewKey.RETURNING,
    octets="octet_length({cell})",
    moments_utc="timestamptz",
    schemas_hidden=r"information_schema|pg_.*",
    extras=_ISO_EXTRAS,
    comments=_PG_COMMENTS,
    partial=_PG_PARTIAL,
    fingerprint=_PG_FINGERPRINT,
    view_text="SELECT pg_get_viewdef(to_regclass(?)::oid)",
    marker_type="text NOT NULL PRIMARY KEY",
    marker_conflict=" ON CONFLICT DO NOTHING",
)  # fmt: skip
_SQLITE_EXTRAS = """
SELECT '', m.name, c.name,
       CASE WHEN c.pk = 1 AND upper(c.type) = 'INTEGER'
             AND (SELECT count(*) FROM pragma_table_info(m.name) WHERE pk > 0) = 1 THEN 'BY DEFAULT' ELSE '' END,
       '', coalesce(c.dflt_value, '')
FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c WHERE m.type = 'table'
"""
SQLITE = Profile(
    name="sqlite",
    title="SQLite",
    database_names="SQLite",
    driver_names=r"sqlite",
    options={"BigInt": "1", "FKSupport": "1", "LongNames": "0", "Timeout": "1500", "StepAPI": "0"},
    bulk=False,
    snapshot=("SELECT name FROM sqlite_master LIMIT 1",),
    first="{select} LIMIT {rows}",
    compares_exactly=True,
    new_key=NewKey.QUERY,
    new_key_query="SELECT last_insert_rowid()",
    octets="length(CAST({cell} AS BLOB))",
    tables_hidden="sqlite_.*",
    extras=_SQLITE_EXTRAS,
    marker_conflict=" ON CONFLICT DO NOTHING",
)
_DB2 = Profile(
    name="db2",
    title="Db2",
    database_names=r"DB2/",
    driver_names=r"libdb2|db2cli|ibm db2",
    lock=" FOR UPDATE WITH RS",
    new_key=NewKey.FINAL_TABLE,
    result_of_call="",
    octets="OCTET_LENGTH({cell})",
    schemas_hidden=r"SYS.*|NULLID.*|SQLJ",
)
DB2I = Profile(
    name="db2i",
    title="Db2 for i",
    database_names=r"DB2 UDB for AS/400|DB2/400|DB2 for i|^AS$",
    driver_names=r"iseries|ibm i access|as400|cwbodbc|libcwbodbc",
    options={"CCSID": "1208", "NAM": "0", "DEC": "0", "DFT": "5", "TFT": "0", "TRANSLATE": "0", "CMT": "2", "CP": "0"},
    host="SYSTEM",
    port="",
    database="DBQ",
    lock=" WITH RS USE AND KEEP EXCLUSIVE LOCKS",
    new_key=NewKey.FINAL_TABLE,
    octets="OCTET_LENGTH({cell})",
    schemas_hidden=r"(?i)Q(SYS|GPL|TEMP|SYS2|RECOVERY|HTTPSVR|USRSYS|SPL|SYSINC|SYSLIB).*|SYSIBM.*|SYSPROC|SYSTOOLS"
    r"|information_schema|pg_.*",
    is_db2i=True,
)
SQLSERVER = Profile(
    name="sqlserver",
    title="SQL Server",
    database_names=r"Microsoft SQL Server|SQL Server",
    driver_names=r"tdsodbc|freetds|sql server|msodbcsql",
    options={"ClientCharset": "UTF-8", "TDS_Version": "7.4"},
    first="SELECT TOP {rows} * FROM ({select}) AS brique_first",
    exact="CAST({cell} AS nvarchar(max)) COLLATE Latin1_General_BIN2",
    exact_types=r"(?i)n?(var)?char|n?text|sysname",
    new_key=NewKey.OUTPUT,
    octets="DATALENGTH({cell})",
    moments_utc="(?!)",
    schemas_hidden=r"(?i)sys|information_schema|db_.*|guest",
    partial="SELECT OBJECT_SCHEMA_NAME(object_id), name FROM sys.indexes WHERE has_filter = 1",
)
MARIADB = Profile(
    name="mariadb",
    title="MariaDB or MySQL",
    database_names=r"MariaDB|MySQL",
    driver_names=r"maodbc|mariadb|myodbc|mysql",
    options={"CHARSET": "utf8mb4"},
    snapshot=("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT"),
    first="{select} LIMIT {rows}",
    lock=" FOR UPDATE",
    exact="BINARY {cell}",
    exact_types=r"(?i).*(char|text).*",
    new_key=NewKey.QUERY,
    new_key_query="SELECT LAST_INSERT_ID()",
    defaults="() VALUES ()",
    octets="OCTET_LENGTH({cell})",
    catalogs=True,
)
GENERIC = Profile(name="generic", title="a database of an unknown kind")
DB2 = _DB2
PROFILES: dict[str, Profile] = {
    profile.name: profile for profile in (POSTGRESQL, SQLITE, DB2I, DB2, SQLSERVER, MARIADB, GENERIC)
}


def for_driver(text: str) -> Profile:
    """The profile of a driver by its path, name or description; the generic one when none fits."""
    return next((found for found in PROFILES.values() if re.search(found.driver_names, text, re.I)), GENERIC)


def for_database(dbms: str) -> Profile:
    """The profile of a database by what `SQLGetInfo(SQL_DBMS_NAME)` says."""
    return next((found for found in PROFILES.values() if re.search(found.database_names, dbms, re.I)), GENERIC)
