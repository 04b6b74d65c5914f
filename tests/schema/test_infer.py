"""From a catalogue to tables for people."""

from __future__ import annotations

from dataclasses import replace

from brique.schema import Catalogue, Kind, SourceColumn, SourceReference, SourceTable
from brique.schema.infer import LIST_COLUMNS_MAX, infer, suspected_references


def column(name: str, kind: Kind = Kind.TEXT, **options: object) -> SourceColumn:
    return SourceColumn(name=name, type="", kind=kind, **options)  # type: ignore[arg-type]


def number(name: str, **options: object) -> SourceColumn:
    return column(name, Kind.INTEGER, **options)


def table(name: str, *columns: SourceColumn, key: tuple[str, ...] = (), **options: object) -> SourceTable:
    return SourceTable(name=name, columns=columns, key=key, **options)  # type: ignore[arg-type]


def spec_of(*tables: SourceTable, at: int = 0):
    return infer(Catalogue(tables), "erp")[at]


def test_names_become_distinct_identifiers_and_labels() -> None:
    made = infer(Catalogue((table("Order Details", number("OrderID"), column("orderId"), column("é t é")),)), "erp")
    assert made[0].name == "order_details" and made[0].label == "Order Details"
    assert made[0].names == ("order_id", "order_id_2", "e_t_e")


def test_tables_of_the_same_name_in_two_schemas_are_told_apart() -> None:
    found = infer(
        Catalogue((table("client", number("id"), schema="public"), table("client", number("id"), schema="compta"))), "e"
    )
    assert [spec.name for spec in found] == ["client", "compta_client"]


def test_comments_are_labels_and_what_follows_them_is_help() -> None:
    spec = spec_of(
        table(
            "CUSTPF",
            column("CUNAM", comment="Raison sociale"),
            column("CUCTY", comment="Ville: celle du siège\nou du dépôt"),
            column("CUX", comment="Une phrase bien trop longue pour tenir dans l'en-tête d'une colonne"),
            comment="Clients",
        )
    )
    assert spec.label == "Clients"
    assert [(c.label, c.help) for c in spec.columns] == [
        ("Raison sociale", ""),
        ("Ville", "celle du siège ou du dépôt"),
        ("CUX", "Une phrase bien trop longue pour tenir dans l'en-tête d'une colonne"),
    ]


def test_tables_without_a_key_and_views_are_read_only_with_a_reason() -> None:
    assert "no key" in spec_of(table("log", column("line"))).read_only
    view = spec_of(table("v", number("id"), key=("id",), is_view=True, read_only="It is a view."))
    assert view.read_only == "It is a view." and not view.writable


def test_the_label_is_the_key_and_what_names_the_row() -> None:
    def label_of(name: str, *columns: SourceColumn, **options: object) -> tuple[str, ...]:
        return spec_of(table(name, number("id"), *columns, key=("id",), **options)).label_columns

    assert label_of("customers", column("city"), column("company_name")) == ("id", "company_name")
    assert label_of("t", column("libellé"), column("x")) == ("id", "libelle")
    assert label_of("products", column("description"), column("product_name")) == ("id", "product_name")
    assert label_of("people", column("title"), column("prenom"), column("nom")) == ("id", "prenom", "nom")
    assert label_of("t", column("city"), column("mail"), unique=(("mail",),)) == ("id", "mail")
    assert label_of("t", column("city")) == ("id",)
    assert label_of("CUSTPF", column("CUCTY"), column("CUNAM", comment="Nom du client")) == ("id", "cunam")


def test_lists_show_few_columns_and_nothing_heavy() -> None:
    columns = [column(f"c{n}") for n in range(20)]
    spec = spec_of(
        table(
            "orders",
            column("picture", Kind.BINARY),
            column("notes"),
            *columns,
            number("id"),
            column("ordered", Kind.DATE),
            column("amount", Kind.DECIMAL, scale=2),
            column("status"),
            key=("id",),
            sample=((b"x", "long " * 50, *[None] * 24),),
        )
    )
    assert spec.list_columns[0] == "id" and len(spec.list_columns) == LIST_COLUMNS_MAX
    assert {"ordered", "amount", "status"} <= set(spec.list_columns)
    assert not {"picture", "notes"} & set(spec.list_columns)


