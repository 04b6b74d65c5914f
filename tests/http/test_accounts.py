"""Accounts on a real file: users, sessions, tokens, the setup link."""

from __future__ import annotations

import contextlib
import stat
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from brique.errors import BadConfiguration, BadInput, NotFound, Refused
from brique.http import Accounts, SignInFailed
from brique.http.passwords import password_fault

from .conftest import PASSWORD, SetClock, open_accounts


def raw_bytes(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_the_file_is_its_owners_only(accounts: Accounts, tmp_path: Path) -> None:
    accounts.create_user("awa", PASSWORD, "admin")
    for file in (tmp_path / "data").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_a_file_that_others_may_read_is_closed_to_them(tmp_path: Path, clock: SetClock) -> None:
    path = tmp_path / "accounts.db"
    open_accounts(path, clock).close()
    path.chmod(0o644)
    open_accounts(path, clock).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_several_processes_create_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "accounts.db"
    code = (
        "import sys; from pathlib import Path; from brique.http import Accounts; from argon2 import PasswordHasher\n"
        "quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)\n"
        "print(Accounts(Path(sys.argv[1]), hasher=quick).instance)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    answers = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert len(set(answers)) == 1 and answers[0]


def test_a_file_of_a_later_version_is_refused(tmp_path: Path, clock: SetClock) -> None:
    path = tmp_path / "accounts.db"
    open_accounts(path, clock).close()
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 99)
    connection.close()
    with pytest.raises(BadConfiguration, match="later version"):
        open_accounts(path, clock)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path, clock: SetClock) -> None:
    path = tmp_path / "accounts.db"
    path.write_bytes(b"not a database at all, but long enough to be read" * 30)
    with pytest.raises(BadConfiguration, match="not a SQLite"):
        open_accounts(path, clock)


def test_a_user_signs_in_with_the_name_in_any_case(people: Accounts) -> None:
    assert people.verify("AWA", PASSWORD, address="10.0.0.1").name == "awa"
    assert people.verify(" awa ", PASSWORD, address="10.0.0.1").role == "admin"


def test_wrong_password_unknown_name_and_closed_account_look_alike(people: Accounts) -> None:
    people.disable("rita")
    faults = []
    for name, password in (("awa", "wrong password"), ("nobody", PASSWORD), ("rita", PASSWORD), ("awa", "x" * 5000)):
        with pytest.raises(SignInFailed) as caught:
            people.verify(name, password, address="10.0.0.1")
        faults.append((caught.value.message, caught.value.code, caught.value.facts))
    assert faults == [faults[0]] * 4


def test_the_same_accented_password_matches_however_it_was_composed(accounts: Accounts) -> None:
    accounts.create_user("zoé", "une cle\u0301 secre\u0300te", "read")
    assert accounts.verify("zoe\u0301", "une cl\u00e9 secr\u00e8te", address="::1").name == "zo\u00e9"


def test_no_secret_is_on_disk(people: Accounts, tmp_path: Path) -> None:
    opened = people.open_session("awa")
    grant = people.grant_token("nightly", "read", owner="awa")
    kept = raw_bytes(tmp_path / "data" / "accounts.db")
    for secret in (PASSWORD, opened.id, grant.value, "hunter2"):
        assert secret.encode() not in kept


def test_outdated_hashes_are_renewed_at_sign_in(people: Accounts, tmp_path: Path, clock: SetClock) -> None:
    from argon2 import PasswordHasher

    later = Accounts(
        tmp_path / "data" / "accounts.db",
        clock=clock,
        hasher=PasswordHasher(time_cost=2, memory_cost=16, parallelism=1),
    )
    later.verify("awa", PASSWORD, address="::1")
    assert b"m=16,t=2" in raw_bytes(tmp_path / "data" / "accounts.db")
    assert people.verify("awa", PASSWORD, address="::1").name == "awa"
    later.close()


@pytest.mark.parametrize("name", ["", "  ", "a:b", "a/b", "a\nb", "x" * 65, "<b>"])
def test_names_that_would_break_something_are_refused(accounts: Accounts, name: str) -> None:
    with pytest.raises(BadInput) as caught:
        accounts.create_user(name, PASSWORD, "read")
    assert "name" in caught.value.fields


