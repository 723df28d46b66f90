"""`play` and `contest`: games between players, many at a time, each handed over in the moment it ends.

With several processes, each is started afresh (spawn), makes its own players (its own onnxruntime session), plays what
it is given and sends every finished game through a pipe; it ends by itself when the process that started it is gone.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from ringrift.errors import JobError, RingRiftError
from ringrift.players import Decision, Player, PlayerChoice, TreePlayer
from ringrift.rules import Game, Options, Record, SearchStats
from ringrift.rules.record import Meta
from ringrift.search import PuctSettings, SearchEconomy, SelfplayPool, TreeMemory
from ringrift.selfplay.benchmark import settings_here
from ringrift.selfplay.settings import PlaySettings
from ringrift.selfplay.temperature import TemperatureContext, TemperatureSettings, complexity, drawn, temperature

#: Exit status of a process in which a player thought for far too long.
EXPIRED = 75
#: So many times its bound may a decision last before its process is ended from within.
GRACE = 2.0
#: A contest goes on after so many dead processes, for each that it may have.
PATIENCE = 3


@dataclass(frozen=True)
class Task:
    """One game to be played."""

    work_id: str
    """Names it for ever."""
    seed: int
    """Seed of everything random in the game after its opening."""
    seats: tuple[int, ...]
    """For each seat, which of the players sits there."""
    opening: tuple[int, ...] = ()
    """Packed moves that are played before anybody is asked."""
    temperatures: tuple[float, ...] | None = None
    """Temperature of each decision, where the game has its own."""


@dataclass
class Spent:
    """What a player's decisions cost. Games that are decided together share the time equally."""

    decisions: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    """Seconds that the longest decision took."""
    nodes: int = 0
    """Positions evaluated, by players that count them."""

    def add(self, other: Spent) -> None:
        """Adds what was spent elsewhere."""
        self.decisions += other.decisions
        self.seconds += other.seconds
        self.longest = max(self.longest, other.longest)
        self.nodes += other.nodes


@dataclass(frozen=True)
class Finished:
    """A game that was played to its end."""

    work_id: str
    record: bytes
    plies: int
    spent: tuple[Spent, ...] = ()
    """Per player; empty for games that passed in the core."""


@dataclass(frozen=True)
class Void:
    """A game of a contest that has no result."""

    work_id: str
    player: int | None
    """Whose fault it is; None where a process died."""
    reason: str


@dataclass(frozen=True)
class Rules:
    """What all games of one `play` have in common."""

    config: str
    options: Options | None = None
    temperatures: tuple[float, ...] = ()
    keep_search: bool = False
    memory: TreeMemory = field(default_factory=TreeMemory)
    economy: SearchEconomy = field(default_factory=SearchEconomy)
    timeout: float | None = None
    """Seconds that a decision of a contest may take."""
    adaptive: TemperatureSettings | None = None
    """How those of `temperatures` are lowered by the position."""


def play(
    players: Sequence[PlayerChoice],
    tasks: Iterable[Task],
    settings: PlaySettings = PlaySettings(),
    *,
    options: Options | None = None,
    temperatures: Sequence[float] = (),
    adaptive: TemperatureSettings | None = None,
    keep_search: bool = False,
    memory: TreeMemory = TreeMemory(),
    economy: SearchEconomy = SearchEconomy(),
) -> Iterator[Finished]:
    """The games of `tasks`, as they finish.

    A game's decision d is drawn from the player's policy to the power 1 / `temperatures[d]`; where that is 0, and after
    the last, it is the player's choice. A task may have temperatures of its own; `adaptive` ones fall with how open the
    position is, and such games are played position by position. With `keep_search`, records hold for each decision the
    policy that the player would have a network learn, and its values. `memory` and `economy` are for games of one
    searching player. Closing the iterator ends the processes. Raises what a player raised, `JobError` for a process
    that died.
    """
    rules = Rules(players[0].config, options, tuple(temperatures), keep_search, memory, economy, adaptive=adaptive)
    tasks, settings = list(tasks), settings_here(settings, players)
    processes = settings.process_count(len(tasks))
    if processes == 1:
        games = play_here(rules, players, tasks, settings.concurrent)
    else:
        shares = [tasks[share::processes] for share in range(processes)]
        games = _conduct(rules, players, shares, iter(()), settings.concurrent, patience=0)
    for game in games:
        assert isinstance(game, Finished)
        yield game


