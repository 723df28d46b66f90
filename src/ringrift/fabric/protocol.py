"""The fabric's promises, without an implementation: every caller depends on this file only."""

from __future__ import annotations

import threading
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ringrift.errors import DataError, LeaseLost
from ringrift.fabric.job import Job, JobState


@dataclass(frozen=True)
class BlobInfo:
    """One stored blob."""

    blob: str
    """Its id: sha256 of the content in hex, then the suffix it was put with (`….safetensors`)."""
    size_bytes: int
    modified: float
    """Unix time of the last `put`."""


class Blobs(Protocol):
    """Immutable bytes named by their content hash. Whatever is visible is whole."""

    def put(self, content: bytes | Path, suffix: str = "") -> str:
        """The id of `content` (bytes, or a file to copy), stored durably. Putting twice is a no-op."""

    def get(self, blob: str) -> bytes:
        """The content. Raises `CorruptBlob` where it does not match its name, `DataError` where there is none."""

    def path(self, blob: str) -> Path:
        """A file holding the blob, not verified. Raises `DataError` where there is none."""

    def check(self, blob: str) -> None:
        """Raises `CorruptBlob` or `DataError` unless the stored content matches its name."""

    def ls(self) -> Iterator[BlobInfo]:
        """Every blob, in the order of the ids."""

    def delete(self, blob: str) -> bool:
        """Removes a blob; false where there was none."""

    def gc(self, keep: Container[str], older_than: float = 3600.0) -> list[str]:
        """Deletes and returns the blobs not in `keep` and last put more than `older_than` seconds ago."""


@dataclass(frozen=True)
class Entry:
    """One key of the registry."""

    key: str
    value: dict[str, object]
    revision: int
    """Grows with every write anywhere in the registry; 0 stands for a key that does not exist."""


class Lease(Protocol):
    """The right to be the only one, until it expires."""

    name: str
    holder: str
    """Who holds it: process, host and since when."""
    fence: int
    """Grows with every new holder; guarded writes refuse a lower one."""
    ttl: float

    def extend(self) -> None:
        """Moves the expiry to `ttl` seconds from now. Raises `LeaseLost` once somebody else took over."""

    def check(self) -> None:
        """Raises `LeaseLost` once somebody else took over."""

    def release(self) -> None:
        """Frees the lease; nothing happens where it was lost."""


class Leases(Protocol):
    """Named leases."""

    def acquire(self, name: str, ttl: float = 30.0) -> Lease:
        """The lease, free again at the latest `ttl` seconds after its last extension, at once when its holder's
        process has died. Raises `JobError` naming the holder while somebody else holds it."""

    def holder(self, name: str) -> str | None:
        """Who holds the lease now."""

    def purge(self) -> int:
        """Forgets leases that have expired and no living holder remembers; how many. Their fences begin anew."""


class Registry(Protocol):
    """Small keyed state with compare-and-set."""

    def get(self, key: str) -> Entry | None:
        """The current entry; none where the key does not exist or has expired."""

    def set(self, key: str, value: dict[str, object], *, ttl: float | None = None, lease: Lease | None = None) -> Entry:
        """Writes whatever was there before. With `lease`, raises `LeaseLost` where the lease has a new holder."""

    def compare_and_set(
        self, key: str, value: dict[str, object], revision: int, *, ttl: float | None = None, lease: Lease | None = None
    ) -> Entry | None:
        """Writes only where the key's revision is `revision` (0: it does not exist); none where it is another."""

    def delete(self, key: str, *, lease: Lease | None = None) -> bool:
        """Removes a key; false where there was none."""

    def ls(self, prefix: str = "") -> list[Entry]:
        """The entries whose keys start with `prefix`, by key."""

    def purge(self) -> int:
        """Forgets what has expired; how many keys."""

    def watch(self, prefix: str, after: int, timeout: float) -> list[Entry]:
        """The entries under `prefix` with revisions above `after`, by revision, as soon as there is one; none after
        `timeout` seconds. Deletions and expiries are not told: compare with `ls`."""


@dataclass(frozen=True)
class LogEntry:
    """One event as the log keeps it."""

    type: str
    """Name of its type."""
    payload: Mapping[str, object]
    id: str
    """What makes it itself: an id is appended once."""
    key: str = ""
    """What it is about, a config mostly; readers keep the order within a key."""
    parent: int | None = None
    """Sequence number of the event that caused it."""
    version: int = 1
    """Version of the payload's type."""
    source: str = ""
    """Who appended it."""
    at: float = 0.0
    """Unix time at which it was appended; given by the log."""
    sequence: int = 0
    """Its place in the log, from 1; given by the log."""