def test_a_name_is_taken_in_every_case(people: Accounts) -> None:
    with pytest.raises(Refused):
        people.create_user("Awa", PASSWORD, "read")
    assert [person.name for person in people.list_users()] == ["awa", "rita", "walid"]


@pytest.mark.parametrize(
    "password",
    ["short", "aaaaaaaaaaaa", "1234567890", "azertyuiop", "Password123!", "motdepasse2026", "awa-diop-99", "y" * 300],
)
def test_easy_passwords_are_refused_with_a_reason(password: str) -> None:
    assert password_fault(password, "awa-diop")


@pytest.mark.parametrize("password", [PASSWORD, "correct horse battery", "Zo3!kfP2qL", "les 3 baobabs de Thiès"])
def test_sensible_passwords_are_accepted(password: str) -> None:
    assert not password_fault(password, "awa")


def test_the_last_administrator_stays(people: Accounts) -> None:
    with pytest.raises(Refused):
        people.set_role("awa", "read")
    with pytest.raises(Refused):
        people.disable("awa")
    assert people.user("awa").role == "admin" and people.user("awa").disabled is None
    people.set_role("walid", "admin")
    people.disable("awa")
    assert people.user("awa").disabled is not None


def test_a_changed_role_holds_for_sessions_and_tokens_at_once(people: Accounts) -> None:
    opened = people.open_session("walid")
    grant = people.grant_token("script", "write", owner="walid")
    people.set_role("walid", "read")
    session, user = people.session(opened.id), people.token(grant.value)
    assert session and user and session.user.role == "read" and user.role == "read"


def test_a_closed_account_loses_sessions_and_tokens_at_once(people: Accounts) -> None:
    opened = people.open_session("walid")
    grant = people.grant_token("script", "write", owner="walid")
    people.disable("walid")
    assert people.session(opened.id) is None and people.token(grant.value) is None
    with pytest.raises(NotFound):
        people.open_session("walid")


def test_a_closed_account_is_sent_no_mail(people: Accounts) -> None:
    people.set_email("walid", "walid@example.org")
    assert people.address_of("WALID") == "walid@example.org"
    people.disable("walid")
    assert people.address_of("walid") == "" == people.address_of("nobody")


def test_a_session_ends_when_idle(people: Accounts, clock: SetClock) -> None:
    opened = people.open_session("awa")
    clock.pass_time(days=3)
    session = people.session(opened.id)
    assert session and session.stale
    people.touch(opened.id)
    clock.pass_time(days=3)
    assert people.session(opened.id)
    clock.pass_time(days=2)
    assert people.session(opened.id) is None


def test_a_session_ends_at_its_absolute_limit_however_used(people: Accounts, clock: SetClock) -> None:
    opened = people.open_session("awa")
    for _ in range(10):
        clock.pass_time(days=2.9)
        people.touch(opened.id)
        assert people.session(opened.id)
    clock.pass_time(days=1.1)
    assert people.session(opened.id) is None


def test_a_new_session_replaces_the_one_it_came_with(people: Accounts) -> None:
    first = people.open_session("awa")
    second = people.open_session("awa", replaces=first.id)
    assert people.session(first.id) is None and people.session(second.id)


def test_sessions_of_a_user_are_bounded_and_the_oldest_goes(people: Accounts, clock: SetClock) -> None:
    opened = []
    for _ in range(22):
        clock.pass_time(seconds=1)
        opened.append(people.open_session("awa"))
    assert len(people.sessions("awa")) == 20
    assert people.session(opened[0].id) is None and people.session(opened[-1].id)


def test_sessions_are_ended_one_by_one_or_all(people: Accounts) -> None:
    first, second = people.open_session("awa"), people.open_session("awa")
    other = people.open_session("rita")
    session = people.session(first.id)
    assert session
    people.close_session_by_handle("rita", session.user.handle)
    assert people.session(first.id)
    people.close_session_by_handle("awa", session.user.handle)
    assert people.session(first.id) is None and people.session(second.id)
    people.close_all("awa")
    assert people.session(second.id) is None and people.session(other.id)


