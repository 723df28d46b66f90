"""Shards of made-up samples with something to learn: the mover wins and plays to the left where plane 1 is full."""

from pathlib import Path

import numpy as np
import pytest
from sample_oracle import pack

from ringrift.encoding import ENCODING_HASH, GLOBALS, PLANES, policy_length
from ringrift.rules import config_info
from ringrift.store.samples import Samples


@pytest.fixture(scope="session")
def make_shard():
    return shard


def shard(path: Path, config: str = "square8_2p", samples: int = 300, seed: int = 0, games: int = 1) -> Path:
    path.write_bytes(made_up(config, samples, seed, games).to_bytes())
    return path


def made_up(config: str, samples: int, seed: int, games: int = 1) -> Samples:
    rng, info = np.random.default_rng(seed), config_info(config)
    planes = (rng.random((samples, PLANES, info.height, info.width)) < 0.1).astype(np.uint8)
    left = rng.random(samples) < 0.5
    planes[:, 0], planes[:, 1] = 1, left[:, None, None]
    lengths = rng.integers(2, 30, samples)
    addresses, targets = [], []
    for wins, moves in zip(left, lengths, strict=True):
        address = rng.choice(policy_length(config) - 2, (moves, 2)).astype(np.int32) + 2
        address[rng.random(moves) < 0.8, 1] = -1
        address[0], address[1], target = (0, -1), (1, -1), np.full(moves, 0.1 / (moves - 1))
        target[0 if wins else 1] = 0.9
        addresses.append(address)
        targets.append(target)
    seats = info.players
    value = np.eye(seats, dtype=np.float32)[np.where(left, 0, 1)]
    plane_bits, planes_packed = pack(planes)
    shares = rng.random((2, samples, seats)).astype(np.float16)
    return Samples(
        config=config,
        encoding_hash=ENCODING_HASH,
        games=np.arange(1, games + 1),
        box=np.array((PLANES, info.height, info.width), np.int32),
        plane_bits=plane_bits,
        planes_packed=planes_packed,
        globals=rng.random((samples, GLOBALS)).astype(np.float32),
        policy_offsets=np.cumsum([0, *lengths], dtype=np.int32),
        policy_address=np.concatenate(addresses),
        policy_target=np.concatenate(targets).astype(np.float16),
        policy_weight=np.ones(samples, np.float32),
        value_target=value,
        root_value=value.astype(np.float16),
        short_term_value=np.stack([value, value], 1).astype(np.float16),
        surprise=rng.exponential(size=samples).astype(np.float16),
        rank_target=(2 - value).astype(np.uint8),
        ownership=rng.integers(0, seats + 1, (samples, info.height, info.width), np.uint8),
        territory_share=shares[0],
        eliminated_share=shares[1],
        plies_left=rng.integers(0, 300, samples).astype(np.uint16),
        weight=np.ones(samples, np.float32),
        ply=np.arange(samples).astype(np.uint16),
        game_id=np.sort(1 + np.arange(samples) % games),
        symmetry=np.zeros(samples, np.uint8),
    )
