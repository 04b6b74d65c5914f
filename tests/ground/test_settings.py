"""Settings: where values come from, what is refused and how, and the reference made from the table."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from brique import errors, settings
from brique.settings import TABLE, Settings, load, load_with_origins


def refused(**given: object) -> errors.BadConfiguration:
    with pytest.raises(errors.BadConfiguration) as caught:
        load(given, environment={})
    return caught.value


def test_a_flag_wins_over_the_environment_the_environment_over_the_file_and_the_file_over_the_default(
    tmp_path: Path,
) -> None:
    (tmp_path / "brique.toml").write_text("page_rows = 11\nweb_processes = 3\nsettle_wait_ms = 5\n")
    environment = {"BRIQUE_DATA": str(tmp_path), "BRIQUE_PAGE_ROWS": "12", "BRIQUE_WEB_PROCESSES": "4", "PATH": "x"}
    loaded = load_with_origins({"page_rows": 13, "listen": None}, environment=environment)
    assert (loaded.settings.page_rows, loaded.settings.web_processes, loaded.settings.settle_wait_ms) == (13, 4, 5)
    assert loaded.settings.data == tmp_path
    assert [loaded.origins[name] for name in ("page_rows", "web_processes", "settle_wait_ms", "listen")] == [
        "flag",
        "environment",
        "file",
        "default",
    ]


def test_without_anything_given_the_defaults_hold() -> None:
    assert load(environment={}) == Settings()


def test_an_unknown_name_stops_the_start_and_names_the_nearest_right_one(tmp_path: Path) -> None:
    file = tmp_path / "brique.toml"
    file.write_text("pagerows = 5")
    with pytest.raises(errors.BadConfiguration, match="no setting pagerows") as caught:
        load(environment={}, file=file)
    assert caught.value.try_this == "Did you mean page_rows?"
    with pytest.raises(errors.BadConfiguration, match="no setting BRIQUE_WEB_PROCESES") as caught:
        load(environment={"BRIQUE_WEB_PROCESES": "2"})
    assert caught.value.try_this == "Did you mean BRIQUE_WEB_PROCESSES?"
    assert "lists them all" in refused(zzzzzzzz=1).try_this


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("page_rows", "many", "a number is expected"),
        ("page_rows", "", "a number is expected"),
        ("page_rows", 2.5, "a whole number is expected"),
        ("page_rows", True, "a whole number is expected"),
        ("page_rows", [1], "a whole number is expected"),
        ("page_rows", 0, "below 1"),
        ("web_processes", "65", "above 64"),
        ("refresh_seconds", "nan", "not a number"),
        ("refresh_seconds", float("inf"), "not a number"),
        ("refresh_seconds", "10k", "a number is expected"),
        ("log_level", "loud", "choose one of debug, info, warning, error"),
        ("listen", "localhost", "host:port"),
        ("listen", "::1:8000", "brackets"),
        ("listen", "localhost:99999", "host:port"),
        ("data", 5, "a text is expected"),
        ("data", "a\0b", "zero byte"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_the_reason_and_what_is_meant(
    name: str, value: object, why: str
) -> None:
    fault = refused(**{name: value})
    assert fault.message.startswith(f"{name} cannot be ")
    assert why in fault.message
    assert "Default:" in fault.try_this
    assert fault.facts["setting"] == name


@pytest.mark.parametrize(
    ("given", "bytes_"),
    [("65536", 65536), ("64k", 65536), ("1 MiB", 2**20), ("1.5G", 3 * 2**29), ("10_000", 10_000)],
)
def test_sizes_may_be_written_with_a_unit(given: str, bytes_: int) -> None:
    assert load({"body_bytes_max": given, "cell_bytes_max": 64}, environment={}).body_bytes_max == bytes_


def test_values_that_contradict_each_other_are_refused() -> None:
    assert refused(page_rows=300).message == "page_rows (300) is above page_rows_max (200)"
    assert refused(probe_seconds_min=9).facts["setting"] == "probe_seconds_min"
    assert refused(settle_wait_ms=40_000).facts["setting"] == "settle_wait_ms"
    assert refused(free_disk_bytes_min=0).facts["setting"] == "spool_free_bytes_min"


def test_the_defaults_pass_their_own_checks() -> None:
    for row in TABLE.values():
        assert settings.check(row, str(row.default)) == row.default
        assert row.help.endswith(".")
    settings.check_relations(Settings())


def test_a_broken_or_missing_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "brique.toml"
    with pytest.raises(errors.BadConfiguration, match="no settings file"):
        load(environment={}, file=file)
    for content in (b"page_rows = ", b"\xff\xfe", b'data = "x"'):
        file.write_bytes(content)
        with pytest.raises(errors.BadConfiguration, match=r"brique\.toml"):
            load(environment={}, file=file)


def test_settings_cannot_be_changed_and_travel_as_json() -> None:
    loaded = load({"page_rows": 7, "data": "/srv/intranet"}, environment={})
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.page_rows = 8  # type: ignore[misc]  # the fault is what is tested
    assert load(json.loads(json.dumps(loaded.as_json())), environment={}) == loaded


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("[::1]:80", ("::1", 80)),
        (":8080", ("0.0.0.0", 8080)),
        ("8080", ("127.0.0.1", 8080)),
        ("intranet.local:0", ("intranet.local", 0)),
    ],
)
def test_addresses_are_read_as_people_write_them(listen: str, address: tuple[str, int]) -> None:
    assert Settings(listen=listen).address == address


def test_names_given_by_the_supervisor_to_its_processes_are_no_settings() -> None:
    assert load(environment={"BRIQUE_READY_FD": "7", "BRIQUE_PROCESS": "web-1"}) == Settings()


def test_the_reference_page_has_a_line_for_each_setting() -> None:
    page = settings.reference_markdown()
    for name in TABLE:
        assert f"| `{name}` |" in page
    assert "| `body_bytes_max` | 64M | bytes |" in page
