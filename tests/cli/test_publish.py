"""`brique publish`, as its users run it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.cli.program import assert_told, brique, running
from tests.servers import wait_until
from tests.shop import make_shop

APP = """
from pathlib import Path
from tests.publish.world import make_app

app = make_app(Path({file!r}), {url!r})
"""
SECONDS = 30.0


def test_places_are_listed_compared_and_put_right(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    file = make_shop(tmp_path / "shop.db")
    (tmp_path / "app.py").write_text(APP.format(file=str(file), url=f"folder:{share}"))
    more = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])}
    data = ("--data", "data")
    with running("up", "app.py", folder=tmp_path, **more):
        wait_until(lambda: len(list(share.rglob("*/*.json"))) == 5, SECONDS, "the files")
        listed = brique("publish", "list", "--json", *data, folder=tmp_path, **more)
        assert json.loads(listed.out)["views"] == {"dearest": 1, "open_orders": 1, "people": 2, "statement": 3}
        assert "7 right, 0 on their way, 0 wrong" in brique("publish", "check", *data, folder=tmp_path, **more).out
        (share / "statement" / "2.json").write_text("nonsense")
        (share / "statement" / "1.json").unlink()
        (share / "statement" / "77.json").write_text("1")
        checked = brique("publish", "check", "shop", "--json", *data, folder=tmp_path, **more)
        assert checked.status == 3, checked
        wrong = sorted(json.loads(checked.out)["wrong"])
        assert wrong == [["statement/1", "missing"], ["statement/2", "differs"], ["statement/77", "extra"]]
        rebuilt = brique("publish", "rebuild", "shop", *data, folder=tmp_path, **more)
        assert rebuilt.out.startswith("7 keys"), rebuilt
        wait_until(
            lambda: brique("publish", "check", *data, folder=tmp_path, **more).status == 0, SECONDS, "all to be right"
        )
        assert not (share / "statement" / "77.json").exists()
        status = json.loads(brique("publish", "status", "--json", *data, folder=tmp_path, **more).out)
        assert (status["state"], status["keys"], status["due"], status["faults"]) == ("live", 7, 0, 0)
        assert_told(brique("publish", "check", "nowhere", *data, folder=tmp_path, **more), "There is no place nowhere")
    stopped = brique("publish", "rebuild", "shop", *data, folder=tmp_path, **more)
    assert stopped.status == 1 and "Error: " in stopped.err
    assert "Traceback" not in stopped.err
