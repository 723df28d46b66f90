"""Processes killed at any instruction: no job is lost, and none has its effect twice."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ringrift.fabric import Database, JobState, LocalFabric

JOBS = 400
SINK = {1: "CREATE TABLE effects (work TEXT PRIMARY KEY, by INTEGER NOT NULL);\nCREATE TABLE tries (work TEXT);"}
WORKER = """
import os, sys, time
from pathlib import Path
from ringrift.errors import LeaseLost
from ringrift.fabric import Database, LocalFabric, LogEntry
directory = Path(sys.argv[1])
fabric, sink = LocalFabric(directory), Database(directory / "sink.db", {1: sys.argv[2]})
while True:
    for job in fabric.jobs.claim(str(os.getpid()), {"cores": 2}, ttl=1.0, limit=2):
        try:
            time.sleep(0.01)
            job = fabric.jobs.extend(job, {"at": 1}, ttl=1.0)
            with sink.transaction() as connection:
                connection.execute("INSERT INTO tries VALUES (?)", (job.id,))
                connection.execute("INSERT INTO effects VALUES (?, ?) ON CONFLICT DO NOTHING", (job.id, os.getpid()))
            fabric.log.append([LogEntry("Done", {"job": job.id}, f"Done/{job.id}")])
            fabric.jobs.finish(job, {"by": os.getpid()})
        except LeaseLost:
            pass
    fabric.jobs.wait(0.2)
"""
COORDINATOR = """
import sys, time
from pathlib import Path
from ringrift.fabric import Job, LocalFabric
fabric = LocalFabric(Path(sys.argv[1]))
for first in range(0, int(sys.argv[3]), 10):
    fabric.jobs.put([Job(f"job {n}", "play", needs={"cores": 1}, max_attempts=1000) for n in range(first, first + 10)])
    fabric.jobs.reap()
    time.sleep(0.05)
while True:
    fabric.jobs.reap()
    time.sleep(0.1)
"""


@pytest.mark.slow
def test_kill_9_of_anybody_loses_no_job_and_doubles_no_effect(tmp_path: Path) -> None:
    rng = random.Random(1)
    processes: dict[int, subprocess.Popen[bytes]] = {}
    code = [COORDINATOR, WORKER, WORKER, WORKER, WORKER]

    def start(which: int) -> None:
        command = [sys.executable, "-c", code[which], str(tmp_path), SINK[1], str(JOBS)]
        processes[which] = subprocess.Popen(command)

    fabric, sink = LocalFabric(tmp_path), Database(tmp_path / "sink.db", SINK)
    for which in range(len(code)):
        start(which)
    kills, end = 0, time.monotonic() + 20
    try:
        while time.monotonic() < end:
            time.sleep(rng.uniform(0.2, 0.8))
            which = rng.randrange(len(code))
            processes[which].kill()
            processes[which].wait()
            kills += 1
            start(which)
        end = time.monotonic() + 100
        while fabric.jobs.counts() != {("play", "", JobState.DONE): JOBS} and time.monotonic() < end:
            time.sleep(0.2)
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    assert kills > 20
    assert fabric.jobs.counts() == {("play", "", JobState.DONE): JOBS}
    assert [row["n"] for row in sink.rows("SELECT count(*) AS n FROM effects")] == [JOBS]
    assert sorted(entry.payload["job"] for entry in fabric.log.read(limit=2 * JOBS)) == sorted(  # type: ignore[type-var]
        f"job {n}" for n in range(JOBS)
    )
    fabric.check()
    sink.check()
    fabric.close()
    sink.close()
