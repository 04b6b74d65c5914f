"""The supervisor's parts by themselves: pauses, declarations, sockets, the child's side."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys

import pytest

from brique import errors
from brique.supervise import Backoff, Watcher, announce_ready, inherited_sockets, listeners_from_systemd, open_listener


def test_pauses_grow_from_the_first_crash_with_jitter_up_to_a_limit() -> None:
    backoff = Backoff(random.Random(1))
    pauses = [backoff.after(0.0) for _ in range(40)]
    assert pauses[0] <= 0.1
    assert all(0.05 * 2**n <= pause <= 0.1 * 2**n for n, pause in enumerate(pauses[:8]))
    assert all(15.0 <= pause <= 30.0 for pause in pauses[10:])
    assert len(set(pauses)) == len(pauses)


def test_a_process_that_has_lived_starts_the_count_anew() -> None:
    backoff = Backoff(random.Random(1))
    for _ in range(5):
        backoff.after(0.0)
    assert backoff.after(11.0) <= 0.1
    assert backoff.crashes == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "", "argv": ("x",)},
        {"name": "a b", "argv": ("x",)},
        {"name": "../x", "argv": ("x",)},
        {"name": "engine", "argv": ()},
        {"name": "engine", "argv": ("x",), "count": 2},
        {"name": "web", "argv": ("x",), "count": 65, "scalable": True},
        {"name": "web", "argv": ("x",), "count": -1, "scalable": True},
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(errors.BadConfiguration):
        Watcher(**wrong)  # type: ignore[arg-type]  # what is wrong varies


def test_accepted_connections_send_without_delay() -> None:
    with open_listener("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_a_taken_port_is_told_with_advice() -> None:
    with open_listener("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(errors.BadConfiguration, match="Address already in use") as caught:
            open_listener("127.0.0.1", port, wait_seconds=0.05)
    assert "--listen" in caught.value.try_this
    with pytest.raises(errors.BadConfiguration):
        open_listener("no.such.host.invalid", 0)


def test_without_a_supervisor_the_childs_side_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BRIQUE_READY_FD", raising=False)
    announce_ready()
    assert inherited_sockets() == []


def test_saying_ready_to_a_supervisor_that_is_gone_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setenv("BRIQUE_READY_FD", str(writer))
    announce_ready()
    announce_ready()


def test_sockets_that_systemd_opened_for_another_process_are_left_alone() -> None:
    assert listeners_from_systemd({"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "1"}) == []
    assert listeners_from_systemd({}) == []


ACTIVATED = """
import os, socket
from brique.supervise import listeners_from_systemd
sock, = listeners_from_systemd(os.environ)
nodelay = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
print(sock.getsockname()[1], nodelay, sock.get_inheritable(), flush=True)
"""


def test_sockets_that_systemd_opened_are_taken_over() -> None:
    """The protocol played by hand: descriptor 3, LISTEN_FDS, LISTEN_PID of the process itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        program = (
            f"import os; os.dup2({listener.fileno()}, 3);"
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()));"
            f"os.execv({sys.executable!r}, [{sys.executable!r}, '-c', {ACTIVATED!r}])"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], pass_fds=[listener.fileno()], capture_output=True, text=True, timeout=20
        )
        assert done.stdout.split() == [str(listener.getsockname()[1]), "1", "False"], done.stderr


def test_a_descriptor_that_is_no_listening_socket_is_refused() -> None:
    program = ACTIVATED.replace(
        "import os, socket", "import os, socket\nos.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))"
    )
    shell = shutil.which("sh") or "/bin/sh"
    done = subprocess.run(
        [shell, "-c", 'exec 3</dev/null; exec "$0" -c "$1"', sys.executable, program],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert "BadConfiguration" in done.stderr
