"""Audit: a share of the games is looked at again by a process that neither played nor judged them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache

from ringrift.errors import DataError
from ringrift.evaluators import Evaluator, make_evaluator
from ringrift.fabric import Parcel
from ringrift.fabric.parcel import SUFFIX
from ringrift.kernel.kind import Kind, Order, Payload, Show, quiet
from ringrift.kernel.service import Service, Step
from ringrift.pipeline.events import GamesAudited, GamesValidated
from ringrift.pipeline.kind import Work
from ringrift.pipeline.models import Playable, choose_player, playable
from ringrift.pipeline.service import Context
from ringrift.pipeline.standing import blocked, cause, putting
from ringrift.store import ModelStore, RunDirectory
from ringrift.store.audit import Audited, AuditSettings, Found, audit, keep, look_again, mark_of, reach, to_audit

DAY = 86400.0
MANY = 1000  #: new games after which there is an audit before the day is over


def plan(ctx: Context) -> Iterator[Step]:
    """A job for each config with many games since its last audit, or with games and none for a day."""
    for config in ctx.configs:
        settings = ctx.recipes[config].audit
        if not (settings.share or settings.recheck) or blocked(ctx, KIND.name, config):
            continue
        newest = reach(ctx.run, config)
        up_to, at = mark_of(ctx.run, config)
        ago = ctx.clock.now() - at
        if newest - up_to >= MANY or (newest and up_to and not 0 <= ago < DAY):  # before: the date was set back
            job = KIND.job(str(newest), SomeGames(), config, cause(ctx, GamesValidated))
            why = f"{newest - up_to} games came since the last audit, {MANY} are enough, or a day"
            yield Step(f"look again at some of the games of {config}", why, putting(ctx, job, again=True))


class SomeGames(Payload):
    """Look at a share of the games again."""


class GamesToAudit(Order):
    """Look at these games again."""

    games: str
    """Blob."""
    models: tuple[Playable, ...]
    """That played them, as far as their files are there."""


def prepare(run: RunDirectory, at: Work, _: SomeGames) -> GamesToAudit:
    """The games and the models that are there now."""
    parcel = to_audit(run, at.config, at.recipe.audit, time.time())
    blob = at.blobs.put(parcel.to_bytes(), SUFFIX)
    played = {made["model"] for made in parcel.about["made"].values()}
    store = ModelStore(run)
    known = [model for model in store.ls(at.config) if model.id in played and model.has_network]
    return GamesToAudit(games=blob, models=tuple(map(playable, known)), lent=(blob,))


def compute(at: Work, order: GamesToAudit) -> Iterator[Parcel]:
    """What is found of each game that is searched again, then of all that are replayed; at last an empty parcel."""
    known = {one.model: one for one in order.models}

    @cache
    def evaluator(model: str) -> Evaluator:
        if model not in known:
            raise DataError(f"{model} has no files any more")
        at.blobs.check(known[model].onnx)
        return make_evaluator(at.config, at.blobs.path(known[model].onnx))

    parcel = Parcel.from_bytes(at.blobs.get(order.games))
    searched = parcel.about["searched"]
    with at.show("looking at games again", len(searched)) as advance:
        for number, found in enumerate(look_again(parcel, evaluator), 1):
            yield Parcel(asdict(found))
            advance(min(number, len(searched)), "")
    yield Parcel()


def apply(run: RunDirectory, at: Work, parcel: Parcel) -> GamesAudited | None:
    """Quarantines what came out differently, and moves the mark."""
    if not parcel.about:
        return GamesAudited(
            config=at.config, job=at.job.id, searched=at.counted["searched"], replayed=at.counted["replayed"],
            skipped=at.counted["skipped"], quarantined=list(at.lines),
        )  # fmt: skip
    done = Audited()
    keep(run, at.config, Found(**parcel.about), done)
    at.counted.update(searched=done.searched, replayed=done.replayed, skipped=done.skipped)
    at.lines.extend(done.quarantined)
    return None


def audit_games(run: RunDirectory, config: str, settings: AuditSettings, now: float, *, show: Show = quiet) -> Audited:
    """Searches a share of the new games again, and replays a share of all."""

    @cache
    def evaluator(model: str) -> Evaluator:
        return make_evaluator(config, choose_player(run, config, model).network)

    start, newest = mark_of(run, config)[0], reach(run, config)
    with show("looking at games again", max(0, newest - start)) as advance:
        return audit(run, config, settings, evaluator, now, lambda game: advance(game - start, ""))


KIND = Kind("audit", SomeGames, GamesToAudit, prepare, compute, apply, GamesAudited, priority=20)
STAGE = Service("audit", plan, every=60.0, on=(GamesValidated,), job=KIND, required=False)
