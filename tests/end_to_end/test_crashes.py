"""Crashes for real, in short: `make bench NAME=crash`, `power`, `full` and `freeze` go on for hundreds of them."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from bench.crash import crash
from bench.crash_servers import CASES
from bench.cutter import commits
from bench.figures import totals
from bench.freeze import CLICKS, click_while_frozen, frozen_site
from bench.full_disk import MIB, fill_once
from bench.power import can_cut, cut_many
from bench.power_writer import KINDS

CYCLES, CUTS = 3, 3
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["mariadb_xa", "mongodb", "sqlite"])
def test_whatever_is_killed_frozen_or_cut_nothing_acknowledged_is_lost_or_doubled(name: str, tmp_path: Path) -> None:
    found = crash(CASES[name], tmp_path, CYCLES, seed=len(name))
    assert found.faults.total() == CYCLES
    assert len(found.told.made) > 10
    assert (found.lost, found.verdict.doubled) == ([], []), found.told_of
    assert set(found.counts) == {"applied"}, found.told_of


def test_the_wire_is_cut_at_commits_of_all_kinds_and_at_nothing_else() -> None:
    assert commits(b"Q\0\0\0\x0bCOMMIT\0")
    assert commits(b"\x07\0\0\0\x03COMMIT")
    assert commits(b"\x22\0\0\0\x03XA END 'x'; XA COMMIT 'x' ONE PHASE")
    assert commits(b"\x10commitTransaction\0\x01\0\0\0")
    assert not commits(b"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")


@pytest.mark.parametrize("kind", KINDS)
def test_a_power_cut_loses_nothing_that_was_acknowledged(kind: str) -> None:
    if why := can_cut():
        pytest.skip(f"NOT TESTED: {why}")  # containers have no loop devices; tests/spool cuts a simulated disk's power
    acknowledged, lost, _ = cut_many(kind, CUTS, seed=1)
    assert acknowledged > CUTS
    assert lost == 0


def test_a_full_disk_refuses_drains_and_goes_on_by_itself_when_there_is_room(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        assert os.environ.get("CI") != "true", "the tests of a full disk must be run by root"
        pytest.skip("NOT TESTED: a small disk can be mounted by root only")
    found = fill_once(tmp_path, left=MIB)
    assert found.refused > 10
    assert found.drained > 20, "acknowledged before it was full, sent while it was"
    assert found.resumed_s < 5
    assert (found.lost, found.verdict.doubled, found.restarted) == (0, [], 0)


def test_three_clicks_while_the_database_is_frozen_make_one_row(tmp_path: Path) -> None:
    with frozen_site(tmp_path) as (server, site):
        statuses, slowest, made = click_while_frozen(server, site, 1)
    assert statuses == Counter({303: CLICKS}), "each click is answered as if it were the only one"
    assert made == [1]
    assert slowest < 5


def test_what_was_tried_was_tried_as_often_as_the_documentation_says() -> None:
    page = (ROOT / "docs" / "explanation" / "what-was-tried.md").read_text("utf-8")
    rows = re.findall(r"^\|[^|]+\| `(\w+)\.([\w.]+)` \| ([\d ]+) \|$", page, re.MULTILINE)
    assert len(rows) >= 9
    for bench, figure, times in rows:
        kept = json.loads((ROOT / "bench" / "results" / f"{bench}.json").read_text("utf-8"))
        last = {one["name"]: (one["value"],) for one in kept["figures"]}
        found = totals(kept["runs"]) if "runs" in kept else last
        assert found[f"{bench}.{figure}"][0] >= int(times.replace(" ", "")) > 0, figure
        wrong = [name for name, (total, *_) in found.items() if name.endswith((".lost", ".doubled")) and total]
        assert not wrong
