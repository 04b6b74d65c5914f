"""The channel between processes: answers, faults, events, limits, lost connections. Real sockets and processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from brique import errors
from brique.channel import AsyncChannel, Direct, Limits, Server, SyncChannel, serve


class Odd(errors.Refused):
    """A fault whose own arguments differ from the base's, and that another process may not know."""

    def __init__(self, number: int) -> None:
        super().__init__(f"odd {number}", number=number)


async def handle(method: str, payload: dict[str, Any]) -> dict[str, Any]:
    match method:
        case "echo":
            return payload
        case "slow":
            await asyncio.sleep(payload["seconds"])
            return {"done": True}
        case "invalid":
            raise errors.BadInput("no good", fields={"city": "too long"}, try_this="Shorten it.", limit=40)
        case "refuse":
            raise errors.Refused("already shipped", at=datetime(2026, 11, 20, tzinfo=UTC), path=Path("/x"))
        case "odd":
            raise Odd(7)
        case "bug":
            return {"x": 1 // payload["zero"]}
        case "unsendable":
            return {"x": object()}
        case "big":
            return {"x": "y" * payload["size"]}
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
    raise errors.NotFound(method)


@asynccontextmanager
async def serving(path: Path, limits: Limits | None = None) -> AsyncIterator[Server]:
    server = await serve(path, handle, limits=limits)
    try:
        yield server
    finally:
        await server.close(grace_seconds=0.2)


def wait_until(true: Any, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not become true in time"
        threading.Event().wait(0.005)


class ServerThread:
    """The server in a thread with its own loop, for tests of the synchronous end."""

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.server = asyncio.run_coroutine_threadsafe(serve(path, handle, limits=limits), self.loop).result(5)

    def stop(self) -> None:
        if not self.loop.is_closed():
            asyncio.run_coroutine_threadsafe(self.server.close(grace_seconds=0.2), self.loop).result(5)
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(5)
            self.loop.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "engine.sock"


@pytest.fixture
def engine(path: Path) -> Iterator[ServerThread]:
    server = ServerThread(path)
    yield server
    server.stop()


@pytest.fixture
def channel(path: Path, engine: ServerThread) -> Iterator[SyncChannel]:
    channel = SyncChannel(path)
    yield channel
    channel.close()


def test_an_answer_comes_back_with_its_values(channel: SyncChannel) -> None:
    sent = {
        "text": "Cafés",
        "bytes": b"\x00\xff",
        "none": None,
        "numbers": [1, -(2**63), 2**64 - 1, 1.5],
        "deep": {"a": [{}]},
    }
    assert channel.call("echo", sent) == sent


def test_only_the_owner_may_open_the_socket(path: Path, engine: ServerThread) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_another_user_is_turned_away_even_if_the_file_lets_him_in() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # pytest's own folders are closed to others
        Path(folder).chmod(0o755)
        path = Path(folder) / "engine.sock"
        engine = ServerThread(path)
        path.chmod(0o666)
        ask = f"s.connect({str(path)!r}); print(repr(s.recv(1)))"
        program = f"import os,socket; os.setuid(65534); s=socket.socket(1); {ask}"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20)
        engine.stop()
    assert "b''" in done.stdout or "ConnectionResetError" in done.stderr, done


def test_faults_come_back_as_the_same_class_with_fields_and_facts(channel: SyncChannel) -> None:
    with pytest.raises(errors.BadInput) as caught:
        channel.call("invalid", {})
    assert (caught.value.message, caught.value.try_this) == ("no good", "Shorten it.")
    assert (caught.value.fields, caught.value.facts) == ({"city": "too long"}, {"limit": 40})
    with pytest.raises(errors.Refused) as refused:
        channel.call("refuse", {})
    assert refused.value.facts == {"at": datetime(2026, 11, 20, tzinfo=UTC), "path": "/x"}


def test_a_fault_with_other_arguments_is_rebuilt(channel: SyncChannel) -> None:
    with pytest.raises(Odd) as caught:
        channel.call("odd", {})
    assert caught.value.facts == {"number": 7}


def test_a_fault_of_an_unknown_class_arrives_as_its_nearest_known_parent() -> None:
    from brique.channel.wire import fault_from_wire

    fault = fault_from_wire({"classes": ["Unheard", "Refused", "BriqueError"], "message": "no"})
    assert type(fault) is errors.Refused


def test_a_bug_in_the_handler_is_told_without_its_details(
    channel: SyncChannel, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(errors.BriqueError, match=r"bug failed inside the engine \(ZeroDivisionError\)"):
        channel.call("bug", {"zero": 0})
    assert "Traceback" in caplog.text
    with pytest.raises(errors.BadInput, match="cannot be sent"):
        channel.call("unsendable", {})
    assert channel.call("echo", {"still": "there"}) == {"still": "there"}


def test_what_cannot_be_sent_is_told_before_it_leaves(channel: SyncChannel) -> None:
    for payload in ({"x": object()}, {"x": 2**70}, {"x": "\ud800"}):
        with pytest.raises(errors.BadInput):
            channel.call("echo", payload)
    assert channel.call("echo", {}) == {}


def test_a_frame_above_the_limit_is_refused_at_both_ends(path: Path) -> None:
    engine = ServerThread(path, Limits(frame_bytes_max=1000))
    small, wide = SyncChannel(path, limits=Limits(frame_bytes_max=1000)), SyncChannel(path)
    try:
        with pytest.raises(errors.TooMuch):
            small.call("echo", {"x": "y" * 1000})
        with pytest.raises(errors.TooMuch):
            small.call("big", {"size": 2000})
        with pytest.raises(errors.EngineAway):
            wide.call("echo", {"x": "y" * 2000})
        assert small.call("echo", {"x": 1}) == {"x": 1}
    finally:
        small.close()
        wide.close()
        engine.stop()


def test_threads_share_one_connection_and_get_their_own_answers(channel: SyncChannel, engine: ServerThread) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: channel.call("echo", {"n": n})["n"], range(2000)))
    assert answers == list(range(2000))
    assert len(engine.server.connections) == 1


