"""The programs that the tests run: one that supervises, and one that is supervised, in several moods.

program.py supervise DATA PORT [MOOD]     runs groups engine, backend erp, web x 2
program.py work MOOD [FILE]               the supervised one
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from brique.supervise import Supervisor, Watcher, announce_ready, inherited_sockets, open_listener


def note(data: Path, text: str) -> None:
    with (data / "notes").open("a") as file:
        file.write(f"{text}\n")


def work(mood: str, data: Path) -> None:
    name = os.environ["BRIQUE_PROCESS"]
    note(data, f"start {name} {os.getpid()}")
    if mood == "web":
        mood = (data / "mood").read_text().strip() if (data / "mood").exists() else "good"
    if mood == "broken":
        sys.exit(3)
    if mood == "silent":
        signal.pause()

    def stop(*_: object) -> None:
        note(data, f"stop {name}")
        sys.exit(0)

    signal.signal(signal.SIGTERM, signal.SIG_IGN if mood == "stubborn" else stop)
    if mood == "family":
        grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        note(data, f"grandchild {grandchild.pid}")
    servers = [serve(sock) for sock in inherited_sockets()]
    announce_ready()
    if mood == "short":
        time.sleep(0.05)
        sys.exit(4)
    try:
        while True:  # a signal may go to another thread, and Python handles it in this one when it next moves
            time.sleep(0.02)
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()  # waits for the answers under way


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"{os.environ['BRIQUE_PROCESS']} {os.environ['BRIQUE_GENERATION']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


def serve(sock: socket.socket) -> socketserver.TCPServer:
    """Answers on `sock` in threads until `shutdown`."""
    server = socketserver.ThreadingTCPServer(sock.getsockname(), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = sock  # it does not block: of several processes that wake up, one gets the connection
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def watcher(name: str, mood: str, data: Path, **more: object) -> Watcher:
    argv = (sys.executable, __file__, "work", mood, str(data))
    return Watcher(name, argv, ready=True, **more)  # type: ignore[arg-type]


def supervise(data: Path, port: int, mood: str) -> None:
    logging.basicConfig(level="INFO", stream=sys.stderr)
    groups = [
        [watcher("engine", "good", data)],
        [watcher("erp", mood, data, ready_seconds=2.0, graceful_seconds=0.5)],
        [watcher("web", "web", data, count=2, scalable=True, listens=True, ready_seconds=3.0, graceful_seconds=3.0)],
    ]
    listeners = [open_listener("127.0.0.1", port)] if port else []
    supervisor = Supervisor(data, groups, listeners=listeners)
    asyncio.run(supervisor.run())
    note(data, "end")


if __name__ == "__main__":
    if sys.argv[1] == "work":
        work(sys.argv[2], Path(sys.argv[3]))
    else:
        supervise(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else "good")
