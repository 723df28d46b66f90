"""Export: valid games become sample shards."""

from __future__ import annotations

from collections.abc import Iterator

from ringrift.pipeline import jobs
from ringrift.pipeline.events import GamesValidated
from ringrift.pipeline.service import Context, Service, Step
from ringrift.pipeline.standing import MANY, blocked, cause, putting, standing, unattended


def plan(ctx: Context) -> Iterator[Step]:
    """A job for each config that has many games in no shard, or enough for its next training."""
    for now in (standing(ctx, config) for config in ctx.configs if not blocked(ctx, jobs.EXPORT, config)):
        valid = now.flow.valid
        if valid < MANY and not (valid and now.fresh < now.wanted <= now.fresh + valid):
            continue
        name = f"{now.flow.newest}/{valid}"  # without a new game too: the shards of games taken back are made again
        job = jobs.make_job(jobs.EXPORT, name, jobs.ValidGames(), now.config, cause(ctx, GamesValidated))
        yield Step(
            f"make samples of {valid} games of {now.config}",
            f"they are valid and in no shard; {now.fresh} games are new in shards, a training takes {now.wanted}",
            putting(ctx, job, again=True),
        )


SERVICE = Service(
    "export", plan, every=10.0, on=(GamesValidated,),
    backlog=unattended(jobs.EXPORT, lambda now: now.flow.valid if now.flow.valid >= MANY else 0),
)  # fmt: skip
