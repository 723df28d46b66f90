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
        tell_promoted(ctx, ModelStore(ctx.run).history(now.config)[-1])
    else:
        rejected = ModelRejected(config=now.config, model=model.id, reason=verdict.reason)
        publish(ctx, rejected, f"verdict/{model.id}")
    stages.note_verdict(ctx.run, model.id, verdict.passes, verdict.reason)


def _note_promoted(ctx: Context, done: Promotion) -> None:
    tell_promoted(ctx, done)
    stages.note_verdict(ctx.run, done.model, True, str(done.evidence.get("reason", "by hand")))


def tell_promoted(ctx: Context, done: Promotion) -> None:
    """Once for each promotion, whoever tells it."""
    reason = str(done.evidence.get("reason", "by hand"))
    event = ModelPromoted(config=done.config, model=done.model, over=done.previous or "", reason=reason)
    publish(ctx, event, f"promotion/{done.config}/{done.revision}")


def publish(ctx: Context, event: ModelPromoted | ModelRejected, id_: str) -> None:
    """Once for each id, whatever interrupts it; caused by the candidate's last match."""
    matches = ctx.bus.log.tail(20, types=[MatchFinished.__name__], key=event.config)
    causes = [entry.sequence for entry in matches if read(entry, MatchFinished).event.a == event.model]
    ctx.publish(event, parent=max(causes, default=None), id_=id_)


SERVICE = Service("gate", plan, every=10.0, on=(MatchFinished, JobDied), emits=(ModelPromoted, ModelRejected))
