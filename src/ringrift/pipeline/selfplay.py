"""Self-play: enough small batches waiting to keep every worker busy, the config that had least of late first."""

from __future__ import annotations

import re
import time
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from typing import Any

from ringrift.errors import JobError
from ringrift.fabric import Job, Parcel, kept_alive
from ringrift.fabric.parcel import SUFFIX
from ringrift.fabric.workers import NODE
from ringrift.kernel.bus import read
from ringrift.kernel.events import PressureChanged
from ringrift.kernel.kind import Kind, Order, Payload, Show, quiet
from ringrift.kernel.service import Level, Service, Step
from ringrift.observe.machine import usable_cores
from ringrift.pipeline.events import ModelPromoted, ModelRolledBack, SelfplayFinished, TrainingFinished
from ringrift.pipeline.kind import Work, work_by_hand
from ringrift.pipeline.loop import elo_of
from ringrift.pipeline.models import Playable, chosen, engine_name, initial_model, player_over, sound_model
from ringrift.pipeline.service import Context
from ringrift.pipeline.standing import Standing, died_lately, model_cause, open_jobs, putting, standing
from ringrift.players import PlayerChoice
from ringrift.search import MinimaxSettings, TreeSettings
from ringrift.selfplay import (
    Finished,
    PlaySettings,
    SelfplaySettings,
    drawn_seats,
    play,
    regretted,
    selfplay_tasks,
)
from ringrift.store import GameStore, ModelStore, RunDirectory
from ringrift.store.provenance import Provenance

CLAIM_TTL = 60.0  #: seconds for which a process that hangs keeps its batch of self-play
RECENT_SECONDS = 600.0
RECENT_EVENTS = 200
FEWEST = 8  #: games of a batch, so that searches share the calls of the network


def plan(ctx: Context) -> Iterator[Step]:
    """Puts batches until enough are open for the level of backpressure."""
    level, cores = ctx.level(), cores_of_workers(ctx)
    enough = {Level.LOW: 2 * cores, Level.MEDIUM: cores, Level.HIGH: 1, Level.CRITICAL: 0}[level]
    open_ = [job for job in open_jobs(ctx, KIND.name) if job.config in ctx.recipes]
    missing = {config: _missing(ctx, standing(ctx, config), open_) for config in ctx.configs}
    missing = {config: games for config, games in missing.items() if games > 0}
    spent, rates = _recent(ctx)
    for job in open_:
        spent[job.config] = spent.get(job.config, 0.0) + ctx.recipes[job.config].loop.batch_seconds
    numbers = {config: _number(ctx, config) for config in missing}
    for already in range(len(open_), enough):
        if not missing:
            return
        config = min(missing, key=lambda config: (spent.get(config, 0.0), config))
        now, recipe = standing(ctx, config), ctx.recipes[config]
        engine = recipe.loop.first_engine if now.first else recipe.selfplay.engine
        model = now.base.id if now.base else ""
        player = _kind(engine_name(engine, model or "m-"))
        quick = rates.get((config, player), 0.0) * recipe.loop.batch_seconds
        games = int(min(missing[config], max(FEWEST, min(quick, ceil(now.wanted / 2)))))
        number = numbers[config]
        batch = SelfplayBatch(
            number=number, games=games, engine=engine, model=model, elo=elo_of(ctx.run, config, model)
        )
        job = KIND.job(f"{number:06d}", batch, config, model_cause(ctx, config))
        yield Step(
            f"let {model or engine} play {games} games of {config} (batch {number})",
            f"{already} self-play jobs are open and {enough} are right for {cores} cores at level {level.value};"
            f" {config} has had {spent.get(config, 0.0):.0f} core-seconds of late, the least of {len(missing)}",
            putting(ctx, job, lambda config=config, number=number: _count(ctx, config, number)),  # type: ignore[misc]
        )
        numbers[config] += 1
        spent[config] = spent.get(config, 0.0) + recipe.loop.batch_seconds
        missing[config] -= games
        if missing[config] <= 0:
            del missing[config]


