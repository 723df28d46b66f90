"""The jobs of the local fabric: rows of one table, changed by the functions of `job`."""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from itertools import islice

from ringrift.errors import CorruptBlob
from ringrift.fabric import job as jobs
from ringrift.fabric.database import read_json
from ringrift.fabric.job import Job, JobState
from ringrift.fabric.shared import Shared
from ringrift.fabric.sums import Summed
from ringrift.fabric.workers import Workers

PURGE_ROWS = 500  #: deleted in one transaction
SCHEMA = """
CREATE TABLE jobs (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
    config TEXT NOT NULL, payload TEXT NOT NULL, priority INTEGER NOT NULL, needs TEXT NOT NULL,
    max_attempts INTEGER NOT NULL, time_limit REAL NOT NULL, stuck_after REAL NOT NULL, parent INTEGER,
    state TEXT NOT NULL, attempts INTEGER NOT NULL, fence INTEGER NOT NULL, holder TEXT NOT NULL, due REAL NOT NULL,
    claimed REAL NOT NULL, changed REAL NOT NULL, expires REAL NOT NULL, stop TEXT NOT NULL, progress TEXT NOT NULL,
    result TEXT NOT NULL, error TEXT NOT NULL, created_at REAL NOT NULL, finished_at REAL NOT NULL,
    boot TEXT NOT NULL, ready INTEGER NOT NULL, lane TEXT NOT NULL);
CREATE INDEX jobs_ready ON jobs (lane, priority DESC, number) WHERE ready = 1;
CREATE INDEX jobs_not_due ON jobs (due, boot) WHERE ready = 0 AND state = 'waiting';
CREATE INDEX jobs_by_state ON jobs (state, number);
CREATE INDEX jobs_by_kind ON jobs (kind, config, state);
CREATE TABLE jobs_version (last INTEGER NOT NULL);
INSERT INTO jobs_version VALUES (0);
"""
TIMES = "time_limit stuck_after due claimed changed expires created_at finished_at"
SUMMED = (
    Summed("jobs", "{number}", "number id kind config payload priority needs max_attempts parent state attempts fence"
           " holder stop progress result error boot ready lane", TIMES,
           json="payload needs progress result lane", counts=True),
    Summed("jobs_version", "1", "last"),
)  # fmt: skip
COLUMNS = tuple(field.name for field in fields(Job))
JSON = ("payload", "needs", "progress", "result")
FIXED = ("id", "kind", "config", "payload", "priority", "needs", "max_attempts", "time_limit", "stuck_after", "parent",
    "created_at")  # fmt: skip
CHANGING = tuple(name for name in COLUMNS if name not in FIXED)
KEPT = (*COLUMNS, "boot", "ready", "lane")
INSERT = f"INSERT INTO jobs ({','.join(KEPT)}) VALUES ({','.join(f':{c}' for c in KEPT)}) ON CONFLICT (id) DO NOTHING"
UPDATE = f"UPDATE jobs SET {','.join(f'{c}=:{c}' for c in CHANGING)},boot=:boot,ready=:ready WHERE id=:id"
LANES = """
WITH RECURSIVE leap (lane) AS (
    SELECT min(lane) FROM jobs WHERE ready = 1
    UNION ALL SELECT (SELECT min(lane) FROM jobs WHERE ready = 1 AND lane > leap.lane) FROM leap WHERE lane IS NOT NULL
) SELECT lane FROM leap WHERE lane IS NOT NULL
"""
BEST = """
SELECT jobs.* FROM json_each(?) AS lanes JOIN jobs ON jobs.number = (
    SELECT number FROM jobs WHERE ready = 1 AND lane = lanes.value ORDER BY priority DESC, number LIMIT 1
) ORDER BY priority DESC, number LIMIT 1
"""


