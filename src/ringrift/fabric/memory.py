"""The fabric of one process, for tests and simulation: dictionaries and a clock that can be virtual.

It is also the plainest statement of what a fabric does; `local` is tested against it. What the methods promise is said
once, in `protocol`.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice

from ringrift.clock import SYSTEM_CLOCK, Clock
from ringrift.errors import JobError, LeaseLost
from ringrift.fabric import job as jobs
from ringrift.fabric.job import Job, JobState
from ringrift.fabric.local import LocalBlobs
from ringrift.fabric.protocol import Entry, Lease, LogEntry
from ringrift.fabric.scratch import scratch
from ringrift.fabric.workers import Workers


class MemoryFabric:
    """Everything in this process; blobs in a temporary directory, since readers want files."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK, jobs: Callable[..., MemoryJobs] | None = None) -> None:
        """`jobs` makes the jobs, where they are not to be `MemoryJobs`."""
        self._at_close = ExitStack()
        changed = threading.Condition(threading.RLock())
        self.blobs = LocalBlobs(self._at_close.enter_context(scratch()))
        self.leases = MemoryLeases(changed, clock)
        self.registry = MemoryRegistry(changed, clock, self.leases)
        self.log = MemoryLog(changed, clock)
        self.jobs = (jobs or MemoryJobs)(changed, clock, Workers(self.registry, clock))

    def check(self) -> None:
        pass  # nothing that could be damaged

    def close(self) -> None:
        """Removes the blobs."""
        self._at_close.close()


def _wait(changed: threading.Condition, clock: Clock, timeout: float, true: Callable[[], bool]) -> bool:
    """Waits until `true()`. A virtual clock is moved by `timeout` instead: nobody else can act meanwhile."""
    with changed:
        if clock is SYSTEM_CLOCK:
            return changed.wait_for(true, timeout)
        if not true():
            clock.sleep(timeout)
        return true()


class MemoryLog:
    """A list."""

    def __init__(self, changed: threading.Condition, clock: Clock) -> None:
        self._changed, self._clock = changed, clock
        self._entries: list[LogEntry] = []
        self._numbers: dict[str, int] = {}
        self._purged = 0

    def append(self, entries: Sequence[LogEntry]) -> list[int]:
        with self._changed:
            for entry in entries:
                if entry.id not in self._numbers:
                    self._numbers[entry.id] = self.last() + 1
                    self._entries.append(replace(entry, sequence=self.last() + 1, at=self._clock.now()))
            self._changed.notify_all()
            return [self._numbers[entry.id] for entry in entries]

    def read(
        self, after: int = 0, limit: int = 1000, *, types: Collection[str] = (), key: str | None = None
    ) -> list[LogEntry]:
        with self._changed:
            entries = self._entries[max(0, after - self._purged) :]
        return list(islice((entry for entry in entries if _wanted(entry, types, key)), limit))

    def tail(self, limit: int = 20, *, types: Collection[str] = (), key: str | None = None) -> list[LogEntry]:
        with self._changed:
            wanted = (entry for entry in reversed(self._entries) if _wanted(entry, types, key))
            return list(islice(wanted, limit))[::-1]

    def last(self) -> int:
        return self._purged + len(self._entries)

    def purge(self, up_to: int) -> int:
        with self._changed:
            gone = self._entries[: max(0, up_to - self._purged)]
            self._entries = self._entries[len(gone) :]
            self._purged += len(gone)
            for entry in gone:
                del self._numbers[entry.id]
        return len(gone)

    def wait(self, after: int, timeout: float) -> bool:
        return _wait(self._changed, self._clock, timeout, lambda: self.last() > after)


def _wanted(entry: LogEntry, types: Collection[str], key: str | None) -> bool:
    return (not types or entry.type in types) and (key is None or entry.key == key)


