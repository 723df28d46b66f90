"""Speed of search and encoding without a network: what a simulation costs beside the evaluator's time."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ringrift import _core
from ringrift.encoding import GLOBALS, PLANES, encode, policy_length
from ringrift.evaluators import UniformEvaluator
from ringrift.rules import config_info
from ringrift.search.positions import middle_positions
from ringrift.search.settings import TreeMemory, TreeSettings
from ringrift.search.tree import pool_settings


def rows(
    configs: Sequence[str], settings: TreeSettings, games: int = 64, batch: int = 256, repeats: int = 5
) -> Iterator[dict[str, Any]]:
    """A row per config; CPU time, the median of `repeats` searches of the same positions with made-up answers.

    A simulation is a new position that is not an end: generated, encoded, its priors stored. Visits of ends are
    counted apart; there is no cache. The memory of the trees is warm, as in self-play. The signature covers the choices
    and visits of all searches.
    """
    for config in configs:
        info, positions = config_info(config), middle_positions(config, games)
        rng = np.random.default_rng(1)
        planes = np.empty((batch, PLANES, info.height, info.width), np.uint8)
        globals_ = np.empty((batch, GLOBALS), np.float32)
        # Whole sixteenths: the sums of two logits are exact.
        logits = rng.integers(-32, 33, (batch, policy_length(config))).astype(np.float32) / np.float32(16)
        values = rng.dirichlet(np.ones(info.players), 4096).astype(np.float32)
        pool = _core.SearchPool(config, pool_settings(UniformEvaluator(config), settings, TreeMemory(cache_mib=0)))
        spent, encoding = [], []
        for _ in range(1 + repeats):
            start = time.process_time()
            for _ in range(4):
                encode(positions)
            encoding.append((time.process_time() - start) / (4 * games))
            pool.clear()
            evaluated, start = 0, time.process_time()
            for seed, game in enumerate(positions):
                pool.add(game, seed)
            while count := pool.collect(planes, globals_):
                pool.feed(logits[:count], values[evaluated % (4096 - batch) :][:count])
                evaluated += count
            spent.append((time.process_time() - start) / evaluated)
        outcomes = [pool.outcome(index) for index in range(games)]
        digest = hashlib.sha256()
        for choice, _, _, visits, *_ in outcomes:
            digest.update(np.array([choice, *visits], np.int64).tobytes())
        counts = np.array([o[5] for o in outcomes]).sum(0).tolist()
        yield {
            "config": config,
            "search": type(settings).__name__.removesuffix("Settings").lower(),
            "simulations": settings.simulations,
            "games": games,
            "us_per_simulation": round(1e6 * float(np.median(spent[1:])), 2),
            "encoded_per_s": round(1 / float(np.median(encoding[1:]))),
            "evaluations": counts[1],
            "cached": counts[2],
            "terminal_visits": counts[3],
            "moves_per_position": round(float(np.mean([len(o[1]) for o in outcomes])), 1),
            "signature": digest.hexdigest()[:16],
        }
