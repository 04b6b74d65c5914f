"""The sign-in throttle, through `verify` on a real file."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from brique.http import Accounts, SignInFailed, SlowDown, ThrottleLimits

from .conftest import PASSWORD, SetClock, open_accounts


def fail(accounts: Accounts, name: str, address: str) -> None:
    with pytest.raises(SignInFailed):
        accounts.verify(name, "wrong password", address=address)


def wait_of(accounts: Accounts, name: str, address: str) -> int:
    with pytest.raises(SlowDown) as caught:
        accounts.verify(name, PASSWORD, address=address)
    return caught.value.retry_after


def test_the_wait_doubles_with_each_failure_for_one_name(people: Accounts, clock: SetClock) -> None:
    for number in range(5):
        fail(people, "awa", f"10.0.{number}.1")
    waits = []
    for number in range(6):
        waits.append(wait_of(people, "awa", "10.9.9.9"))
        clock.pass_time(seconds=waits[-1])
        fail(people, "awa", f"10.1.{number}.1")
    assert waits == [1, 2, 4, 8, 16, 32]


def test_the_wait_has_an_upper_bound(people: Accounts, clock: SetClock) -> None:
    for _ in range(40):
        clock.pass_time(seconds=901)
        fail(people, "awa", "10.0.0.1")
    assert wait_of(people, "awa", "10.0.0.2") == 900


def test_the_right_password_does_not_help_during_the_wait_and_clears_it_after(
    people: Accounts, clock: SetClock
) -> None:
    for _ in range(5):
        fail(people, "awa", "10.0.0.1")
    assert wait_of(people, "AWA ", "10.0.0.1") == 1
    clock.pass_time(seconds=1)
    people.verify("awa", PASSWORD, address="10.0.0.1")
    for _ in range(4):
        fail(people, "awa", "10.0.0.1")
    people.verify("awa", PASSWORD, address="10.0.0.1")


def test_one_address_is_slowed_over_many_names(people: Accounts) -> None:
    for number in range(20):
        fail(people, f"name{number}", "10.0.0.1")
    assert wait_of(people, "awa", "10.0.0.1") >= 1
    people.verify("awa", PASSWORD, address="10.0.0.2")


def test_an_attackers_own_account_does_not_clear_his_address(people: Accounts, clock: SetClock) -> None:
    for number in range(20):
        fail(people, f"name{number}", "10.0.0.1")
        if number < 19:
            people.verify("rita", PASSWORD, address="10.0.0.1")
    assert wait_of(people, "awa", "10.0.0.1") >= 1


def test_the_addresses_of_one_ipv6_network_count_together(people: Accounts) -> None:
    for number in range(20):
        fail(people, f"name{number}", f"2001:db8:1:2::{number:x}")
    assert wait_of(people, "awa", "2001:db8:1:2:ffff::1") >= 1
    people.verify("awa", PASSWORD, address="2001:db8:1:3::1")


def test_unknown_names_are_slowed_like_known_ones(people: Accounts) -> None:
    for _ in range(5):
        fail(people, "nobody", "10.0.0.1")
    assert wait_of(people, "nobody", "10.0.0.2") == 1


def test_the_throttle_survives_a_restart(people: Accounts, tmp_path: Path, clock: SetClock) -> None:
    for _ in range(5):
        fail(people, "awa", "10.0.0.1")
    again = open_accounts(tmp_path / "data" / "accounts.db", clock)
    assert wait_of(again, "awa", "10.0.0.9") == 1
    again.close()


def test_an_hour_without_a_try_is_forgotten(people: Accounts, clock: SetClock) -> None:
    for _ in range(5):
        fail(people, "awa", "10.0.0.1")
    clock.pass_time(seconds=3601)
    for _ in range(4):
        fail(people, "awa", "10.0.0.1")
    people.verify("awa", PASSWORD, address="10.0.0.1")


def test_the_table_is_bounded(tmp_path: Path, clock: SetClock) -> None:
    limits = ThrottleLimits(rows_count_max=50)
    accounts = open_accounts(tmp_path / "accounts.db", clock, throttle=limits)
    for number in range(120):
        clock.pass_time(seconds=1)
        fail(accounts, f"name{number}", f"10.0.{number}.1")
    rows = accounts._file.rows("SELECT kind, count(*) FROM throttle GROUP BY kind")
    assert dict(rows) == {"address": 50, "name": 50}
    accounts.close()


def test_many_guesses_at_once_gain_nothing(people: Accounts) -> None:
    outcomes: list[str] = []

    def guess() -> None:
        try:
            people.verify("awa", "wrong password", address="10.0.0.1")
        except (SignInFailed, SlowDown) as fault:
            outcomes.append(fault.code)

    threads = [threading.Thread(target=guess) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("sign-in-failed") == 5
