"""`python -m brique.cli.trial FILE`: can this declaration be loaded? Prints what would have to start anew, as JSON.

A process of its own: what the file does when it is imported must not happen in one that goes on.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path

from brique.app import Run, declared_of
from brique.errors import BriqueError


def main(file: Path) -> int:
    try:
        declared = declared_of(Run((str(file),), {}))
    except BriqueError as fault:
        cause = fault.__cause__ or fault.__context__
        if cause is not None:
            print(_own(cause, file), file=sys.stderr)
        print(f"Error: {fault.message}" + (f"\nTry: {fault.try_this}" if fault.try_this else ""), file=sys.stderr)
        return 1
    tables = {name: repr(spec) for name, spec in declared.specs.items()}
    backends = {name: repr(backend) for name, backend in declared.backends.items()}
    print(json.dumps({"backends": backends, "tables": tables}))
    return 0


def _own(fault: BaseException, file: Path) -> str:
    """The traceback from the file itself on: how brique came to load it says nothing."""
    lines = traceback.TracebackException.from_exception(fault)
    places = [place for place, frame in enumerate(lines.stack) if Path(frame.filename) == file]
    if places:
        lines.stack = traceback.StackSummary.from_list(lines.stack[places[0] :])
    return "".join(lines.format()).rstrip()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
