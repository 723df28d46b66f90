"""What a loop leaves outside its run directory."""

import json
from pathlib import Path

from ringrift.cli.places import keep_round
from ringrift.pipeline.loop import Round
from ringrift.settings import Places
from ringrift.store import ModelStore, RunDirectory


def test_the_log_is_in_the_run_unless_it_has_a_place(tmp_path: Path) -> None:
    for places, logs in ((Places(), tmp_path / "run" / "logs"), (Places(logs=tmp_path / "l"), tmp_path / "l")):
        for number in (1, 2):
            keep_round(places, tmp_path / "run", Round("hex8_2p", number))
        lines = (logs / "loop-hex8_2p.jsonl").read_text().splitlines()
        assert [json.loads(line)["round"] for line in lines] == [1, 2]


def test_a_promoted_network_is_put_in_its_place(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run") as run:
        checkpoint, onnx = run.fabric.blobs.put(b"weights", ".safetensors"), run.fabric.blobs.put(b"network", ".onnx")
        model = ModelStore(run).register(
            "hex8_2p", checkpoint, onnx, settings={}, parents=(), metrics={}, role="candidate"
        )
        places = Places(models=tmp_path / "models")
        keep_round(places, run.path, Round("hex8_2p", 1, candidate=model))
        assert not (tmp_path / "models").exists()
        keep_round(places, run.path, Round("hex8_2p", 2, candidate=model, promoted=True))
    assert (tmp_path / "models" / "hex8_2p.onnx").read_bytes() == b"network"