class MemoryJobs:
    """A dictionary in the order of putting."""

    def __init__(self, changed: threading.Condition, clock: Clock, workers: Workers) -> None:
        self._changed, self._clock, self._workers = changed, clock, workers
        self._jobs: dict[str, Job] = {}
        self._order: dict[str, int] = {}
        self._numbers = itertools.count()
        self._open: dict[JobState, dict[str, None]] = {state: {} for state in JobState}
        self._version = self._seen = 0

    def put(self, jobs: Sequence[Job]) -> int:
        with self._changed:
            before = len(self._jobs)
            for job in jobs:
                if job.id not in self._jobs:
                    self._order[job.id] = next(self._numbers)
                    self._keep(replace(job, created_at=self._clock.now()))
            return len(self._jobs) - before

    def claim(
        self,
        holder: str,
        capacity: Mapping[str, float],
        *,
        kinds: Collection[str] = (),
        ttl: float = 60.0,
        limit: int = 1,
    ) -> list[Job]:
        now, left = self._clock.monotonic(), dict(capacity)
        taken: list[Job] = []
        with self._changed:
            self._seen = self._version
            limit = self._workers.limit(holder, limit, self._leased)
            waiting = [self._jobs[id_] for id_ in self._open[JobState.WAITING]]
            for job in sorted(waiting, key=lambda job: (-job.priority, self._order[job.id])):
                if len(taken) >= limit:
                    break
                if job.due <= now and (not kinds or job.kind in kinds) and jobs.fits(job.needs, left):
                    taken.append(self._keep(jobs.claimed(job, holder, ttl, now)))
                    left = {name: amount - job.needs.get(name, 0.0) for name, amount in left.items()}
        return taken

    def extend(self, job: Job, progress: Mapping[str, object] | None = None, ttl: float = 60.0) -> Job:
        with self._changed:
            return self._keep(jobs.extended(self._held(job), progress, ttl, self._clock.monotonic()), quietly=True)

    def finish(self, job: Job, result: Mapping[str, object]) -> Job:
        with self._changed:
            now = self._jobs.get(job.id)
            if now is not None and now.state is JobState.DONE and now.fence == job.fence:
                return now
            held = self._held(job)
            self._workers.finished(held)
            return self._keep(jobs.finished(held, result, self._clock.now()))

    def fail(self, job: Job, error: str, *, retry: bool = True) -> Job:
        with self._changed:
            return self._keep(self._workers.failed(self._held(job), error, self._leased(), retry=retry))

    def release(self, job: Job) -> Job:
        with self._changed:
            return self._keep(jobs.released(self._held(job), self._clock.monotonic(), self._clock.now()))

    def stop(self, id_: str, how: str = "cancel") -> Job | None:
        with self._changed:
            job = self._jobs.get(id_)
            left = jobs.stopped(job, how, self._clock.now()) if job else None
            return self._keep(left) if left else None

    def reap(self) -> list[Job]:
        with self._changed:
            return [self._keep(left) for job in self._leased() if (left := self._workers.reaped(job, self._leased()))]

    def retry(self, id_: str) -> Job | None:
        with self._changed:
            job = self._jobs.get(id_)
            left = jobs.revived(job) if job else None
            return self._keep(left) if left else None

    def get(self, id_: str) -> Job | None:
        return self._jobs.get(id_)

    def ls(
        self, *, states: Collection[JobState] = (), kind: str = "", config: str | None = None, limit: int = 1000
    ) -> list[Job]:
        with self._changed:
            ids = [id_ for state in set(states) for id_ in self._open[state]] if states else list(self._jobs)
            found = [
                job for job in map(self._jobs.__getitem__, ids)
                if (not kind or job.kind == kind) and (config is None or job.config == config)
            ]  # fmt: skip
            return sorted(found, key=lambda job: -self._order[job.id])[:limit]

    def counts(self) -> dict[tuple[str, str, JobState], int]:
        with self._changed:
            return dict(Counter((job.kind, job.config, job.state) for job in self._jobs.values()))

    def purge(self, before: float) -> int:
        with self._changed:
            ended = [*self._open[JobState.DONE], *self._open[JobState.CANCELLED]]
            gone = [id_ for id_ in ended if self._jobs[id_].finished_at < before]
            for id_ in gone:
                del self._open[self._jobs.pop(id_).state][id_], self._order[id_]
            return len(gone)

    def wait(self, timeout: float) -> bool:
        return _wait(self._changed, self._clock, timeout, lambda: self._version > self._seen)

    def _leased(self) -> list[Job]:
        """Jobs that somebody holds, in the order in which they were put."""
        return self.ls(states=[JobState.LEASED], limit=len(self._jobs))[::-1]

    def _held(self, job: Job) -> Job:
        return jobs.held(self._jobs.get(job.id), job)

    def _keep(self, job: Job, *, quietly: bool = False) -> Job:
        if (before := self._jobs.get(job.id)) is not None:
            self._open[before.state].pop(job.id)
        self._jobs[job.id] = job
        self._open[job.state][job.id] = None
        if not quietly:
            self._version += 1
            self._changed.notify_all()
        return job


@dataclass
class _Holding:
    holder: str
    fence: int
    expires: float


