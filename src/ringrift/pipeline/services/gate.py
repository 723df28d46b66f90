"""Gate: a candidate whose matches are played is promoted or rejected, once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ringrift.evaluation import Verdict
from ringrift.pipeline import stages
from ringrift.pipeline.bus import read
from ringrift.pipeline.events import JobDied, MatchFinished, ModelPromoted, ModelRejected
from ringrift.pipeline.service import Context, Service, Step
from ringrift.pipeline.services.evaluate import so_far
from ringrift.pipeline.standing import Standing, standing
from ringrift.store import ModelInfo, ModelStore
from ringrift.store.models import Promotion


def plan(ctx: Context) -> Iterator[Step]:
    """Judges each newest candidate whose gauntlet has ended; one whose match died does not pass."""
    for now in (standing(ctx, config) for config in ctx.configs):
        model = now.newest
        if model is None or now.judged:
            continue
        if done := [one for one in ModelStore(ctx.run).history(now.config) if one.model == model.id]:
            yield Step(
                f"note that {model.id} was promoted for {now.config}",
                "it was, and the loop was interrupted before it could say so",
                partial(_note_promoted, ctx, done[0]),
            )
        elif (verdict := so_far(ctx, model)) and verdict.next is None:
            word = "promote" if verdict.passes and now.loop.promote else "do not promote"
            what = f"{word} {model.id} for {now.config}"
            yield Step(what, verdict.reason, partial(_decide, ctx, now, model, verdict))


def _decide(ctx: Context, now: Standing, model: ModelInfo, verdict: Verdict) -> None:
    if verdict.passes and now.loop.promote:
        stages.promote_candidate(ctx.run, now.config, model.id, verdict, lease=ctx.lease)
        over = verdict.over or ""
        _publish(ctx, ModelPromoted(config=now.config, model=model.id, over=over, reason=verdict.reason))
    else:
        _publish(ctx, ModelRejected(config=now.config, model=model.id, reason=verdict.reason))
    stages.note_verdict(ctx.run, model.id, verdict.passes, verdict.reason)


def _note_promoted(ctx: Context, done: Promotion) -> None:
    reason = str(done.evidence.get("reason", "by hand"))
    _publish(ctx, ModelPromoted(config=done.config, model=done.model, over=done.previous or "", reason=reason))
    stages.note_verdict(ctx.run, done.model, True, reason)


def _publish(ctx: Context, event: ModelPromoted | ModelRejected) -> None:
    """Once for each candidate, whatever interrupts it; caused by the candidate's last match."""
    matches = ctx.bus.log.tail(20, types=[MatchFinished.__name__], key=event.config)
    causes = [entry.sequence for entry in matches if read(entry, MatchFinished).event.a == event.model]
    ctx.publish(event, parent=max(causes, default=None), id_=f"verdict/{event.model}")


SERVICE = Service("gate", plan, every=10.0, on=(MatchFinished, JobDied), emits=(ModelPromoted, ModelRejected))
