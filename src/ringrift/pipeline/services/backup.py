"""Copies the run to another place every so often."""

from __future__ import annotations

from collections.abc import Iterator

from ringrift.pipeline import jobs
from ringrift.pipeline.events import BackupFinished
from ringrift.pipeline.service import Context, Service, Step
from ringrift.pipeline.standing import blocked, putting


def plan(ctx: Context) -> Iterator[Step]:
    """A backup where the last one is older than `keeping.backup_minutes` and `keeping.backup_to` says where."""
    keeping = ctx.recipes[ctx.configs[0]].keeping
    if not keeping.backup_to or blocked(ctx, jobs.BACKUP, ""):
        return
    last = ctx.bus.last(BackupFinished)
    ago = (ctx.clock.now() - last.entry.at) / 60 if last else float("inf")
    if not 0 <= ago < keeping.backup_minutes:  # before: the date was set back
        why = f"the last backup is {ago:.0f} minutes old" if last else "there is no backup yet"
        payload = jobs.BackupTo(place=keeping.backup_to, keep=keeping.backups)
        job = jobs.make_job(jobs.BACKUP, f"{ctx.clock.now():.0f}", payload, parent=last.sequence if last else None)
        yield Step(f"copy the run to {keeping.backup_to}", why, putting(ctx, job))


SERVICE = Service("backup", plan, every=30.0, required=False)