class MemoryLeases:
    """A dictionary; the holders are all in this process."""

    def __init__(self, changed: threading.Condition, clock: Clock) -> None:
        self._changed, self._clock = changed, clock
        self._held: dict[str, _Holding] = {}

    def acquire(self, name: str, ttl: float = 30.0) -> MemoryLease:
        with self._changed:
            if (current := self.holder(name)) is not None:
                raise JobError(f"{name} is held by {current}: wait for it to end, or stop it")
            fence = 1 + (self._held[name].fence if name in self._held else 0)
            holder = f"holder {fence} since {self._clock.now():.0f}"
            self._held[name] = _Holding(holder, fence, self._clock.monotonic() + ttl)
            return MemoryLease(self, name, holder, fence, ttl)

    def holder(self, name: str) -> str | None:
        held = self._held.get(name)
        return held.holder if held and held.holder and held.expires > self._clock.monotonic() else None

    def purge(self) -> int:
        with self._changed:
            now = self._clock.monotonic()
            gone = [name for name, held in self._held.items() if not held.holder and held.expires <= now]
            for name in gone:
                del self._held[name]
            return len(gone)

    def guard(self, lease: Lease | None) -> _Holding | None:
        """Raises `LeaseLost` where a lease has a new holder."""
        if lease is None:
            return None
        held = self._held.get(lease.name)
        if held is None or held.fence != lease.fence or held.holder != lease.holder:
            taker = held.holder if held and held.holder else "nobody"
            raise LeaseLost(
                f"{lease.name} was taken from {lease.holder}; it is now held by {taker}: nothing was written"
            )
        return held

    def extend(self, lease: Lease) -> None:
        """Moves a lease's expiry."""
        with self._changed:
            held = self.guard(lease)
            assert held is not None
            held.expires = self._clock.monotonic() + lease.ttl

    def release(self, lease: Lease) -> None:
        """Frees a lease."""
        with self._changed:
            held = self._held.get(lease.name)
            if held is not None and held.fence == lease.fence:
                held.holder = ""


@dataclass
class MemoryLease:
    """A held lease; see `Lease`."""

    _leases: MemoryLeases
    name: str
    holder: str
    fence: int
    ttl: float

    def extend(self) -> None:
        self._leases.extend(self)

    def check(self) -> None:
        self._leases.guard(self)

    def release(self) -> None:
        self._leases.release(self)


class MemoryRegistry:
    """A dictionary; a revision counter that never goes back."""

    def __init__(self, changed: threading.Condition, clock: Clock, leases: MemoryLeases) -> None:
        self._changed, self._clock, self._leases = changed, clock, leases
        self._entries: dict[str, tuple[Entry, float]] = {}
        self._revision = 0

    def get(self, key: str) -> Entry | None:
        entry, expires = self._entries.get(key, (None, 0.0))
        return entry if expires > self._clock.monotonic() else None

    def ls(self, prefix: str = "") -> list[Entry]:
        with self._changed:
            found = [self.get(key) for key in sorted(self._entries) if key.startswith(prefix)]
        return [entry for entry in found if entry]

    def purge(self) -> int:
        with self._changed:
            gone = [key for key in self._entries if self.get(key) is None]
            for key in gone:
                del self._entries[key]
            return len(gone)

    def set(self, key: str, value: dict[str, object], *, ttl: float | None = None, lease: Lease | None = None) -> Entry:
        with self._changed:
            self._leases.guard(lease)
            self._revision += 1
            entry = Entry(key, value, self._revision)
            self._entries[key] = entry, float("inf") if ttl is None else self._clock.monotonic() + ttl
            self._changed.notify_all()
            return entry

    def compare_and_set(
        self, key: str, value: dict[str, object], revision: int, *, ttl: float | None = None, lease: Lease | None = None
    ) -> Entry | None:
        """See `Registry.compare_and_set`."""
        with self._changed:
            current = self.get(key)
            if (current.revision if current else 0) != revision:
                return None
            return self.set(key, value, ttl=ttl, lease=lease)

    def delete(self, key: str, *, lease: Lease | None = None) -> bool:
        with self._changed:
            self._leases.guard(lease)
            there = self.get(key) is not None
            self._entries.pop(key, None)
            return there

    def watch(self, prefix: str, after: int, timeout: float) -> list[Entry]:
        def news() -> list[Entry]:
            return sorted((e for e in self.ls(prefix) if e.revision > after), key=lambda entry: entry.revision)

        _wait(self._changed, self._clock, timeout, lambda: bool(news()))
        return news()
