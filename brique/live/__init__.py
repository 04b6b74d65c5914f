"""Tells those who follow which tables, commands, backends or views may show something else now. No HTTP in it."""

from brique.live.follow import Live, Probe

__all__ = ["Live", "Probe"]
