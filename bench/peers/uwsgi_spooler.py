"""uWSGI's spooler, which does not flush: `spool` in a mule, and a spooler process that drains."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.peers.load import arguments

_RESULT = "BENCH_RESULT"


def main() -> None:
    what, folder, number, seconds = arguments()
    spool = Path(folder).absolute() / "spool"
    spool.mkdir(parents=True, exist_ok=True)
    result = spool.with_name("result")
    result.unlink(missing_ok=True)
    program = str(Path(sys.executable).with_name("uwsgi"))
    command = [program, "--master", "--enable-threads", "--disable-logging", "--die-on-term", "--socket", ":0"]
    command += ["--import", "bench.peers.uwsgi_inside", "--pythonpath", str(Path.cwd()), "--spooler", str(spool)]
    command += ["--spooler-max-tasks", "10000000", "--home", sys.prefix, "--spooler-frequency", "1"]
    settings = {_RESULT: str(result), "BENCH_WHAT": what, "BENCH_NUMBER": str(number), "BENCH_SECONDS": str(seconds)}
    with spool.with_name("uwsgi.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **settings}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        while not result.exists():
            if process.poll() is not None:
                raise SystemExit(spool.with_name("uwsgi.log").read_text()[-2000:])
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    print(result.read_text(), flush=True)


if __name__ == "__main__":
    main()
