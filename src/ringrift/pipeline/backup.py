"""Copies the run to another place every so often: a job without computing, done where the store is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ringrift.errors import JobError
from ringrift.fabric import Parcel, kept_alive
from ringrift.kernel.kind import Kind, Order, Payload
from ringrift.kernel.service import Service, Step
from ringrift.pipeline.events import BackupFinished
from ringrift.pipeline.kind import Work
from ringrift.pipeline.service import Context
from ringrift.pipeline.standing import blocked, putting
from ringrift.store import RunDirectory
from ringrift.store.backup import BackupStore

LEASE = 60.0  #: seconds for which a copy that was killed keeps others waiting


def plan(ctx: Context) -> Iterator[Step]:
    """A backup where the last one is older than `keeping.backup_minutes` and `keeping.backup_to` says where."""
    keeping = ctx.recipes[ctx.configs[0]].keeping
    if not keeping.backup_to or blocked(ctx, KIND.name, ""):
        return
    last = ctx.bus.last(BackupFinished)
    ago = (ctx.clock.now() - last.entry.at) / 60 if last else float("inf")
    if not 0 <= ago < keeping.backup_minutes:  # before: the date was set back
        why = f"the last backup is {ago:.0f} minutes old" if last else "there is no backup yet"
        payload = BackupTo(place=keeping.backup_to, keep=keeping.backups)
        job = KIND.job(f"{ctx.clock.now():.0f}", payload, parent=last.sequence if last else None)
        yield Step(f"copy the run to {keeping.backup_to}", why, putting(ctx, job))


class BackupTo(Payload):
    """Copy the run."""

    place: str
    keep: int
    """How many copies are kept there."""


class CopyOrder(Order):
    """What is to be copied; nothing is computed."""

    place: str
    keep: int


def prepare(_run: RunDirectory, _at: Work, wanted: BackupTo) -> CopyOrder:
    """Nothing more than was told."""
    return CopyOrder(place=wanted.place, keep=wanted.keep)


def compute(_at: Work, order: CopyOrder) -> Iterator[Parcel]:
    """Nothing but where to."""
    yield Parcel({"place": order.place, "keep": order.keep})


def apply(run: RunDirectory, at: Work, parcel: Parcel) -> BackupFinished:
    """Makes the copy; of what is there already nothing is sent."""
    place = parcel.about["place"]
    with _one_at_a_time(run), at.show(f"backup to {place}", 100) as advance:
        store = BackupStore(place, made=True)
        made = store.backup(run, lambda done, total: advance(100 * done // max(total, 1), ""), at.job.id)
        store.prune(parcel.about["keep"], made.manifest)
    return BackupFinished(
        job=at.job.id, to=place, name=made.manifest, files=made.files, size_bytes=made.size_bytes,
        sent_bytes=made.sent_bytes, lost=list(made.lost), seconds=round(made.seconds, 2),
    )  # fmt: skip


@contextmanager
def _one_at_a_time(run: RunDirectory) -> Iterator[None]:
    while True:
        try:
            lease = run.fabric.leases.acquire("backup", LEASE)
            break
        except JobError:  # another process copies the run
            time.sleep(0.5)
    with kept_alive(lease):
        yield


KIND = Kind("backup", BackupTo, CopyOrder, prepare, compute, apply, BackupFinished, priority=90, needs={})
STAGE = Service("backup", plan, every=30.0, job=KIND, required=False)
