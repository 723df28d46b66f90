"""Analysis: the tree read out, against the search itself and against the lines played on the board."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from trees import HashEvaluator

from ringrift.analysis import AnalysisSettings, analyse
from ringrift.analysis.analysis import subtree_values
from ringrift.errors import DataError, RulesError
from ringrift.evaluators import UniformEvaluator
from ringrift.players import judged
from ringrift.rules import Game
from ringrift.search import GumbelSettings, search
from ringrift.search.positions import middle_positions

SETTINGS = AnalysisSettings(GumbelSettings(simulations=120, gumbel_scale=0.0))


@pytest.mark.parametrize("config", ["square8_2p", "hex8_3p", "square8_4p", "hexagonal_2p"])
def test_it_tells_what_the_search_found(config: str) -> None:
    games, evaluator = middle_positions(config, 3), HashEvaluator(config)
    results = search(games, evaluator, SETTINGS.search, [0, 0, 0])
    for game, result, found in zip(games, results, analyse(games, evaluator, SETTINGS), strict=True):
        playable = game.playable_moves()
        assert found.best == result.move
        assert found.value_by_seat.tobytes() == result.root_value.tobytes()
        assert sum(one.visits for one in found.moves) == found.simulations == 120
        prior = judged([game], evaluator)[0][0]
        for one in found.moves:
            index = playable.index(one.move)
            assert one.visits == result.visits[index] > 0
            assert one.policy == pytest.approx(float(result.policy[index]))
            assert one.prior == pytest.approx(float(prior[index]))
            assert one.value_by_seat.sum() == pytest.approx(1, abs=1e-5)
            assert one.line[0] == one.move
            ahead = game.copy()
            for move in one.line:  # legal, and nothing without a choice is left out
                ahead.push(move)
            assert ahead.is_over or len(ahead.playable_moves()) > 1
        assert [one.visits for one in found.moves] == sorted((one.visits for one in found.moves), reverse=True)
        # The root's mean is that of its moves and of its own evaluation.
        own = judged([game], evaluator)[0][1]
        total = own + sum(one.visits * one.value_by_seat for one in found.moves)
        np.testing.assert_allclose(total / 121, found.value_by_seat, atol=1e-4)


def test_lines_are_the_most_visited_moves() -> None:
    tree = {
        "parent": np.array([-1, 0, 0, 1, 1]),
        "terminal": np.array([0, 0, 0, 0, 1]),
        "visits": np.array([0, 4, 1, 1, 2]),
        "value": np.array([[0.5, 0.5], [0.2, 0.8], [0.4, 0.6], [0.6, 0.4], [1.0, 0.0]], np.float32),
    }
    expected = [[0.5, 0.5], [0.7, 0.3], [0.4, 0.6], [0.6, 0.4], [1.0, 0.0]]
    expected[0] = [(0.5 + 0.2 + 0.4 + 0.6 + 2) / 6, (0.5 + 0.8 + 0.6 + 0.4) / 6]
    np.testing.assert_allclose(subtree_values(tree), expected, rtol=1e-5)


def test_a_deep_line_grows_with_the_budget() -> None:
    game, evaluator = Game("square8_2p"), UniformEvaluator("square8_2p")
    lengths = []
    for simulations in (1, 400):
        settings = AnalysisSettings(GumbelSettings(simulations=simulations, considered=2, gumbel_scale=0.0), top=1)
        (found,) = analyse([game], evaluator, settings)
        assert len(found.moves) == 1
        lengths.append(len(found.moves[0].line))
    assert lengths[0] < lengths[1]


def test_a_position_without_a_choice() -> None:
    game, rng = Game("square8_2p"), np.random.default_rng(0)
    while len(moves := game.playable_packed()) > 1:
        game.push_packed(int(rng.choice(moves)))
    (found,) = analyse([game], HashEvaluator("square8_2p"))
    assert found.best == game.playable_moves()[0]
    assert found.value_by_seat.sum() == pytest.approx(1, abs=1e-5)


def test_bad_questions() -> None:
    over, rng = Game("square8_2p"), np.random.default_rng(0)
    while not over.is_over:
        over.push_packed(int(rng.choice(over.playable_packed())))
    with pytest.raises(RulesError, match="over"):
        analyse([over], UniformEvaluator("square8_2p"))
    with pytest.raises(RulesError, match="does not belong"):
        analyse([Game("hex8_2p")], UniformEvaluator("square8_2p"))
    with pytest.raises(ValueError, match="top is -1"):
        dataclasses.replace(SETTINGS, top=-1)
    assert analyse([], UniformEvaluator("square8_2p")) == []


class Owner(HashEvaluator):
    """Says that the seat to move gets the cell (1, 2)."""

    def evaluate_full(self, planes, globals_):
        ownership = np.zeros((len(planes), 1 + self.num_seats, *planes.shape[2:]), np.float32)
        ownership[:, 0] = 1
        ownership[:, :2, 1, 2] = [[0.25, 0.75]]
        return SimpleNamespace(ownership=ownership)


def test_ownership_is_by_absolute_seat() -> None:
    games = middle_positions("square8_3p", 6)
    assert {game.to_move for game in games} == {1, 2, 3}
    for game, found in zip(games, analyse(games, Owner("square8_3p"), SETTINGS), strict=True):
        assert found.ownership is not None
        assert found.ownership.shape == (4, 8, 8)
        assert found.ownership[game.to_move, 1, 2] == 0.75
        assert found.ownership[0, 1, 2] == 0.25
        np.testing.assert_allclose(found.ownership.sum(0), 1)
        assert found.to_dict()["ownership"][game.to_move][1][2] == 0.75
    assert analyse(games[:1], HashEvaluator("square8_3p"), SETTINGS)[0].ownership is None


def test_a_network_without_ownership_is_no_error() -> None:
    class Mute(HashEvaluator):
        def evaluate_full(self, planes, globals_):
            raise DataError("exported without forecasts")

    (found,) = analyse([Game("square8_2p")], Mute("square8_2p"), SETTINGS)
    assert found.ownership is None
    assert found.to_dict()["ownership"] is None
