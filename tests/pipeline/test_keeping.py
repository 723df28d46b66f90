"""The janitor and the backups: what nobody needs goes, the last copy of anything stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ringrift.clock import SYSTEM_CLOCK, VirtualClock
from ringrift.fabric import Job
from ringrift.kernel import worker
from ringrift.kernel.bus import Bus
from ringrift.kernel.crew import Crew, Held
from ringrift.kernel.service import Step
from ringrift.kernel.supervisor import tick
from ringrift.pipeline import Recipe, backup, export, janitor, table
from ringrift.pipeline.events import BackupFinished, CleanedUp, GamesValidated
from ringrift.pipeline.service import Context
from ringrift.pipeline.settings import KeepingSettings, SupervisionSettings
from ringrift.store import ModelStore, RunDirectory
from ringrift.store.backup import BackupStore

CONFIG = "square8_2p"
FULL = SupervisionSettings(disk_clean=1e-9, disk_stop=1.0)  #: any disk is too full
ROOMY = SupervisionSettings(disk_clean=1.0, disk_stop=1.0)


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[Context]:
    recipe = Recipe(keeping=KeepingSettings(backup_to=str(tmp_path / "copies"), models=1))
    with RunDirectory.create(tmp_path / "run") as run:
        made = Context(run, Bus(run.fabric.log, "test"), clock=SYSTEM_CLOCK, recipes={CONFIG: recipe})
        yield replace(made, services=ROOMY)


def store_blob(ctx: Context, content: bytes, *, old: bool = True) -> str:
    blob = ctx.run.fabric.blobs.put(content, ".bin")
    if old:
        os.utime(ctx.run.fabric.blobs.path(blob), (0, 0))
    return blob


def model(ctx: Context, number: int, role: str = "candidate") -> str:
    checkpoint = store_blob(ctx, f"weights {number}".encode())
    return ModelStore(ctx.run).register(CONFIG, checkpoint, None, {}, role=role)


def blobs(ctx: Context) -> set[str]:
    return {info.blob for info in ctx.run.fabric.blobs.ls()}


def steps(ctx: Context) -> list[Step]:
    return list(janitor.plan(ctx))


def test_once_a_day_what_nothing_names_goes(ctx: Context) -> None:
    named = ModelStore(ctx.run).show(model(ctx, 1)).checkpoint
    orphan, young = store_blob(ctx, b"orphan"), store_blob(ctx, b"young", old=False)
    kept, aside = (ctx.run.path / "training" / f"{CONFIG}.state.damaged-{number}" for number in (1, 2))
    for path in (kept, aside):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    os.utime(aside, (0, 0))
    (step,) = steps(ctx)
    assert "delete 1 files that nothing names" in step.what
    assert step.why == "once a day"
    assert blobs(ctx) == {named, orphan, young}  # a plan deletes nothing
    step.do()
    assert blobs(ctx) == {named, young}
    assert kept.exists() and not aside.exists()
    assert steps(ctx) == []
    done = ctx.bus.last(CleanedUp)
    assert done is not None
    assert (done.event.blobs, done.event.models) == (1, 0)


def test_full_disk_costs_only_models_that_have_a_copy(ctx: Context) -> None:
    first, *others = (model(ctx, number) for number in range(4))
    ModelStore(ctx.run).promote(first, over=None)
    full = replace(ctx, services=FULL)
    assert tick_janitor(full) == 1  # the day's
    assert not any(found.pruned for found in ModelStore(ctx.run).ls())  # there is no backup
    (due,) = backup.plan(ctx)
    due.do()
    (job,) = ctx.run.fabric.jobs.claim("w", {})
    table.run_job(ctx.run, job, "test")
    later = model(ctx, 9)
    (step,) = steps(full)
    assert "3 old models that a backup has" in step.what
    assert "% full" in step.why
    step.do()
    kept = {found.id for found in ModelStore(ctx.run).ls() if not found.pruned}
    assert kept == {first, later}
    assert {found.id for found in ModelStore(ctx.run).ls()} == {first, later, *others}
    assert steps(full) == []


def test_without_the_backups_everything_else_is_still_deleted(ctx: Context, tmp_path: Path) -> None:
    for number in range(4):
        model(ctx, number)
    (due,) = backup.plan(ctx)
    due.do()
    (job,) = ctx.run.fabric.jobs.claim("w", {})
    table.run_job(ctx.run, job, "test")
    orphan, full = store_blob(ctx, b"orphan"), replace(ctx, services=FULL, state={})
    (tmp_path / "copies").rename(tmp_path / "away")
    (step,) = steps(full)
    assert "delete 1 files that nothing names" in step.what and "0 old models" in step.what
    step.do()
    assert orphan not in blobs(ctx)
    assert steps(full) == []
    (tmp_path / "away").rename(tmp_path / "copies")
    (step,) = steps(full)
    (tmp_path / "copies").rename(tmp_path / "away")  # between the plan and its step
    step.do()
    assert not any(found.pruned for found in ModelStore(ctx.run).ls())


def test_backups_are_asked_once_a_backup(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, copied = [0], BackupStore.copied

    def counted(self: BackupStore, identity: str) -> set[str]:
        asked[0] += 1
        return copied(self, identity)

    monkeypatch.setattr(BackupStore, "copied", counted)
    full = replace(ctx, services=FULL)
    for backups in (1, 2):
        (due,) = backup.plan(replace(ctx, clock=VirtualClock(SYSTEM_CLOCK.now() + 3700 * backups)))
        due.do()
        (job,) = ctx.run.fabric.jobs.claim("w", {})
        ctx.run.fabric.jobs.finish(job, table.run_job(ctx.run, job, "test"))
        for _ in range(3):
            steps(full)
        assert asked == [backups]


def tick_janitor(ctx: Context) -> int:
    return tick(janitor.STAGE, ctx)


def test_old_jobs_and_heard_events_are_forgotten_and_no_others() -> None:
    clock = VirtualClock(1e9)
    with RunDirectory.in_memory(clock) as run:
        ctx = Context(run, Bus(run.fabric.log, "test"), clock=clock, services=ROOMY, recipes={CONFIG: Recipe()})
        run.fabric.jobs.put([Job("old", "export"), Job("dead", "export", max_attempts=1), Job("waits", "export")])
        old, dead = run.fabric.jobs.claim("w", {}, limit=2)
        run.fabric.jobs.finish(old, {})
        run.fabric.jobs.fail(dead, "no")
        for number in range(5):
            ctx.publish(GamesValidated(job=str(number), valid=1, quarantined=0))
        run.fabric.registry.set("node/a", {}, ttl=5)
        run.fabric.leases.acquire("replay/log/1", ttl=5).release()
        clock.advance(8 * 86400)
        ctx.publish(GamesValidated(job="new", valid=1, quarantined=0))
        for effect in ("log", "webhook"):
            run.fabric.registry.set(f"effect/{effect}", {"cursor": 4 if effect == "webhook" else 6, "held": {}})
        assert tick_janitor(ctx) == 1
        assert run.fabric.registry.purge() == run.fabric.leases.purge() == 0  # done
        assert {job.id for job in run.fabric.jobs.ls()} == {"dead", "waits"}
        assert [entry.sequence for entry in run.fabric.log.read()] == [5, 6, 7]


def test_backups_are_put_when_due_and_done_by_a_job(ctx: Context) -> None:
    (step,) = backup.plan(ctx)
    assert step.why == "there is no backup yet"
    step.do()
    assert list(backup.plan(ctx)) == []  # one is on its way
    (job,) = ctx.run.fabric.jobs.claim("w", {})
    result = table.run_job(ctx.run, job, "test")
    ctx.run.fabric.jobs.finish(job, result)
    place = BackupStore(str(ctx.recipes[CONFIG].keeping.backup_to))
    assert [one.name for one in place.ls()] == [result["name"]]
    assert list(backup.plan(ctx)) == []
    last = ctx.bus.last(BackupFinished)
    assert last is not None
    clock = VirtualClock(last.entry.at + 3601)
    (step,) = backup.plan(replace(ctx, clock=clock))
    assert step.why == "the last backup is 60 minutes old"
    assert list(backup.plan(replace(ctx, recipes={CONFIG: Recipe()}))) == []  # nowhere to copy to


def test_no_new_work_on_a_full_disk(ctx: Context) -> None:
    def start(job: Job) -> Held:
        raise AssertionError(job)

    ctx.run.fabric.jobs.put([Job("a", export.KIND.name)])
    held = Crew(ctx.run.fabric, start, clock=SYSTEM_CLOCK, services=table.STAGES, capacity={"cores": 1, "memory": 1e12})  # type: ignore[arg-type]
    working = replace(ctx, state={worker.STATE: held})
    assert [step.what for step in worker.plan(working)] == ["claim jobs"]
    assert list(worker.plan(replace(working, services=replace(FULL, disk_stop=1e-9)))) == []
