"""What a job is and what can happen to it: pure functions of a job and the time, the same on every fabric.

    put → WAITING ──claimed──→ LEASED ──finished──→ DONE
             ↑                    │
             ├──── released ──────┤
             └─ failed or reaped ─┴─ no attempt left ─→ DEAD        any of the first two ──stopped──→ CANCELLED

`now` is the fabric's own clock in seconds, which neither jumps nor means a date; `at` fields are Unix time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ringrift.clock import back_off
from ringrift.errors import LeaseLost

RETRY_SECONDS = 2.0  #: before the second attempt; see `back_off`


class JobState(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    LEASED = "leased"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"


OPEN = (JobState.WAITING, JobState.LEASED)  #: states of jobs that are still to be done


@dataclass(frozen=True)
class Job:
    """One piece of work, as whoever puts it describes it, and what became of it."""

    id: str
    """The work id, under which every result is stored."""
    kind: str
    config: str = ""
    payload: Mapping[str, object] = field(default_factory=dict)
    """What to do, as JSON can hold it."""
    priority: int = 50
    """Higher goes first."""
    needs: Mapping[str, float] = field(default_factory=dict)
    """What of a machine it takes: `cores`, `memory` (bytes), `gpus`, …; a name that a machine lacks does not fit."""
    max_attempts: int = 3
    time_limit: float = 3600.0
    """Seconds an attempt may take."""
    stuck_after: float = 600.0
    """Seconds after which an attempt whose progress does not change is taken for stuck."""
    parent: int | None = None
    """Sequence number of the event that caused it."""

    state: JobState = JobState.WAITING
    attempts: int = 0
    """Attempts begun, apart from those given back and those spent on workers that fail what others finish."""
    fence: int = 0
    """Grows with every claim."""
    holder: str = ""
    """Who has it, or had it last."""
    due: float = 0.0
    """Not claimed before; fabric clock."""
    claimed: float = 0.0
    """Fabric clock."""
    changed: float = 0.0
    """When its progress last changed; fabric clock."""
    expires: float = 0.0
    """When its lease ends; fabric clock."""
    stop: str = ""
    """What is wished of the holder: `cancel`, `preempt` or nothing."""
    progress: Mapping[str, object] = field(default_factory=dict)
    result: Mapping[str, object] = field(default_factory=dict)
    error: str = ""
    """What the last failed attempt said."""
    created_at: float = 0.0
    finished_at: float = 0.0


def fits(needs: Mapping[str, float], capacity: Mapping[str, float]) -> bool:
    """True where a machine with that much free can do the job."""
    return all(amount <= capacity.get(name, 0.0) for name, amount in needs.items())


def claimed(job: Job, holder: str, ttl: float, now: float) -> Job:
    """Leased to `holder`."""
    return replace(
        job,
        state=JobState.LEASED,
        attempts=job.attempts + 1,
        fence=job.fence + 1,
        holder=holder,
        claimed=now,
        changed=now,
        expires=now + ttl,
        progress={},
        stop="",
    )


def held(job: Job | None, by: Job) -> Job:
    """The job as the fabric has it, if the claim `by` still holds. Raises `LeaseLost`."""
    if job is None or job.state is not JobState.LEASED or job.fence != by.fence:
        now = "forgotten" if job is None else f"{job.state.value}, last held by {job.holder or 'nobody'}"
        raise LeaseLost(f"job {by.id} was taken from {by.holder}: it is {now}; nothing was written")
    return job


def extended(job: Job, progress: Mapping[str, object] | None, ttl: float, now: float) -> Job:
    """Held until `ttl` seconds from now."""
    changed = progress is not None and dict(progress) != dict(job.progress)
    return replace(
        job,
        expires=now + ttl,
        progress=dict(progress) if changed and progress is not None else job.progress,
        changed=now if changed else job.changed,
    )


def finished(job: Job, result: Mapping[str, object], at: float) -> Job:
    """Done."""
    return replace(job, state=JobState.DONE, result=dict(result), finished_at=at, error="", stop="")


def failed(job: Job, error: str, now: float, at: float, *, retry: bool = True, counts: bool = True) -> Job:
    """Waiting for its next attempt after a back-off, or dead; cancelled where that was wished. An attempt that does not
    count is as if it had not been."""
    if job.stop == "cancel":
        return replace(job, state=JobState.CANCELLED, error=error, finished_at=at)
    if counts and (not retry or job.attempts >= job.max_attempts):
        return replace(job, state=JobState.DEAD, error=error, finished_at=at, stop="")
    wait = back_off(job.attempts, RETRY_SECONDS)
    attempts = job.attempts if counts else job.attempts - 1
    return replace(job, state=JobState.WAITING, attempts=attempts, error=error, due=now + wait, stop="")


def released(job: Job, now: float, at: float) -> Job:
    """Waiting again, the attempt uncounted, for others first if it was preempted; cancelled where that was wished."""
    if job.stop == "cancel":
        return replace(job, state=JobState.CANCELLED, finished_at=at)
    due = now + RETRY_SECONDS if job.stop == "preempt" else 0.0
    return replace(job, state=JobState.WAITING, attempts=job.attempts - 1, due=due, stop="")


def stopped(job: Job, how: str, at: float) -> Job | None:
    """What is left of a job that is wished to stop; none where it has already ended. A dead one can be cancelled: that
    is to say that nobody needs it."""
    if job.state is JobState.DEAD and how == "cancel":
        return replace(job, state=JobState.CANCELLED)
    if job.state is JobState.LEASED:
        return replace(job, stop=job.stop if job.stop == "cancel" else how)
    if job.state is not JobState.WAITING:
        return None
    return replace(job, state=JobState.CANCELLED, finished_at=at) if how == "cancel" else job


def is_lost(job: Job, now: float) -> bool:
    """Whether its lease is over: nobody knows what became of its holder."""
    return job.expires <= now


def overdue(job: Job, now: float) -> str | None:
    """Why a leased job is to be taken from its holder; none while it may go on."""
    if job.state is not JobState.LEASED:
        return None
    if is_lost(job, now):
        return f"{job.holder} was not heard of in time"
    if job.claimed + job.time_limit <= now:
        return f"{job.holder} took longer than the {job.time_limit:.0f} s of its time limit"
    if job.changed + job.stuck_after <= now:
        return f"{job.holder} made no progress for {job.stuck_after:.0f} s"
    return None


def revived(job: Job) -> Job | None:
    """A dead or cancelled job with a new set of attempts; none for another one."""
    if job.state not in (JobState.DEAD, JobState.CANCELLED):
        return None
    return replace(job, state=JobState.WAITING, attempts=0, due=0.0, finished_at=0.0, stop="")
