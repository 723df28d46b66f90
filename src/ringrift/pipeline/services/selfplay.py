"""Self-play: enough small batches waiting to keep every worker busy, the config that had least of late first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import ceil

from ringrift.evaluators.machine import usable_cores
from ringrift.fabric import Job
from ringrift.fabric.workers import NODE
from ringrift.pipeline import jobs, stages
from ringrift.pipeline.bus import read
from ringrift.pipeline.events import (
    ModelPromoted,
    ModelRolledBack,
    PressureChanged,
    SelfplayFinished,
    TrainingFinished,
)
from ringrift.pipeline.loop import elo_of
from ringrift.pipeline.service import Context, Level, Service, Step
from ringrift.pipeline.standing import Standing, died_lately, model_cause, open_jobs, putting, standing

RECENT_SECONDS = 600.0
RECENT_EVENTS = 200
FEWEST = 8  #: games of a batch, so that searches share the calls of the network


def plan(ctx: Context) -> Iterator[Step]:
    """Puts batches until enough are open for the level of backpressure."""
    level, cores = ctx.level(), cores_of_workers(ctx)
    enough = {Level.LOW: 2 * cores, Level.MEDIUM: cores, Level.HIGH: 1, Level.CRITICAL: 0}[level]
    open_ = [job for job in open_jobs(ctx, jobs.SELFPLAY) if job.config in ctx.recipes]
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
        player = _kind(stages.engine_name(engine, model or "m-"))
        quick = rates.get((config, player), 0.0) * recipe.loop.batch_seconds
        games = int(min(missing[config], max(FEWEST, min(quick, ceil(now.wanted / 2)))))
        number = numbers[config]
        batch = jobs.SelfplayBatch(
            number=number, games=games, engine=engine, model=model, elo=elo_of(ctx.run, config, model)
        )
        job = jobs.make_job(jobs.SELFPLAY, f"{number:06d}", batch, config, model_cause(ctx, config))
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
    if now.finished or now.loop.skip_selfplay or died_lately(ctx, jobs.SELFPLAY, now.config):
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
    return 1 + (int(str(entry.value["number"])) if entry else stages.last_batch(ctx.run, config, "batch"))


def _count(ctx: Context, config: str, number: int) -> None:
    ctx.run.fabric.registry.set(f"batch/{config}", {"number": number}, lease=ctx.lease)


SERVICE = Service(
    "selfplay", plan, every=5.0,
    on=(SelfplayFinished, TrainingFinished, ModelPromoted, ModelRolledBack, PressureChanged),
)  # fmt: skip
