"""Evaluate: the newest candidate plays the promoted model and everybody it is compared with."""

from __future__ import annotations

from collections.abc import Iterator

from ringrift.pipeline import jobs
from ringrift.pipeline.events import TrainingFinished
from ringrift.pipeline.service import Context, Service, Step
from ringrift.pipeline.standing import Standing, cause, putting, standing
from ringrift.store import ModelStore


def pairs(ctx: Context, now: Standing) -> list[jobs.MatchPair]:
    """The matches by which the newest candidate is judged; the last one decides."""
    if now.newest is None or now.judged:
        return []
    recipe, promoted = ctx.recipes[now.config], ModelStore(ctx.run).promoted(now.config)
    if promoted == now.newest.id:
        return []
    gate = promoted or "initial"
    opponents = [name for name in now.loop.opponents if name != gate]
    return [
        jobs.MatchPair(
            a=now.newest.id, b=name, opponent="best" if name == promoted else name, number=now.trained,
            games=recipe.gate.games if name == gate else recipe.match.games,
        )
        for name in (*opponents, gate)
    ]  # fmt: skip


def job_name(pair: jobs.MatchPair) -> str:
    """Of its job."""
    return f"{pair.a}/{pair.b}"


def plan(ctx: Context) -> Iterator[Step]:
    """A job for each match that the newest candidate has not played."""
    for now in (standing(ctx, config) for config in ctx.configs):
        for pair in pairs(ctx, now):
            job = jobs.make_job(jobs.MATCH, job_name(pair), pair, now.config, cause(ctx, TrainingFinished, now.config))
            known = now.newest is not None and f"match/{pair.b}" in now.newest.metrics
            if not known and ctx.run.fabric.jobs.get(job.id) is None:
                yield Step(
                    f"let {pair.a} play {pair.games} games of {now.config} against {pair.b}",
                    f"it is candidate {now.trained}, and has not met {pair.opponent}",
                    putting(ctx, job),
                )


SERVICE = Service("evaluate", plan, every=10.0, on=(TrainingFinished,))
