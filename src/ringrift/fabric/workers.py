"""Which workers fail what others finish: told by their jobs, the same on every fabric.

    sound ──fails a job──→ failing ──others finish what it failed──→ set aside ──finishes a job──→ sound

A failing worker has the record `failing/<worker>` in the registry. While a sound one could do a job, the failures of a
failing one do not count against the job, and from the `PATIENCE`th in a row on it gets no other job for a while, each
time twice as long. One that is set aside is tried again with one job at a time. Where nobody else could do a job, all
fail it: then it is the job, and every failure counts.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace

from ringrift.clock import Clock
from ringrift.fabric import job as jobs
from ringrift.fabric.job import Job
from ringrift.fabric.protocol import Registry

PATIENCE = 3  #: failures in a row before it waits; failed jobs that others finish before it is set aside
PAUSE_SECONDS = 2.0  #: of the first wait; doubles up to
FAILING_LIMIT, SET_ASIDE_LIMIT = 60.0, 900.0  #: for a worker that is failing, and for one that is set aside
KEPT_JOBS, KEPT_SECONDS = 100, 86400.0  #: of its last failures, and since the last one
_ONE_OF_ITS_KIND = secrets.token_hex(4)
NODE, FAILING, PAUSED = "node/", "failing/", "paused/"  #: keys of what a worker tells of itself, and is told of it


def process_name() -> str:
    """Names this process, now and for ever: process ids come again."""
    return f"{socket.gethostname()}:{os.getpid()}:{_ONE_OF_ITS_KIND}"


@dataclass(frozen=True)
class Failing:
    """A worker that has finished nothing since it failed first."""

    worker: str
    jobs: tuple[str, ...] = ()
    """That it failed last, and nobody else has finished."""
    failures: int = 0
    """How many jobs it failed in a row."""
    refuted: int = 0
    """Jobs of these that others have finished."""
    pause: float = 0.0
    """Seconds that it was last to wait."""
    error: str = ""
    """What its last failure was."""
    since: float = 0.0
    """Unix time of its first failure."""
    until: float = 0.0
    """Unix time about which it is tried again."""

    @property
    def is_set_aside(self) -> bool:
        return self.refuted >= PATIENCE

    @property
    def text(self) -> str:
        """`it failed 7 jobs in a row, of which others finished 3; the last: DataError: …`."""
        return (
            f"it failed {self.failures} jobs in a row, of which others finished {self.refuted}; the last: {self.error}"
        )


def failing(registry: Registry) -> list[Failing]:
    """Every worker that is."""
    known = {field.name for field in fields(Failing)}
    found = [{name: of for name, of in entry.value.items() if name in known} for entry in registry.ls(FAILING)]
    return [Failing(**{**value, "jobs": tuple(value["jobs"])}) for value in found]  # type: ignore[arg-type]


def forget(registry: Registry, worker: str) -> None:
    """It is sound, or no more."""
    for key in (FAILING, PAUSED):
        registry.delete(key + worker)


def is_paused(registry: Registry, worker: str) -> bool:
    """Whether it gets no job for now."""
    return registry.get(PAUSED + worker) is not None


class Workers:
    """What the jobs of a fabric tell of those who hold them. Its calls stand in the transactions of the jobs."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry, self._clock = registry, clock

    def limit(self, worker: str, wanted: int, leased: Callable[[], Iterable[Job]]) -> int:
        """How many jobs it may claim now, of so many."""
        if is_paused(self._registry, worker):
            return 0
        one = self._failing().get(worker)
        if one is None or not one.is_set_aside:
            return wanted
        return 0 if any(job.holder == worker for job in leased()) else min(wanted, 1)

    def failed(self, job: Job, error: str, leased: Iterable[Job], *, retry: bool = True) -> Job:
        """What is left of a job that its holder failed. Where others could do it, they have their try, whatever this
        one says of another attempt."""
        now, at = self._clock.monotonic(), self._clock.now()
        failing = self._failing()
        if job.stop or not self._others(job, leased, failing):
            return jobs.failed(job, error, now, at, retry=retry)
        one = failing.get(job.holder) or Failing(job.holder, since=at)
        known = [id_ for id_ in one.jobs if id_ != job.id]
        said = error.partition("\n")[0]
        one = replace(one, jobs=(*known, job.id)[-KEPT_JOBS:], failures=one.failures + 1, error=said)
        if one.failures >= PATIENCE and not is_paused(self._registry, one.worker):
            limit = SET_ASIDE_LIMIT if one.is_set_aside else FAILING_LIMIT
            pause = min(limit, 2 * one.pause or PAUSE_SECONDS)
            one = replace(one, pause=pause, until=at + pause)
            self._registry.set(PAUSED + one.worker, {}, ttl=pause)
        self._keep(one)
        return jobs.failed(job, error, now, at, counts=job.holder not in failing)

    def reaped(self, job: Job, leased: Iterable[Job]) -> Job | None:
        """What is left of a leased job whose holder is gone, too slow or stuck; none while it may go on."""
        now = self._clock.monotonic()
        if (error := jobs.overdue(job, now)) is None:
            return None
        if jobs.is_lost(job, now):  # a machine that went down tells nothing of its work
            return jobs.failed(job, error, now, self._clock.now())
        return self.failed(job, error, leased)

    def finished(self, job: Job) -> None:
        """Its holder is sound, and who failed the job is the less so."""
        for one in self._failing().values():
            if one.worker == job.holder:
                forget(self._registry, one.worker)
            elif job.id in one.jobs:
                left = tuple(id_ for id_ in one.jobs if id_ != job.id)
                self._keep(replace(one, jobs=left, refuted=one.refuted + 1))

    def _failing(self) -> dict[str, Failing]:
        return {one.worker: one for one in failing(self._registry)}

    def _keep(self, one: Failing) -> None:
        self._registry.set(FAILING + one.worker, asdict(one) | {"jobs": [*one.jobs]}, ttl=KEPT_SECONDS)

    def _others(self, job: Job, leased: Iterable[Job], failing: Mapping[str, Failing]) -> set[str]:
        """Sound workers that could do the job: they say so, or do another of its kind."""
        told = {entry.key.removeprefix(NODE) for entry in self._registry.ls(NODE) if _can_do(entry.value, job)}
        return (told | {other.holder for other in leased if other.kind == job.kind}) - failing.keys() - {job.holder}


def _can_do(node: Mapping[str, object], job: Job) -> bool:
    kinds, capacity = node.get("kinds"), node.get("capacity")
    if not isinstance(kinds, list | tuple) or not isinstance(capacity, dict):
        return False
    return job.kind in kinds and jobs.fits(job.needs, capacity)
