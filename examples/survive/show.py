"""Shows what visitors notice when the database is killed: `python examples/survive/show.py [SECONDS]`, nothing else to
start. Needs brique's own checkout with its development packages: the database is SecantusDB, which speaks MongoDB's
protocol.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from bench.shop import Shop, Told, open_shop, stop

SECONDS = 10.0


def say(text: str) -> None:
    print(text, flush=True)


def main(seconds: float) -> int:
    say("Starting the database and brique …")
    with open_shop(
        ["--sync-on-commit"], settings={"BRIQUE_PROBE_SECONDS_MAX": "0.25", "BRIQUE_SETTLE_WAIT_MS": "20"}
    ) as shop:
        say(f"app.py is served on http://127.0.0.1:{shop.site.port}/ : a counter at each door, and an order form.")
        visitors = shop.visitors(pause_seconds=0.01)
        time.sleep(seconds / 4)
        shop.server.kill()
        killed = time.monotonic()
        before = [(v.told.entries, len(v.told.orders), v.told.pages) for v in visitors]
        say("\nkill -9 of the database. 8 visitors go on:")
        while time.monotonic() - killed < seconds / 2:
            time.sleep(seconds / 10)
            now = [(v.told.entries, len(v.told.orders), v.told.pages) for v in visitors]
            entries, orders, pages = (sum(b[i] - a[i] for a, b in zip(before, now, strict=True)) for i in range(3))
            say(
                f"  {time.monotonic() - killed:4.1f} s without a database: {entries} people counted, {orders} orders "
                f"accepted, {pages} pages answered, {sum(v.told.failed for v in visitors)} failures"
            )
        told = stop(visitors)
        return _settle(shop, told)


def _settle(shop: Shop, told: Told) -> int:
    """Start the database again, and see how fast all of it is there."""
    waiting = shop.waiting()
    say(f"\n{waiting} writes wait. Starting the database …")
    shop.server.start()
    began = time.monotonic()
    shop.settle()
    took = time.monotonic() - began
    verdict = shop.judge(told)
    say(
        f"All {waiting} are in the database {took:.2f} s after it answered, "
        f"{waiting / max(took, 0.001):.0f} a second.\n\n"
        f"{told.acknowledged} writes acknowledged, the slowest after {told.slowest_s * 1000:.0f} ms: "
        f"{verdict.lost} lost, {verdict.doubled} doubled. {told.pages} pages answered, {told.failed} failed."
    )
    return 1 if verdict.lost or verdict.doubled or told.failed else 0


if __name__ == "__main__":
    raise SystemExit(main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS))
