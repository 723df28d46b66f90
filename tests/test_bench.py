"""The benchmark counts what a slow path, ply by ply in Python, counts too."""

import pytest

from ringrift.bench.rules import FIRST_SEED, python_chess, rows, signature
from ringrift.rules import Game, Move

MASK = (1 << 64) - 1


class SplitMix:
    """The generator of random play, written once more from its definition."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        return ((z ^ z >> 31) >> 32) * n >> 32


def slow_tally(config, games):
    tally = dict.fromkeys(("games", "plies", "decisions", "legal", "winners", "keys"), 0)
    for seed in range(FIRST_SEED, FIRST_SEED + games):
        game, random = Game(config), SplitMix(seed)
        while not game.is_over:
            legal = list(game.legal_moves)
            move = legal[random.below(len(legal)) if len(legal) > 1 else 0]
            if cells := game.extractions(move):
                move = game.parse_move(f"{move}@{cells[random.below(len(cells))]}")
            assert isinstance(move, Move)
            game.push(move)
            tally["plies"] += 1
            tally["decisions"] += len(legal) > 1
            tally["legal"] += len(legal)
            tally["keys"] ^= game.key
        tally["games"] += 1
        outcome = game.outcome()
        assert outcome is not None
        tally["winners"] += outcome.winner
    return tally


@pytest.mark.parametrize(
    ("config", "games"), [("square8_3p", 12), ("hex8_2p", 12), ("square19_4p", 1), ("hexagonal_2p", 1)]
)
def test_checksums_are_those_of_a_slow_path(config, games):
    one, two = rows((config,), (1, 2), games=games, repeats=1)
    assert one["checksum"] == two["checksum"] == slow_tally(config, games)
    assert one["decision_share"] >= 0.4
    assert signature([one["checksum"]]) != signature([{**one["checksum"], "legal": 0}])


def test_another_engine_is_timed_beside_it():
    reference = python_chess(games=1)
    assert reference is None or reference["plies_per_s"] > 0
