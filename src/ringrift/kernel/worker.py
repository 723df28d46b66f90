"""Worker: claims jobs for what this machine has free, and reports on them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ringrift.fabric import JobState
from ringrift.kernel.crew import Crew, Held
from ringrift.kernel.health import disk_share
from ringrift.kernel.service import Context, Profile, Service, Step
from ringrift.observe.logs import bound, log

STATE = "crew"  #: where `Context.state` has the crew


def crew_of(ctx: Context) -> Crew:
    """The crew of this process, which whoever made the context has put there."""
    crew = ctx.state[STATE]
    assert isinstance(crew, Crew)
    return crew


def plan(ctx: Context) -> Iterator[Step]:
    """Settles what has ended, claims what fits; nothing new while the disk is all but full."""
    crew = crew_of(ctx)
    for held in crew.ended():
        yield Step(f"report on job {held.job.id}", "its process has ended", partial(_settle, ctx, crew, held))
    waiting = _waiting(ctx, crew)
    if disk_share(ctx.run.path) >= ctx.services.disk_stop:
        return
    if waiting and (crew.wants() or crew.ended()):
        yield Step(
            "claim jobs",
            f"{', '.join(waiting)} waits, {crew.free['cores']:g} of {crew.capacity['cores']:g} cores are free",
            crew.claim,
        )


def _settle(ctx: Context, crew: Crew, held: Held) -> None:
    with bound(job=held.job.id):
        left = crew.settle(held)
        log.info("job ended", state=left.state.value if left else "lost", error=left.error if left else "")
    ctx.wake(crew.wakes[held.job.kind])


def report(ctx: Context) -> Iterator[Step]:
    """Keeps what runs, and lets others know of it; apart from `plan`, which may wait for a process to start."""
    crew = crew_of(ctx)
    yield Step("hold the leases of jobs, with their progress", f"{len(crew.held)} are being done", crew.hold)
    yield Step("say what this worker has and does", "services and people look at it", crew.tell)


def _waiting(ctx: Context, crew: Crew) -> list[str]:
    """Kinds of which a job waits."""
    jobs = ctx.run.fabric.jobs
    return [kind for kind in crew.kinds if jobs.ls(states=[JobState.WAITING], kind=kind, limit=1)]


def _idle(ctx: Context) -> float:
    """Kinds of job that wait though nothing is being done."""
    crew = crew_of(ctx)
    return 0.0 if crew.held or crew.is_paused else float(len(_waiting(ctx, crew)))


WORKING = (Profile.LAPTOP, Profile.WORKER, Profile.TRAINER)
WORKER: Service[Context] = Service("worker", plan, every=1.0, profiles=WORKING, backlog=_idle, after=("report",))
REPORT: Service[Context] = Service("report", report, every=1.0, profiles=WORKING, quiet=True)
