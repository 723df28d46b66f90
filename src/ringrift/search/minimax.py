"""Depth-first searches over the linear evaluation: alpha-beta, paranoid, max^n, best-reply. They run in the core."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ringrift import _core
from ringrift._core import Stop
from ringrift.errors import RulesError
from ringrift.rules import Game, Move
from ringrift.search.settings import MinimaxSettings


@dataclass(frozen=True)
class MinimaxResult:
    """What a depth-first search found out about one position."""

    move: Move
    """best at `depth`, or better than that as far as a deeper search came"""
    value_by_seat: NDArray[np.float32]  # [P]
    """each seat's probability of winning at the end of the best line, by absolute seat"""
    depth: int
    """decisions that were looked ahead in full; 0 where the budget or the choice was too small"""
    nodes: int
    """positions evaluated and ends of the game visited"""
    best_line: tuple[Move, ...]
    """best play from here with all plies, those without a choice included; a table hit may cut it short"""
    decided: bool
    """the seat to move wins or loses for certain, as far as the rule sees the others' choices"""


def minimax(
    games: Sequence[Game],
    settings: MinimaxSettings,
    seeds: Sequence[int],
    *,
    threads: int = 1,
    seconds: float | None = None,
    stop: Stop | None = None,
) -> list[MinimaxResult]:
    """Searches each game until its nodes, its depth or, from when its search begins, its `seconds` are used up, or
    `stop` is set: then it answers with what it has.

    A move without an alternative is answered at once. Unless time or `stop` had a say, the result of a game depends on
    the position, the settings and its seed alone; the seed draws among moves found equal.

    Raises:
        RulesError: a game that is over or of another config than the first; not one seed for each game; `alpha-beta`
            for more than two seats; threads or seconds that are not above 0.
    """
    if len(games) != len(seeds):
        raise RulesError(f"{len(games)} games need as many seeds, not {len(seeds)}")
    if threads < 1 or (seconds is not None and not 0 < seconds < 1e6):
        raise RulesError(f"threads is {threads} and seconds is {seconds}; both must be above 0")
    s = settings
    found = _core.minimax(games, list(seeds), s.rule, s.nodes, s.depth, s.quiescence, s.table, threads, seconds, stop)
    results = []
    for game, (bits, value, depth, nodes, line, decided) in zip(games, found, strict=True):
        ahead, moves = game.copy(), []
        for ply in line:
            moves.append(ahead.move(ply))
            ahead.push_packed(ply)
        results.append(MinimaxResult(game.move(bits), value, depth, nodes, tuple(moves), decided))
    return results
