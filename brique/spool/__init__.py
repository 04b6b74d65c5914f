"""Bytes kept for good, in order: the durable journal that everything acknowledged goes through first."""

from brique.spool.committer import Committer
from brique.spool.compaction import Rewritten, Stretch
from brique.spool.disk import Disk, RealDisk
from brique.spool.limits import SpoolLimits
from brique.spool.protocol import Ancestor, Damage, Entry, Record, Spool
from brique.spool.recovery import Recovery
from brique.spool.sqlite import SqliteSpool, check_spool

__all__ = [
    "Ancestor",
    "Committer",
    "Damage",
    "Disk",
    "Entry",
    "RealDisk",
    "Record",
    "Recovery",
    "Rewritten",
    "Spool",
    "SpoolLimits",
    "SqliteSpool",
    "Stretch",
    "check_spool",
]
