"""The server as a real process on a real socket."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parent.parent.parent


@dataclass
class Server:
    process: subprocess.Popen[str]
    port: int

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def say(self, *lines: str, body: bytes = b"") -> bytes:
        """Send a request as it is written and give everything that comes back until the server closes."""
        with self.connect() as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            return read_to_end(connection)

    def stop(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        output, _errors = self.process.communicate(timeout=20)
        return self.process.returncode, output


def read_to_end(connection: socket.socket) -> bytes:
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


@contextmanager
def serving(folder: Path, *proxies: str) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        descriptor = listener.fileno()
        command = [sys.executable, "-m", "tests.http.server_process", str(descriptor), str(folder), *proxies]
        process = subprocess.Popen(
            command, pass_fds=(descriptor,), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        try:
            assert process.stdout and process.stdout.readline() == "ready\n"
            yield Server(process, listener.getsockname()[1])
        finally:
            process.kill()
            process.communicate()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path) as server:
        yield server


HOST = "Host: intranet.test"


def test_it_answers_with_date_and_without_naming_itself(server: Server) -> None:
    answer = httpx.get(server.base + "/who")
    assert answer.json() == {"scheme": "http", "host": f"127.0.0.1:{server.port}", "address": "127.0.0.1"}
    assert "date" in answer.headers and "server" not in answer.headers
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_keep_alive_answers_do_not_wait_for_each_other(server: Server) -> None:
    with httpx.Client(base_url=server.base) as client:
        client.get("/who")
        begun = time.perf_counter()
        for _ in range(20):
            assert client.get("/who").status_code == 200
        assert time.perf_counter() - begun < 20 * 0.040


def test_sign_in_by_a_real_form_post(server: Server) -> None:
    answer = httpx.post(
        server.base + "/-/sign-in", data={"name": "x", "password": "y"}, headers={"Origin": server.base}
    )
    assert answer.status_code == 422
    answer = httpx.get(server.base + "/tables", headers={"Accept": "text/html"})
    assert answer.status_code == 303


def test_proxy_headers_are_ignored_unless_the_proxy_is_trusted(server: Server, tmp_path: Path) -> None:
    forged = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "intranet.test"}
    plain = httpx.get(server.base + "/who", headers=forged).json()
    assert (plain["scheme"], plain["address"]) == ("http", "127.0.0.1") and plain["host"] != "intranet.test"
    with serving(tmp_path, "127.0.0.0/8") as trusting:
        believed = httpx.get(trusting.base + "/who", headers=forged).json()
        assert believed == {"scheme": "https", "host": "intranet.test", "address": "6.6.6.6"}
        foreign = httpx.get(trusting.base + "/who", headers={"X-Forwarded-Host": "evil.test"})
        assert foreign.status_code == 421


def test_a_head_that_is_too_large_is_refused(server: Server) -> None:
    assert server.say("GET /who HTTP/1.1", HOST, "X-Long: " + "x" * 5000).startswith(b"HTTP/1.1 431 ")
    many = [f"X-{number}: x" for number in range(30)]
    assert server.say("GET /who HTTP/1.1", HOST, *many).startswith(b"HTTP/1.1 431 ")
    assert server.say("GET /who?" + "x" * 2000 + " HTTP/1.1", HOST).startswith(b"HTTP/1.1 414 ")
    assert server.say("GET /who", HOST).startswith(b"HTTP/1.1 505 ")
    assert server.say("GET /who HTTP/1.1", "Host intranet.test").startswith(b"HTTP/1.1 400 ")
    assert server.say("G\x00T / HTTP/1.1", HOST).startswith(b"HTTP/1.1 400 ")
    assert httpx.get(server.base + "/who").status_code == 200


def test_a_smuggled_body_length_is_refused(server: Server) -> None:
    both = ("Content-Length: 5", "Transfer-Encoding: chunked")
    assert server.say("POST /echo HTTP/1.1", HOST, *both, body=b"0\r\n\r\nGET /who").startswith(b"HTTP/1.1 400 ")
    two = ("Content-Length: 5", "Content-Length: 6")
    assert server.say("POST /echo HTTP/1.1", HOST, *two, body=b"xxxxxx").startswith(b"HTTP/1.1 400 ")


def test_a_head_that_drips_is_cut_off(server: Server) -> None:
    for begun in (b"", b"GET /who HTTP/1.1\r\nHost: intra"):
        with server.connect() as connection:
            connection.sendall(begun)
            before = time.perf_counter()
            assert read_to_end(connection) == b""
            assert 0.3 < time.perf_counter() - before < 5


def test_a_body_that_nobody_reads_cannot_drip_for_ever(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST /ignore HTTP/1.1\r\nHost: intranet.test\r\nContent-Length: 100000\r\n\r\nxxxx")
        before = time.perf_counter()
        assert read_to_end(connection).startswith(b"HTTP/1.1 200 ")
        assert time.perf_counter() - before < 5


def test_a_reader_that_stops_reading_is_cut_off(server: Server) -> None:
    assert server.process.stdout
    with server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /flood HTTP/1.1\r\nHost: intranet.test\r\n\r\n")
        assert server.process.stdout.readline() == "flood ended\n"


def test_a_declared_body_over_the_limit_is_refused_before_it_is_sent(server: Server) -> None:
    lines = (
        "POST /echo HTTP/1.1",
        HOST,
        f"Content-Length: {10**9}",
        "Expect: 100-continue",
        "Accept: application/json",
    )
    answer = server.say(*lines)
    assert answer.startswith(b"HTTP/1.1 413 ") and b"connection: close" in answer.lower()


def test_many_connections_are_told_to_come_back(server: Server) -> None:
    held = [server.connect() for _ in range(60)]
    answer = server.say("GET /who HTTP/1.1", HOST, "Connection: close")
    assert answer.startswith(b"HTTP/1.1 503 ")
    for connection in held:
        connection.close()


def test_sigterm_finishes_what_is_under_way_and_ends_streams(server: Server) -> None:
    slow, stream = server.connect(), server.connect()
    with slow, stream:
        stream.sendall(b"GET /events HTTP/1.1\r\nHost: intranet.test\r\n\r\n")
        received = b""
        while b"data: hello" not in received:
            received += stream.recv(65536)
        slow.sendall(b"GET /slow HTTP/1.1\r\nHost: intranet.test\r\n\r\n")
        httpx.get(server.base + "/who")  # the slow request was read before this one is answered
        status, output = server.stop()
        assert read_to_end(slow).endswith(b"finished")
        assert b"data: bye" in read_to_end(stream)
    assert (status, output) == (0, "stopped\n")


def test_a_second_server_takes_over_the_same_socket(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        descriptor = listener.fileno()
        command = [sys.executable, "-m", "tests.http.server_process", str(descriptor), str(tmp_path)]
        processes = [
            subprocess.Popen(
                command, pass_fds=(descriptor,), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
            )
            for _ in range(2)
        ]
        try:
            for process in processes:
                assert process.stdout and process.stdout.readline() == "ready\n"
            server = Server(processes[0], listener.getsockname()[1])
            assert server.stop()[0] == 0
            for _ in range(10):
                assert httpx.get(server.base + "/who").status_code == 200
        finally:
            for process in processes:
                process.kill()
                process.communicate()
