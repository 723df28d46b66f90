"""The ladder: ten levels on every config, with and without a network, and what they cost."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ringrift.encoding import ENCODING_HASH
from ringrift.errors import DataError, RulesError
from ringrift.evaluators import OnnxEvaluator, shipped
from ringrift.nets import export_onnx, initial_checkpoint, random_positions
from ringrift.players import PLAYERS, Limit, choose, needs_run
from ringrift.players.ladder import CEILING, LEVELS, PLANNED, choose_level, cost, ladder
from ringrift.rules import CONFIGS
from ringrift.search.positions import middle_positions


def network(name: str) -> tuple[str, Path]:
    return f"m-{name}", Path("x.onnx")


@pytest.fixture
def nothing_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "NETWORKS", tmp_path / "nothing")


@pytest.mark.usefixtures("nothing_shipped")
@pytest.mark.parametrize("config", CONFIGS)
def test_every_level_has_a_player_without_a_network_and_says_so(config: str) -> None:
    (game,) = middle_positions(config, 1)
    for level, row in zip(LEVELS, ladder(config), strict=True):
        assert row.level == level
        found = choose_level(config, level)
        assert found.choice.randomness == row.randomness
        few = replace(found.choice, limit=Limit(simulations=100)) if found.choice.limit else found.choice
        assert few.make().play(game, rng=np.random.default_rng(1)).move in game.playable_moves()
        if row.fallback is None:
            assert found.fallback is None
        else:
            assert found.choice.spec == row.fallback
            assert f"{row.fallback} plays level {level} instead of {row.player}" in str(found.fallback)
        with_network = choose_level(config, level, network)
        assert with_network.fallback is None
        assert with_network.choice.limit == row.limit
        assert (with_network.choice.network is not None) == (row.fallback is not None)
        assert with_network.choice.spec in PLAYERS


def test_levels_get_harder() -> None:
    for config in CONFIGS:
        rows = ladder(config)
        shares = [row.randomness for row in rows[1:]]
        assert shares == sorted(shares, reverse=True)
        budgets = [row.limit.simulations for row in rows if row.limit.simulations]
        assert budgets == sorted(set(budgets))
        assert all(row.limit.seconds == PLANNED < CEILING for row in rows[4:8])


def test_the_network_that_comes_with_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = initial_checkpoint("nano", "hex8_3p", 1)
    onnx, _ = export_onnx(checkpoint, random_positions("hex8_3p", 8), precision="float32")
    (tmp_path / "hex8_3p.onnx").write_bytes(onnx)
    (tmp_path / "hex8_3p.safetensors").write_bytes(checkpoint)
    monkeypatch.setattr(shipped, "NETWORKS", tmp_path)
    name = f"m-{hashlib.sha256(checkpoint).hexdigest()[:12]}"
    assert shipped.shipped_network("hex8_3p") == (name, tmp_path / "hex8_3p.onnx")
    assert choose("policy:shipped", "hex8_3p").name == f"policy:{name}"
    found = choose_level("hex8_3p", 8)
    assert found.choice.name == name
    assert found.choice.limit == ladder("hex8_3p")[7].limit
    assert str(found.fallback).startswith(
        f"{name}, which comes with the package, plays level 8 instead of best: no run"
    )
    (game,) = middle_positions("hex8_3p", 1)
    assert found.choice.make().play(game, rng=np.random.default_rng(1)).move in game.playable_moves()
    asked = {"shipped": False, "policy:shipped": False, "heuristic": False, "mixed:random,shipped": False, "best": True}
    assert {name: needs_run(name) for name in (*asked, "puct:m-12", "mixed:random,m-12")} == {
        **asked,
        "puct:m-12": True,
        "mixed:random,m-12": True,
    }
    with pytest.raises(DataError, match="no network of hex8_2p comes with the package, which has those of hex8_3p"):
        choose("shipped", "hex8_2p")
    monkeypatch.setattr(shipped, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="need onnxruntime"):
        choose("shipped", "hex8_3p")


@pytest.mark.parametrize("config", shipped.shipped_configs())
def test_shipped_networks_are_small_and_of_this_encoding(config: str) -> None:
    onnx, checkpoint = (shipped.NETWORKS / f"{config}{suffix}" for suffix in (".onnx", ".safetensors"))
    metadata = OnnxEvaluator(onnx).metadata
    assert (metadata.config, metadata.encoding_hash) == (config, ENCODING_HASH)
    assert metadata.checkpoint == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert max(onnx.stat().st_size, checkpoint.stat().st_size) <= 2_000_000


@pytest.mark.usefixtures("nothing_shipped")
def test_a_run_without_a_promoted_network() -> None:
    def nothing(name: str) -> tuple[str, Path]:
        raise DataError("no model is promoted yet")

    found = choose_level("hex8_2p", 9, nothing)
    assert found.choice.spec == "alpha-beta"
    assert found.fallback == "alpha-beta plays level 9 instead of best: no model is promoted yet"
    for level in (0, 11):
        with pytest.raises(RulesError, match="1 to 10 is right"):
            choose_level("hex8_2p", level)
    with pytest.raises(RulesError, match="unknown config"):
        choose_level("hex9_2p", 1)


def test_cost_without_a_network() -> None:
    """Every board, the dearest level that needs no network; far below the ceiling, so that a busy machine passes."""
    for config in ("square8_2p", "hex8_4p", "square19_3p", "hexagonal_4p"):
        median, high = cost(choose_level(config, 8).choice, middle_positions(config, 4))
        assert 0 < median <= high
        assert median < CEILING
