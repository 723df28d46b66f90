"""The process of one job: `python -m ringrift.pipeline.child RUN JOB FENCE NICE`; see `ringrift.kernel.child`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from ringrift.fabric.workers import process_name
from ringrift.kernel.child import Telling, claimed, main
from ringrift.pipeline.table import run_job
from ringrift.store import RunDirectory


def do(directory: str, id_: str, fence: int, telling: Telling) -> dict[str, object]:
    """Does the job of that id, if it is still the one that was claimed with that fence. Raises what it raises."""
    with RunDirectory.open(Path(directory)) as run:
        job = claimed(run.fabric.jobs, id_, fence)
        return run_job(run, job, f"job {id_} in {process_name()}", telling.show)


if __name__ == "__main__":
    directory, job, claim, niceness = sys.argv[1:]
    main(partial(do, directory, job, int(claim)), int(niceness))
