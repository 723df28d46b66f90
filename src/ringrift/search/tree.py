"""Tree searches over an evaluator: many positions, or whole games of self-play, at once. The trees are in the core."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ringrift import _core
from ringrift._core import Stop
from ringrift.encoding import GLOBALS, PLANES
from ringrift.errors import RulesError
from ringrift.evaluators import Evaluator, HeuristicEvaluator
from ringrift.rules import Game, Move, config_info
from ringrift.search.settings import GumbelSettings, SearchEconomy, TreeMemory, TreeSettings

#: More simulations than any time allows.
ENDLESS = 1 << 24


@dataclass(frozen=True)
class SearchResult:
    """What a search found out about one position. The order of the moves is that of `game.playable_moves()`."""

    move: Move
    """the move that the search chooses"""
    policy: NDArray[np.float32]  # [A]
    """the policy target: for Gumbel the prior improved by the action values, for PUCT the shares of the visits"""
    root_value: NDArray[np.float32]  # [P]
    """each seat's probability of winning: the mean over the root's own evaluation and all visits"""
    visits: NDArray[np.int32]  # [A]
    """sum to the budget, and what was taken over from the last search"""
    nodes: int
    """positions evaluated, the root included; ends of the game, and positions that the cache knew, need none"""
    simulations: int
    """the budget, or what of it the time allowed"""
    cached: int
    """positions that the cache knew"""


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
    """the searches' policies over the playable lists, one after the other"""
    root_value: NDArray[np.float16]  # [D, P]
    """each seat's probability of winning, by absolute seat"""
    full: NDArray[np.uint8]  # [D]
    """1 where the search had its full budget: a policy target"""
    surprise: NDArray[np.float16]  # [D]
    """KL divergence in nats of the policy from the prior"""
    simulations: int
    evaluations: int
    cached: int
    """positions that the cache knew"""


def core_settings(settings: TreeSettings) -> _core.GumbelSettings | _core.PuctSettings:
    """`settings` for the core."""
    if isinstance(settings, GumbelSettings):
        return _core.GumbelSettings(
            settings.simulations, settings.considered, settings.c_visit, settings.c_scale, settings.gumbel_scale
        )
    return _core.PuctSettings(
        settings.simulations,
        settings.c_puct,
        settings.c_base,
        settings.fpu_reduction,
        settings.dirichlet_alpha,
        settings.dirichlet_share,
        settings.leaves,
    )


def pool_settings(evaluator: Evaluator, settings: TreeSettings, memory: TreeMemory) -> _core.PoolSettings:
    """What a pool is made of. The core asks the hand-written evaluation itself."""
    heuristic = isinstance(evaluator, HeuristicEvaluator)
    return _core.PoolSettings(core_settings(settings), heuristic, memory.reuse, memory.cache_mib << 20)


