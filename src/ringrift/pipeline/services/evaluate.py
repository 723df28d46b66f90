"""Evaluate: the newest candidate plays its gauntlet, one match after the other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ringrift.evaluation import Hurdle, MatchResult, Verdict, decide
from ringrift.fabric import Job, JobState
from ringrift.pipeline import jobs, stages
from ringrift.pipeline.events import MatchFinished, TrainingFinished
from ringrift.pipeline.service import Context, Service, Step
from ringrift.pipeline.standing import Standing, cause, putting, standing
from ringrift.store import ModelInfo, ModelStore


def plan(ctx: Context) -> Iterator[Step]:
    """A job for the match that comes next for each newest candidate without a verdict."""
    for now in (standing(ctx, config) for config in ctx.configs):
        model = now.newest
        if model is None or now.judged or ModelStore(ctx.run).promoted(now.config) == model.id:
            continue
        if (verdict := so_far(ctx, model)) is None:
            what = f"state the gauntlet of {model.id} for {now.config}"
            yield Step(what, "nothing is played before it", partial(_state, ctx, now, model))
        elif verdict.next and ctx.run.fabric.jobs.get(job_id(ctx, model, verdict.next)) is None:
            yield Step(
                f"let {model.id} play at most {verdict.next.games} games of {now.config} against"
                f" {verdict.next.opponent}",
                f"it is candidate {now.trained}, and passed {len(verdict.matches)} matches of {len(verdict.gauntlet)}",
                putting(ctx, _job(ctx, model, verdict.next)),
            )


def so_far(ctx: Context, model: ModelInfo) -> Verdict | None:
    """The verdict on a candidate by what was played; None where its gauntlet is not stated yet."""
    if (stated := stages.stated_gauntlet(ctx.run, model)) is None:
        return None
    results: dict[str, MatchResult | None] = {**stages.noted_matches(model, "match/")}
    for hurdle in stated:
        job = ctx.run.fabric.jobs.get(job_id(ctx, model, hurdle))
        if job is not None and job.state in (JobState.DEAD, JobState.CANCELLED):
            results.setdefault(hurdle.name, None)
    return decide(stated, results, ctx.recipes[model.config].gate.voids)


def job_id(ctx: Context, model: ModelInfo, hurdle: Hurdle) -> str:
    """Of the job of a match; another one whenever what is promoted has changed, and with it the gauntlet."""
    revision = ModelStore(ctx.run).revision(model.config)
    return f"{jobs.MATCH}/{model.config}/{model.id}/{hurdle.name}/{hurdle.opponent}/{revision}"


def _job(ctx: Context, model: ModelInfo, hurdle: Hurdle) -> Job:
    pair = jobs.MatchPair(
        a=model.id, b=hurdle.opponent, name=f"match/{hurdle.name}", games=hurdle.games, sprt=(hurdle.lo, hurdle.hi),
        alpha=hurdle.alpha, beta=hurdle.beta, seed=hurdle.seed, openings_sha256=hurdle.openings_sha256,
        match=hurdle.match,
    )  # fmt: skip
    name = job_id(ctx, model, hurdle).removeprefix(f"{jobs.MATCH}/{model.config}/")
    return jobs.make_job(jobs.MATCH, name, pair, model.config, cause(ctx, TrainingFinished, model.config))


def _state(ctx: Context, now: Standing, model: ModelInfo) -> None:
    if ctx.lease:
        ctx.lease.check()
    recipe = ctx.recipes[now.config]
    stages.state_gauntlet(ctx.run, model, recipe.gate, recipe.match, now.loop.seed)
    ctx.wake("evaluate")


SERVICE = Service("evaluate", plan, every=10.0, on=(TrainingFinished, MatchFinished))
