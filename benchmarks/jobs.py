"""What jobs cost: processor seconds of one of each kind, in a process of its own as a worker starts it.

    python benchmarks/jobs.py [GAMES]

Self-play by the random player (recording and storing the games is most of it), replaying, sampling, and a training of
one step. To compare two versions, run it in both, in turns.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from ringrift.fabric import Job
from ringrift.pipeline import Recipe, export, ingest, selfplay, smoke, train
from ringrift.pipeline.settings import keep_recipe
from ringrift.store import RunDirectory

CONFIG = "square8_2p"


def main(games: int) -> None:
    with tempfile.TemporaryDirectory() as place, RunDirectory.create(path := Path(place) / "run") as run:
        recipe = smoke(Recipe())
        keep_recipe(run.fabric.registry, CONFIG, replace(recipe, loop=replace(recipe.loop, steps=1)))
        for job in (
            selfplay.KIND.job("1", selfplay.SelfplayBatch(number=1, games=games, engine="random"), CONFIG),
            ingest.KIND.job("1", ingest.WaitingGames()),
            export.KIND.job("1", export.ValidGames(), CONFIG),
            train.KIND.job("1", train.Training(parent="", up_to=1 << 30), CONFIG),
        ):
            print(f"{job.kind:10} {seconds(run, path, job):7.2f} s of processor time", flush=True)


def seconds(run: RunDirectory, path: Path, job: Job) -> float:
    """Processor time of a job and of the processes that it starts."""
    run.fabric.jobs.put([job])
    (claimed,) = run.fabric.jobs.claim("benchmark", {"cores": 1, "memory": 1e12}, kinds=[job.kind])
    command = [sys.executable, "-m", "ringrift.pipeline.child", str(path), job.id, str(claimed.fence), "0"]
    before = os.times()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:  # ends with its stdin
        status = child.wait()
    assert status == 0, status
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000)
