"""Tells those who follow which tables, commands, backends, views or addresses may show something else now. No HTTP in
it."""

from brique.live.follow import Live, LiveLimits
from brique.live.follower import HEARTBEAT, Follower, Pass, Probe, Reading

__all__ = ["HEARTBEAT", "Follower", "Live", "LiveLimits", "Pass", "Probe", "Reading"]
