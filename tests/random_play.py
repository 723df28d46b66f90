"""Random play for the tests of the rules."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from ringrift.rules import CONFIGS, Game, Options


def random_game(config="square8_2p", plies=10_000, seed=0, options=None):
    """A game of at most so many uniformly random plies."""
    game, rng = Game(config, options), np.random.default_rng(seed)
    while not game.is_over and game.ply < plies:
        playable = game.playable_packed()
        game.push_packed(int(playable[rng.integers(len(playable))]))
    return game


def numbered(record, *numbers):
    """The binary form of a record that is no other one's by its content; it does not replay."""
    moves = np.append(record.moves, np.array(numbers, np.uint32))
    return replace(record, moves=moves).to_bytes()


OPTIONS = st.builds(
    Options,
    swap_rule=st.booleans(),
    rings_per_player=st.sampled_from([None, None, 3, 5, 9]),
    lps_rounds=st.sampled_from([3, 3, 1, 2]),
)


def games(plies=300):
    """Games somewhere on their way: all configs, options, and lengths up to `plies`."""
    return st.builds(random_game, st.sampled_from(CONFIGS), st.integers(0, plies), st.integers(0, 2**32 - 1), OPTIONS)
