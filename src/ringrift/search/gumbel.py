"""Gumbel search over an evaluator: many positions, or whole games of self-play, at once. The trees are in the core."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ringrift import _core
from ringrift.encoding import GLOBALS, PLANES
from ringrift.errors import RulesError
from ringrift.evaluators import Evaluator
from ringrift.rules import Game, Move, config_info
from ringrift.search.settings import GumbelSettings


@dataclass(frozen=True)
class SearchResult:
    """What a search found out about one position. The order of the moves is that of `game.playable_moves()`."""

    move: Move
    """the move that the search chooses"""
    policy: NDArray[np.float32]  # [A]
    """the prior improved by the completed action values: the policy target"""
    root_value: NDArray[np.float32]  # [P]
    """each seat's probability of winning: the mean over the root's own evaluation and all visits"""
    visits: NDArray[np.int32]  # [A]
    """sum to the budget"""
    nodes: int
    """positions evaluated, the root included; ends of the game need none"""


@dataclass(frozen=True)
class FinishedGame:
    """A game of self-play and its searches. D: plies at which there was a search."""

    index: int
    """what `add` returned"""
    winner: int
    moves: NDArray[np.uint32]
    """packed moves after the position that was added"""
    ply: NDArray[np.int32]  # [D]
    """counted from that position"""
    offsets: NDArray[np.int32]  # [D + 1]
    """into `policy`"""
    policy: NDArray[np.float16]
    """improved policies over the playable lists, one after the other"""
    root_value: NDArray[np.float16]  # [D, P]
    """each seat's probability of winning, by absolute seat"""
    simulations: int
    evaluations: int


def core_settings(settings: GumbelSettings) -> _core.GumbelSettings:
    """`settings` for the core."""
    return _core.GumbelSettings(
        settings.simulations, settings.considered, settings.c_visit, settings.c_scale, settings.gumbel_scale
    )


class Batch:
    """Room for the leaves of `rows` games of one config, and the way from a pool through an evaluator and back."""

    def __init__(self, evaluator: Evaluator, rows: int) -> None:
        info = config_info(evaluator.config)
        self.evaluator = evaluator
        self.planes = np.empty((rows, PLANES, info.height, info.width), np.uint8)
        self.globals_ = np.empty((rows, GLOBALS), np.float32)

    def step(self, pool: _core.LeafSource) -> int:
        """Evaluates one batch of the pool; how many positions that were, 0 when the pool has nothing left to do."""
        rows = pool.collect(self.planes, self.globals_)
        if rows:
            logits, values = self.evaluator.evaluate(self.planes[:rows], self.globals_[:rows])
            pool.feed(np.ascontiguousarray(logits, np.float32), np.ascontiguousarray(values, np.float32))
        return rows


def search(
    games: Sequence[Game],
    evaluator: Evaluator,
    settings: GumbelSettings,
    seeds: Sequence[int],
    max_batch: int = 256,
) -> list[SearchResult]:
    """Searches each game with its seed; the evaluator is asked for up to `max_batch` positions at a time.

    A game with one playable move is not searched: its `root_value` is that of the next position with a choice. The
    result of a game depends on its seed, not on the games beside it, as far as that holds of the evaluator.

    Raises:
        RulesError: a game that is over or of another config than the evaluator's; not one seed for each game.
    """
    if len(games) != len(seeds):
        raise RulesError(f"{len(games)} games need as many seeds, not {len(seeds)}")
    if not games:
        return []
    pool = _core.SearchPool(evaluator.config, core_settings(settings))
    for game, seed in zip(games, seeds, strict=True):
        pool.add(game, seed)
    batch = Batch(evaluator, min(len(games), max_batch))
    while batch.step(pool):
        pass
    results = []
    for index, game in enumerate(games):
        choice, moves, policy, visits, root_value, _, nodes = pool.outcome(index)
        results.append(SearchResult(game.move(int(moves[choice])), policy, root_value, visits, nodes))
    return results


class SelfplayPool:
    """Games that play themselves in the core, `slots` at a time; Python only passes batches to the evaluator.

    Games are put in with `add`, from any position; `play` yields each as it ends. One thread uses a pool.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        settings: GumbelSettings,
        slots: int = 32,
        temperature_plies: int = 0,
        keep_search: bool = True,
    ) -> None:
        """`temperature_plies`: for so many searched plies of a game, its move is drawn from the improved policy."""
        self._pool = _core.SelfplayPool(
            evaluator.config, core_settings(settings), slots, temperature_plies, keep_search
        )
        self._batch = Batch(evaluator, slots)

    def add(self, game: Game, seed: int) -> int:
        """Puts a game in the queue, to go on from where it stands; its index, counted from 0."""
        return self._pool.add(game, seed)

    @property
    def unfinished(self) -> int:
        """Games that wait or are being played."""
        return self._pool.waiting + self._pool.playing

    def play(self) -> Iterator[FinishedGame]:
        """Plays until the queue is empty and all games are over; games may be added meanwhile."""
        while self._batch.step(self._pool) or self.unfinished:
            yield from self._finished()
        yield from self._finished()

    def _finished(self) -> Iterator[FinishedGame]:
        for index, winner, moves, ply, offsets, policy, value, simulations, evaluations in self._pool.finished():
            half = policy.astype(np.float16), value.astype(np.float16)
            yield FinishedGame(index, winner, moves, ply, offsets, *half, simulations, evaluations)
