"""Progress: facts worth keeping are recorded once, and it is said when the gain of Elo has come to an end."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ringrift.evaluation import Velocity, is_plateau
from ringrift.kernel.service import Service, Step
from ringrift.pipeline.evaluate import noted_matches, stated_hurdles
from ringrift.pipeline.events import MatchFinished, ModelPromoted, PlateauReached
from ringrift.pipeline.loop import elos, gain
from ringrift.pipeline.service import Context
from ringrift.pipeline.standing import cause
from ringrift.store import ModelInfo, ModelStore


def plan(ctx: Context) -> Iterator[Step]:
    """Records what a promoted model has reached and is not recorded yet; tells of a plateau once, until it is left."""
    registry, store = ctx.run.fabric.registry, ModelStore(ctx.run)
    for config in ctx.configs:
        if promoted := store.promoted(config):
            model = store.show(promoted)
            for name, why in reached(ctx, model):
                if registry.get(key := f"milestone/{config}/{name}") is None:
                    value: dict[str, object] = {"model": model.id, "at": ctx.clock.now(), "why": why}
                    yield Step(f"record {name} for {config}", why, partial(_keep, ctx, key, value))
        if found := gain(ctx.run, config, ctx.recipes[config].progress):
            told, over = registry.get(f"plateau/{config}"), is_plateau(found, ctx.recipes[config].progress)
            if over and told is None:
                yield Step(f"say that {config} gains no Elo any more", _said(found), partial(_tell, ctx, config, found))
            elif told and found.per_1000_games.per_unit >= ctx.recipes[config].progress.plateau:
                what = f"note that {config} gains Elo again"
                yield Step(what, _said(found), partial(registry.delete, f"plateau/{config}", lease=ctx.lease))


def reached(ctx: Context, model: ModelInfo) -> Iterator[tuple[str, str]]:
    """Names and reasons of what a promoted model has reached: opponents mastered, tiers of Elo, a transfer."""
    settings, hurdles = ctx.recipes[model.config].progress, stated_hurdles(model)
    for name, match in noted_matches(model, "match/").items():
        gate = name in ctx.recipes[model.config].gate.gates and name in hurdles
        if gate and match.games >= settings.mastered_games and match.interval[0] > hurdles[name].least:
            said = f"{match.score:.3f} ({match.interval[0]:.3f}–{match.interval[1]:.3f}) in {match.games} games"
            yield f"mastered/{name}", f"{said}, where {hurdles[name].least:.3f} was asked for"
    if rating := elos(ctx.run, model.config).get(model.id):
        for tier in range(1, 1 + int(max(0.0, rating.low) // settings.tier)):
            yield f"tier/{tier * settings.tier:g}", f"{rating.elo:.0f} Elo ({rating.low:.0f} to {rating.high:.0f})"
    store, ancestor = ModelStore(ctx.run), model
    while ancestor.parents and ancestor.config == model.config:
        ancestor = store.show(ancestor.parents[0])
    if ancestor.config != model.config:
        yield f"transfer/{ancestor.config}", f"it descends from {ancestor.id} of {ancestor.config}"


def _keep(ctx: Context, key: str, value: dict[str, object]) -> None:
    ctx.run.fabric.registry.compare_and_set(key, value, 0, lease=ctx.lease)


def _tell(ctx: Context, config: str, found: Velocity) -> None:
    last, slope = cause(ctx, MatchFinished, config), found.per_1000_games
    told = PlateauReached(
        config=config, gain=slope.per_unit, low=slope.low, high=slope.high, models=found.models, games=found.games
    )
    ctx.publish(told, parent=last, id_=f"plateau/{config}/{last or 0}")
    ctx.run.fabric.registry.set(f"plateau/{config}", found.to_dict(), lease=ctx.lease)


def _said(found: Velocity) -> str:
    slope = found.per_1000_games
    return (
        f"{slope.per_unit:+.1f} Elo ({slope.low:+.1f} to {slope.high:+.1f}) per 1,000 games over the last"
        f" {found.models} candidates"
    )


STAGE = Service(
    "progress", plan, every=60.0, on=(MatchFinished, ModelPromoted), emits=(PlateauReached,), required=False
)
