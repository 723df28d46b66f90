"""One search per position, and its tree read out: best lines, visits, values by seat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringrift.encoding import encode
from ringrift.errors import DataError, RulesError
from ringrift.evaluators import Evaluator
from ringrift.players import CACHE_MIB, Limit
from ringrift.rules import Game, Move
from ringrift.search import GumbelSettings, Searcher, SearchResult, TreeMemory, TreeSettings


@dataclass(frozen=True)
class AnalysisSettings:
    """How positions are looked at."""

    search: TreeSettings = field(default_factory=lambda: GumbelSettings(simulations=150, gumbel_scale=0.0))
    """The search; without noise, so that the same question has the same answer."""
    top: int = 0
    """So many moves are told of, the most visited ones; 0: all that were visited."""
    max_batch: int = 256
    """Positions that are evaluated in one call."""

    def __post_init__(self) -> None:
        if self.top < 0 or self.max_batch < 1:
            raise ValueError(f"top is {self.top} and max_batch {self.max_batch}; right is 0 or more, and 1 or more")


@dataclass(frozen=True)
class MoveAnalysis:
    """What a search says of one move of the position."""

    move: Move
    visits: int
    prior: float
    """probability by the evaluator alone"""
    policy: float
    """probability after the search"""
    value_by_seat: NDArray[np.float32]  # [P]
    """each seat's probability of winning after the move: the mean over its visits"""
    line: tuple[Move, ...]
    """the best line: the most visited moves from here on, with the plies between that have no choice"""


@dataclass(frozen=True)
class Analysis:
    """What a search says of a position."""

    game: Game
    """a copy of the position"""
    best: Move
    """the move that the search chooses"""
    value_by_seat: NDArray[np.float32]  # [P]
    """each seat's probability of winning"""
    simulations: int
    evaluations: int
    moves: tuple[MoveAnalysis, ...]
    """the visited ones, most visits first, then by the mover's value, then in the order of the playable list"""
    ownership: NDArray[np.float32] | None = None  # [1 + P, H, W]
    """probability that a cell is nobody's territory at the end, or which seat's; None where the evaluator cannot say"""

    def to_dict(self) -> dict[str, Any]:
        """The analysis as JSON can hold it."""
        return {
            "position": self.game.text(),
            "to_move": self.game.to_move,
            "best": self.best.text,
            "value_by_seat": _rounded(self.value_by_seat),
            "simulations": self.simulations,
            "evaluations": self.evaluations,
            "moves": [
                {
                    "move": one.move.text,
                    "visits": one.visits,
                    "prior": round(one.prior, 5),
                    "policy": round(one.policy, 5),
                    "value_by_seat": _rounded(one.value_by_seat),
                    "line": [move.text for move in one.line],
                }
                for one in self.moves
            ],
            "ownership": None if self.ownership is None else self.ownership.round(3).tolist(),
        }


def _rounded(values: NDArray[np.float32]) -> list[float]:
    return [round(float(value), 5) for value in values]


def analyse(
    games: Sequence[Game],
    evaluator: Evaluator,
    settings: AnalysisSettings = AnalysisSettings(),
    limit: Limit = Limit(),
) -> list[Analysis]:
    """Searches the games and tells what was found; the searches share the evaluator's calls.

    A limit of simulations takes the place of the settings' budget, one of seconds holds for all games together. Raises
    `RulesError` for a game that is over or of another config than the evaluator's.
    """
    if not games:
        return []
    for game in games:
        if game.is_over:
            raise RulesError("the game is over: there is nothing to analyse")
    memory = TreeMemory(reuse=limit.seconds is not None, cache_mib=CACHE_MIB)
    searcher = Searcher(evaluator, settings.search, memory, settings.max_batch)
    results = searcher.search(games, [0] * len(games), simulations=limit.simulations, seconds=limit.seconds)
    return [
        _read(game, results[index], searcher.tree(index), owners, settings.top)
        for index, (game, owners) in enumerate(zip(games, owned(games, evaluator), strict=True))
    ]


def owned(games: Sequence[Game], evaluator: Evaluator) -> list[NDArray[np.float32] | None]:
    """Ownership [1 + P, H, W] by absolute seat of each game, where the evaluator says more than policy and value."""
    full = getattr(evaluator, "evaluate_full", None)
    if full is None:
        return [None] * len(games)
    try:
        rotated = full(*encode(games)).ownership
    except DataError:  # a network without the heads
        return [None] * len(games)
    return [
        np.concatenate([own[:1], np.roll(own[1:], game.to_move - 1, axis=0)])
        for game, own in zip(games, rotated, strict=True)
    ]


def _read(
    game: Game,
    result: SearchResult,
    tree: dict[str, NDArray[Any]],
    owners: NDArray[np.float32] | None,
    top: int,
) -> Analysis:
    playable = game.playable_moves()
    children: dict[int, list[int]] = {}
    for node, parent in enumerate(tree["parent"].tolist()):
        children.setdefault(parent, []).append(node)
    means = subtree_values(tree)

    def liking(node: int) -> tuple[int, float]:
        """Visits, then the value for the seat that chooses the node's move."""
        return int(tree["visits"][node]), float(means[node, tree["to_move"][tree["parent"][node]]])

    def line(node: int) -> tuple[Move, ...]:
        ahead, found = game.copy(), list[Move]()
        while True:
            move = ahead.move(int(tree["move"][node]))
            ahead.push(move)
            found += [move, *ahead.advance_forced()]
            if not (following := [child for child in children.get(node, []) if tree["visits"][child]]):
                return tuple(found)
            node = max(following, key=liking)  # the first of equal ones

    index_of = {int(move): index for index, move in enumerate(playable)}
    tried = [node for node in children.get(0, []) if tree["visits"][node]]
    tried.sort(key=lambda node: index_of[int(tree["move"][node])])
    tried.sort(key=liking, reverse=True)
    moves = []
    for node in tried[: top or None]:
        index = index_of[int(tree["move"][node])]
        said = float(tree["prior"][node]), float(result.policy[index]), means[node]
        moves.append(MoveAnalysis(playable[index], int(result.visits[index]), *said, line(node)))
    found = result.move, result.root_value, result.simulations, result.nodes
    return Analysis(game.copy(), *found, tuple(moves), owners)


def subtree_values(tree: dict[str, NDArray[Any]]) -> NDArray[np.float32]:  # [N, P]
    """For each node the mean, over all visits, of what was found at it and below it: values by seat."""
    # A visit ends in a new node or in an end of the game; a search that time cut off leaves nodes without a visit.
    times = np.where(tree["terminal"], tree["visits"], np.minimum(tree["visits"], 1)).astype(np.float64)
    times[0] = 1
    sums, parent = tree["value"] * times[:, None], tree["parent"]
    for node in range(len(parent) - 1, 0, -1):  # children come after their parents
        sums[parent[node]] += sums[node]
        times[parent[node]] += times[node]
    means: NDArray[np.float32] = (sums / np.maximum(times, 1)[:, None]).astype(np.float32)
    return means