def cores_of_workers(ctx: Context) -> int:
    """Cores of all workers that are alive; of this machine, while there is none."""
    nodes = [entry.value["capacity"] for entry in ctx.run.fabric.registry.ls(NODE)]
    return int(sum(node["cores"] for node in nodes if isinstance(node, dict))) or usable_cores()


def _missing(ctx: Context, now: Standing, open_: list[Job]) -> int:
    """Games that may still be put; without a limit, a large number."""
    if now.finished or now.loop.skip_selfplay or died_lately(ctx, KIND.name, now.config):
        return 0
    if not now.first and now.loop.rounds != now.trained + 1:
        return 1 << 30
    mine = (job for job in open_ if job.config == now.config)
    coming = sum(int(str(job.payload["games"])) - int(str(job.progress.get("done", 0))) for job in mine)
    return now.wanted - now.fresh - now.flow.valid - now.flow.waiting - coming


def _recent(ctx: Context) -> tuple[dict[str, float], dict[tuple[str, str], float]]:
    """Core-seconds by config in the last ten minutes; games per second by config and kind of player."""
    spent: dict[str, float] = {}
    rates: dict[tuple[str, str], float] = {}
    since = ctx.clock.now() - RECENT_SECONDS
    for entry in ctx.bus.log.tail(RECENT_EVENTS, types=[SelfplayFinished.__name__]):
        event = read(entry, SelfplayFinished).event
        if event.seconds > 0:
            rates[event.config, _kind(event.player)] = event.games / event.seconds
        if entry.at >= since:
            spent[event.config] = spent.get(event.config, 0.0) + event.seconds
    return spent, rates


def _kind(player: str) -> str:
    """A player, whichever model it has."""
    return re.sub(r"\bm-[0-9a-f]*", "m-", player)


def _number(ctx: Context, config: str) -> int:
    entry = ctx.run.fabric.registry.get(f"batch/{config}")
    return 1 + (int(str(entry.value["number"])) if entry else last_batch(ctx.run, config, "batch"))


def _count(ctx: Context, config: str, number: int) -> None:
    ctx.run.fabric.registry.set(f"batch/{config}", {"number": number}, lease=ctx.lease)


# -- the job -----------------------------------------------------------------------------------------------------------


class SelfplayBatch(Payload):
    """Play these games."""

    number: int
    """Number of the batch; its games are `<config>/batch-<number>/…`."""
    games: int
    engine: str
    """Who plays, as `selfplay.engine` says it."""
    model: str = ""
    """Model of an engine with a network; empty for the untrained weights."""
    elo: float = 0.0
    """Elo of that model, for temperatures by strength; 0 where it has none yet."""


class BatchOrder(Order):
    """Play what is missing of a batch."""

    name: str
    """Beginning of the games' work ids."""
    games: int
    player: str
    models: tuple[Playable, ...]
    elo: float
    trained: int
    """Candidates of the config by now."""
    done: tuple[str, ...]
    """Work ids of the games that the store has."""
    restarts: str
    """Blob of the openings that some games start with; empty for none."""


def prepare(run: RunDirectory, at: Work, batch: SelfplayBatch) -> BatchOrder:
    """Over the model that is sound now: a batch may have waited while its own was rolled back."""
    config, recipe = at.config, at.recipe
    model = batch.model and sound_model(run, ModelStore(run).show(batch.model)).id
    if not model and engine_name(batch.engine, "m-") != batch.engine:
        model = initial_model(run, config, recipe.training, recipe.loop.seed).id
    return _ordered(run, at, engine_name(batch.engine, model), f"batch-{batch.number:06d}", batch.games, batch.elo)


