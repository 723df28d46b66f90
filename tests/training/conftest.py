"""Shards of made-up samples with something to learn: the mover wins and plays to the left where plane 1 is full."""

from pathlib import Path

import numpy as np
import pytest

from ringrift.encoding import GLOBALS, PLANES, policy_length
from ringrift.rules import config_info
from ringrift.store.samples import Sample, ShardBuilder


@pytest.fixture(scope="session")
def make_shard():
    return shard


def shard(path: Path, config: str = "square8_2p", samples: int = 300, seed: int = 0, games: int = 1) -> Path:
    rng, info = np.random.default_rng(seed), config_info(config)
    builder = ShardBuilder(config)
    made = []
    for number in range(samples):
        planes = (rng.random((PLANES, info.height, info.width)) < 0.1).astype(np.uint8)
        left = bool(rng.integers(2))
        planes[0], planes[1] = 1, left
        moves = int(rng.integers(2, 30))
        addresses = rng.choice(policy_length(config) - 2, (moves, 2)).astype(np.int32) + 2
        addresses[rng.random(moves) < 0.8, 1] = -1
        addresses[0], addresses[1], target = (0, -1), (1, -1), np.full(moves, 0.1 / (moves - 1), np.float32)
        target[0 if left else 1] = 0.9
        value = np.roll(np.eye(info.players, dtype=np.float32)[0], 0 if left else 1)
        ranks = (2 - value).astype(np.uint8)
        globals_ = rng.random(GLOBALS).astype(np.float32)
        ownership = rng.integers(0, info.players + 1, (info.height, info.width), np.uint8)
        shares, left_over = rng.random((2, info.players), np.float32), int(rng.integers(300))
        ending, game = (ownership, shares, left_over), 1 + number % games
        values = (value, value, np.stack([value, value]), ranks)
        made.append(Sample(planes, globals_, addresses, target, 1.0, *values, *ending, number, game, 0))
    for game in range(games):
        builder.add(game + 1, made[game::games])
    path.write_bytes(builder.content())
    return path
