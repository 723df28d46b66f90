"""The ladder: ten levels on every config, with and without a network, and what they cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ringrift.errors import DataError, RulesError
from ringrift.players import PLAYERS, Limit
from ringrift.players.ladder import CEILING, LEVELS, PLANNED, choose_level, cost, ladder
from ringrift.rules import CONFIGS
from ringrift.search.bench import middle_positions


def network(name: str) -> tuple[str, Path]:
    return f"m-{name}", Path("x.onnx")


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
