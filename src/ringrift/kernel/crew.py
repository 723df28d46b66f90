"""A worker's jobs: claimed for what the machine has free, each in a process of its own, given back or ended with it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import psutil
from simple_pid import PID

from ringrift.clock import Clock
from ringrift.errors import DataError, LeaseLost
from ringrift.fabric import Fabric, Job, Jobs, JobState, workers
from ringrift.fabric.workers import NODE, process_name
from ringrift.kernel.service import Service
from ringrift.kernel.settings import WorkerSettings
from ringrift.observe.machine import memory_bytes, usable_cores

PROGRESS_SECONDS = 1.0  #: between two times that progress is written down
NODE_SECONDS = 5.0  #: between two times that the worker says what it has and does
NODE_TTL = 20.0
GRACE_SECONDS = 5.0  #: from asking a process to end to ending it
SPARED = 0.8  #: of the machine's memory, for all jobs together
SAID_BYTES = 2000  #: of what a dead process said, kept with its error


@dataclass(frozen=True)
class Outcome:
    """How a job's process ended."""

    result: dict[str, object] | None = None
    error: str = ""
    retry: bool = True


class Running(Protocol):
    """A job being done somewhere."""

    @property
    def progress(self) -> Mapping[str, object]:
        """What it said last."""

    def outcome(self) -> Outcome | None:
        """None while it runs."""

    def stop(self, *, kill: bool = False) -> None:
        """Asks it to end, or ends it."""


