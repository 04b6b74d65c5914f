"""A small ERP from the nineties in PostgreSQL, to be reached by ODBC: files of a library ERPLIB with names of six
letters, unique indexes for keys, dates and times as numbers, packed decimals and EBCDIC as bytes, and the catalogue
views of Db2 for i (QSYS2) as far as brique asks them."""

from __future__ import annotations

from brique.schema import DECODERS

SCHEMA = """
CREATE SCHEMA "ERPLIB";
SET search_path TO "ERPLIB";
CREATE TABLE "CUSTPF" (
  "CUNUM" numeric(6,0) NOT NULL, "CUNAM" char(30) NOT NULL, "CUCTY" char(20) NOT NULL, "CUZIP" numeric(5,0) NOT NULL,
  "CUTEL" char(14) NOT NULL, "CUACT" char(1) NOT NULL, "CUCRD" numeric(9,2) NOT NULL, "CUDAT" numeric(7,0) NOT NULL);
CREATE UNIQUE INDEX "CUSTL1" ON "CUSTPF" ("CUNUM");
CREATE TABLE "ORDRPF" (
  "ORNUM" numeric(7,0) NOT NULL, "CUNUM" numeric(6,0) NOT NULL, "ORDAT" numeric(7,0) NOT NULL,
  "ORTIM" numeric(6,0) NOT NULL, "ORAMT" numeric(9,2) NOT NULL, "ORDIS" numeric(5,0) NOT NULL,
  "ORSTS" char(8) NOT NULL, "DLDAT" char(6) NOT NULL);
CREATE UNIQUE INDEX "ORDRL1" ON "ORDRPF" ("ORNUM");
CREATE TABLE "ORDLPF" (
  "ORNUM" numeric(7,0) NOT NULL, "OLLIN" numeric(3,0) NOT NULL, "OLITM" char(8) NOT NULL,
  "OLQTY" numeric(5,0) NOT NULL, "OLPRI" bytea NOT NULL, "OLTXT" bytea NOT NULL);
CREATE UNIQUE INDEX "ORDLL1" ON "ORDLPF" ("ORNUM", "OLLIN");
CREATE SCHEMA qsys2;
SET search_path TO qsys2;
CREATE TABLE systables (
  table_schema varchar(128), table_name varchar(128), system_table_schema char(10), system_table_name char(10),
  table_type char(1), table_text varchar(50), long_comment varchar(2000));
CREATE TABLE syscolumns (
  table_schema varchar(128), table_name varchar(128), column_name varchar(128), ordinal_position int,
  column_heading varchar(60), column_text varchar(50), long_comment varchar(2000), ccsid int, is_identity varchar(3),
  has_default char(1));
CREATE TABLE journaled_objects (
  object_library varchar(10), object_name varchar(10), object_type varchar(7), journal_name varchar(10));
"""
LABELS = {
    "CUSTPF": ("Customer master", {
        "CUNUM": ("Customer            Number", "Customer number"), "CUNAM": ("Name", "Name of the customer"),
        "CUCTY": ("City", "City"), "CUZIP": ("Postal              Code", "Postal code"), "CUTEL": ("Phone", "Phone"),
        "CUACT": ("Active", "O or N"), "CUCRD": ("Credit              Limit", "Credit limit"),
        "CUDAT": ("Customer            Since", "Date of the first order, CYYMMDD"),
    }),
    "ORDRPF": ("Order headers", {
        "ORNUM": ("Order               Number", "Order number"), "CUNUM": ("Customer            Number", ""),
        "ORDAT": ("Ordered", "CYYMMDD"), "ORTIM": ("At", "HHMMSS"), "ORAMT": ("Amount", ""),
        "ORDIS": ("Discount", "Per cent, two decimals implied"), "ORSTS": ("Status", ""),
        "DLDAT": ("Delivery", "DDMMYY"),
    }),
    "ORDLPF": ("Order lines", {
        "ORNUM": ("Order               Number", ""), "OLLIN": ("Line", ""), "OLITM": ("Item", ""),
        "OLQTY": ("Quantity", ""), "OLPRI": ("Price", "Packed 9,2"), "OLTXT": ("Text", "CCSID 65535"),
    }),
}  # fmt: skip
CUSTOMERS = 12
ORDERS = 40
CITIES = ("Dakar", "Thiès", "Saint-Louis", "Mbour")
STATUSES = ("open", "open", "shipped", "paid")


def script(*, unjournaled: tuple[str, ...] = ()) -> str:
    """The SQL that makes it; the tables `unjournaled` have no journal."""
    return "\n".join([SCHEMA, *_customers(), *_orders(), *_catalogue(unjournaled)])


def _text(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _bytes(value: object) -> str:
    assert isinstance(value, bytes)
    return f"'\\x{value.hex()}'::bytea"


def _customers() -> list[str]:
    rows = []
    for n in range(1, CUSTOMERS + 1):
        phone = "" if n % 3 == 0 else f"33 800 00 {n:02d}"
        since = 0 if n == 5 else 9999999 if n == 6 else 880000 + (n % 12 + 1) * 100 + n
        active = "N" if n % 5 == 0 else "O"
        texts = [_text(cell) for cell in (f"Société n° {n}", CITIES[n % 4], phone, active)]
        values = [n, texts[0], texts[1], 1000 + n, texts[2], texts[3], f"{n * 100}.50", since]
        rows.append(f'INSERT INTO "ERPLIB"."CUSTPF" VALUES ({", ".join(map(str, values))});')
    return rows


def _orders() -> list[str]:
    rows = []
    for n in range(1, ORDERS + 1):
        day, at = 1260000 + (n % 11 + 1) * 100 + n % 28 + 1, 80000 + n * 101 % 6000
        delivery = "000000" if n % 4 == 0 else f"{n % 28 + 1:02d}{n % 11 + 1:02d}26"
        clock = at - at % 100 % 60 if at % 100 > 59 else at
        head = [1000 + n, (n - 1) % CUSTOMERS + 1, day, clock, f"{n * 12}.25", n * 25]
        values = [*head, _text(STATUSES[n % 4]), _text(delivery)]
        rows.append(f'INSERT INTO "ERPLIB"."ORDRPF" VALUES ({", ".join(map(str, values))});')
        for line in range(1, n % 3 + 2):
            price = DECODERS["packed:9,2"].encode(line * 1005 * n)
            text = DECODERS["ebcdic:cp297:20"].encode(f"Pièce à {line} côtés")
            cells = [1000 + n, line, _text(f"00{line}{n % 10}"), line * 2, _bytes(price), _bytes(text)]
            rows.append(f'INSERT INTO "ERPLIB"."ORDLPF" VALUES ({", ".join(map(str, cells))});')
    return rows


def _catalogue(unjournaled: tuple[str, ...]) -> list[str]:
    rows = []
    for table, (text, columns) in LABELS.items():
        rows.append(
            f"INSERT INTO qsys2.systables VALUES ('ERPLIB', '{table}', 'ERPLIB', '{table}', 'P', {_text(text)}, NULL);"
        )
        if table not in unjournaled:
            rows.append(f"INSERT INTO qsys2.journaled_objects VALUES ('ERPLIB', '{table}', '*FILE', 'QSQJRN');")
        for place, (column, (heading, said)) in enumerate(columns.items(), 1):
            ccsid = 65535 if column == "OLTXT" else 297
            rows.append(
                f"INSERT INTO qsys2.syscolumns VALUES ('ERPLIB', '{table}', '{column}', {place}, {_text(heading)}, "
                f"{_text(said)}, NULL, {ccsid}, 'NO', 'N');"
            )
    return rows
