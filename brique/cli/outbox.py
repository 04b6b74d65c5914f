"""`brique outbox`: another name of `brique spool list`."""

from __future__ import annotations

import copy

from brique.cli.spool import list_

outbox = copy.copy(list_)
outbox.name = "outbox"
outbox.help = "List the commands that wait to be sent or that a person must decide: `brique spool list`."