def contest(
    players: Sequence[PlayerChoice],
    tasks: Iterable[Task],
    settings: PlaySettings = PlaySettings(),
    *,
    timeout: float = math.inf,
    options: Options | None = None,
) -> Generator[Finished | Void, None, None]:
    """The games of `tasks`, as they finish or turn out void; tasks are taken as there is room for them.

    A game is void when a player raises, answers with an illegal move, or takes more than `timeout` seconds for a
    decision (per game, where it decides several together), and when its process dies; the others go on. A decision
    that lasts `GRACE` times as long ends its process, and the others of its games begin again in a new one; with
    `processes` = 1 there is no other process, and it is waited for. Raises `JobError` when too many processes died.
    """
    rules, tasks = Rules(players[0].config, options, timeout=timeout), iter(tasks)
    settings = settings_here(settings, players)
    if settings.processes == 1:
        yield from play_here(rules, players, tasks, settings.concurrent)
        return
    processes = settings.process_count(1 << 30)
    shares = (share for _ in range(processes) if (share := list(islice(tasks, settings.concurrent))))
    yield from _conduct(rules, players, shares, tasks, settings.concurrent, patience=PATIENCE * processes)


@dataclass
class _Worker:
    """A process that plays, as its parent sees it."""

    process: SpawnProcess
    given: dict[str, Task]
    """What it has not finished, in the order given: it plays the first `concurrent` of them."""
    waits: bool = True
    """Whether it may be given more."""
    ready: bool = False
    """Whether it has begun: one that dies before that will not fare better a second time."""


def _conduct(
    rules: Rules,
    choices: Sequence[PlayerChoice],
    shares: Iterable[list[Task]],
    more: Iterator[Task],
    concurrent: int,
    patience: int,
) -> Iterator[Finished | Void]:
    """Games on a process for each of `shares`, which get `more` one by one as they finish games."""
    context = multiprocessing.get_context("spawn")
    crew: dict[Connection, _Worker] = {}

    def hire(tasks: list[Task]) -> None:
        ours, theirs = context.Pipe()
        job = (theirs, rules, list(choices), tasks, concurrent)
        process = context.Process(target=_serve, args=job, daemon=True)
        process.start()
        theirs.close()
        crew[ours] = _Worker(process, {task.work_id: task for task in tasks})
        feed(ours)  # one ahead, so that it need not wait for us

    def feed(connection: Connection) -> None:
        worker = crew[connection]
        if worker.waits:
            task = next(more, None)
            if task is None:
                worker.waits = False
            else:
                worker.given[task.work_id] = task
            with suppress(OSError):  # it is dead: reading from it will tell
                connection.send(task)

    try:
        for share in shares:
            hire(share)
        while crew:
            for ready in wait(list(crew)):
                assert isinstance(ready, Connection)
                try:
                    said = ready.recv()
                except (EOFError, OSError):
                    worker = crew.pop(ready)
                    worker.process.join()
                    status, left = worker.process.exitcode, list(worker.given.values())
                    if status != EXPIRED:
                        patience = patience - 1 if worker.ready else -1
                        if patience < 0:
                            text = f"a process that played games ended with status {status}: start again"
                            raise JobError(text) from None
                        for task in left[:concurrent]:
                            yield Void(task.work_id, None, f"its process ended with status {status}")
                        left = left[concurrent:]
                    if left := left + list(islice(more, max(0, concurrent - len(left)))):
                        hire(left)
                    continue
                crew[ready].ready = True
                if said is None:
                    crew.pop(ready).process.join()
                elif isinstance(said, Finished | Void):
                    crew[ready].given.pop(said.work_id)
                    feed(ready)
                    yield said
                elif isinstance(said, RingRiftError):
                    raise said
    finally:
        for connection, worker in crew.items():
            worker.process.terminate()
            worker.process.join()
            connection.close()