def test_a_new_password_ends_the_other_sessions(people: Accounts) -> None:
    own, other = people.open_session("awa"), people.open_session("awa")
    people.set_password("awa", "un autre mot", keep=own.id)
    assert people.session(own.id) and people.session(other.id) is None
    with pytest.raises(SignInFailed):
        people.verify("awa", PASSWORD, address="::1")
    people.verify("awa", "un autre mot", address="::1")


def test_sessions_survive_a_restart(people: Accounts, tmp_path: Path, clock: SetClock) -> None:
    opened = people.open_session("awa", agent="Firefox", address="10.0.0.7")
    again = open_accounts(tmp_path / "data" / "accounts.db", clock)
    session = again.session(opened.id)
    assert session and session.user.name == "awa" and session.user.csrf == opened.csrf
    assert (session.agent, session.address) == ("Firefox", "10.0.0.7")
    again.close()


def test_a_token_never_may_more_than_its_owner(people: Accounts) -> None:
    grant = people.grant_token("script", "admin", owner="rita")
    user = people.token(grant.value)
    assert user and user.role == "read" and user.name == "rita" and user.via == "token" and not user.csrf


def test_a_token_ends_with_its_time(people: Accounts, clock: SetClock) -> None:
    grant = people.grant_token("script", "read", ttl=timedelta(days=1))
    assert people.token(grant.value)
    clock.pass_time(days=1)
    assert people.token(grant.value) is None


def test_a_token_is_revoked_by_its_owner_only(people: Accounts) -> None:
    grant = people.grant_token("script", "read", owner="awa")
    with pytest.raises(NotFound):
        people.revoke_token(grant.id, owner="walid")
    assert people.token(grant.value)
    people.revoke_token(grant.id, owner="awa")
    assert people.token(grant.value) is None and people.tokens("awa") == []


def test_tokens_of_nobody_have_a_name_that_no_user_can_take(people: Accounts) -> None:
    grant = people.grant_token("nightly", "write")
    user = people.token(grant.value)
    assert user and user.name == "token:nightly"
    assert [token.name for token in people.tokens()] == ["nightly"] and people.tokens("awa") == []


def test_the_token_of_this_run_is_kept_nowhere(people: Accounts, tmp_path: Path, clock: SetClock) -> None:
    people.accept_for_this_run("let-me-in-2026")
    user = people.token("let-me-in-2026")
    assert user and user.role == "admin" and user.name == "token:run"
    assert b"let-me-in-2026" not in raw_bytes(tmp_path / "data" / "accounts.db")
    again = open_accounts(tmp_path / "data" / "accounts.db", clock)
    assert again.token("let-me-in-2026") is None
    again.close()
    with pytest.raises(BadConfiguration):
        people.accept_for_this_run(" ")


def test_the_setup_link_makes_one_administrator_once(accounts: Accounts) -> None:
    value = accounts.new_setup_token()
    assert value and accounts.setup_holds(value) and not accounts.setup_holds("")
    assert accounts.complete_setup(value, "awa", PASSWORD, "fr").role == "admin"
    assert not accounts.setup_holds(value) and accounts.new_setup_token() is None
    with pytest.raises(Refused):
        accounts.complete_setup(value, "eve", PASSWORD)
    assert [person.name for person in accounts.list_users()] == ["awa"]


def test_a_restart_before_the_first_visit_makes_a_new_link(accounts: Accounts) -> None:
    first, second = accounts.new_setup_token(), accounts.new_setup_token()
    assert first and second and not accounts.setup_holds(first) and accounts.setup_holds(second)


def test_a_refused_setup_leaves_the_link_usable(accounts: Accounts) -> None:
    value = accounts.new_setup_token()
    assert value
    with pytest.raises(BadInput):
        accounts.complete_setup(value, "awa", "short")
    assert accounts.setup_holds(value)


def test_of_many_first_visits_at_once_one_wins(accounts: Accounts) -> None:
    value = accounts.new_setup_token()
    assert value
    made: list[str] = []

    def visit(name: str) -> None:
        with contextlib.suppress(Refused):
            made.append(accounts.complete_setup(value, name, PASSWORD).name)

    threads = [threading.Thread(target=visit, args=(f"user{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and [person.name for person in accounts.list_users()] == made