class Batch:
    """Room for `rows` leaves of one config, and the way from a pool through an evaluator and back."""

    def __init__(self, evaluator: Evaluator, rows: int) -> None:
        info = config_info(evaluator.config)
        self.evaluator = evaluator
        self.planes = np.empty((rows, PLANES, info.height, info.width), np.uint8)
        self.globals_ = np.empty((rows, GLOBALS), np.float32)

    def collect(self, pool: _core.LeafSource) -> int:
        """Takes the next leaves of the pool; how many these are."""
        return pool.collect(self.planes, self.globals_)

    def evaluate(self, rows: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The evaluator's answer to the leaves taken."""
        logits, values = self.evaluator.evaluate(self.planes[:rows], self.globals_[:rows])
        return np.ascontiguousarray(logits, np.float32), np.ascontiguousarray(values, np.float32)

    def step(self, pool: _core.LeafSource) -> int:
        """Evaluates one batch of the pool; how many positions that were, 0 when the pool has nothing left to do."""
        if rows := self.collect(pool):
            pool.feed(*self.evaluate(rows))
        return rows


class Searcher:
    """Searches positions of one config with one evaluator. Keeps its memory from one call to the next, and, as
    `memory` says, evaluations and trees. One thread uses it."""

    def __init__(
        self,
        evaluator: Evaluator,
        settings: TreeSettings,
        memory: TreeMemory = TreeMemory(),
        max_batch: int = 256,
    ) -> None:
        self.evaluator, self.settings = evaluator, settings
        self._pool = _core.SearchPool(evaluator.config, pool_settings(evaluator, settings, memory))
        self._max_batch = max_batch
        self._batch = Batch(evaluator, 0)

    def search(
        self,
        games: Sequence[Game],
        seeds: Sequence[int],
        *,
        simulations: int | None = None,
        seconds: float | None = None,
        stop: Stop | None = None,
    ) -> list[SearchResult]:
        """Searches each game with its seed and the settings' budget, or `simulations` in its place. With `seconds` all
        answer with what they have by then, and without `simulations` the time is the only bound. Once `stop` is set,
        they do so at once.

        A game with one playable move is not searched: its `root_value` is that of the next position with a choice. The
        result of a game depends on its seed, not on the games beside it, as far as that holds of the evaluator and
        unless time, `stop` or a tree taken over had a say.

        Raises:
            RulesError: a game that is over or of another config than the evaluator's; not one seed for each game.
        """
        if len(games) != len(seeds):
            raise RulesError(f"{len(games)} games need as many seeds, not {len(seeds)}")
        if not games:
            return []
        rows = min(self._max_batch, len(games) * 16)
        if len(self._batch.planes) < rows:
            self._batch = Batch(self.evaluator, rows)
        deadline = None if seconds is None else time.monotonic() + seconds
        if deadline is not None and simulations is None and isinstance(self.settings, GumbelSettings):
            return self._search_deeper(games, seeds, 2 * self.settings.considered, deadline, stop)
        return self._search(games, seeds, simulations or (0 if deadline is None else ENDLESS), deadline, stop)

    def _search(
        self, games: Sequence[Game], seeds: Sequence[int], simulations: int, deadline: float | None, stop: Stop | None
    ) -> list[SearchResult]:
        self._pool.clear()
        for game, seed in zip(games, seeds, strict=True):
            self._pool.add(game, seed, simulations)
        self._pool.set_until(None if deadline is None else max(0.0, deadline - time.monotonic()), stop)
        while not _ended(deadline, stop) and self._batch.step(self._pool):
            pass
        self._pool.stop()
        return [self._result(index, game) for index, game in enumerate(games)]

    def _search_deeper(
        self, games: Sequence[Game], seeds: Sequence[int], budget: int, deadline: float, stop: Stop | None
    ) -> list[SearchResult]:
        """Sequential halving needs a budget: it is doubled as long as there is time. Each search goes on from the last
        one's tree, or at least from its evaluations, as the memory has it."""
        before: list[SearchResult] = []
        while True:
            results = self._search(games, seeds, budget, deadline, stop)
            if before:
                results = [
                    replace(
                        now if now.simulations else then,
                        nodes=then.nodes + now.nodes,
                        simulations=then.simulations + now.simulations,
                        cached=then.cached + now.cached,
                    )
                    for then, now in zip(before, results, strict=True)
                ]
            if _ended(deadline, stop) or budget >= ENDLESS or all(len(result.policy) == 1 for result in results):
                return results
            before, budget = results, 2 * budget

    def _result(self, index: int, game: Game) -> SearchResult:
        choice, moves, policy, visits, value, counts = self._pool.outcome(index)
        simulations, evaluations, cached, _ = counts
        return SearchResult(game.move(int(moves[choice])), policy, value, visits, evaluations, simulations, cached)

    def tree(self, index: int) -> dict[str, NDArray[np.generic]]:
        """The tree of the game `index` of the last call, by columns, in the order its nodes were made.

        `parent` [N] (-1 at the root), `move` (packed, from the parent), `plies` from the root, `to_move` (from 0),
        `terminal`, `visits` and `prior` of that move, `sum` of its values for the seat that made it, `value` [N, P].
        """
        return self._pool.tree(index)


def _ended(deadline: float | None, stop: Stop | None) -> bool:
    return (stop is not None and stop.is_set) or (deadline is not None and time.monotonic() >= deadline)


def search(
    games: Sequence[Game],
    evaluator: Evaluator,
    settings: TreeSettings,
    seeds: Sequence[int],
    max_batch: int = 256,
) -> list[SearchResult]:
    """`Searcher.search`, once; the evaluator is asked for up to `max_batch` positions at a time."""
    return Searcher(evaluator, settings, TreeMemory(cache_mib=0), max_batch).search(games, seeds)


class SelfplayPool:
    """Games that play themselves in the core, `slots` at a time; Python only passes batches to the evaluator.

    Games are put in with `add`, from any position; `play` yields each as it ends. One thread uses a pool.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        settings: TreeSettings,
        slots: int = 32,
        temperatures: Sequence[float] = (),
        keep_search: bool = True,
        memory: TreeMemory = TreeMemory(),
        economy: SearchEconomy = SearchEconomy(),
        overlap: bool = False,
    ) -> None:
        """`temperatures`: of a game's searched plies in order: its move is drawn from the policy to the power 1/T;
        where that is 0, and after the last, it is the search's choice. `overlap`: half of the games are searched while
        the other half's positions are evaluated, in a thread of its own; for evaluators that leave this core free.
        """
        slots = max(slots, 1 + overlap)
        self._batches = [Batch(evaluator, rows) for rows in ([slots - slots // 2, slots // 2] if overlap else [slots])]
        self._pools = [
            _core.SelfplayPool(
                evaluator.config,
                pool_settings(evaluator, settings, memory),
                len(batch.planes),
                list(temperatures),
                keep_search,
                economy.full_share,
                economy.cheap_simulations,
                economy.decided_value,
                economy.decided_after,
                economy.decided_simulations,
            )
            for batch in self._batches
        ]
        self._added = 0

    def add(self, game: Game, seed: int) -> int:
        """Puts a game in the queue, to go on from where it stands; its index, counted from 0."""
        self._pools[self._added % len(self._pools)].add(game, seed)
        self._added += 1
        return self._added - 1

    @property
    def unfinished(self) -> int:
        """Games that wait or are being played."""
        return sum(pool.waiting + pool.playing for pool in self._pools)

    def play(self) -> Iterator[FinishedGame]:
        """Plays until the queue is empty and all games are over; games may be added meanwhile."""
        if len(self._pools) > 1:
            yield from self._play_overlapped()
            return
        while True:
            evaluated = self._batches[0].step(self._pools[0])
            yield from self._finished()
            if not evaluated and not self.unfinished:
                return

    def _play_overlapped(self) -> Iterator[FinishedGame]:
        answers: dict[int, Future[tuple[NDArray[np.float32], NDArray[np.float32]]]] = {}
        with ThreadPoolExecutor(1) as executor:
            while True:
                for half, (pool, batch) in enumerate(zip(self._pools, self._batches, strict=True)):
                    if half in answers:
                        pool.feed(*answers.pop(half).result())
                    if rows := batch.collect(pool):
                        answers[half] = executor.submit(batch.evaluate, rows)
                yield from self._finished()
                if not answers and not self.unfinished:
                    return

    def _finished(self) -> Iterator[FinishedGame]:
        for place, pool in enumerate(self._pools):
            for index, winner, moves, ply, offsets, policy, value, full, surprise, *spent in pool.finished():
                yield FinishedGame(
                    index * len(self._pools) + place,
                    winner,
                    moves,
                    ply,
                    offsets,
                    policy.astype(np.float16),
                    value.astype(np.float16),
                    full,
                    surprise.astype(np.float16),
                    *spent,
                )


def decision_seed(game_seed: int, decision: int) -> int:
    """The seed of the search of a game's decision, counted from 0, in self-play."""
    return _core.decision_seed(game_seed, decision)