def _serve(
    connection: Connection, rules: Rules, choices: list[PlayerChoice], tasks: list[Task], concurrent: int
) -> None:
    """The life of a process that plays: the given tasks, then what comes, until it is told that there is no more."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    speaking = threading.Lock()

    def send(said: object) -> None:
        with speaking:
            connection.send(said)

    def expire(voids: list[Void]) -> None:
        with speaking:  # and never speak again
            for void in voids:
                connection.send(void)
            os._exit(EXPIRED)

    with suppress(KeyboardInterrupt, BrokenPipeError, EOFError):
        try:
            send("ready")
            for said in play_here(rules, choices, chain(tasks, iter(connection.recv, None)), concurrent, expire):
                send(said)
            send(None)
        except RingRiftError as error:
            send(error)


def _end_with_parent() -> None:
    """Nobody is left to take the games once the process that asked for them is killed."""
    if parent := multiprocessing.parent_process():
        wait([parent.sentinel])
        os._exit(1)


def play_here(
    rules: Rules,
    choices: Sequence[PlayerChoice],
    tasks: Iterable[Task],
    concurrent: int,
    expire: Callable[[list[Void]], None] | None = None,
) -> Iterator[Finished | Void]:
    """`play` and `contest` in this process; `expire` is called from another thread while a decision lasts too long."""
    players, names = [choice.make() for choice in choices], [choice.name for choice in choices]
    in_core = len(players) == 1 and isinstance(players[0], TreePlayer) and rules.adaptive is None
    if in_core and isinstance(players[0], TreePlayer) and players[0].seconds is None:
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
        for index, theirs in enumerate(asked):
            if theirs and rules.timeout is None:
                decisions, seconds = _ask(players[index], theirs)
                for table, decision in zip(theirs, decisions, strict=True):
                    table.decide(decision, seconds)
            elif theirs:
                voids = _try(players[index], index, theirs, rules.timeout or 0.0, expire)
                yield from voids
                gone = {void.work_id for void in voids}
                tables = [table for table in tables if table.task.work_id not in gone]


def _ask(player: Player, tables: Sequence[Table]) -> tuple[list[Decision], float]:
    """A player's decisions, and the seconds that each took."""
    start = perf_counter()
    decisions = player.decide([table.game for table in tables], [table.rng for table in tables])
    return decisions, (perf_counter() - start) / len(tables)


def _try(
    player: Player,
    index: int,
    tables: Sequence[Table],
    timeout: float,
    expire: Callable[[list[Void]], None] | None,
) -> list[Void]:
    """Asks a player and plays what it says; returns the games that are void for it. Where it fails with several games
    at once, it is asked again for each alone, as if for the first time."""

    before = [table.rng.bit_generator.state for table in tables]
    late = [Void(table.task.work_id, index, f"a decision took more than {timeout:g} s") for table in tables]
    watch = None
    if expire is not None and (limit := GRACE * timeout * len(tables)) < threading.TIMEOUT_MAX:
        watch = threading.Timer(limit, expire, [late])
        watch.daemon = True
        watch.start()
    try:
        decisions, seconds = _ask(player, tables)
        if len(decisions) != len(tables):
            raise JobError(f"{len(decisions)} decisions for {len(tables)} games")
    except Exception as error:  # noqa: BLE001 - whatever a player raises makes its game void, and is reported
        if len(tables) == 1:
            return [_failed(tables[0], index, error)]
        for table, state in zip(tables, before, strict=True):
            table.rng.bit_generator.state = state
        return [void for table in tables for void in _try(player, index, [table], timeout, expire)]
    finally:
        if watch:
            watch.cancel()
    if seconds > timeout:
        return late
    voids = []
    for table, decision in zip(tables, decisions, strict=True):
        try:
            table.decide(decision, seconds)
        except Exception as error:  # noqa: BLE001 - the same
            voids.append(_failed(table, index, error))
    return voids


