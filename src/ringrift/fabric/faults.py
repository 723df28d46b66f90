"""Points at which a process may be told to die, so that tests can look at what it leaves behind.

Every durable change passes two of them: when it is about to become visible, and when it has. They are named after what
is written: `games.db`, `fabric.db`, `blobs/….onnx`, `training/….state`, `matches/….jsonl`.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

#: `FILE:N`: the names of the points that processes pass are noted in FILE, and whoever passes the N-th dies there as by
#: `kill -9`; 0: nobody does.
VARIABLE = "RINGRIFT_FAULTS"
_NAMES = re.compile(r"[0-9a-f]{8,}|[a-z0-9]+_[234]p")


def fault_point(what: Path | None, *, written: bool) -> None:
    """Does nothing, unless `RINGRIFT_FAULTS` says so. `what` is the file that is about to change, or has."""
    if (told := os.environ.get(VARIABLE)) is None or what is None:
        return
    file, _, number = told.rpartition(":")
    folder = what.parent.name if what.suffix not in (".db", ".json") else ""
    name = _NAMES.sub("…", f"{folder}/{what.name}".lstrip("/"))
    with Path(file).open("a+") as notes:
        notes.write(f"{'after' if written else 'before'} {name}\n")
        notes.flush()
        notes.seek(0)
        reached = sum(1 for _ in notes)
    if reached == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
