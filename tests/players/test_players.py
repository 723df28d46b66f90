"""Every player, on every config: a legal decision per game, from its generator alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ringrift.errors import CorruptBlob, RulesError
from ringrift.players import PLAYERS, choose
from ringrift.rules import CONFIGS, Game, config_info
from ringrift.search import GumbelSettings
from ringrift.selfplay import random_opening

SEARCH = GumbelSettings(simulations=4, considered=4)


def positions(config: str) -> list[Game]:
    games = []
    for plies in (0, 3, 10, 25):
        game = Game(config)
        for move in random_opening(config, plies, seed=plies):
            game.push(game.move(move))
        games.append(game)
    return games


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("name", PLAYERS)
def test_contract(name: str, config: str) -> None:
    player, games = choose(name, config, SEARCH).make(), positions(config)
    before = [game.text() for game in games]
    decisions = player.decide(games, [np.random.default_rng(i) for i in range(len(games))])
    assert [game.text() for game in games] == before
    assert len(decisions) == len(games)
    for game, decision in zip(games, decisions, strict=True):
        playable = game.playable_moves()
        assert decision.move in playable
        if decision.policy is not None:
            assert decision.policy.shape == (len(playable),)
            assert decision.policy.sum() == pytest.approx(1, abs=1e-3)
        if decision.value_by_seat is not None:
            assert decision.value_by_seat.shape == (config_info(config).players,)
            assert decision.value_by_seat.sum() == pytest.approx(1, abs=1e-3)
    alone = [player.decide([game], [np.random.default_rng(i)])[0] for i, game in enumerate(games)]
    assert [one.move for one in alone] == [one.move for one in decisions]
    shared = [player.decide(games, np.random.default_rng(7)) for _ in range(2)]
    assert [one.move for one in shared[0]] == [one.move for one in shared[1]]


def test_names_that_are_not_players() -> None:
    with pytest.raises(RulesError, match="unknown player 'gumbl'; did you mean 'gumbel'"):
        choose("gumbl", "square8_2p")
    with pytest.raises(RulesError, match="models are found in a run directory"):
        choose("best", "square8_2p")
    with pytest.raises(RulesError, match="unknown config"):
        choose("random", "square9_2p")


def test_a_file_that_is_no_network(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(CorruptBlob, match=r"x\.onnx"):
        choose("best", "square8_2p", models=lambda name: ("m-1", tmp_path / "x.onnx")).make()


def test_players_need_numpy_alone() -> None:
    code = "import sys, ringrift.players; assert not {'torch', 'onnxruntime', 'rich', 'sqlite3'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
