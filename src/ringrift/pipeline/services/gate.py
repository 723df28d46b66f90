"""Gate: a candidate whose matches are played is promoted or rejected, once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ringrift.evaluation import MatchResult, judge
from ringrift.fabric import JobState
from ringrift.pipeline import jobs, stages
from ringrift.pipeline.bus import read
from ringrift.pipeline.events import JobDied, MatchFinished, ModelPromoted, ModelRejected
from ringrift.pipeline.service import Context, Service, Step
from ringrift.pipeline.services.evaluate import job_name, pairs
from ringrift.pipeline.standing import Standing, standing
from ringrift.store import ModelInfo, ModelStore


def plan(ctx: Context) -> Iterator[Step]:
    """Judges each newest candidate all of whose matches have ended; one whose deciding match died does not pass."""
    for now in (standing(ctx, config) for config in ctx.configs):
        model = now.newest
        if model is None or now.judged:
            continue
        if ModelStore(ctx.run).promoted(now.config) == model.id:
            yield Step(
                f"note that {model.id} was promoted for {now.config}",
                "it was, and the loop was interrupted before it could say so",
                partial(_note_promoted, ctx, now, model),
            )
            continue
        wanted = pairs(ctx, now)
        if all(f"match/{pair.b}" in model.metrics or _given_up(ctx, now, pair) for pair in wanted):
            yield _verdict(ctx, now, model, wanted[-1])


def _given_up(ctx: Context, now: Standing, pair: jobs.MatchPair) -> bool:
    """Whether the match's job died or was cancelled."""
    job = ctx.run.fabric.jobs.get(f"{jobs.MATCH}/{now.config}/{job_name(pair)}")
    return job is not None and job.state in (JobState.DEAD, JobState.CANCELLED)


def _verdict(ctx: Context, now: Standing, model: ModelInfo, deciding: jobs.MatchPair) -> Step:
    config, recipe = now.config, ctx.recipes[now.config]
    kept = model.metrics.get(f"match/{deciding.b}")
    if not isinstance(kept, dict):
        reason = f"its match against {deciding.b} could not be played to its end"
        return Step(f"reject {model.id} for {config}", reason, partial(_reject, ctx, now, model, reason))
    result = MatchResult.from_dict({name: value for name, value in kept.items() if name != "opponent"})
    verdict, promote = judge(result, recipe.gate), now.loop.promote

    def decide() -> None:
        over = ModelStore(ctx.run).promoted(config) or ""
        if verdict.passes and promote:
            stages.promote_candidate(ctx.run, config, model.id, verdict, lease=ctx.lease)
            _publish(ctx, ModelPromoted(config=config, model=model.id, over=over, reason=verdict.reason))
        else:
            _publish(ctx, ModelRejected(config=config, model=model.id, reason=verdict.reason))
        stages.note_verdict(ctx.run, model.id, verdict.passes, verdict.reason)

    word = "promote" if verdict.passes and promote else "do not promote"
    return Step(f"{word} {model.id} for {config}", verdict.reason, decide)


def _reject(ctx: Context, now: Standing, model: ModelInfo, reason: str) -> None:
    _publish(ctx, ModelRejected(config=now.config, model=model.id, reason=reason))
    stages.note_verdict(ctx.run, model.id, False, reason)


def _note_promoted(ctx: Context, now: Standing, model: ModelInfo) -> None:
    last = ModelStore(ctx.run).history(now.config)[-1]
    reason = str(last.evidence.get("reason", "by hand"))
    _publish(ctx, ModelPromoted(config=now.config, model=model.id, over=last.previous or "", reason=reason))
    stages.note_verdict(ctx.run, model.id, True, reason)


def _publish(ctx: Context, event: ModelPromoted | ModelRejected) -> None:
    """Once for each candidate, whatever interrupts it; caused by the candidate's last match."""
    matches = ctx.bus.log.tail(20, types=[MatchFinished.__name__], key=event.config)
    causes = [entry.sequence for entry in matches if read(entry, MatchFinished).event.a == event.model]
    ctx.publish(event, parent=max(causes, default=None), id_=f"verdict/{event.model}")


SERVICE = Service("gate", plan, every=10.0, on=(MatchFinished, JobDied), emits=(ModelPromoted, ModelRejected))