class Child:
    """A job in a process of this machine, which tells how it does as `ringrift.kernel.child` says."""

    def __init__(self, command: Sequence[str], job: Job, ended: Callable[[], None]) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        # A session of its own: Ctrl-C in the terminal is for the worker, which gives its jobs back.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, start_new_session=True, text=True
        )
        self.progress: Mapping[str, object] = {}
        self._last: dict[str, object] = {}
        self._outcome: Outcome | None = None
        self._reader = threading.Thread(target=self._listen, args=(ended,), name=f"job {job.id}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def outcome(self) -> Outcome | None:
        return self._outcome

    def stop(self, *, kill: bool = False) -> None:
        self._process.kill() if kill else self._process.terminate()

    def _listen(self, ended: Callable[[], None]) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = _parsed(line)
            if "done" in said:
                self.progress = said
            else:
                self._last = said
        status = self._process.wait()
        self._process.stdout.close()
        self._process.stdin.close()
        self._outcome = self._judge(status)
        self._said.close()
        ended()

    def _judge(self, status: int) -> Outcome:
        last = self._last
        if isinstance(result := last.get("result"), dict):
            return Outcome(result)
        if "error" in last:
            return Outcome(None, f"{last['error']}\n\n{last.get('traceback', '')}", bool(last.get("retry", True)))
        how = f"with status {status}"
        if status < 0:
            how = f"by {signal.Signals(-status).name}" + (
                " (memory ran out, perhaps)" if status == -signal.SIGKILL else ""
            )
        size = self._said.seek(0, 2)
        self._said.seek(max(0, size - SAID_BYTES))
        return Outcome(None, f"its process ended {how}\n\n{self._said.read().decode(errors='replace')}".rstrip())


def _parsed(line: str) -> dict[str, object]:
    """A line of the child's; one that was cut off by its death says nothing."""
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def give_back_orphans(jobs: Jobs) -> list[Job]:
    """Gives back, uncounted, what processes of this machine hold that are no more: nobody need wait for their leases.

    For the one loop of a run; a job of a process that only cannot be seen from here is done twice, with one effect.
    """
    given = []
    for job in jobs.ls(states=[JobState.LEASED]):
        host, _, process = job.holder.partition(":")
        pid = int(process.partition(":")[0])
        gone = pid == os.getpid() or not psutil.pid_exists(pid)  # this process has none yet: a number that came again
        if host == socket.gethostname() and gone:
            with suppress(LeaseLost):  # reaped in this moment
                given.append(jobs.release(job))
    return given


@cache
def gpus() -> int:
    """How many GPUs the driver knows; 0 without a driver."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def capacity_of(settings: WorkerSettings) -> dict[str, float]:
    """What this machine offers to jobs."""
    total, _ = memory_bytes() or (psutil.virtual_memory().total, 0)
    memory = SPARED * total
    return {"cores": settings.cores or usable_cores(), "memory": memory, "gpus": gpus()}


class Throttle:
    """How many jobs of kinds that fill a machine keep it as busy as is wished, and no busier."""

    def __init__(self, target: float, cores: float, clock: Clock, load: Callable[[], float]) -> None:
        self.allowed = max(1, int(cores))
        self.load = 0.0
        """Share of the machine's processor time in use, when it was last looked at."""
        self._clock, self._measure, self._at = clock, load, clock.monotonic()
        # A core too busy for ten seconds takes one job away; one idle as long gives one.
        self._pid = PID(0, 0.1 * cores, 0, setpoint=target, sample_time=None, output_limits=(1, self.allowed),
                        starting_output=self.allowed)  # fmt: skip

    def look(self) -> None:
        """Measures, and decides anew."""
        now = self._clock.monotonic()
        if now - self._at >= NODE_SECONDS:
            self.load = self._measure()
            self.allowed = round(self._pid(self.load, dt=now - self._at) or 1)
            self._at = now


def machine_load() -> float:
    """Share of the processor time in use since the last call."""
    return psutil.cpu_percent() / 100


@dataclass
class Held:
    """A claimed job and where it is done."""

    job: Job
    running: Running
    extended: float
    """When its lease was last extended."""
    stopped: float | None = None
    """When it was asked to end."""


@dataclass(frozen=True)
class Node:
    """What a worker tells about itself, under `node/<name>`."""

    kinds: tuple[str, ...]
    capacity: dict[str, float]
    free: dict[str, float]
    jobs: int
    filling: int
    """Jobs of kinds that fill a machine that it would do at a time."""
    load: float
    at: float


class Crew:
    """The jobs that one worker does at a time. One thread claims and settles, another may report."""

    def __init__(
        self,
        fabric: Fabric,
        start: Callable[[Job], Running],
        settings: WorkerSettings = WorkerSettings(),
        *,
        clock: Clock,
        services: Collection[Service[Any]],
        name: str = "",
        capacity: Mapping[str, float] | None = None,
        load: Callable[[], float] = machine_load,
    ) -> None:
        self.name = name or process_name()
        self.kinds = {service.job.name: service.job for service in services if service.job}
        self.wakes = {service.job.name: service.name for service in services if service.job}
        """Which service is woken when a job of a kind has ended, by kind."""
        self.settings = settings
        self.capacity = dict(capacity or capacity_of(settings))
        self.held: dict[str, Held] = {}
        self.throttle = Throttle(settings.utilisation, self.capacity["cores"], clock, load)
        self._fabric, self._start, self._clock = fabric, start, clock
        self._told = -NODE_TTL

    @property
    def free(self) -> dict[str, float]:
        """What its jobs leave of its capacity."""
        return {
            name: amount - sum(held.job.needs.get(name, 0.0) for held in list(self.held.values()))
            for name, amount in self.capacity.items()
        }

    @property
    def filling(self) -> int:
        """How many of its jobs are of kinds that fill a machine."""
        return sum(self.kinds[held.job.kind].fills for held in list(self.held.values()))

    @property
    def is_paused(self) -> bool:
        """Whether it gets no job for now, since it failed too many."""
        return workers.is_paused(self._fabric.registry, self.name)

    def ended(self) -> list[Held]:
        """Jobs whose processes have ended."""
        return [held for held in list(self.held.values()) if held.running.outcome() is not None]

    def wants(self) -> list[str]:
        """Kinds that it would claim now."""
        if self.free["cores"] < 1 or self.is_paused:
            return []
        return [kind for kind, row in self.kinds.items() if not row.fills or self.filling < self.throttle.allowed]

    def claim(self) -> list[Job]:
        """Takes what fits, kinds that fill a machine only as far as the throttle allows, and starts it."""
        self.tell()
        taken: list[Job] = []
        while kinds := self.wants():
            jobs = self._fabric.jobs.claim(self.name, self.free, kinds=kinds, ttl=self.settings.ttl)
            if not jobs:
                break
            for job in jobs:
                try:
                    self.held[job.id] = Held(job, self._start(job), self._clock.monotonic())
                except BaseException:
                    self._fabric.jobs.release(job)
                    raise
            taken += jobs
        return taken

    def hold(self) -> None:
        """Extends the leases, with the progress; ends what is to stop, or what somebody else has by now."""
        now = self._clock.monotonic()
        for held in list(self.held.values()):
            if held.running.outcome() is not None:
                continue
            if held.stopped is not None:
                if now - held.stopped >= GRACE_SECONDS:
                    held.running.stop(kill=True)
                continue
            progress, age = held.running.progress, now - held.extended
            if age < PROGRESS_SECONDS:
                continue
            try:
                held.job = self._fabric.jobs.extend(held.job, progress or None, self.settings.ttl)
            except LeaseLost:
                held.running.stop(kill=True)
                held.stopped = now
                continue
            except DataError:  # a full disk, a busy database: the next look, well within the lease, may fare better
                continue
            held.extended = now
            if held.job.stop:
                held.running.stop()
                held.stopped = now

    def settle(self, held: Held) -> Job | None:
        """Reports on a job whose process has ended; none where it is somebody else's by now."""
        outcome = held.running.outcome()
        assert outcome is not None
        try:
            left = self._told_of(held.job, outcome)
        except LeaseLost:
            left = None
        del self.held[held.job.id]  # not before: what could not be reported now is reported later
        return left

    def _told_of(self, job: Job, outcome: Outcome) -> Job:
        jobs = self._fabric.jobs
        if outcome.result is not None:
            return jobs.finish(job, outcome.result)
        if job.stop:
            return jobs.release(job)
        return jobs.fail(job, outcome.error, retry=outcome.retry)

    def tell(self) -> None:
        """Says in the registry what it has and does."""
        self.throttle.look()
        if (now := self._clock.monotonic()) - self._told >= NODE_SECONDS:
            self._told = now
            node = Node(
                tuple(self.kinds), self.capacity, self.free, len(self.held), self.throttle.allowed,
                round(self.throttle.load, 3), round(self._clock.now(), 1),
            )  # fmt: skip
            with suppress(DataError):  # it is said again in a few seconds, and the leases must not wait for it
                self._fabric.registry.set(NODE + self.name, dict(vars(node)), ttl=NODE_TTL)

    def close(self, patience: float = GRACE_SECONDS) -> None:
        """Ends the processes and gives the jobs back."""
        for held in list(self.held.values()):
            held.running.stop()
        deadline = time.monotonic() + patience
        while len(self.ended()) < len(self.held) and time.monotonic() < deadline:
            time.sleep(0.02)
        for held in list(self.held.values()):
            if held.running.outcome() is None:
                held.running.stop(kill=True)
            outcome = held.running.outcome()
            with suppress(LeaseLost, DataError):  # somebody else has it, or will when the lease is over
                if outcome is not None and outcome.result is not None:
                    self._fabric.jobs.finish(held.job, outcome.result)
                else:
                    self._fabric.jobs.release(held.job)
        self.held.clear()
        with suppress(DataError):
            self._fabric.registry.delete(NODE + self.name)
            workers.forget(self._fabric.registry, self.name)
