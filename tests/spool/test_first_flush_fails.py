"""The very first flush of a segment fails: what is kept behind it outlives the forgetting of what came before."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from brique.errors import NoRoom
from brique.spool import Entry, SpoolLimits, SqliteSpool
from tests.simulation.disk import SimDisk


@pytest.mark.parametrize("before", [0, 3])
def test_a_segment_begun_anew_in_its_place_is_not_let_go_of_with_the_old_one(tmp_path: Path, before: int) -> None:
    disk = SimDisk(tmp_path, Random(1))
    try:
        spool = SqliteSpool(tmp_path / "spool", limits=SpoolLimits(free_bytes_min=0), disk=disk)
        for number in range(before):
            spool.append([Entry(b"old %d" % number)])
        spool.forget(before)
        disk.failing_flushes = 1
        with pytest.raises(NoRoom):
            spool.append([Entry(b"refused")])
        assert spool.append([Entry(b"kept")]) == [before + 1]
        spool.forget(before)
        assert [record.payload for record in spool.read(0, 10)] == [b"kept"]  # type: ignore[union-attr]
        spool.close()
        disk.kill()
        disk.power_up()
        again = SqliteSpool(tmp_path / "spool", limits=SpoolLimits(free_bytes_min=0), disk=disk)
        assert [record.payload for record in again.read(0, 10)] == [b"kept"]  # type: ignore[union-attr]
        assert again.append([Entry(b"next")]) == [before + 2]
        again.close()
    finally:
        disk.close()