class LocalJobs:
    """See `Jobs`.

    A waiting job is `ready` once it is due. Ready jobs of one kind and the same needs are a `lane`, in the order in
    which they are claimed, so a claim looks at one job of each lane however many wait.
    """

    def __init__(self, shared: Shared, workers: Workers) -> None:
        self._shared, self._database, self._workers = shared, shared.database, workers
        self._seen = 0

    def put(self, jobs: Sequence[Job]) -> int:
        with self._database.transaction() as connection:
            at = self._shared.clock.now()
            rows = [self._new(replace(job, created_at=at)) for job in jobs]
            if new := connection.executemany(INSERT, rows).rowcount:
                _tell(connection)
            return new

    def claim(
        self,
        holder: str,
        capacity: Mapping[str, float],
        *,
        kinds: Collection[str] = (),
        ttl: float = 60.0,
        limit: int = 1,
    ) -> list[Job]:
        self._seen = self._version()
        if not (limit := self._workers.limit(holder, limit, self._leased)):
            return []
        self._make_ready()
        lanes = [row["lane"] for row in self._database.rows(LANES)]
        lanes = [lane for lane in lanes if not kinds or _parsed(lane)[0] in kinds]
        taken: list[Job] = []
        if not _fitting(lanes, capacity):
            return taken
        with self._database.transaction(durable=False) as connection:
            now, left = self._shared.clock.monotonic(), dict(capacity)
            while len(taken) < limit and (rows := self._database.rows(BEST, [json.dumps(_fitting(lanes, left))])):
                taken.append(self._keep(connection, jobs.claimed(self._job(rows[0]), holder, ttl, now)))
                left = {name: amount - taken[-1].needs.get(name, 0.0) for name, amount in left.items()}
        return taken

    def _make_ready(self) -> None:
        due = "INDEXED BY jobs_not_due {} WHERE ready = 0 AND state = 'waiting' AND (due <= ? OR boot <> ?)"
        limits = (self._shared.clock.monotonic(), self._shared.boot)
        if self._database.rows(f"SELECT 1 FROM jobs {due.format('')} LIMIT 1", limits):
            with self._database.transaction(durable=False) as connection:
                connection.execute(f"UPDATE jobs {due.format('SET ready = 1')}", limits)

    def extend(self, job: Job, progress: Mapping[str, object] | None = None, ttl: float = 60.0) -> Job:
        with self._database.transaction(durable=False) as connection:
            now = self._shared.clock.monotonic()
            left = jobs.extended(self._held(job), progress, ttl, now)
            connection.execute(UPDATE, self._row(left))
            return left

    def finish(self, job: Job, result: Mapping[str, object]) -> Job:
        with self._database.transaction() as connection:
            now = self.get(job.id)
            if now is not None and now.state is JobState.DONE and now.fence == job.fence:
                return now
            held = jobs.held(now, job)
            self._workers.finished(held)
            return self._keep(connection, jobs.finished(held, result, self._shared.clock.now()))

    def fail(self, job: Job, error: str, *, retry: bool = True) -> Job:
        with self._database.transaction() as connection:
            left = self._workers.failed(self._held(job), error, self._leased(), retry=retry)
            return self._keep(connection, left)

    def release(self, job: Job) -> Job:
        with self._database.transaction(durable=False) as connection:
            clock = self._shared.clock
            return self._keep(connection, jobs.released(self._held(job), clock.monotonic(), clock.now()))

    def stop(self, id_: str, how: str = "cancel") -> Job | None:
        return self._turn(id_, lambda job: jobs.stopped(job, how, self._shared.clock.now()))

    def reap(self) -> list[Job]:
        now = self._shared.clock.monotonic()
        stale = [job for job in self._leased() if jobs.overdue(job, now)]
        taken = [self._turn(job.id, lambda job: self._workers.reaped(job, self._leased())) for job in stale]
        return [job for job in taken if job]

    def retry(self, id_: str) -> Job | None:
        return self._turn(id_, jobs.revived)

    def _turn(self, id_: str, change: Callable[[Job], Job | None]) -> Job | None:
        with self._database.transaction() as connection:
            job = self.get(id_)
            left = change(job) if job else None
            return self._keep(connection, left) if left else None

    def get(self, id_: str) -> Job | None:
        return next((self._job(row) for row in self._database.rows("SELECT * FROM jobs WHERE id = ?", (id_,))), None)

    def ls(
        self, *, states: Collection[JobState] = (), kind: str = "", config: str | None = None, limit: int = 1000
    ) -> list[Job]:
        where, parameters = "(?1 = '' OR kind = ?1) AND (?2 IS NULL OR config = ?2)", (kind, config, limit)
        found = [
            self._database.rows(
                f"SELECT * FROM jobs WHERE {where} {state and 'AND state = ?4'} ORDER BY number DESC LIMIT ?3",
                (*parameters, state) if state else parameters,
            )
            for state in set(states) or ("",)
        ]
        newest = heapq.merge(*found, key=lambda row: row["number"], reverse=True)
        return [self._job(row) for row in islice(newest, limit if limit >= 0 else None)]

    def counts(self) -> dict[tuple[str, str, JobState], int]:
        rows = self._database.rows("SELECT kind, config, state, count(*) AS n FROM jobs GROUP BY kind, config, state")
        return {(row["kind"], row["config"], JobState(row["state"])): row["n"] for row in rows}

    def purge(self, before: float) -> int:
        gone = 0
        old = "state IN ('done', 'cancelled') AND finished_at < ?"
        numbers = [row["number"] for row in self._database.rows(f"SELECT number FROM jobs WHERE {old}", (before,))]
        for start in range(0, len(numbers), PURGE_ROWS):
            some = numbers[start : start + PURGE_ROWS]
            with self._database.transaction(durable=False) as connection:
                query = f"DELETE FROM jobs WHERE {old} AND number IN ({','.join('?' * len(some))})"
                gone += connection.execute(query, (before, *some)).rowcount
        return gone

    def wait(self, timeout: float) -> bool:
        return self._shared.wait(lambda: self._version() > self._seen, timeout)

    def _version(self) -> int:
        return int(self._database.rows("SELECT last FROM jobs_version")[0]["last"])

    def _leased(self) -> list[Job]:
        """Jobs that somebody holds, in the order in which they were put."""
        return self.ls(states=[JobState.LEASED], limit=-1)[::-1]

    def _held(self, job: Job) -> Job:
        return jobs.held(self.get(job.id), job)

    def _keep(self, connection: sqlite3.Connection, job: Job) -> Job:
        connection.execute(UPDATE, self._row(job))
        _tell(connection)
        return job

    def _new(self, job: Job) -> dict[str, object]:
        lane = json.dumps([job.kind, dict(sorted(job.needs.items()))])
        return {**self._row(job), **_columns(job, FIXED), "lane": lane}

    def _row(self, job: Job) -> dict[str, object]:
        ready = job.state is JobState.WAITING and job.due <= self._shared.clock.monotonic()
        return {**_columns(job, CHANGING), "id": job.id, "boot": self._shared.boot, "ready": ready}

    def _job(self, row: sqlite3.Row) -> Job:
        where = f"job {row['id']}"
        read = {name: read_json(row[name], dict, self._database, where) for name in JSON}
        if row["state"] not in list(JobState):
            raise CorruptBlob(f"{self._database}, {where}: {row['state']!r} is no state: restore it from a backup")
        job = Job(**{**{name: row[name] for name in COLUMNS}, **read, "state": JobState(row["state"])})
        return job if row["boot"] == self._shared.boot else replace(job, due=0.0, claimed=0.0, changed=0.0, expires=0.0)


def _columns(job: Job, names: Sequence[str]) -> dict[str, object]:
    return {name: json.dumps(getattr(job, name)) if name in JSON else getattr(job, name) for name in names}


def _fitting(lanes: Sequence[str], capacity: Mapping[str, float]) -> list[str]:
    return [lane for lane in lanes if jobs.fits(_parsed(lane)[1], capacity)]


@lru_cache(maxsize=1000)
def _parsed(lane: str) -> tuple[str, dict[str, float]]:
    kind, needs = json.loads(lane)
    return kind, needs


def _tell(connection: sqlite3.Connection) -> None:
    """Wakes whoever waits for jobs."""
    connection.execute("UPDATE jobs_version SET last = last + 1")
