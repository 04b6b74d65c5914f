"""Commands to a running supervisor over DATA/control.sock: who opens it may do everything, so only its owner can."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from brique import channel, errors

if TYPE_CHECKING:
    from brique.supervise.supervisor import Supervisor

SOCKET_NAME = "control.sock"
_SECONDS = 120.0  # a restart waits for the graceful end of each process and for its successor
COMMANDS = ("status", "events", "restart", "start", "stop", "incr", "decr", "signal", "reload", "quit")


class SupervisorAway(errors.BriqueError):
    """No supervisor runs on that data folder."""

    status = 503
    code = "supervisor-away"


class Control:
    """The commands, for threads and for the command line. Each raises SupervisorAway when there is no supervisor."""

    def __init__(self, data: Path, *, on_event: Callable[[dict[str, Any]], None] | None = None) -> None:
        self._data = data
        listener = None if on_event is None else lambda topic, event: on_event(event) if topic == "event" else None
        self._channel = channel.SyncChannel(
            data / SOCKET_NAME, on_event=listener, limits=channel.Limits(connect_seconds=0.0), name="supervisor"
        )

    def __enter__(self) -> Control:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def status(self) -> dict[str, Any]:
        """`supervisor`, `watchers` and `processes`, as `Supervisor.status` gives them."""
        return self._call("status")

    def events(self) -> list[dict[str, str]]:
        """The last things that happened, oldest first: at, event, name, detail."""
        return list(self._call("events")["events"])

    def restart(self, name: str) -> None:
        self._call("restart", name=name)

    def start(self, name: str) -> None:
        self._call("start", name=name)

    def stop(self, name: str) -> None:
        self._call("stop", name=name)

    def incr(self, name: str, by: int = 1) -> int:
        """Run `by` more processes; how many run then."""
        return int(self._call("incr", name=name, by=by)["count"])

    def decr(self, name: str, by: int = 1) -> int:
        """Run `by` fewer processes; how many run then."""
        return int(self._call("decr", name=name, by=by)["count"])

    def signal(self, name: str, number: str) -> int:
        """Send a signal (TERM, SIGUSR1, 10) to a watcher or one process; to how many it went."""
        return int(self._call("signal", name=name, signal=number)["count"])

    def reload(self, name: str = "") -> list[str]:
        """New generations; the names reloaded. Raises Refused when the new one is broken and the old one goes on."""
        return list(self._call("reload", name=name)["names"])

    def quit(self) -> None:
        """Ask it to stop everything; returns at once. The second time it kills at once."""
        self._call("quit")

    def _call(self, command: str, **arguments: Any) -> dict[str, Any]:
        try:
            return self._channel.call(command, arguments, _SECONDS)
        except errors.EngineAway as error:
            if error.facts.get("outcome") == "unknown":
                raise SupervisorAway(f"The supervisor went away during {command}", outcome="unknown") from error
            raise SupervisorAway(
                f"brique does not run on {self._data}",
                try_this="Start it with `brique up`, or name its folder with --data.",
            ) from error


def handler(supervisor: Supervisor) -> channel.Handler:
    """Carries out what `Control` asks for."""

    async def handle(command: str, asked: dict[str, Any]) -> dict[str, Any]:
        name = _text(asked, "name")
        match command:
            case "status":
                return supervisor.status()
            case "events":
                return {"events": list(supervisor.events)}
            case "restart":
                await supervisor.restart(name)
            case "start":
                await supervisor.start(name)
            case "stop":
                await supervisor.stop(name)
            case "incr" | "decr":
                by = _whole(asked, "by")
                return {"count": await supervisor.scale(name, by if command == "incr" else -by)}
            case "signal":
                return {"count": supervisor.signal(name, signal_number(_text(asked, "signal")))}
            case "reload":
                return {"names": await supervisor.reload(name)}
            case "quit":
                supervisor.quit()
            case _:
                raise errors.NotFound(
                    f"There is no command {command!r}", try_this=f"Choose from: {', '.join(COMMANDS)}."
                )
        return {}

    return handle


def signal_number(text: str) -> int:
    """The number of TERM, SIGTERM or 15. Raises BadInput."""
    if text.isascii() and text.isdigit() and int(text) in {int(one) for one in signal.Signals}:
        return int(text)
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    if name not in signal.Signals.__members__:
        raise errors.BadInput(f"There is no signal {text!r}", try_this="Use a name (TERM, HUP, USR1) or a number.")
    return int(signal.Signals[name])


def _text(asked: dict[str, Any], name: str) -> str:
    value = asked.get(name, "")
    if not isinstance(value, str):
        raise errors.BadInput(f"{name} must be a text")
    return value


def _whole(asked: dict[str, Any], name: str) -> int:
    value = asked.get(name, 1)
    if not isinstance(value, int) or value < 1:
        raise errors.BadInput(f"{name} must be a whole number from 1")
    return value