def _failed(table: Table, index: int, error: Exception) -> Void:
    return Void(table.task.work_id, index, f"{type(error).__name__}: {error}")


def _play_in_core(
    rules: Rules, player: TreePlayer, names: Sequence[str], tasks: Iterable[Task], concurrent: int
) -> Iterator[Finished]:
    """One searching player on every seat: whole games pass in the core, nothing of them in Python."""
    alike: dict[tuple[float, ...], list[Task]] = {}
    for task in tasks:
        alike.setdefault(rules.temperatures if task.temperatures is None else task.temperatures, []).append(task)
    for temperatures, some in alike.items():
        yield from _play_alike(replace(rules, temperatures=temperatures), player, names, some, concurrent)


def _play_alike(
    rules: Rules, player: TreePlayer, names: Sequence[str], queued: Sequence[Task], concurrent: int
) -> Iterator[Finished]:
    pool = SelfplayPool(
        player.evaluator,
        player.settings,
        concurrent,
        rules.temperatures,
        rules.keep_search,
        rules.memory,
        rules.economy,
    )
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
            search = SearchStats(ply, done.offsets, done.policy, done.root_value, done.full, done.surprise)
        yield finished_game(game, task, names, search, about=searched_with(player, rules))


def searched_with(player: TreePlayer, rules: Rules) -> Meta:
    """What the record of a game keeps of its searches, so that each can be made again."""
    rule = "puct" if isinstance(player.settings, PuctSettings) else "gumbel"
    bold = sum(temperature > 0 for temperature in rules.temperatures)
    about: dict[str, str | int | float] = {
        "search": json.dumps({"rule": rule, **asdict(player.settings)}),
        "drawn_decisions": bold,
    }
    if rules.memory.reuse or rules.economy != SearchEconomy():  # a search then depends on those before it
        every = {"economy": asdict(rules.economy), "reuse": rules.memory.reuse, "temperatures": rules.temperatures}
        about |= {"selfplay": json.dumps(every)}
    return about


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
        self.spent = tuple(Spent() for _ in range(max(self.task.seats) + 1))

    def decide(self, decision: Decision, seconds: float) -> None:
        """Notes a decision and plays it, or a draw from its policy while the temperature lasts."""
        rules, move, policy = self.rules, decision.move, decision.policy
        heats = rules.temperatures if self.task.temperatures is None else self.task.temperatures
        playable = self.game.playable_moves() if rules.keep_search or heats else []
        heat = heats[self.decisions] if self.decisions < len(heats) else 0.0
        if policy is not None and heat > 0:
            if rules.adaptive:
                heat = temperature(rules.adaptive, self.decisions, TemperatureContext(complexity=complexity(policy)))
            if heat > 0:
                move = playable[drawn(policy, heat, self.rng.random())]
        if rules.keep_search and len(playable) > 1:
            self.full.append(policy is not None)
            if policy is None:
                policy = np.zeros(len(playable), np.float32)
                policy[playable.index(move)] = 1
            self.plies.append(self.game.ply)
            self.policies.append(policy.astype(np.float16))
            self.values.append(decision.value_by_seat)
        self.decisions += 1
        mover = self.task.seats[self.game.to_move - 1]
        self.game.push(move)
        self.spent[mover].add(Spent(1, seconds, seconds, decision.nodes))

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
        return finished_game(self.game, self.task, names, search, self.spent)


def begun(task: Task, rules: Rules) -> Game:
    """The game of a task after its opening."""
    game = Game(rules.config, rules.options)
    for move in task.opening:
        game.push(game.move(move))
    return game


def finished_game(
    game: Game,
    task: Task,
    names: Sequence[str],
    search: SearchStats | None,
    spent: tuple[Spent, ...] = (),
    about: Meta | None = None,
) -> Finished:
    """What is handed over of a game that is over."""
    record = Record.from_game(
        game,
        seed=task.seed,
        players=tuple(names[player] for player in task.seats),
        meta={"work_id": task.work_id, "opening_plies": len(task.opening), **(about or {})},
        search=search,
    )
    return Finished(task.work_id, record.to_bytes(), game.ply, spent)
