"""The linear evaluation and the player that looks one turn ahead with it."""

import numpy as np
import pytest

from ringrift import _core
from ringrift.errors import RulesError
from ringrift.rules import CONFIGS, Game
from ringrift.search import HEURISTIC_TABLE, greedy, heuristic_values


def match_random(config: str, games: int, seed: int = 0) -> float:
    """Share of games that greedy wins as one of the seats, the others moving at random."""
    rng = np.random.default_rng(seed)
    wins = 0
    for number in range(games):
        game, hero = Game(config), number % int(config[-2]) + 1
        while not game.is_over:
            moves = game._playable()
            if len(moves) > 1 and game.to_move == hero:
                game.push(greedy([game], [int(rng.integers(1 << 62))])[0])
            else:
                game._push(int(moves[rng.integers(len(moves))]))
        outcome = game.outcome()
        wins += outcome is not None and outcome.winner == hero
    return wins / games


@pytest.mark.parametrize("config", CONFIGS)
def test_values_are_probabilities_by_seat(config: str) -> None:
    rng, game = np.random.default_rng(3), Game(config)
    while not game.is_over:
        values = heuristic_values(game)
        assert values.shape == (game.num_seats,)
        assert values.sum() == pytest.approx(1, abs=1e-5)
        assert (values >= 0).all()
        moves = game._playable()
        game._push(int(moves[rng.integers(len(moves))]))
    outcome = game.outcome()
    assert outcome is not None
    assert heuristic_values(game).tolist() == [float(s + 1 == outcome.winner) for s in range(game.num_seats)]


def test_scores_are_weights_times_features() -> None:
    rng, game = np.random.default_rng(4), Game("square8_3p")
    for _ in range(60):
        moves = game._playable()
        game._push(int(moves[rng.integers(len(moves))]))
    features = _core.heuristic_features(game)
    assert features.shape == (3, len(HEURISTIC_TABLE))
    scores = features @ np.array([row.weights[1] for row in HEURISTIC_TABLE], np.float32)
    expected = np.exp(scores - scores.max())
    np.testing.assert_allclose(heuristic_values(game), expected / expected.sum(), rtol=1e-4)


def test_greedy_is_pure_and_seeded() -> None:
    game = Game("square8_2p")
    text = game.text()
    assert greedy([game, game], [1, 1])[0] == greedy([game], [1])[0]
    assert game.text() == text
    assert len({str(move) for move in greedy([game] * 20, range(20))}) > 1
    while not game.is_over:
        game._push(int(game._playable()[0]))
    with pytest.raises(RulesError, match="over"):
        greedy([game], [1])


def test_it_beats_random_play() -> None:
    assert match_random("square8_2p", 60) >= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
def test_it_beats_random_play_everywhere(config: str) -> None:
    small = config.startswith(("square8", "hex8"))
    assert match_random(config, 200 if small else 8) >= (0.97 if small else 0.8)
