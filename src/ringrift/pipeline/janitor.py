"""Deletes what nobody needs any more, a little every day and more when the disk fills up; never the last copy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from time import time
from typing import cast

import psutil

from ringrift.errors import DataError
from ringrift.fabric.files import sweep
from ringrift.kernel.effects import purge_events
from ringrift.kernel.health import disk_share
from ringrift.kernel.service import Service, Step
from ringrift.observe.breakers import BREAKERS, Unavailable
from ringrift.observe.logs import log
from ringrift.pipeline.effects import EFFECTS
from ringrift.pipeline.events import BackupFinished, CleanedUp
from ringrift.pipeline.service import Context
from ringrift.pipeline.settings import KeepingSettings
from ringrift.store import ModelStore
from ringrift.store.backup import BackupStore
from ringrift.store.check import needed_blobs

DAY = 86400.0
YOUNG = 3600.0  #: what was stored less than this ago may be about to be named
KEY = "janitor"  #: when it was last done, in the registry
COPIED = "janitor/copied"  #: in the state: the blobs that a backup has, and which backup


@dataclass(frozen=True)
class Waste:
    """What could be deleted now."""

    blobs: tuple[str, ...]
    """Files that nothing names."""
    blob_bytes: int
    models: dict[str, tuple[str, ...]]
    """Of each config, models that are old, never were promoted, and are in the last backup."""


def find_waste(ctx: Context, keeping: KeepingSettings, *, models: bool) -> Waste:
    """Looks at everything stored; with `models`, also for old models of which there is a copy elsewhere."""
    needed, limit = needed_blobs(ctx.run), time() - YOUNG
    blobs = [info for info in ctx.run.fabric.blobs.ls() if info.blob not in needed and info.modified < limit]
    old: dict[str, tuple[str, ...]] = {}
    if models and keeping.backup_to:
        copied = _copied(ctx, keeping.backup_to)
        for config in ctx.configs if copied else ():
            gone = ModelStore(ctx.run).prune(config, keeping.models, copied=copied, dry_run=True)
            if gone:
                old[config] = tuple(model.id for model in gone)
    return Waste(tuple(info.blob for info in blobs), sum(info.size_bytes for info in blobs), old)


def plan(ctx: Context) -> Iterator[Step]:
    """Once a day, and whenever the disk is fuller than `services.disk_clean`, if there is something to delete."""
    keeping, mark = ctx.recipes[ctx.configs[0]].keeping, ctx.services.disk_clean
    share, entry = disk_share(ctx.run.path), ctx.run.fabric.registry.get(KEY)
    full = share >= mark
    ago = ctx.clock.now() - float(str(entry.value["at"])) if entry else float("inf")
    ago = ago if ago >= 0 else float("inf")  # the date was set back
    if not full and ago < DAY:
        return
    waste = find_waste(ctx, keeping, models=full)
    if full and ago < DAY and not waste.blobs and not waste.models:
        return
    old = sum(map(len, waste.models.values()))
    what = (
        f"delete {len(waste.blobs)} files that nothing names ({waste.blob_bytes / 1e6:.1f} MB), {old} old models that"
    )
    what += f" a backup has, and what is known of jobs, events and damaged trainings older than {keeping.days:g} days"
    why = f"the disk is {share:.0%} full, {mark:.0%} is the mark" if full else "once a day"
    yield Step(what, why, lambda: clean(ctx, keeping, waste))


def clean(ctx: Context, keeping: KeepingSettings, waste: Waste) -> None:
    """Deletes it, and says so."""
    run, before = ctx.run, disk_share(ctx.run.path)
    free = psutil.disk_usage(str(run.path)).free
    pruned = 0
    if waste.models:
        ctx.state.pop(COPIED, None)  # pieces may be gone since: asked again before anything is deleted
        copied = _copied(ctx, keeping.backup_to)
        for config in waste.models:
            ctx.checkpoint()
            pruned += len(ModelStore(run).prune(config, keeping.models, copied=copied))
    gone = run.fabric.blobs.gc(needed_blobs(run), YOUNG)
    sweep(run.path, DAY)
    sweep(run.path / "training", keeping.days * DAY, "*.damaged-*")
    limit = ctx.clock.now() - keeping.days * DAY
    jobs = run.fabric.jobs.purge(limit)
    ctx.checkpoint()
    run.fabric.registry.purge()
    run.fabric.leases.purge()
    events = purge_events(run.fabric, EFFECTS, limit)
    run.fabric.registry.set(KEY, {"at": ctx.clock.now(), "disk": before})
    freed = max(0, psutil.disk_usage(str(run.path)).free - free)
    event = CleanedUp(blobs=len(gone), models=pruned, jobs=jobs, events=events, freed_bytes=freed)
    ctx.publish(event, id_=f"CleanedUp/{ctx.clock.now():.0f}")


def _copied(ctx: Context, place: str) -> set[str]:
    """The blobs that the last backup of this run has, asked for once a backup; none while the place is down."""
    if (last := ctx.bus.last(BackupFinished)) is None:
        return set()
    asked, known = cast("tuple[tuple[int, str], set[str]]", ctx.state.get(COPIED, ((0, ""), set())))
    if asked != (last.sequence, place):
        try:
            with BREAKERS.guard("backups"):
                known = BackupStore(place).copied(ctx.run.identity)
        except (DataError, Unavailable) as error:
            log.warning("no old model is deleted: its copy cannot be looked for", place=place, error=str(error))
            return set()
        ctx.state[COPIED] = (last.sequence, place), known
    return known


STAGE = Service("janitor", plan, every=60.0, emits=(CleanedUp,), timeout=600.0, required=False)