def _ordered(run: RunDirectory, at: Work, player: str, name: str, games: int, elo: float) -> BatchOrder:
    config, settings, store = at.config, at.recipe.selfplay, GameStore(run)
    restarts = ""
    if settings.restart_share:
        recent = store.iter_valid(config, store.flow(config).newest - settings.restart_games)
        openings = list(filter(None, (regretted(game.read()) for game in recent)))
        restarts = at.blobs.put(Parcel({"openings": openings, "of": at.job.id}).to_bytes(), SUFFIX)
    return BatchOrder(
        name=f"{config}/{name}", games=games, player=player, models=tuple(chosen(run, config, player)[1]), elo=elo,
        trained=len(ModelStore(run).ls(config, "candidate")), done=tuple(sorted(store.work_ids(f"{config}/{name}/"))),
        restarts=restarts, lent=(restarts,) if restarts else (),
    )  # fmt: skip


def compute(at: Work, order: BatchOrder) -> Iterator[Parcel]:
    """The games as they end, about a second's at a time; at last what was played in all."""
    for model in order.models:
        model.check(at.blobs, at.config)
    player = player_over(at.config, order.player, at.recipe.selfplay.search, order.models, at.blobs)
    yield from _played(at, order, player, replace(at.recipe.selfplay.play, processes=1))


def _played(at: Work, order: BatchOrder, player: PlayerChoice, how: PlaySettings) -> Iterator[Parcel]:
    began = time.monotonic()
    made = Provenance.here(at.job.holder, at.settings or at.recipe.selfplay, order.trained)
    new: list[Finished] = []
    count = plies = 0
    sent = began
    for game in games_of(at, order, player, how):
        new.append(game)
        count, plies = count + 1, plies + game.plies
        if time.monotonic() - sent >= at.parcel_seconds:
            yield _parcel(new, made)
            new, sent = [], time.monotonic()
    done = {
        "batch": order.name, "player": player.name, "games": len(order.done) + count, "plies": plies, "new": count,
        "seconds": round(time.monotonic() - began, 2),
    }  # fmt: skip
    yield _parcel(new, made, done)


def _parcel(games: list[Finished], made: Provenance, done: Mapping[str, Any] | None = None) -> Parcel:
    about = {"made": vars(made), "work_ids": [game.work_id for game in games], "done": done}
    return Parcel(about, [game.record for game in games])


def games_of(at: Work, order: BatchOrder, player: PlayerChoice, how: PlaySettings) -> Iterator[Finished]:
    """Plays what is missing of a batch."""
    config, settings = at.config, at.recipe.selfplay
    if isinstance(player.search, TreeSettings):
        player = replace(player, search=replace(player.search, simulations=settings.simulations(order.trained)))
    elif isinstance(player.search, MinimaxSettings):
        player = replace(player, search=replace(player.search, nodes=settings.nodes))
    restarts: list[tuple[int, ...]] = []
    if order.restarts:
        restarts = list(map(tuple, Parcel.from_bytes(at.blobs.get(order.restarts)).about["openings"]))
    tasks = list(
        selfplay_tasks(
            config, order.name, order.games, settings, at.recipe.loop.seed, done=set(order.done), restarts=restarts
        )
    )
    players, tasks = drawn_seats(player, tasks)
    temperatures = partial(settings.temperatures, min(1.0, order.trained / settings.progressive_models), order.elo)
    if settings.temperature.kind == "mixed":
        tasks = [replace(task, temperatures=tuple(temperatures(seed=task.seed))) for task in tasks]
    new = plies = 0
    with at.show(f"self-play of {player.name}", len(order.done) + len(tasks)) as advance:
        advance(len(order.done), "")
        for game in play(
            players,
            tasks,
            how,
            temperatures=temperatures(),
            adaptive=settings.adaptive,
            keep_search=True,
            memory=settings.memory,
            economy=settings.economy,
        ):
            yield game
            new, plies = new + 1, plies + game.plies
            advance(len(order.done) + new, f"{plies / new:.0f} plies a game")


