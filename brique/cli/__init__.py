"""The command line: one file for each command. It prints, and never decides."""

from brique.cli.main import main

__all__ = ["main"]
