"""What a loop leaves outside its run directory: the log, and the promoted network for other programs."""

import dataclasses
import json
import time
from pathlib import Path

from ringrift.fabric import write_atomically
from ringrift.pipeline.loop import Round
from ringrift.settings import Places
from ringrift.store import ModelStore, RunDirectory


def keep_round(places: Places, directory: Path, done: Round) -> None:
    """Appends the round to the log of its config; copies the network that it promoted to `places.models`, if set."""
    logs = places.logs or directory / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    line = {"at": round(time.time(), 1), "run": str(directory), **dataclasses.asdict(done)}
    with (logs / f"loop-{done.config}.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(line, default=str) + "\n")
    if places.models and done.promoted:
        with RunDirectory.open(directory) as run:
            network = ModelStore(run).show(done.candidate).network
            places.models.mkdir(parents=True, exist_ok=True)
            write_atomically(places.models / f"{done.config}.onnx", run.fabric.blobs.get(network))
