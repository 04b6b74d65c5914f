"""Tells those who follow which tables, commands, backends, views or addresses may show something else now. No HTTP in
it."""

from brique.live.follow import Live
from brique.live.follower import HEARTBEAT, Follower, Last, Pass, Probe, Reading
from brique.live.limits import LiveLimits
from brique.live.watches import Watches

__all__ = ["HEARTBEAT", "Follower", "Last", "Live", "LiveLimits", "Pass", "Probe", "Reading", "Watches"]
