"""Train: a candidate as soon as there are enough new games, one at a time for each config."""

from __future__ import annotations

from collections.abc import Iterator

from ringrift.pipeline import jobs
from ringrift.pipeline.events import ModelPromoted, ModelRejected, ModelRolledBack, SamplesExported
from ringrift.pipeline.service import Context, Service, Step
from ringrift.pipeline.standing import blocked, cause, putting, standing, unattended


def plan(ctx: Context) -> Iterator[Step]:
    """A job for each config that has enough games which its newest candidate, judged by now, has not seen."""
    # What is open is asked first: a training that ends meanwhile has its candidate in the standing.
    for now in (standing(ctx, config) for config in ctx.configs if not blocked(ctx, jobs.TRAIN, config)):
        enough = now.flow.last_shard > 0 and now.fresh >= now.wanted
        if enough and now.judged and not now.finished:
            parent = now.base.id if now.base else ""
            job = jobs.make_job(
                jobs.TRAIN, f"{parent or 'initial'}/{now.flow.last_shard}",
                jobs.Training(parent=parent, up_to=now.flow.last_shard, games=now.flow.exported), now.config,
                cause(ctx, SamplesExported, now.config),
            )  # fmt: skip
            yield Step(
                f"train candidate {now.trained + 1} of {now.config} from {parent or 'untrained weights'}",
                f"{now.fresh} games in shards are new to it, {now.wanted} are enough",
                putting(ctx, job, again=True),
            )


SERVICE = Service(
    "train", plan, every=10.0, on=(SamplesExported, ModelPromoted, ModelRejected, ModelRolledBack),
    backlog=unattended(jobs.TRAIN, lambda now: now.fresh if now.judged and now.fresh >= now.wanted > 0 else 0),
)  # fmt: skip
