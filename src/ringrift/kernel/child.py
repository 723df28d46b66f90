"""The process that does one job, and what it tells its worker.

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from ringrift.errors import JobError, LeaseLost, RulesError, SettingsError
from ringrift.fabric import Job, Jobs
from ringrift.kernel.kind import Advance

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


def claimed(jobs: Jobs, id_: str, fence: int) -> Job:
    """The job of that id. Raises `JobError` where there is none, `LeaseLost` where that claim is no more the last."""
    job = jobs.get(id_)
    if job is None:
        raise JobError(f"there is no job {id_}")
    if job.fence != fence:
        raise LeaseLost(f"job {id_} was given to {job.holder} meanwhile")
    return job


def _end_with_worker() -> None:
    os.read(sys.stdin.fileno(), 1)  # returns when the other end is closed
    os._exit(1)


def main(do: Callable[[Telling], dict[str, object]], nice: int) -> None:
    """Does the job and tells its result; whatever else prints on standard output goes to standard error."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    threading.Thread(target=_end_with_worker, daemon=True).start()
    os.nice(nice)
    telling = Telling(pipe)
    try:
        telling.tell({"result": do(telling)})
    except Exception as error:  # noqa: BLE001 - the job runner: whatever goes wrong is the job's failure
        sentence = f"{type(error).__name__}: {error}"
        retry = not isinstance(error, SettingsError | RulesError)
        telling.tell({"error": sentence, "traceback": traceback.format_exc(), "retry": retry})
        sys.exit(1)
