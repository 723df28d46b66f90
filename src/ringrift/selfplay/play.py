"""`play`: games between players, many at a time, each handed over in the moment it ends.

With several processes, each is started afresh (spawn), makes its own players (its own onnxruntime session), plays its
share and sends every finished game through a pipe; it ends by itself when the process that started it is gone.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import numpy as np
from numpy.typing import NDArray

from ringrift.errors import JobError, RingRiftError
from ringrift.players import Decision, GumbelPlayer, PlayerChoice
from ringrift.rules import Game, Options, Record, SearchStats
from ringrift.rules.record import Meta
from ringrift.search import SearchEconomy, SelfplayPool, TreeMemory
from ringrift.selfplay.settings import PlaySettings


@dataclass(frozen=True)
class Task:
    """One game to be played."""

    work_id: str
    """Names it for ever."""
    seed: int
    """Of everything random in it after the opening."""
    seats: tuple[int, ...]
    """For each seat, which of the players sits there."""
    opening: tuple[int, ...] = ()
    """Packed moves that are played before anybody is asked."""


@dataclass(frozen=True)
class Finished:
    """A game that was played to its end."""

    work_id: str
    record: bytes
    plies: int


@dataclass(frozen=True)
class Rules:
    """What all games of one `play` have in common."""

    config: str
    options: Options | None = None
    temperatures: tuple[float, ...] = ()
    keep_search: bool = False
    memory: TreeMemory = field(default_factory=TreeMemory)
    economy: SearchEconomy = field(default_factory=SearchEconomy)


def play(
    players: Sequence[PlayerChoice],
    tasks: Iterable[Task],
    settings: PlaySettings = PlaySettings(),
    *,
    options: Options | None = None,
    temperatures: Sequence[float] = (),
    keep_search: bool = False,
    memory: TreeMemory = TreeMemory(),
    economy: SearchEconomy = SearchEconomy(),
) -> Iterator[Finished]:
    """The games of `tasks`, as they finish.

    A game's decision d is drawn from the player's policy to the power 1 / `temperatures[d]`; where that is 0, and after
    the last, it is the player's choice. With `keep_search`, records hold for each decision the policy that the player
    would have a network learn, and its values. `memory` and `economy` are for games of one searching player. Closing
    the iterator ends the processes. Raises what a player raised, `JobError` for a process that died.
    """
    rules = Rules(players[0].config, options, tuple(temperatures), keep_search, memory, economy)
    tasks = list(tasks)
    processes = settings.process_count(len(tasks))
    if processes == 1:
        yield from play_here(rules, players, tasks, settings.concurrent)
        return
    context = multiprocessing.get_context("spawn")
    workers: dict[Connection, SpawnProcess] = {}
    try:
        for share in range(processes):
            ours, theirs = context.Pipe()
            job = (theirs, rules, list(players), tasks[share::processes], settings.concurrent)
            worker = context.Process(target=_serve, args=job, daemon=True)
            worker.start()
            theirs.close()
            workers[ours] = worker
        while workers:
            for ready in wait(list(workers)):
                assert isinstance(ready, Connection)
                try:
                    said = ready.recv()
                except EOFError:
                    workers[ready].join()
                    status = workers[ready].exitcode
                    raise JobError(f"a process that played games ended with status {status}: start again") from None
                if said is None:
                    workers.pop(ready).join()
                elif isinstance(said, Finished):
                    yield said
                else:
                    raise said
    finally:
        for connection, worker in workers.items():
            worker.terminate()
            worker.join()
            connection.close()


def _serve(
    connection: Connection, rules: Rules, choices: list[PlayerChoice], tasks: list[Task], concurrent: int
) -> None:
    """The life of a process that plays."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(KeyboardInterrupt, BrokenPipeError):
        try:
            for finished in play_here(rules, choices, tasks, concurrent):
                connection.send(finished)
            connection.send(None)
        except RingRiftError as error:
            connection.send(error)


def _end_with_parent() -> None:
    """Nobody is left to take the games once the process that asked for them is killed."""
    if parent := multiprocessing.parent_process():
        wait([parent.sentinel])
        os._exit(1)


