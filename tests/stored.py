"""Short games for the tests of what is stored."""

from functools import cache

import numpy as np

from ringrift.rules import Game, Options, Record, SearchStats

CONFIG = "square8_2p"


@cache
def finished(seed: int, config: str = CONFIG, searched: bool = True, rings: int = 5) -> Record:
    """A short random game, with made-up search results for two of three decisions."""
    rng = np.random.default_rng(seed)
    game = Game(config, Options(rings_per_player=rings))
    plies, policies, full = [], [], []
    while not game.is_over:
        playable = game.playable_moves()
        if len(playable) > 1 and rng.random() < 0.67:
            plies.append(game.ply)
            policies.append(rng.dirichlet(np.ones(len(playable))).astype(np.float16))
            full.append(rng.random() < 0.5)
        game.push(playable[rng.integers(len(playable))])
    search = SearchStats(
        ply=np.array(plies, np.int32),
        offsets=np.cumsum([0, *map(len, policies)], dtype=np.int32),
        policy=np.concatenate(policies),
        root_value=rng.dirichlet(np.ones(game.num_seats), len(plies)).astype(np.float16),
        full=np.array(full, np.uint8),
    )
    return Record.from_game(game, seed=seed, players=("random",) * game.num_seats, search=search if searched else None)
