"""The room where moves are searched: a few threads, and requests of many games in one batch of the network.

A search is a tree of its own, so its answer does not depend on those beside it. Threads take, again and again, the
searches whose deadline is nearest, one step of each: the leaves of those over the same network are one batch. A search
that comes in joins at the next step, one whose deadline is past answers with its best move so far, and one that nobody
waits for ends.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from traceback import format_exc
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringrift import _core
from ringrift.errors import RingRiftError
from ringrift.evaluators import Evaluator, HeuristicEvaluator
from ringrift.observe.logs import log
from ringrift.observe.machine import usable_cores
from ringrift.players.player import HeuristicPlayer, Limit, PolicyPlayer, RandomPlayer, TreePlayer
from ringrift.players.table import PLAYERS, PlayerChoice
from ringrift.rules import Game, Move
from ringrift.search import Stop, TreeMemory
from ringrift.search.tree import Batch, pool_settings

#: Leaves of a batch, and trees that share it. More make no network faster.
ROWS, TREES = 64, 16
#: Decisions that may take longer than this many seconds do not stand in the way of the others.
LONG = 1.0


class Overloaded(RingRiftError):
    """As many moves are being decided as there may be at a time."""


@dataclass(frozen=True)
class Seated:
    """A player with its network in memory."""

    choice: PlayerChoice
    evaluator: Evaluator | None = None
    fallback: str | None = None
    """Why it is not the player that was asked for."""

    @property
    def model(self) -> str | None:
        """Id of its network."""
        return self.choice.name.rpartition(":")[2] if self.choice.network else None


@dataclass(frozen=True)
class Answer:
    """A decision and what it took."""

    move: Move
    value_by_seat: NDArray[np.float32] | None  # [P]
    """each seat's probability of winning, where the player has an opinion"""
    asked: int | None
    """nominal simulations; none for a player that does not count them, or did not have to think"""
    spent: int
    why: str
    """`searched`, `deadline` (best so far), `only move`, `random`, `overload` (without a search) or `failure` (of the
    player: its best move so far, or one ply of the hand-written evaluation)"""


@dataclass(eq=False)
class _Task:
    seated: Seated
    game: Game
    seed: int
    deadline: float
    pool: _core.SearchPool | None
    answer: Future[Answer] = field(default_factory=Future)
    stop: Stop = field(default_factory=Stop)

    def __post_init__(self) -> None:
        self.answer.add_done_callback(lambda _: self.stop.set())

    @property
    def lane(self) -> object:
        """What can be done in one step: the trees over one network; of the rest, what is quick, what is not, and what
        nobody can tell."""
        if self.pool is not None and not isinstance(self.seated.evaluator, HeuristicEvaluator):
            return self.seated.evaluator
        if self.free:
            return "free"
        searches = PLAYERS[self.seated.choice.spec].thinks != "not"
        return "long" if searches and self.deadline - time.monotonic() > LONG else "quick"

    @property
    def free(self) -> bool:
        """Whether the player may take longer than it is asked to."""
        return PLAYERS[self.seated.choice.spec].thinks == "freely"


PARTING = 0.5  #: seconds that players have to stop when the room is closed