def play_here(
    rules: Rules, choices: Sequence[PlayerChoice], tasks: Iterable[Task], concurrent: int
) -> Iterator[Finished]:
    """`play` in this process."""
    players, names = [choice.make() for choice in choices], [choice.name for choice in choices]
    if len(players) == 1 and isinstance(players[0], GumbelPlayer):
        yield from _play_in_core(rules, players[0], names, tasks, concurrent)
        return
    waiting = iter(tasks)
    tables: list[Table] = []
    while True:
        tables += [Table(task, rules) for task in islice(waiting, concurrent - len(tables))]
        if not tables:
            return
        asked: list[list[Table]] = [[] for _ in players]
        for table in tables:
            table.game.advance_forced()
            if table.game.is_over:
                yield table.finish(names)
            else:
                asked[table.task.seats[table.game.to_move - 1]].append(table)
        tables = [table for table in tables if not table.game.is_over]
        for player, theirs in zip(players, asked, strict=True):
            if theirs:
                decisions = player.decide([table.game for table in theirs], [table.rng for table in theirs])
                for table, decision in zip(theirs, decisions, strict=True):
                    table.decide(decision)


def _play_in_core(
    rules: Rules, player: GumbelPlayer, names: Sequence[str], tasks: Iterable[Task], concurrent: int
) -> Iterator[Finished]:
    """One searching player on every seat: whole games pass in the core, nothing of them in Python."""
    pool = SelfplayPool(
        player.evaluator,
        player.settings,
        concurrent,
        rules.temperatures,
        rules.keep_search,
        rules.memory,
        rules.economy,
    )
    queued = list(tasks)
    for task in queued:
        pool.add(begun(task, rules), task.seed)
    for done in pool.play():
        task = queued[done.index]
        game = begun(task, rules)
        for move in done.moves.tolist():
            game.push(game.move(move))
        search = None
        if rules.keep_search:
            ply = done.ply + np.int32(len(task.opening))
            search = SearchStats(ply, done.offsets, done.policy, done.root_value, done.full)
        yield finished_game(game, task, names, search, searched_with(player, rules))


def searched_with(player: GumbelPlayer, rules: Rules) -> Meta:
    """What the record of a game keeps of its searches, so that each can be made again."""
    if rules.memory.reuse or rules.economy != SearchEconomy():
        return {}  # a search then depends on those before it
    return {"search": json.dumps(asdict(player.settings)), "drawn_decisions": len(rules.temperatures)}


@dataclass
class Table:
    """A game being played."""

    task: Task
    rules: Rules
    plies: list[int] = field(default_factory=list)
    policies: list[NDArray[np.float16]] = field(default_factory=list)
    values: list[NDArray[np.float32] | None] = field(default_factory=list)
    full: list[bool] = field(default_factory=list)
    decisions: int = 0

    def __post_init__(self) -> None:
        self.game = begun(self.task, self.rules)
        self.rng = np.random.default_rng(self.task.seed)

    def decide(self, decision: Decision) -> None:
        """Notes a decision and plays it, or a draw from its policy while the temperature lasts."""
        rules, move, policy = self.rules, decision.move, decision.policy
        playable = self.game.playable_moves() if rules.keep_search or rules.temperatures else []
        temperature = rules.temperatures[self.decisions] if self.decisions < len(rules.temperatures) else 0.0
        if policy is not None and temperature > 0:
            chances = np.cumsum((policy / policy.max()) ** (1 / temperature), dtype=np.float64)
            move = playable[int(np.searchsorted(chances, self.rng.random() * chances[-1], side="right"))]
        if rules.keep_search and len(playable) > 1:
            self.full.append(policy is not None)
            if policy is None:
                policy = np.zeros(len(playable), np.float32)
                policy[playable.index(move)] = 1
            self.plies.append(self.game.ply)
            self.policies.append(policy.astype(np.float16))
            self.values.append(decision.value_by_seat)
        self.decisions += 1
        self.game.push(move)

    def finish(self, names: Sequence[str]) -> Finished:
        """The record of the game, which is over."""
        search, outcome = None, self.game.outcome()
        if self.plies and outcome:
            won = np.eye(len(self.task.seats), dtype=np.float32)[outcome.winner - 1]
            search = SearchStats(
                ply=np.array(self.plies, np.int32),
                offsets=np.cumsum([0, *map(len, self.policies)], dtype=np.int32),
                policy=np.concatenate(self.policies),
                root_value=np.array([won if value is None else value for value in self.values], np.float16),
                full=np.array(self.full, np.uint8),
            )
        return finished_game(self.game, self.task, names, search)


def begun(task: Task, rules: Rules) -> Game:
    """The game of a task after its opening."""
    game = Game(rules.config, rules.options)
    for move in task.opening:
        game.push(game.move(move))
    return game


def finished_game(
    game: Game, task: Task, names: Sequence[str], search: SearchStats | None, about: Meta | None = None
) -> Finished:
    """What is handed over of a game that is over."""
    record = Record.from_game(
        game,
        seed=task.seed,
        players=tuple(names[player] for player in task.seats),
        meta={"work_id": task.work_id, "opening_plies": len(task.opening), **(about or {})},
        search=search,
    )
    return Finished(task.work_id, record.to_bytes(), game.ply)
