"""Positions to check and calibrate networks on, where no games have been stored yet."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringrift.encoding import encode, policy_addresses
from ringrift.rules import Game


class Positions(NamedTuple):
    """Encoded positions with the addresses of their playable moves."""

    planes: NDArray[np.uint8]  # [B, C, H, W]
    globals: NDArray[np.float32]  # [B, G]
    offsets: NDArray[np.int32]  # [B + 1]: the moves of position b are rows offsets[b]:offsets[b + 1] of the addresses
    addresses: NDArray[np.int32]  # [sum A, 2]: of the move, and of its extraction cell or -1


def random_positions(config: str, count: int = 256, seed: int = 0) -> Positions:
    """`count` decisions met in random play, from the whole length of some games."""
    rng = np.random.default_rng(seed)
    found: list[Game] = []
    while len(found) < count:
        game, met = Game(config), []
        while not game.is_over:
            moves = game.playable_moves()
            if len(moves) > 1:
                met.append(game.ply)
            game.push(moves[rng.integers(len(moves))])
        chosen = set(rng.choice(met, min(max(16, count // 4), len(met)), replace=False).tolist())
        while game.ply:
            game.pop()
            if game.ply in chosen:
                found.append(game.copy())
    found = found[:count]
    addresses = [policy_addresses(game) for game in found]
    offsets = np.cumsum([0, *map(len, addresses)], dtype=np.int32)
    planes, globals_ = encode(found)
    return Positions(planes, globals_, offsets, np.concatenate(addresses))