class SearchRoom:
    """Decides moves for coroutines of one event loop."""

    def __init__(
        self, threads: int = 0, waiting: int = 128, batched: Callable[[int], None] = lambda rows: None
    ) -> None:
        """`threads`: 0 for as many as there are cores; `waiting`: decisions at a time, beyond that `Overloaded`;
        `batched` is told the positions of each call of a network."""
        self.threads, self.limit, self._batched = threads or usable_cores(), waiting, batched
        # Each kind of decision has so many threads: the system shares the cores among them.
        self._running = {"trees": 0, "quick": 0, "long": 0, "free": 0}
        self._executor = ThreadPoolExecutor(len(self._running) * self.threads, "search")
        self._lock = threading.Lock()
        self._lanes: dict[object, list[tuple[float, int, _Task]]] = {}
        self._tasks = set[_Task]()
        self._order = 0
        self._spare = threading.local()

    @property
    def busy(self) -> int:
        """Decisions under way."""
        return len(self._tasks)

    async def decide(self, seated: Seated, game: Game, seed: int, deadline: float, *, quick: bool = False) -> Answer:
        """The move of a player in a game that is not over, by `deadline` (`time.monotonic`). The same arguments give
        the same move, unless time runs out. Cancelling it ends the search.

        `quick`: at overload, a move without a search in place of `Overloaded`.
        """
        moves = game.playable_packed()
        if len(moves) == 1:
            return Answer(game.move(int(moves[0])), None, None, 0, "only move")
        rng = np.random.default_rng([seed, game.key])
        if rng.random() < seated.choice.randomness:
            decision = RandomPlayer().decide([game], rng)[0]
            return Answer(decision.move, None, None, 0, "random")
        why = ""
        if self.busy >= self.limit:
            if not quick or self.busy >= 2 * self.limit:
                raise Overloaded(f"{self.busy} moves are being decided: ask again in a second")
            seated, why = _unsearched(seated), "overload"
        task = self._task(seated, game, int(rng.integers(1 << 63)), deadline)
        self._tasks.add(task)
        try:
            with self._lock:
                self._put(task)
                for group in self._groups():
                    self._executor.submit(self._work, *group)
            left = task.deadline - time.monotonic() if task.free else None
            answer = await asyncio.wait_for(asyncio.wrap_future(task.answer), left)
        except TimeoutError:
            answer = _one_ply(task, "deadline")
        finally:
            self._tasks.remove(task)
        return replace(answer, why=why) if why and answer.why != "failure" else answer

    def close(self) -> None:
        """Ends the threads; what is being searched is given up. Players that do not stop, `stuck`, are left."""
        with self._lock:
            for task in list(self._tasks):
                task.answer.cancel()
            self._lanes.clear()
        self._executor.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + PARTING
        for thread in self._executor._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def stuck(self) -> int:
        """Threads of a closed room whose players go on all the same; the interpreter would wait for them at its end."""
        return sum(thread.is_alive() for thread in self._executor._threads)

    # -- which thread does what ----------------------------------------------------------------------------------------

    def _task(self, seated: Seated, game: Game, seed: int, deadline: float) -> _Task:
        choice, pool = seated.choice, None
        if PLAYERS[choice.spec].player is TreePlayer:
            evaluator = seated.evaluator or HeuristicEvaluator(choice.config)
            seated = replace(seated, evaluator=evaluator)
            pool = _core.SearchPool(choice.config, pool_settings(evaluator, choice.search, TreeMemory(cache_mib=0)))  # type: ignore[arg-type]
            pool.add(game, seed, choice.simulations or 0)
        return _Task(seated, game, seed, deadline, pool)

    def _put(self, task: _Task) -> None:
        self._order += 1
        heapq.heappush(self._lanes.setdefault(task.lane, []), (task.deadline, self._order, task))

    def _groups(self) -> list[tuple[str, list[_Task]]]:
        """For each idle thread the most urgent tasks that it can do at once, and of which kind they are."""
        groups = []
        for lane in sorted(self._lanes, key=lambda lane: self._lanes[lane][0][0]):
            kind, heap = lane if isinstance(lane, str) else "trees", self._lanes[lane]
            while heap and (free := self.threads - self._running[kind]) > 0:
                share = min(TREES, math.ceil(len(heap) / free)) if kind == "trees" else 1
                groups.append((kind, [heapq.heappop(heap)[2] for _ in range(share)]))
                self._running[kind] += 1
            if not heap:
                del self._lanes[lane]
        return groups

    # -- in a thread ---------------------------------------------------------------------------------------------------

    def _work(self, kind: str, tasks: list[_Task]) -> None:
        """One step after the other, as long as there is something to do."""
        while True:
            self._attempt(self._step_trees if kind == "trees" else self._decide, tasks)
            with self._lock:
                self._running[kind] -= 1
                for task in tasks:
                    if not task.answer.done():
                        self._put(task)
                groups = self._groups()
            if not groups:
                return
            kind, tasks = groups[0]
            for group in groups[1:]:
                self._executor.submit(self._work, *group)

    def _attempt(self, step: Callable[[Sequence[_Task]], None], tasks: Sequence[_Task]) -> None:
        """A step; where it fails unexpectedly, each of its tasks is answered without it, or with the error."""
        try:
            step(tasks)
        except Exception as error:  # noqa: BLE001 - one game must not fail by what another one, or a network, did
            log.error("decision failed", config=tasks[0].game.config, games=len(tasks), traceback=format_exc())
            for task in tasks:
                if step == self._rescue:
                    _finish(task, error)
                elif not task.answer.done():
                    self._attempt(self._rescue, [task])

    def _rescue(self, tasks: Sequence[_Task]) -> None:
        """The best move so far, or where there is none, one ply of the hand-written evaluation."""
        (task,) = tasks
        if task.pool is not None:
            task.pool.stop()
            if (found := self._outcome(task, late=True)).spent:
                _finish(task, replace(found, why="failure"))
                return
        _finish(task, _one_ply(task, "failure"))

    def _step_trees(self, tasks: Sequence[_Task]) -> None:
        """One batch of the network for all these trees."""
        evaluator = tasks[0].seated.evaluator
        assert evaluator is not None
        batches: dict[str, Batch] = self._spare.__dict__.setdefault("batches", {})
        if (batch := batches.get(evaluator.config)) is None:
            batch = batches[evaluator.config] = Batch(evaluator, ROWS)
        now, used, fed = time.monotonic(), 0, list[tuple[_Task, int]]()
        for task in tasks:
            assert task.pool is not None
            if used == ROWS or task.answer.cancelled():
                continue
            late = now >= task.deadline
            if late:
                task.pool.stop()
            rows = 0 if late else task.pool.collect(batch.planes[used:], batch.globals_[used:])
            if rows:
                fed.append((task, rows))
                used += rows
            else:
                _finish(task, self._outcome(task, late))
        if not fed:
            return
        logits, values = evaluator.evaluate(batch.planes[:used], batch.globals_[:used])
        self._batched(used)
        start = 0
        for task, rows in fed:
            task.pool.feed(logits[start : start + rows], values[start : start + rows])  # type: ignore[union-attr]
            start += rows

    def _outcome(self, task: _Task, late: bool) -> Answer:
        assert task.pool is not None
        choice, moves, _, _, value, counts = task.pool.outcome(0)
        asked = task.seated.choice.simulations
        cut = late and asked is not None and counts[0] < asked
        return Answer(task.game.move(int(moves[choice])), value, asked, counts[0], "deadline" if cut else "searched")

    def _decide(self, tasks: Sequence[_Task]) -> None:
        """A decision in one go."""
        (task,) = tasks
        if task.answer.cancelled():
            return
        left = max(task.deadline - time.monotonic(), 0.001)
        if task.pool is not None:
            task.pool.set_until(left, task.stop)
            batch = Batch(task.seated.evaluator, 1)  # type: ignore[arg-type]
            batch.step(task.pool)
            _finish(task, self._outcome(task, time.monotonic() >= task.deadline))
            return
        choice, asked = task.seated.choice, task.seated.choice.simulations
        player: Any = (
            PolicyPlayer(task.seated.evaluator, choice.search)  # type: ignore[arg-type]
            if task.seated.evaluator
            else replace(choice, limit=_within(choice, left, task.stop), randomness=0.0).make()
        )
        decision = player.decide([task.game], [np.random.default_rng(task.seed)])[0]
        late = asked is not None and decision.nodes < asked and time.monotonic() >= task.deadline
        why = "deadline" if late else "searched"
        _finish(task, Answer(decision.move, decision.value_by_seat, asked, decision.nodes, why))


