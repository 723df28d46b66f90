"""Gate: a candidate whose matches are played is promoted or rejected, once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from ringrift.errors import DataError
from ringrift.evaluation import GateSettings, MatchResult, MatchSettings, Verdict, decide
from ringrift.fabric import Lease
from ringrift.kernel.bus import read
from ringrift.kernel.events import JobDied
from ringrift.kernel.kind import Show, quiet
from ringrift.kernel.service import Service, Step
from ringrift.pipeline.cards import write_card
from ringrift.pipeline.evaluate import (
    note_match,
    noted_matches,
    play_match,
    so_far,
    state_gauntlet,
    stated_hurdles,
)
from ringrift.pipeline.events import MatchFinished, ModelPromoted, ModelRejected
from ringrift.pipeline.service import Context
from ringrift.pipeline.standing import Standing, standing
from ringrift.store import ModelInfo, ModelStore, RunDirectory
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
        promote_candidate(ctx.run, now.config, model.id, verdict, lease=ctx.lease)
        tell_promoted(ctx, ModelStore(ctx.run).history(now.config)[-1])
    else:
        rejected = ModelRejected(config=now.config, model=model.id, reason=verdict.reason)
        publish(ctx, rejected, f"verdict/{model.id}")
    note_verdict(ctx.run, model.id, verdict.passes, verdict.reason)


def _note_promoted(ctx: Context, done: Promotion) -> None:
    tell_promoted(ctx, done)
    note_verdict(ctx.run, done.model, True, str(done.evidence.get("reason", "by hand")))


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


def gate_model(
    run: RunDirectory,
    config: str,
    candidate: str,
    settings: GateSettings,
    match: MatchSettings,
    *,
    seed: int = 0,
    promote: bool = True,
    lease: Lease | None = None,
    show: Show = quiet,
) -> Verdict:
    """Plays the candidate's gauntlet until it has a verdict, and promotes it if it passes.

    Called again after a promotion, it says what it rested on, and completes what a kill has left out.
    """
    store, model = ModelStore(run), ModelStore(run).show(candidate)
    if store.promoted(config) == candidate:
        reason = str(store.history(config)[-1].evidence.get("reason", "by hand"))
        note_verdict(run, candidate, True, reason)
        return Verdict(True, reason, tuple(stated_hurdles(model).values()), {**noted_matches(model, "match/")})
    plan, results = state_gauntlet(run, model, settings, match, seed), dict[str, MatchResult | None]()
    while hurdle := decide(plan, results).next:
        result = play_match(
            run, config, candidate, hurdle.opponent, hurdle.settings(match), seed=hurdle.seed, show=show
        )
        note_match(run, candidate, f"match/{hurdle.name}", result, time.time())
        results[hurdle.name] = result
    verdict = decide(plan, results, settings.voids)
    if verdict.passes and promote:
        promote_candidate(run, config, candidate, verdict, lease=lease)
    note_verdict(run, candidate, verdict.passes, verdict.reason)
    return verdict


def promote_candidate(
    run: RunDirectory, config: str, candidate: str, verdict: Verdict, lease: Lease | None = None
) -> None:
    """Promotes a candidate over the model that it was measured with. Raises `DataError` where that is not promoted."""
    store = ModelStore(run)
    if not store.promote(candidate, over=verdict.over, evidence=verdict.to_dict(), lease=lease):
        raise DataError(
            f"{store.promoted(config)} was promoted while {candidate} was measured with {verdict.over}: gate it again"
        )
    if verdict.over:
        write_card(run, verdict.over)


def note_verdict(run: RunDirectory, candidate: str, passes: bool, reason: str) -> None:
    """Keeps with the candidate that it was judged."""
    ModelStore(run).annotate(candidate, gate={"passes": passes, "reason": reason})
    write_card(run, candidate)


STAGE = Service("gate", plan, every=10.0, on=(MatchFinished, JobDied), emits=(ModelPromoted, ModelRejected))
