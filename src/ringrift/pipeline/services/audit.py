"""Audit: a share of the games is looked at again by a process that neither played nor judged them."""

from __future__ import annotations

from collections.abc import Iterator

from ringrift.pipeline import jobs
from ringrift.pipeline.events import GamesValidated
from ringrift.pipeline.service import Context, Service, Step
from ringrift.pipeline.standing import blocked, cause, putting
from ringrift.store.audit import mark_of, reach

DAY = 86400.0
MANY = 1000  #: new games after which there is an audit before the day is over


def plan(ctx: Context) -> Iterator[Step]:
    """A job for each config with many games since its last audit, or with games and none for a day."""
    for config in ctx.configs:
        settings = ctx.recipes[config].audit
        if not (settings.share or settings.recheck) or blocked(ctx, jobs.AUDIT, config):
            continue
        newest = reach(ctx.run, config)
        up_to, at = mark_of(ctx.run, config)
        ago = ctx.clock.now() - at
        if newest - up_to >= MANY or (newest and up_to and not 0 <= ago < DAY):  # before: the date was set back
            job = jobs.make_job(jobs.AUDIT, str(newest), jobs.GamesToAudit(), config, cause(ctx, GamesValidated))
            why = f"{newest - up_to} games came since the last audit, {MANY} are enough, or a day"
            yield Step(f"look again at some of the games of {config}", why, putting(ctx, job, again=True))


SERVICE = Service("audit", plan, every=60.0, on=(GamesValidated,), required=False)