def _within(choice: PlayerChoice, seconds: float, stop: Stop) -> Limit:
    """A player's own budget, no longer than that, and to be stopped."""
    own = choice.limit.seconds if choice.limit else None
    return Limit(choice.simulations, min(seconds, own or seconds), stop)


def _one_ply(task: _Task, why: str) -> Answer:
    """One ply of the hand-written evaluation, in place of a player that has no move."""
    (decision,) = HeuristicPlayer().decide([task.game], [np.random.default_rng(task.seed)])
    return Answer(decision.move, None, task.seated.choice.simulations, 0, why)


def _finish(task: _Task, answer: Answer | Exception) -> None:
    """Answers, unless nobody waits any more."""
    if not task.answer.done() and task.answer.set_running_or_notify_cancel():
        if isinstance(answer, Answer):
            task.answer.set_result(answer)
        else:
            task.answer.set_exception(answer)


def with_budget(seated: Seated, simulations: int | None) -> Seated:
    """The same player; where it searches trees, with so many simulations. A node of the other searches is far less."""
    if simulations is None or PLAYERS[seated.choice.spec].player is not TreePlayer:
        return seated
    return replace(seated, choice=replace(seated.choice, limit=Limit(simulations)))


def _unsearched(seated: Seated) -> Seated:
    """The quickest player like this one: the network's policy, or one ply of the hand-written evaluation."""
    choice = seated.choice
    if seated.evaluator is not None and not isinstance(seated.evaluator, HeuristicEvaluator):
        policy = PLAYERS["policy"]
        return replace(seated, choice=replace(choice, spec="policy", search=policy.search, limit=None))
    return Seated(PlayerChoice("heuristic", choice.config, "heuristic"), None, seated.fallback)
