"""Keeps services running: each tick in its own thread, with its own timeout, back-off, baseline and bill of health.

Nothing that a service does stops its neighbours, and none is ever given up on: it shows as failing, and heals when the
cause does. The event loop only schedules; whatever touches the store runs in a thread. Under a virtual clock `run_due`
does the same in the caller's thread. Replaces the daemon manager, watchdogs and restart policies of the earlier system.
"""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Generic

import anyio

from ringrift.errors import SettingsError, unknown
from ringrift.fabric import Job, JobState, LogEntry, Registry
from ringrift.fabric.workers import failing
from ringrift.kernel.effects import service_of
from ringrift.kernel.events import (
    AlertCleared,
    AlertRaised,
    Event,
    JobDied,
    PressureChanged,
    ServiceFailed,
    ServiceRecovered,
    ServiceStalled,
    WorkerReleased,
    WorkerSetAside,
)
from ringrift.kernel.health import Health, ServiceStatus, Snapshot
from ringrift.kernel.project import Project
from ringrift.kernel.service import C, Context, Profile, Service, Step, Stopped
from ringrift.kernel.settings import Supervision
from ringrift.kernel.topology import check
from ringrift.observe.logs import bound, log

GRACE_SECONDS = 1.0  #: after its timeout a tick has this long to notice it at a checkpoint
PAUSE_SECONDS = 0.05  #: between two ticks of one service, however often it is woken
STATUS_SECONDS, STATUS_TTL = 5.0, 15.0
REAP_SECONDS, HEALTH_SECONDS = 5.0, 5.0
LISTEN_SECONDS = 0.5  #: how long one wait for new events may take, and so how late a stop is noticed
RESTART, RESTART_TTL = "command/restart/", 60.0
LISTEN_PAUSE_SECONDS = 0.02
WORKERS_READ = 500  #: events about workers set aside and released that are looked at
TOLD_SECONDS = 86400.0  #: dead jobs older than this were told of long ago


def tick(service: Service[C], ctx: C) -> int:
    """Carries out what the service wants done now; how many steps that was. Raises what a step raises, and `Stopped`
    where `ctx.checkpoint` does."""
    done = 0
    for step in list(service.plan(ctx)):
        ctx.checkpoint()
        step.do()
        done += 1
        if not service.quiet:
            log.info("step", service=service.name, what=step.what, why=step.why)
    return done


def tell_of_workers(ctx: Context) -> Iterator[Step]:
    """Says what the log does not have yet of workers that were set aside or released."""
    told: dict[str, LogEntry] = {}
    for entry in ctx.bus.log.tail(WORKERS_READ, types=[WorkerSetAside.__name__, WorkerReleased.__name__]):
        told[str(entry.payload["worker"])] = entry
    away = {name: entry for name, entry in told.items() if entry.type == WorkerSetAside.__name__}
    aside = {one.worker: one for one in failing(ctx.run.fabric.registry) if one.is_set_aside}
    for name in aside.keys() - away.keys():
        one, last = aside[name], told[name].sequence if name in told else 0
        said = WorkerSetAside(worker=name, failures=one.failures, refuted=one.refuted, error=one.error)
        yield Step(
            f"say that {name} is set aside", one.text, partial(ctx.publish, said, id_=f"WorkerSetAside/{name}/{last}")
        )
    for name in away.keys() - aside.keys():
        since = away[name].sequence
        back = partial(ctx.publish, WorkerReleased(worker=name), parent=since, id_=f"WorkerReleased/{since}")
        yield Step(f"say that {name} is released", "it finished a job, or has ended", back)


EVERYWHERE = tuple(Profile)
OWN: tuple[Service[Context], ...] = (
    Service("status", lambda ctx: (), STATUS_SECONDS, profiles=EVERYWHERE, quiet=True,
            emits=(ServiceFailed, ServiceRecovered, ServiceStalled)),
    Service("reaper", lambda ctx: (), REAP_SECONDS, profiles=EVERYWHERE, quiet=True,
            emits=(JobDied, WorkerSetAside, WorkerReleased)),
    Service("health", lambda ctx: (), HEALTH_SECONDS, profiles=EVERYWHERE, quiet=True,
            emits=(PressureChanged, AlertRaised, AlertCleared)),
)  # fmt: skip
"""What each supervisor runs besides, with plans of its own."""


def start_order(services: Sequence[Service[C]]) -> list[Service[C]]:
    """The services, each behind those it comes `after`. Raises `SettingsError` for cycles, unknown and double names."""
    table = {service.name: service for service in services}
    if len(table) != len(services):
        names = [service.name for service in services]
        raise SettingsError(f"two services are called {next(n for n in names if names.count(n) > 1)!r}: rename one")
    for service in services:
        for name in service.after:
            if name not in table:
                raise SettingsError(f"service {service.name!r} comes after an {unknown('service', name, table)}")
    try:
        order = TopologicalSorter({name: service.after for name, service in table.items()}).static_order()
        return [table[name] for name in order]
    except CycleError as error:
        raise SettingsError(f"services wait for each other: {' → '.join(reversed(error.args[1]))}") from error