def apply(run: RunDirectory, at: Work, parcel: Parcel) -> SelfplayFinished | None:
    """Stores games, each once."""
    about = parcel.about
    GameStore(run).add_many(zip(parcel.parts, about["work_ids"], strict=True), Provenance.of(about["made"]))
    if (done := about["done"]) is None:
        return None
    told = {name: value for name, value in done.items() if name != "new"}
    return SelfplayFinished(config=at.config, job=at.job.id, **told)


# -- by hand -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    """What one batch of self-play is."""

    name: str
    games: int
    """Games of the batch that are stored."""
    new: int
    """How many of them were played now."""
    plies: int
    """Plies of the new ones."""
    player: str
    """Who played the new ones."""


def play_games(
    run: RunDirectory,
    config: str,
    name: str,
    games: int,
    settings: SelfplaySettings,
    player: PlayerChoice,
    *,
    seed: int = 0,
    elo: float = 0.0,
    show: Show = quiet,
) -> Batch:
    """Plays what is missing of the `games` games of the batch `name`; each is stored as it ends. `elo` is the
    player's."""
    at = work_by_hand(run, config, show, selfplay=settings, seed=seed)
    order = _ordered(run, at, player.name, name, games, elo)
    try:
        for parcel in _played(at, order, player, settings.play):
            apply(run, at, parcel)
    finally:
        for blob in order.lent:
            at.blobs.delete(blob)
    done = parcel.about["done"]
    return Batch(order.name, done["games"], done["new"], done["plies"], player.name)


def last_batch(run: RunDirectory, config: str, kind: str) -> int:
    """The highest number of a batch of that kind, `batch` or `by-hand`, of which games are stored."""
    found = GameStore(run).last_work_id(f"{config}/{kind}-")
    return int(found.removeprefix(f"{config}/{kind}-").partition("/")[0]) if found else 0


def batch_name(
    run: RunDirectory, config: str, games: int, player: PlayerChoice, taken: Container[str] = frozenset()
) -> str:
    """The name for a batch of self-play by hand: the first that asked for the same, is unfinished and not `taken`; else
    a new one."""
    registry, prefix = run.fabric.registry, f"selfplay/{config}/"
    wanted: dict[str, object] = {"games": games, "player": player.name}
    if (kept := registry.get(prefix[:-1])) is not None:  # of an earlier release: one batch for each config
        value = dict(kept.value)
        registry.compare_and_set(f"{prefix}by-hand-{value.pop('number'):06d}", value, 0)
        registry.delete(kept.key)
    while True:
        known = [last_batch(run, config, "by-hand")]
        for entry in registry.ls(prefix):
            name = entry.key.removeprefix(prefix)
            known.append(int(name.removeprefix("by-hand-")))
            if len(GameStore(run).work_ids(f"{config}/{name}/")) >= int(str(entry.value["games"])):
                registry.delete(entry.key)
            elif entry.value == wanted and name not in taken:
                return name
        name = f"by-hand-{max(known) + 1:06d}"
        if registry.compare_and_set(prefix + name, wanted, 0) is not None:
            return name


@contextmanager
def claimed_batch(run: RunDirectory, config: str, games: int, player: PlayerChoice) -> Iterator[str]:
    """The name of a batch as `batch_name` chooses it, which no other process plays inside the block.

    A process that is killed leaves its batch to the next one.
    """
    taken = set[str]()
    while True:
        name = batch_name(run, config, games, player, taken)
        taken.add(name)
        try:
            lease = run.fabric.leases.acquire(f"selfplay/{config}/{name}", CLAIM_TTL)
        except JobError:  # another process plays it
            continue
        with kept_alive(lease):
            if len(GameStore(run).work_ids(f"{config}/{name}/")) < games:  # else it was finished since
                yield name
                return


KIND = Kind("selfplay", SelfplayBatch, BatchOrder, prepare, compute, apply, SelfplayFinished, priority=10, fills=True)
STAGE = Service(
    "selfplay", plan, every=5.0, job=KIND,
    on=(SelfplayFinished, TrainingFinished, ModelPromoted, ModelRolledBack, PressureChanged),
)  # fmt: skip