def test_a_slow_call_does_not_hold_up_the_others(channel: SyncChannel) -> None:
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(channel.call, "slow", {"seconds": 0.4})
        started = time.monotonic()
        channel.call("echo", {})
        assert time.monotonic() - started < 0.3
        assert slow.result() == {"done": True}


def test_no_answer_in_time_is_an_unknown_outcome(channel: SyncChannel) -> None:
    with pytest.raises(errors.EngineAway) as caught:
        channel.call("slow", {"seconds": 5}, timeout=0.05)
    assert caught.value.facts["outcome"] == "unknown"
    assert channel.call("echo", {"n": 1}) == {"n": 1}


def test_an_engine_that_never_was_there_is_told_as_not_sent(path: Path) -> None:
    channel = SyncChannel(path, limits=Limits(connect_seconds=0.05))
    with pytest.raises(errors.EngineAway) as caught:
        channel.call("echo", {})
    assert caught.value.facts["outcome"] == "not-sent"


def test_a_call_waits_for_an_engine_that_is_restarting(path: Path, engine: ServerThread, channel: SyncChannel) -> None:
    assert channel.call("echo", {"n": 1}) == {"n": 1}
    engine.stop()
    second: list[ServerThread] = []
    timer = threading.Timer(0.2, lambda: second.append(ServerThread(path)))
    timer.start()
    try:
        assert channel.call("echo", {"n": 2}) == {"n": 2}
    finally:
        timer.join()
        channel.close()
        second[0].stop()


