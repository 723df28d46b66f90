"""Search trees over an evaluator that needs no network, shared by the tests of the searches.

    .venv/bin/python tests/trees.py            # write tests/golden/search_trees.json again

The golden trees pin the behaviour of the searches, of the playable order and of the encoding.
"""

import hashlib
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringrift import _core
from ringrift.encoding import policy_length
from ringrift.evaluators import Evaluator
from ringrift.rules import Game, config_info
from ringrift.search import GumbelSettings, PuctSettings, TreeMemory, TreeSettings
from ringrift.search.tree import Batch, pool_settings

GOLDEN = Path(__file__).parent / "golden" / "search_trees.json"
#: How each golden position is searched.
SEARCHES: dict[str, TreeSettings] = {
    "gumbel": GumbelSettings(150, c_scale=0.1),
    "gumbel 4 candidates": GumbelSettings(60, considered=4),
    "puct": PuctSettings(150),
    "puct noise 8 leaves": PuctSettings(150, dirichlet_alpha=10.0, leaves=8),
}


class HashEvaluator:
    """Logits and values drawn by a checksum of the position: full of structure that a search must follow exactly."""

    def __init__(self, config: str) -> None:
        self.config = config
        self.num_seats = config_info(config).players
        self.batches: list[int] = []
        # Numbers with few binary digits: sums of them are exact, on every machine.
        rng = np.random.default_rng(0)
        self._logits = rng.integers(-64, 65, size=(61, policy_length(config))).astype(np.float32) / 16

    def evaluate(
        self, planes: NDArray[np.uint8], globals_: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.batches.append(len(planes))
        sums = [zlib.crc32(g.tobytes(), zlib.crc32(p.tobytes())) for p, g in zip(planes, globals_, strict=True)]
        logits = np.array([np.roll(self._logits[s % 61], s % 7919) for s in sums])
        shares = np.array([[1 + (s >> 3 * k + 2) % 16 for k in range(self.num_seats)] for s in sums], np.float32)
        return logits, shares / shares.sum(1, keepdims=True)


def random_game(config: str, plies: int, seed: int) -> Game:
    """A position with a choice after about so many random plies."""
    rng = np.random.default_rng(seed)
    game = Game(config)
    while game.ply < plies or len(game.playable_packed()) == 1:
        moves = game.playable_packed()
        game.push_packed(int(moves[rng.integers(len(moves))]))
        if game.is_over:
            game = Game(config)
    return game


def grow(
    games: Sequence[Game],
    evaluator: Evaluator,
    settings: TreeSettings,
    seed: int = 0,
    cache_mib: int = 0,
    rows: int = 16,
) -> list[tuple[Any, dict[str, NDArray[Any]]]]:
    """The outcomes and the trees of searches in one pool of the core, with the seeds `seed`, `seed` + 1 …"""
    pool = _core.SearchPool(evaluator.config, pool_settings(evaluator, settings, TreeMemory(cache_mib=cache_mib)))
    for i, game in enumerate(games):
        pool.add(game, seed + i)
    batch = Batch(evaluator, rows)
    while batch.step(pool):
        pass
    return [(pool.outcome(i), pool.tree(i)) for i in range(len(games))]


def digest(outcome: Any, tree: dict[str, NDArray[Any]]) -> str:
    """Of everything in a tree; sums are rounded, since the last bits depend on the mathematical library."""
    h = hashlib.sha256()
    for name in ("parent", "move", "plies", "to_move", "terminal", "visits"):
        h.update(tree[name].astype(np.int64).tobytes())
    h.update(np.rint(tree["sum"] * 1e3).astype(np.int64).tobytes())
    h.update(np.array([outcome[0], *outcome[3]], np.int64).tobytes())
    return h.hexdigest()[:16]


def digests(position: str) -> dict[str, str]:
    """The digest of each of SEARCHES on a position."""
    game = Game.parse(position)
    evaluator = HashEvaluator(game.config)
    return {name: digest(*grow([game], evaluator, settings, 2024)[0]) for name, settings in SEARCHES.items()}


if __name__ == "__main__":
    positions = {name: row["position"] for name, row in json.loads(GOLDEN.read_text()).items()}
    rows = {name: {"position": text, "trees": digests(text)} for name, text in positions.items()}
    GOLDEN.write_text(json.dumps(rows, indent=1) + "\n")
