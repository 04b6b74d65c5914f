"""Ready bytes and what they depend on."""

from __future__ import annotations

from brique.store import Dependency, Reader, Representation, Store


def made(arguments: str, body: bytes = b"x" * 100, at: str = "2026-11-20T10:00:00", **more: object) -> Representation:
    return Representation("page", arguments, f"e{arguments}", body, 1, at, dependencies=b"notes", **more)  # type: ignore[arg-type]


def needs(arguments: str, value: bytes, scheme: str = "id", table: str = "orders") -> Dependency:
    return Dependency(table, scheme, value, "page", arguments)


def test_bytes_come_back_as_they_were_kept(store: Store, reader: Reader) -> None:
    kept = made("1", content_type="text/html", user="awa", until="2027")
    with store.transaction() as tx:
        tx.representations.put(kept, [needs("1", b"7")])
    assert reader.representations.get("page", "1") == kept
    assert reader.representations.etag("page", "1") == "e1"
    assert reader.representations.get("page", "2") is None


def test_new_dependencies_replace_the_old_ones_though_the_bytes_are_the_same(store: Store) -> None:
    with store.transaction() as tx:
        tx.representations.put(made("1"), [needs("1", b"7"), needs("1", b"8", "customer")])
        tx.representations.put(made("1"), [needs("1", b"9")])
        kept = tx.representations
        assert kept.depending("orders", "id", [b"7", b"9"]) == [("page", "1")]
        assert kept.depending("orders", "id", [b"7"]) == []
        assert kept.schemes("orders") == ["id"]
        assert kept.schemes("customers") == []
        assert kept.depending_on_table("orders") == [("page", "1")]


def test_what_is_let_go_keeps_its_last_good_bytes(store: Store) -> None:
    with store.transaction() as tx:
        kept = tx.representations
        kept.put(made("1"), [needs("1", b"7")])
        kept.let_go([("page", "1")])
        found = kept.get("page", "1")
        assert found is not None
        assert (found.dependencies, found.body) == (None, b"x" * 100)
        kept.failed("page", "1", "ZeroDivisionError", 5)
        again = kept.get("page", "1")
        assert again is not None
        assert (again.last_good, again.error, again.position) == (False, "ZeroDivisionError", 5)


def test_many_are_dropped_in_one_go(store: Store) -> None:
    with store.transaction() as tx:
        kept = tx.representations
        for number in range(10):
            kept.put(made(str(number)), [needs(str(number), b"7")])
        assert kept.drop_many([("page", "1"), ("page", "2"), ("page", "none")]) == 2
        assert kept.drop_where("page", "SELECT value FROM json_each(?)", ['["3", "4"]']) == 2
        assert kept.drop("page", "5")
        assert not kept.drop("page", "5")
        assert sorted(kept.of("page")) == ["0", "6", "7", "8", "9"]
        assert kept.names() == ["page"]
        kept.drop_all(["other"])
        assert len(kept.of("page")) == 5
        kept.drop_all()
        assert kept.names() == []
        assert kept.depending_on_table("orders") == []


def test_the_longest_unused_go_first_when_room_is_made(store: Store) -> None:
    with store.transaction() as tx:
        kept = tx.representations
        for number in range(10):
            kept.put(made(str(number), b"x" * 1000, at=f"2026-11-20T10:00:0{number}"))
        kept.touch([("page", "0")], "2026-11-20T11:00:00")
        one = kept.bytes() // 10
        assert kept.evict(one * 4) == 6
        assert sorted(kept.of("page")) == ["0", "7", "8", "9"]
        assert kept.evict(one * 4) == 0


def test_what_the_clock_has_ended_is_dropped(store: Store) -> None:
    with store.transaction() as tx:
        tx.representations.put(made("1", until="2026-11-20T10:00:00"))
        tx.representations.put(made("2"))
        tx.representations.hold_until("page", "2", "2026-11-20T12:00:00")
        assert tx.representations.drop_expired("2026-11-20T11:00:00") == [("page", "1")]
        assert tx.representations.of("page") == ["2"]
