"""Ingest: stored games are replayed by another process than the one that played them."""

from __future__ import annotations

from collections.abc import Iterator

from ringrift.pipeline import jobs
from ringrift.pipeline.events import SelfplayFinished
from ringrift.pipeline.service import Context, Service, Step
from ringrift.pipeline.standing import MANY, blocked, cause, putting, standing, unattended


def plan(ctx: Context) -> Iterator[Step]:
    """One job for the games of all configs, when there are many, or when the next training lacks only them."""
    if blocked(ctx, jobs.INGEST, ""):
        return
    for now in (standing(ctx, config) for config in ctx.configs):
        ready, waiting = now.fresh + now.flow.valid, now.flow.waiting
        if waiting >= MANY or (waiting and ready < now.wanted <= ready + waiting):
            job = jobs.make_job(
                jobs.INGEST, str(now.flow.newest), jobs.WaitingGames(), parent=cause(ctx, SelfplayFinished, now.config)
            )
            yield Step(
                f"replay the games that nobody has replayed yet, up to game {now.flow.newest}",
                f"{waiting} games of {now.config} wait; {ready} are replayed, its next training takes {now.wanted}",
                putting(ctx, job, again=True),
            )
            return


SERVICE = Service(
    "ingest", plan, every=10.0, on=(SelfplayFinished,),
    backlog=unattended(jobs.INGEST, lambda now: now.flow.waiting if now.flow.waiting >= MANY else 0),
)  # fmt: skip