def test_numbers_that_are_dates_are_recognised_by_name_and_sample() -> None:
    def decoder_of(name: str, values: list[object], kind: Kind = Kind.INTEGER, **options: object) -> str:
        rows = tuple((value,) for value in values)
        made = spec_of(table("t", column(name, kind, **options), sample=rows))  # type: ignore[arg-type]
        return str(made.columns[0].decoder)

    assert decoder_of("ORDAT", [1261120, 991231, 0, 1000101]) == "cyymmdd"
    assert decoder_of("ORDAT", [20261120, 19991231, 0, 20200101]) == "yyyymmdd"
    assert decoder_of("DTLIV", [1261120, 991231, 1000101], Kind.DECIMAL, precision=7, scale=0) == "cyymmdd"
    assert decoder_of("AMOUNT", [1261120, 991231, 1000101]) == "", "the name says nothing of a date"
    assert decoder_of("ORDAT", [1, 2, 3]) == "", "no dates of our times"
    assert decoder_of("ORDAT", [1261120, 1261399, 1269999]) == "", "too many are no dates"
    assert decoder_of("ORDAT", [0, 0, 0]) == "" and decoder_of("ORDAT", [1261120]) == "", "too little to go by"
    assert decoder_of("ORDAT", [1261120, 991231, 1000101], Kind.DECIMAL, precision=9, scale=2) == ""
    spec = spec_of(table("t", number("DAT", nullable=False), sample=tuple((n,) for n in (1261120, 991231, 1000101))))
    assert spec.columns[0].kind is Kind.DATE and spec.columns[0].nullable, "0 is no date"


def test_padded_text_is_trimmed_and_so_is_what_refers_to_it() -> None:
    parent = table("p", column("code", padded=True, length_max=6), key=("code",))
    child = table("c", number("id"), column("p"), references=(SourceReference(("p",), ("", "p"), ("code",)),))
    made = infer(Catalogue((parent, child)), "erp")
    assert made[0].columns[0].decoder == "trim" and made[1].by_name["p"].decoder == "trim"


def test_references_follow_the_order_of_the_key_they_point_to() -> None:
    parent = table("p", number("a"), number("b"), key=("b", "a"))
    child = table("c", number("x"), number("y"), references=(SourceReference(("x", "y"), ("", "p"), ("a", "b")),))
    (reference,) = spec_of(parent, child, at=1).references
    assert (reference.columns, reference.target_columns) == (("y", "x"), ("b", "a"))


def test_references_to_what_is_not_served_or_not_a_key_are_left_out() -> None:
    parent = table("p", number("a"), number("b"), key=("a",))
    child = table(
        "c",
        number("x"),
        references=(SourceReference(("x",), ("", "p"), ("b",)), SourceReference(("x",), ("", "gone"), ("id",))),
    )
    assert spec_of(parent, child, at=1).references == ()


def test_a_reference_is_suspected_only_where_nothing_else_can_be_meant() -> None:
    customers = table("customers", number("customer_no"), key=("customer_no",))
    orders = table("orders", number("order_no"), number("CUSTOMER_NO"), key=("order_no",), sample=((1, 7), (2, None)))

    def suspected(*tables: SourceTable) -> list[tuple[str, tuple[object, ...]]]:
        return [(suspect.table[1], suspect.values) for suspect in suspected_references(Catalogue(tables))]

    assert suspected(customers, orders) == [("orders", (7,))]
    rival = table("clients", number("customer_no"), key=("customer_no",))
    assert suspected(customers, orders, rival) == [], "two tables could be meant"
    as_text = replace(customers, columns=(column("customer_no"),))
    assert suspected(as_text, orders) == [], "of another kind"
    vague = [table("a", number("id"), key=("id",)), table("b", number("k"), number("id"), key=("k",), sample=((1, 1),))]
    assert suspected(*vague) == [], "too common a name"
    assert suspected(customers, replace(orders, sample=())) == [], "nothing to look up"
    declared = replace(orders, references=(SourceReference(("CUSTOMER_NO",), ("", "customers"), ("customer_no",)),))
    assert suspected(customers, declared) == []


def test_the_same_catalogue_always_gives_the_same_tables() -> None:
    tables = tuple(table(f"t{n}", number("id"), column("name"), key=("id",)) for n in range(20))
    assert infer(Catalogue(tables), "erp") == infer(Catalogue(tables), "erp")
