"""What a loop leaves outside its run directory: the log, and the promoted network for other programs."""

import dataclasses
import json
import time
from pathlib import Path

from ringrift.fabric import write_atomically
from ringrift.pipeline import Round
from ringrift.settings import Places
from ringrift.store import ModelStore, RunDirectory


def keep_round(places: Places, directory: Path, config: str, done: Round) -> None:
    """Appends the round to the log; copies the network that it promoted to `places.models`, where that is set."""
    logs = places.logs or directory / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    line = {"at": round(time.time(), 1), "run": str(directory), "config": config, **dataclasses.asdict(done)}
    with (logs / f"loop-{config}.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(line, default=str) + "\n")
    if places.models and done.promoted:
        with RunDirectory.open(directory) as run:
            onnx = ModelStore(run).show(done.candidate).onnx
            assert onnx is not None  # the loop exports every candidate
            places.models.mkdir(parents=True, exist_ok=True)
            write_atomically(places.models / f"{config}.onnx", run.fabric.blobs.get(onnx))
