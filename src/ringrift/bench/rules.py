"""Speed of the rules: uniformly random play to the end with the whole legal list made at every ply."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any

import numpy as np

from ringrift.rules import CONFIGS, GameBatch, config_info

FIRST_SEED = 1000
"""Seed of the first game of every measurement; game i draws from FIRST_SEED + i."""


def rows(
    configs: Sequence[str] = CONFIGS, threads: Sequence[int] = (1,), *, games: int | None = None, repeats: int = 5
) -> Iterator[dict[str, Any]]:
    """One row per config and thread count: the median of `repeats` runs over the same games.

    `plies_per_s`, `decisions_per_s` and `games_per_s` are per second of CPU time with one thread, since other programs
    disturb wall time, and of wall time with several, since that is what several threads are for. `checksum` holds
    games, plies, decisions, legal moves, winning seats and the xor of all keys: the same on every machine.
    """
    for config in configs:
        count = games or (400 if config_info(config).width > 10 else 4000)
        for n in threads:
            clock = time.process_time if n == 1 else time.perf_counter
            runs = [_run(config, count, n, clock) for _ in range(repeats)]
            seconds, tally = statistics.median(s for s, _ in runs), runs[0][1]
            yield {
                "config": config,
                "threads": n,
                "plies_per_s": round(tally["plies"] / seconds),
                "decisions_per_s": round(tally["decisions"] / seconds),
                "games_per_s": round(tally["games"] / seconds, 1),
                "decision_share": round(tally["decisions"] / tally["plies"], 3),
                "checksum": tally,
            }


def _run(config: str, games: int, threads: int, clock: Callable[[], float]) -> tuple[float, dict[str, int]]:
    batch = GameBatch(config, games)
    seeds = np.arange(FIRST_SEED, FIRST_SEED + games, dtype=np.uint64)
    began = clock()
    batch.random_playout(seeds, threads)
    return clock() - began, batch.tally


def signature(checksums: Sequence[dict[str, int]]) -> str:
    """Sixteen hex digits that change when the rules play differently."""
    return sha256(repr([sorted(c.items()) for c in checksums]).encode()).hexdigest()[:16]


def python_chess(games: int = 20) -> dict[str, Any] | None:
    """Random play of python-chess for comparison: list the legal moves, push one, until checkmate, stalemate or 75
    moves without progress; plies per second of CPU time. None where it is not installed."""
    try:
        import chess
    except ModuleNotFoundError:
        return None
    import random

    rng, plies, began = random.Random(0), 0, time.process_time()
    for _ in range(games):
        board = chess.Board()
        while moves := list(board.legal_moves):
            if board.is_seventyfive_moves():
                break
            board.push(rng.choice(moves))
            plies += 1
    return {"engine": f"python-chess {chess.__version__}", "plies_per_s": round(plies / (time.process_time() - began))}