class Log(Protocol):
    """A durable sequence of events: appended, never changed, numbered upwards by one counter over all writers."""

    def append(self, entries: Sequence[LogEntry]) -> list[int]:
        """Their sequence numbers, in order, durably and all or none; an id that is there keeps the number it has."""

    def read(
        self, after: int = 0, limit: int = 1000, *, types: Collection[str] = (), key: str | None = None
    ) -> list[LogEntry]:
        """The first entries after a sequence number, in order; only of these types and this key where given."""

    def tail(self, limit: int = 20, *, types: Collection[str] = (), key: str | None = None) -> list[LogEntry]:
        """The last entries, in order; only of these types and this key where given."""

    def last(self) -> int:
        """The highest sequence number given so far; 0 in a new log."""

    def purge(self, up_to: int) -> int:
        """Deletes the entries up to a sequence number, their ids included; how many. Numbers are never given again."""

    def wait(self, after: int, timeout: float) -> bool:
        """True as soon as there is an entry after `after`, whoever appended it; false after `timeout` seconds."""


class Jobs(Protocol):
    """Leased work. What happens to a job is said in `job`; here is who may make it happen.

    A claimed job's `fence` is the right to report on it: `extend`, `finish`, `fail` and `release` raise `LeaseLost`,
    and change nothing, once the job was reaped, cancelled or claimed anew. Delivery is at least once: whoever stores a
    result stores it under the job's id, once.
    """

    def put(self, jobs: Sequence[Job]) -> int:
        """Adds new jobs, all or none; how many were new: an id is put once, whatever became of it."""

    def claim(
        self,
        holder: str,
        capacity: Mapping[str, float],
        *,
        kinds: Collection[str] = (),
        ttl: float = 60.0,
        limit: int = 1,
    ) -> list[Job]:
        """Leases up to `limit` waiting jobs, of these kinds where given, for `ttl` seconds: of the due ones whose needs
        fit together into `capacity`, those of the highest priority, the oldest first. A holder that fails what others
        finish gets none for a while, and then one at a time; see `workers`."""

    def extend(self, job: Job, progress: Mapping[str, object] | None = None, ttl: float = 60.0) -> Job:
        """Moves the lease's end to `ttl` seconds from now, and keeps the progress; the job as it is now: its `stop`
        tells the holder to give up. Raises `LeaseLost`."""

    def finish(self, job: Job, result: Mapping[str, object]) -> Job:
        """Done, with this result. Finishing twice under the same fence is a no-op. Raises `LeaseLost`."""

    def fail(self, job: Job, error: str, *, retry: bool = True) -> Job:
        """Failed: it waits for its next attempt, or is dead where there is none or `retry` is false. While others could
        do it, they have their try first, and a holder that failed the one before it as well does not count.

        Raises `LeaseLost`.
        """

    def release(self, job: Job) -> Job:
        """Given back: it waits, and this attempt does not count; cancelled where that was wished.

        Raises `LeaseLost`.
        """

    def stop(self, id_: str, how: str = "cancel") -> Job | None:
        """Wishes that a job is cancelled (`cancel`) or given back to be claimed by others (`preempt`): at once while it
        waits, else when its holder hears of it or is reaped; of a dead one, that nobody needs it. None for a job that
        is unknown or done."""

    def reap(self) -> list[Job]:
        """Takes jobs from holders that are gone (lease over), too slow (time limit) or stuck (the same progress for too
        long); the jobs as they are then, with the reason as their error."""

    def retry(self, id_: str) -> Job | None:
        """Gives a dead or cancelled job a new set of attempts; none for another one."""

    def get(self, id_: str) -> Job | None:
        """One job."""

    def ls(
        self, *, states: Collection[JobState] = (), kind: str = "", config: str | None = None, limit: int = 1000
    ) -> list[Job]:
        """Jobs, newest first; only such where given."""

    def counts(self) -> dict[tuple[str, str, JobState], int]:
        """How many by kind, config and state."""

    def purge(self, before: float) -> int:
        """Forgets jobs that were done or cancelled before a Unix time; how many. Their ids may then be put again."""

    def wait(self, timeout: float) -> bool:
        """True as soon as the jobs may have changed, by whomever, since this process's last `claim`; false after
        `timeout` seconds."""


class Fabric(Protocol):
    """One place of storage and agreement: four primitives, and leases as the fifth word of the registry."""

    @property
    def blobs(self) -> Blobs: ...

    @property
    def registry(self) -> Registry: ...

    @property
    def leases(self) -> Leases: ...

    @property
    def log(self) -> Log: ...

    @property
    def jobs(self) -> Jobs: ...

    def check(self) -> None:
        """Raises `CorruptBlob` where what it keeps, blobs aside, is damaged."""

    def close(self) -> None:
        """Closes what is open; leases still held are freed."""


@contextmanager
def kept_alive(lease: Lease) -> Iterator[Lease]:
    """Extends `lease` from a thread every third of its `ttl`, and releases it at the end.

    The work inside calls `lease.check()` before each step that only the holder may take.
    """
    done = threading.Event()

    def beat() -> None:
        while not done.wait(lease.ttl / 3):
            try:
                lease.extend()
            except LeaseLost:
                return
            except DataError:
                continue  # a full disk, say: the work itself meets it too and says so; the next beat may succeed

    thread = threading.Thread(target=beat, name=f"lease {lease.name}", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        done.set()
        thread.join()
        lease.release()
