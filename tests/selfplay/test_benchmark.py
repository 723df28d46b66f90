import json
from dataclasses import replace

import pytest

from ringrift.errors import CorruptBlob
from ringrift.nets import export_onnx, initial_checkpoint, random_positions
from ringrift.players import PlayerChoice
from ringrift.selfplay import PlaySettings, benchmark
from ringrift.selfplay.benchmark import Stretch, measured, settings_here, this_machine

CONFIG = "square8_2p"


@pytest.fixture
def network(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "nano.onnx"
    positions = random_positions(CONFIG, 8)
    path.write_bytes(export_onnx(initial_checkpoint("nano", CONFIG), positions, precision="float32")[0])
    return path


def test_measured_once_read_back_and_ignored_elsewhere(network, monkeypatch):
    choice = PlayerChoice("a", CONFIG, "gumbel", network=network)
    open_, chosen = PlaySettings(), PlaySettings(processes=3, concurrent=5)
    assert settings_here(open_, [choice]) == PlaySettings(0, 32)
    seen = []
    found = benchmark.benchmark(
        CONFIG, network, batches=(2, 4), cores=1, seconds=0.2, simulations=4, progress=lambda *now: seen.append(now)
    )
    assert seen == [(1, 2), (2, 2)]
    assert [(row.processes, row.concurrent) for row in found.stretches] == [(1, 2), (1, 4)]
    for row in found.stretches:
        assert row.evaluations_per_s > 0 and 0 < row.network_share <= 1 and 0 < row.mean_batch <= row.concurrent
    path = found.keep()
    assert measured(CONFIG, network) == found
    assert settings_here(open_, [choice]) == PlaySettings(1, found.best.concurrent)
    assert settings_here(PlaySettings(processes=2), [choice]) == PlaySettings(2, found.best.concurrent)
    assert settings_here(chosen, [choice]) is chosen
    assert settings_here(open_, [PlayerChoice("random", CONFIG, "random")]) == PlaySettings(0, 32)

    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(benchmark, "cpu_model", lambda: "another processor")
        assert measured(CONFIG, network) is None
        assert settings_here(open_, [choice]) == PlaySettings(0, 32)
    for name in ("usable_cores", "__version__"):
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(benchmark, name, (lambda: 99) if name == "usable_cores" else "0.0.0")
            assert measured(CONFIG, network) is None
    path.write_text(json.dumps({"stretches": [{"processes": 1}]}))
    with pytest.raises(CorruptBlob, match="delete it"):
        measured(CONFIG, network)


def test_fewest_processes_and_games_among_the_fastest(network):
    rates = {(1, 8): 100, (1, 64): 196, (2, 8): 195, (2, 64): 200}
    rows = tuple(Stretch(*key, rate, 0.9, key[1]) for key, rate in rates.items())
    found = replace(this_machine(CONFIG, network), stretches=rows)
    assert (found.best.processes, found.best.concurrent) == (1, 64)
    assert found.network == "nano float32 .onnx"