def ask_restart(registry: Registry, name: str) -> None:
    """Has whoever runs the service restart it."""
    registry.set(RESTART + name, {}, ttl=RESTART_TTL)


class _Runner(Generic[C]):
    """A service, how it does, and its turns."""

    def __init__(self, service: Service[C], now: float) -> None:
        self.service = service
        self.lock = threading.Lock()
        self.status = ServiceStatus(service.name, service.required, due=now, since=now)
        self.running = False
        self.overran = False
        self.restart = False
        self.woken = False
        self.poked: anyio.Event | None = None

    def change(self, how: Callable[[ServiceStatus], ServiceStatus]) -> tuple[ServiceStatus, ServiceStatus]:
        """Status before and after."""
        with self.lock:
            before, self.status = self.status, how(self.status)
            return before, self.status


class Supervisor(Generic[C]):
    """Runs a project's services of a profile until it is told to stop. Raises `SettingsError` for tables that cannot
    work."""

    def __init__(self, project: Project[C], ctx: C, profile: Profile, settings: Supervision | None = None) -> None:
        settings = settings or ctx.services
        plans: dict[str, Callable[[C], Iterator[Step]]]
        plans = {"status": self._report, "reaper": self._reap, "health": self._look}
        own = [Service(**{**vars(row), "plan": plans[row.name]}) for row in OWN]
        check(replace(project, services=[*project.services, *OWN]))
        self.order = start_order([*project.services, *map(service_of, project.effects), *own])
        self.profile, self.settings = profile, settings
        self.process = ctx.bus.source.replace("/", "-").replace(" ", "-")
        self.address = ""
        """Where its health and metrics are, if anywhere."""
        self._ctx = replace(ctx, wake=self.wake, services=settings, level=lambda: self._health.pressure.level)
        self._health, self._project = Health(settings, project.rules), project
        now = ctx.clock.monotonic()
        self._runners = {s.name: _Runner(s, now) for s in self.order if profile in s.profiles}
        self._stopping = threading.Event()
        self._reason = ""
        self._news: deque[tuple[Event, str]] = deque()
        self._told = 0
        self._dead_told: set[str] = set()
        self._identity = f"{self.process}@{ctx.clock.now():.3f}"
        self._heard: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- from outside, any thread --------------------------------------------------------------------------------------

    def stop(self, reason: str) -> None:
        """Asks everything to end; `run` returns within `settings.deadline` seconds."""
        if not self._stopping.is_set():
            self._reason = reason
            self._stopping.set()
        for runner in self._runners.values():
            self._poke(runner)

    def wake(self, name: str) -> None:
        """Brings a service's next tick forward; a failing one keeps to its back-off, an unknown one runs elsewhere."""
        runner = self._runners.get(name)
        if runner is None:
            return
        runner.woken = True
        now = self._ctx.clock.monotonic()
        runner.change(lambda status: status if status.state == "failing" else replace(status, due=min(status.due, now)))
        self._poke(runner)

    def restart(self, name: str) -> None:
        """Ends a service's tick at its next checkpoint, forgets its failures, and begins anew."""
        runner = self._runners[name]
        runner.restart = runner.running
        now = self._ctx.clock.monotonic()
        runner.change(
            lambda status: replace(status, state="starting", note="restarted", failures=0, due=now, since=now)
        )
        self._poke(runner)

    def snapshot(self) -> Snapshot:
        """How everything does; reads nothing but memory."""
        clock = self._ctx.clock
        services = tuple(runner.status for runner in self._runners.values())
        health = self._health
        return Snapshot(
            self.process, self.profile.value, clock.now(), services, health.measured, health.pressure, health.alerts
        )

    # -- running -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until `stop`, and then until the last tick has ended or the deadline is over."""
        self._loop = asyncio.get_running_loop()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._listen)
                for runner in self._runners.values():
                    tasks.start_soon(self._serve, runner)
                await self._spawn(self._stopping.wait, "stop").wait()
                log.info("stopping", reason=self._reason, deadline=self.settings.deadline)
                tasks.cancel_scope.deadline = anyio.current_time() + self.settings.deadline
        finally:
            self.stop("the supervisor was cancelled")  # ticks still in their threads hear of it at their checkpoints
        late = [runner.service.name for runner in self._runners.values() if runner.running]
        if late:
            log.warning("abandoned", services=late, why=f"still running after {self.settings.deadline:g} s")
        with anyio.move_on_after(STATUS_SECONDS):
            await self._spawn(self._farewell, "farewell").wait()
        self._loop = None

    def run_due(self) -> float:
        """Ticks whatever is due, in this thread; seconds until the next one is."""
        self._listened(0.0)
        for runner in self._runners.values():
            if self._due_in(runner) <= 0:
                self._tick(runner)
        return max(0.0, min(map(self._due_in, self._runners.values())))

    async def _serve(self, runner: _Runner[C]) -> None:
        timeout = runner.service.timeout + GRACE_SECONDS
        while not self._stopping.is_set():
            runner.poked = anyio.Event()
            wait = self._due_in(runner)
            if wait > 0:
                with anyio.move_on_after(wait):
                    await runner.poked.wait()
                continue
            done = self._spawn(lambda: self._tick(runner), runner.service.name)
            with anyio.move_on_after(timeout):
                await done.wait()
            if not done.is_set() and not self._stopping.is_set():
                self._overran(runner)
            await done.wait()  # never two ticks of one service at a time
            await anyio.sleep(PAUSE_SECONDS)
        runner.change(lambda status: replace(status, state="stopped", note=self._reason))

    def _due_in(self, runner: _Runner[C]) -> float:
        """Seconds until its next tick; for ever while it waits for a service that has not worked yet."""
        others = (self._runners.get(name) for name in runner.service.after)
        missing = [other.service.name for other in others if other and not other.status.worked]
        if missing and not runner.status.worked:
            runner.change(lambda status: replace(status, state="waiting", note=f"waits for {', '.join(missing)}"))
            return float("inf")
        return runner.status.due - self._ctx.clock.monotonic()

    def _tick(self, runner: _Runner[C]) -> None:
        """One tick, and what is to be said about it."""
        service, clock = runner.service, self._ctx.clock
        started = clock.monotonic()
        runner.running, runner.overran, runner.restart, runner.woken = True, False, False, False
        runner.change(lambda status: replace(status, state="running", note="") if status.healthy else status)

        def checkpoint() -> None:
            if self._stopping.is_set():
                raise Stopped(self._reason)
            if runner.restart:
                raise Stopped("restarted")
            if clock.monotonic() - started > service.timeout:
                raise Stopped(f"the tick took longer than {service.timeout:g} s")

        ctx = replace(self._ctx, checkpoint=checkpoint)
        try:
            with bound(service=service.name):
                steps = tick(service, ctx)
                backlog = service.backlog(ctx)
        except Stopped as why:
            if not self._stopping.is_set() and not runner.restart and not runner.overran:
                self._failed(runner, str(why), started)
        except Exception as error:  # noqa: BLE001 - a failing service is data
            self._failed(runner, f"{type(error).__name__}: {error}", started, traceback.format_exc())
        else:
            now, floor = clock.monotonic(), self.settings.stall
            before, after = runner.change(lambda s: s.succeeded(steps, backlog, service.every, started, now, floor))
            self._compare(before, after)
            if runner.woken:  # while it ran: it may have looked too early
                self.wake(service.name)
        finally:
            runner.running = False
            runner.change(lambda status: replace(status, last_tick=clock.now()))

    def _failed(self, runner: _Runner[C], error: str, started: float, details: str = "") -> None:
        now = self._ctx.clock.monotonic()
        _, status = runner.change(lambda status: status.broke(error, started, now))
        log.error("tick failed", service=status.name, failures=status.failures, error=error, traceback=details)
        self._tell(ServiceFailed(service=status.name, failures=status.failures, error=error))

    def _overran(self, runner: _Runner[C]) -> None:
        """Its tick does not come to a checkpoint: it is failing until that thread ends, and no other one is begun."""
        runner.overran = True
        seconds = runner.service.timeout
        started = self._ctx.clock.monotonic() - seconds
        self._failed(runner, f"the tick took longer than {seconds:g} s and reaches no checkpoint", started)

    def _compare(self, before: ServiceStatus, after: ServiceStatus) -> None:
        if not before.healthy and after.healthy:
            self._tell(ServiceRecovered(service=after.name))
        if after.state == "stalled" and before.state != "stalled":
            seconds = self._ctx.clock.monotonic() - after.since
            self._tell(ServiceStalled(service=after.name, waiting=after.backlog, seconds=seconds))
        if not before.worked:
            for runner in self._runners.values():
                if after.name in runner.service.after:
                    self._poke(runner)

    # -- events --------------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while not self._stopping.is_set():
            await self._spawn(lambda: self._listened(LISTEN_SECONDS), "events").wait()
            await anyio.sleep(LISTEN_PAUSE_SECONDS)

    def _listened(self, timeout: float) -> None:
        try:
            self._hear(timeout)
        except Exception as error:  # noqa: BLE001 - services look by themselves, only later
            log.error("events cannot be read", error=f"{type(error).__name__}: {error}")

    def _hear(self, timeout: float) -> None:
        """Wakes whoever waits for events that have come since the last call."""
        events = self._ctx.bus.log
        if self._heard is None:
            self._heard = events.last()
        if not events.wait(self._heard, timeout):
            return
        found = events.read(self._heard)
        types = {entry.type for entry in found}
        self._heard = found[-1].sequence if found else events.last()
        for runner in self._runners.values():
            if any(event.__name__ in types for event in runner.service.on):
                self.wake(runner.service.name)

    def _tell(self, event: Event) -> None:
        """Puts an event on the log at the next tick of `status`; the caller may be on the event loop."""
        self._told += 1
        self._news.append((event, f"{type(event).__name__}/{self._identity}/{self._told}"))
        self.wake("status")

    # -- own services --------------------------------------------------------------------------------------------------

    def _report(self, ctx: C) -> Iterator[Step]:
        """What other processes can see of this one, and what they ask of it."""
        if self._news:
            yield Step("publish what happened to services", f"{len(self._news)} events", self._publish)
        yield Step("say how the services do", f"every {STATUS_SECONDS:g} s", self._show)
        for entry in ctx.run.fabric.registry.ls(RESTART):
            name = entry.key.rpartition("/")[2]
            if name in self._runners:
                yield Step(f"restart {name}", "somebody asked for it", lambda key=entry.key: self._restart(key))  # type: ignore[misc]

    def _publish(self) -> None:
        while self._news:
            event, id_ = self._news[0]
            self._ctx.publish(event, id_=id_)
            self._news.popleft()

    def _show(self) -> None:
        registry = self._ctx.run.fabric.registry
        for runner in self._runners.values():
            value = asdict(runner.status) | {"profile": self.profile.value, "address": self.address}
            registry.set(f"service/{self.process}/{runner.service.name}", value, ttl=STATUS_TTL)

    def _restart(self, key: str) -> None:
        self._ctx.run.fabric.registry.delete(key)
        self.restart(key.rpartition("/")[2])

    def _reap(self, ctx: C) -> Iterator[Step]:
        """Jobs whose holders are gone go to others; of those that died, and of workers set aside, the log is told."""
        jobs = ctx.run.fabric.jobs
        yield Step("take back jobs from holders that are gone, too slow or stuck", "somebody has to look", jobs.reap)
        newest = ctx.clock.now() - TOLD_SECONDS
        dead = {f"JobDied/{job.id}/{job.fence}": job for job in jobs.ls(states=[JobState.DEAD])}
        self._dead_told &= dead.keys()
        for name, job in dead.items():
            if name not in self._dead_told and job.finished_at >= newest:
                yield Step(f"say that {job.id} is dead", job.error, lambda job=job, name=name: self._died(job, name))  # type: ignore[misc]

        yield from tell_of_workers(ctx)

    def _died(self, job: Job, name: str) -> None:
        event = JobDied(config=job.config, job=job.id, kind=job.kind, attempts=job.attempts, error=job.error)
        self._ctx.publish(event, parent=job.parent, id_=name)
        self._dead_told.add(name)

    def _look(self, ctx: C) -> Iterator[Step]:
        """Figures, backpressure and alerts."""
        yield Step("look at the run and the machine", f"every {HEALTH_SECONDS:g} s", lambda: self._looked(ctx))

    def _looked(self, ctx: C) -> None:
        measured = self._project.measure(ctx, self._project.effects)
        for event in self._health.look(measured, ctx.clock.monotonic(), self.snapshot):
            self._tell(event)

    def _farewell(self) -> None:
        """The last words: events not yet told; the services' entries go."""
        try:
            self._publish()
            for runner in self._runners.values():
                self._ctx.run.fabric.registry.delete(f"service/{self.process}/{runner.service.name}")
        except Exception as error:  # noqa: BLE001 - the process ends in any case
            log.error("last events were not published", error=f"{type(error).__name__}: {error}")

    # -- threads -------------------------------------------------------------------------------------------------------

    def _spawn(self, call: Callable[[], object], name: str) -> anyio.Event:
        """Runs `call` in a thread that does not keep the process alive; the event is set when it has ended."""
        done = anyio.Event()

        def run() -> None:
            try:
                call()
            finally:
                self._on_loop(done.set)

        threading.Thread(target=run, name=name, daemon=True).start()
        return done

    def _poke(self, runner: _Runner[C]) -> None:
        self._on_loop(lambda: runner.poked.set() if runner.poked else None)

    def _on_loop(self, call: Callable[[], object]) -> None:
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(call)
