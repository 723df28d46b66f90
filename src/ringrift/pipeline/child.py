"""The process that does one job: `python -m ringrift.pipeline.child RUN JOB FENCE NICE`.

It tells its worker lines of JSON on standard output: progress (`done`, `total`, `rate`, `remark`), and at last the
`result`, or an `error` with its `traceback`. It ends at once when its standard input does, that is with its worker,
however that one ends.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ringrift.errors import JobError, LeaseLost, RulesError, SettingsError
from ringrift.pipeline.kind import Advance
from ringrift.pipeline.table import run_job
from ringrift.store import RunDirectory
from ringrift.store.provenance import process_name

TELL_SECONDS = 0.5  #: between two lines of progress


class Telling:
    """Says on a pipe how far the job is."""

    def __init__(self, pipe: TextIO) -> None:
        self._pipe = pipe

    def tell(self, said: dict[str, Any]) -> None:
        """One line."""
        self._pipe.write(json.dumps(said) + "\n")
        self._pipe.flush()

    @contextmanager
    def show(self, title: str, total: int) -> Iterator[Advance]:
        """A `Show`; the rate is since the first call of `advance`, which tells what was there already."""
        began, first, told = time.monotonic(), -1, 0.0

        def advance(done: int, remark: str) -> None:
            nonlocal began, first, told
            now = time.monotonic()
            if first < 0:
                began, first = now, done
            if now - told >= TELL_SECONDS or done >= total:
                told, spent = now, now - began
                rate = round((done - first) / spent, 2) if spent > 0.1 else 0.0
                self.tell({"title": title, "done": done, "total": total, "rate": rate, "remark": remark})

        yield advance


def do(directory: str, id_: str, fence: int, telling: Telling) -> None:
    """The job of that id, if it is still the one that was claimed with that fence. Raises what it raises."""
    with RunDirectory.open(Path(directory)) as run:
        job = run.fabric.jobs.get(id_)
        if job is None:
            raise JobError(f"{directory} has no job {id_}")
        if job.fence != fence:
            raise LeaseLost(f"job {id_} was given to {job.holder} meanwhile")
        telling.tell({"result": run_job(run, job, f"job {id_} in {process_name()}", telling.show)})


def _end_with_worker() -> None:
    os.read(sys.stdin.fileno(), 1)  # returns when the other end is closed
    os._exit(1)


def main(directory: str, id_: str, fence: str, nice: str) -> None:
    """Does the job; whatever else prints on standard output goes to standard error."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    threading.Thread(target=_end_with_worker, daemon=True).start()
    os.nice(int(nice))
    telling = Telling(pipe)
    try:
        do(directory, id_, int(fence), telling)
    except Exception as error:  # noqa: BLE001 - the job runner: whatever goes wrong is the job's failure
        sentence = f"{type(error).__name__}: {error}"
        retry = not isinstance(error, SettingsError | RulesError)
        telling.tell({"error": sentence, "traceback": traceback.format_exc(), "retry": retry})
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