CHILD = """
import asyncio, sys
sys.path.insert(0, {tests!r})
from test_channel import handle
from brique.channel import serve
async def main():
    await serve({path!r}, handle)
    print("ready", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def start_child(path: Path) -> subprocess.Popen[str]:
    program = CHILD.format(tests=str(Path(__file__).parent), path=str(path))
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def end_child(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait(10)
    assert child.stdout is not None
    child.stdout.close()


def test_an_engine_killed_in_the_middle_of_a_call_leaves_an_unknown_outcome_and_can_come_back(path: Path) -> None:
    child = start_child(path)
    channel = SyncChannel(path)
    try:
        with pytest.raises(errors.EngineAway) as caught:
            channel.call("die", {})
        assert caught.value.facts["outcome"] == "unknown"
        end_child(child)
        child = start_child(path)  # the socket file that the killed one left is replaced
        assert channel.call("echo", {"n": 1}) == {"n": 1}
    finally:
        channel.close()
        end_child(child)


def test_a_second_engine_on_the_same_path_is_refused(path: Path, engine: ServerThread) -> None:
    with pytest.raises(errors.BadConfiguration, match="already answers"):
        asyncio.run(serve(path, handle))
    assert path.exists()


def test_a_data_folder_with_a_very_long_name_works(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 200)
    folder.mkdir()

    async def run() -> None:
        async with serving(folder / "engine.sock"):
            channel = AsyncChannel(folder / "engine.sock")
            assert await channel.acall("echo", {"n": 1}) == {"n": 1}
            await channel.aclose()

    asyncio.run(run())


def test_events_reach_every_client_and_a_reconnection_is_told(path: Path) -> None:
    engine = ServerThread(path)
    got: list[tuple[str, dict[str, Any]]] = []
    channel = SyncChannel(path, on_event=lambda topic, payload: got.append((topic, payload)))
    try:
        wait_until(lambda: engine.server.connections)
        engine.server.broadcast("wake", {"backend": "erp"})
        wait_until(lambda: ("wake", {"backend": "erp"}) in got)
        engine.stop()
        engine = ServerThread(path)
        wait_until(lambda: got.count(("connected", {})) == 2)
        engine.server.broadcast("wake", {"n": 2})
        wait_until(lambda: got[-1] == ("wake", {"n": 2}))
    finally:
        channel.close()
        engine.stop()


def test_a_client_that_does_not_read_is_cut_off_and_the_others_go_on(path: Path) -> None:
    async def run() -> None:
        async with serving(path, Limits(event_backlog_bytes_max=100_000)) as server:
            got: list[int] = []
            good = AsyncChannel(path, on_event=lambda _, payload: got.append(len(payload)))
            await good.acall("echo", {})
            _, deaf = await asyncio.open_unix_connection(str(path))
            await good.acall("echo", {})
            assert len(server.connections) == 2
            for _ in range(200):
                server.broadcast("wake", {"x": "y" * 10_000})
                await asyncio.sleep(0)
            assert len(server.connections) == 1
            await good.acall("echo", {})
            assert len(got) == 201
            deaf.close()
            await good.aclose()

    asyncio.run(run())


def test_bytes_that_are_no_frames_close_only_their_connection(path: Path) -> None:
    async def run() -> None:
        async with serving(path) as server:
            good = AsyncChannel(path)
            for noise in (
                b"GET / HTTP/1.1\r\n\r\n",
                b"\xff\xff\xff\xff",
                b"\x00\x00\x00\x01\xc1",
                b"\x00\x00\x00\x01\x90",
            ):
                reader, writer = await asyncio.open_unix_connection(str(path))
                writer.write(noise)
                with contextlib.suppress(ConnectionResetError):
                    assert await asyncio.wait_for(reader.read(), 5) == server.hello  # and then the end
                writer.close()
            assert await good.acall("echo", {"n": 1}) == {"n": 1}
            await good.aclose()

    asyncio.run(run())


def test_calls_above_the_limit_in_flight_are_told_busy_or_wait_their_turn(path: Path) -> None:
    async def run() -> None:
        async with serving(path, Limits(requests_max=10, connection_requests_max=1000)):
            channel = AsyncChannel(path)
            calls = [channel.acall("slow", {"seconds": 0.1}) for _ in range(20)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(result) for result in results] == [dict] * 10 + [errors.Busy] * 10
            await channel.aclose()
        async with serving(path, Limits(connection_requests_max=5)):
            channel = AsyncChannel(path)
            results = await asyncio.gather(*(channel.acall("slow", {"seconds": 0.02}) for _ in range(50)))
            assert results == [{"done": True}] * 50
            await channel.aclose()

    asyncio.run(run())


def test_closing_lets_calls_in_flight_end(path: Path) -> None:
    async def run() -> None:
        server = await serve(path, handle)
        channel = AsyncChannel(path)
        call = asyncio.create_task(channel.acall("slow", {"seconds": 0.2}))
        await asyncio.to_thread(wait_until, lambda: server.tasks)
        await server.close()
        assert await call == {"done": True}
        assert not await asyncio.to_thread(path.exists)
        await channel.aclose()

    asyncio.run(run())


def test_a_cancelled_caller_leaves_nothing_behind(path: Path) -> None:
    async def run() -> None:
        async with serving(path):
            channel = AsyncChannel(path)
            await channel.acall("echo", {})
            call = asyncio.create_task(channel.acall("slow", {"seconds": 0.1}))
            await asyncio.sleep(0.02)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert channel._wire is not None
            assert not channel._wire.waiting
            await asyncio.sleep(0.15)  # the late answer finds nobody
            assert await channel.acall("echo", {"n": 1}) == {"n": 1}
            await channel.aclose()

    asyncio.run(run())


def test_asynchronous_callers_see_loss_and_return(path: Path) -> None:
    async def run() -> None:
        child = await asyncio.to_thread(start_child, path)
        channel = AsyncChannel(path)
        try:
            with pytest.raises(errors.EngineAway) as caught:
                await channel.acall("die", {})
            assert caught.value.facts["outcome"] == "unknown"
            await asyncio.to_thread(end_child, child)
            child = await asyncio.to_thread(start_child, path)
            assert await channel.acall("echo", {"n": 1}) == {"n": 1}
            with pytest.raises(errors.EngineAway):
                await channel.acall("slow", {"seconds": 5}, timeout=0.05)
        finally:
            await channel.aclose()
            await asyncio.to_thread(end_child, child)

    asyncio.run(run())


def test_direct_behaves_as_the_socket_does_from_threads_and_coroutines() -> None:
    got: list[tuple[str, dict[str, Any]]] = []
    direct = Direct(handle, on_event=lambda topic, payload: got.append((topic, payload)))
    try:
        assert direct.call("echo", {"pair": (1, 2)}) == {"pair": [1, 2]}
        assert asyncio.run(direct.acall("echo", {"n": 1})) == {"n": 1}
        with pytest.raises(errors.BadInput) as caught:
            direct.call("invalid", {})
        assert caught.value.fields == {"city": "too long"}
        with pytest.raises(errors.BriqueError, match="ZeroDivisionError"):
            direct.call("bug", {"zero": 0})
        with pytest.raises(errors.BadInput):
            direct.call("unsendable", {})
        with pytest.raises(errors.EngineAway):
            direct.call("slow", {"seconds": 5}, timeout=0.05)
        with pytest.raises(errors.EngineAway):
            asyncio.run(direct.acall("slow", {"seconds": 5}, timeout=0.05))
        direct.broadcast("wake", {"n": (1,)})
        assert got == [("wake", {"n": [1]})]
    finally:
        direct.close()
    with pytest.raises(errors.EngineAway):
        direct.call("echo", {})


def test_direct_can_share_the_callers_loop() -> None:
    async def run() -> None:
        direct = Direct(handle, loop=asyncio.get_running_loop())
        assert await direct.acall("echo", {"n": 1}) == {"n": 1}
        assert await asyncio.to_thread(direct.call, "echo", {"n": 2}) == {"n": 2}

    asyncio.run(run())


def test_channels_leave_no_thread_and_no_file_open(path: Path) -> None:
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    engine = ServerThread(path)
    try:
        before = opened(), threading.active_count()
        for _ in range(30):
            channel = SyncChannel(path, on_event=lambda *_: None)
            channel.call("echo", {})
            channel.close()
            direct = Direct(handle)
            direct.call("echo", {})
            direct.close()
        wait_until(lambda: not engine.server.connections)
        wait_until(lambda: (opened(), threading.active_count()) == before)
    finally:
        engine.stop()


def test_sixty_four_callers_make_thousands_of_calls_a_second(path: Path) -> None:
    """10,000 calls a second on a quiet machine; the bound here leaves room for a busy one."""

    async def run() -> float:
        channel = AsyncChannel(path)

        async def caller() -> None:
            for _ in range(50):
                await channel.acall("echo", {"id": "x" * 26, "values": [1, 2, 3]})

        await channel.acall("echo", {})
        started = time.monotonic()
        await asyncio.gather(*(caller() for _ in range(64)))
        seconds = time.monotonic() - started
        await channel.aclose()
        return 64 * 50 / seconds

    child = start_child(path)
    try:
        rate = asyncio.run(run())
    finally:
        end_child(child)
    print(f"{rate:.0f} calls/s")
    assert rate > 2000
