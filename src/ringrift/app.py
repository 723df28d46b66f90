"""The only place that wires the layers together: a run, its services, its worker, signals, and what is shown of it."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import anyio
from anyio import to_thread

import ringrift
from ringrift.clock import SYSTEM_CLOCK
from ringrift.errors import DataError, LeaseLost, SettingsError
from ringrift.fabric import Job, Lease
from ringrift.fabric.scratch import scratch
from ringrift.fabric.workers import process_name
from ringrift.kernel.bus import Bus
from ringrift.kernel.crew import Child, Crew, give_back_orphans
from ringrift.kernel.health import gauge
from ringrift.kernel.service import Level, Profile, Step
from ringrift.kernel.settings import WorkerSettings
from ringrift.kernel.supervisor import Supervisor, start_order
from ringrift.kernel.worker import STATE, WORKING, crew_of
from ringrift.observe.logs import writing
from ringrift.observe.machine import usable_cores
from ringrift.pipeline.effects import EFFECTS
from ringrift.pipeline.events import LoopStarted, LoopStopped
from ringrift.pipeline.health import measure
from ringrift.pipeline.loop import LoopResult, Round, Until, judged, missing_games, rounds
from ringrift.pipeline.outlook import opening
from ringrift.pipeline.service import Context
from ringrift.pipeline.settings import Recipe, SupervisionSettings, keep_recipe
from ringrift.pipeline.settings import smoke as small
from ringrift.pipeline.table import LOOP, STAGES
from ringrift.pipeline.watch import MILESTONE_TYPES, Lines, Screen, loop_configs, milestone
from ringrift.store import ModelStore, RunDirectory
from ringrift.store.run import LOOP_LEASE
from ringrift.web.operations import operations, serve
from ringrift.web.server import address, listen

PORTS = 100  #: that are tried, from `services.port` on
TWICE_SECONDS = 0.5  #: within which two signals are one: some senders tell the process, then its group
LOOK_SECONDS = 0.5  #: between two looks at how the loop stands
#: Profiles that decide; there is one such process for a run at a time.
DECIDING = (Profile.LAPTOP, Profile.COORDINATOR)


@dataclass
class Loop:
    """One call of the loop."""

    directory: Path
    recipes: Mapping[str, Recipe]
    """Settings for each of the configs; none for a worker, which is told them with its jobs."""
    profile: Profile = Profile.LAPTOP
    until: Until = field(default_factory=Until)
    screen: Screen = field(default_factory=Lines)
    after_round: Callable[[Round], None] = lambda done: None
    """Called for each candidate that was judged."""

    process: Recipe | None = None
    """Settings of what belongs to the process, not to a config; those of the first config by default."""

    @property
    def recipe(self) -> Recipe:
        """Settings of the process."""
        return self.process or next(iter(self.recipes.values()), Recipe())

    def run(self) -> LoopResult:
        """Runs the services until an end is reached or somebody says so. Raises `JobError` naming the holder where
        another process has the loop of this run, `LeaseLost` where one takes it over, `SettingsError`, and
        `ModuleNotFoundError` where jobs are to be done here and torch, which trainings need, is not installed."""
        if self.profile in WORKING and find_spec("torch") is None:
            raise ModuleNotFoundError("trainings need torch", name="torch")
        decides = self.profile in DECIDING
        with ExitStack() as stack:
            opening = RunDirectory.open_or_create if decides else RunDirectory.open
            run = stack.enter_context(opening(self.directory))
            before = {config: finished_rounds(run, config) for config in self.recipes}
            reason = self.until.reached(run, self.recipes, 0.0) if decides else ""
            if not reason:
                lease = stack.enter_context(run.loop_lease()) if decides else None
                reason = self._run(run, lease)
            after = {config: finished_rounds(run, config) for config in self.recipes}
            new = sum(map(len, after.values())) - sum(map(len, before.values()))
            promoted = {config: ModelStore(run).promoted(config) for config in self.recipes}
            return LoopResult(tuple(one for past in after.values() for one in past), new, promoted, reason)

    def _run(self, run: RunDirectory, lease: Lease | None) -> str:
        ctx = context(run, self.recipes, self.recipe.services, lease)
        if self.profile in WORKING:
            ctx.state[STATE] = crew(run, self.recipe.worker, self.profile, lambda: supervisor.wake("worker"))
        services = self.recipe.services
        supervisor = Supervisor(LOOP, ctx, self.profile, services)
        port = self.listen(supervisor)
        if self.profile in WORKING:
            give_back_orphans(run.fabric.jobs)
        if lease:
            for config, recipe in self.recipes.items():
                keep_recipe(run.fabric.registry, config, recipe, lease)
            started = LoopStarted(profile=self.profile.value, configs=list(self.recipes), release=ringrift.__version__)
            ctx.publish(started, id_=f"LoopStarted/{process_name()}/{lease.fence}")
        try:
            with writing(run.path / "logs" / self._log_name(), services.log_bytes):
                reason = anyio.run(self._serve, run, supervisor, lease, port)
        finally:
            if self.profile in WORKING:
                crew_of(ctx).close()
        if lease:
            ctx.publish(LoopStopped(profile=self.profile.value, reason=reason),
                        id_=f"LoopStopped/{process_name()}/{lease.fence}")  # fmt: skip
        return reason

    def listen(self, supervisor: Supervisor[Context]) -> socket.socket | None:
        """Where health and metrics are served, if anywhere; says so where it is another port than the one wished."""
        services = self.recipe.services
        if not services.port:
            return None
        port = listen_near(services.host, services.port)
        supervisor.address = address(port)
        if port.getsockname()[1] != services.port:
            self.screen.line(f"port {services.port} is taken: health and metrics are at {supervisor.address}")
        return port

    def _log_name(self) -> str:
        """Name of the log: its profile's for the one loop; several workers may share a run."""
        return f"{self.profile}.jsonl" if self.profile in DECIDING else f"{self.profile}-{os.getpid()}.jsonl"

    async def _serve(
        self, run: RunDirectory, supervisor: Supervisor[Context], lease: Lease | None, port: socket.socket | None
    ) -> str:
        done, ended = threading.Event(), _Ended()

        def stop(reason: str, error: Exception | None = None) -> None:
            ended.reason, ended.error = ended.reason or reason, ended.error or error
            supervisor.stop(reason)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_heed_signals, stop)
            tasks.start_soon(to_thread.run_sync, self._follow, run, lease, stop, done)
            if port:
                place = self.recipe.services
                tasks.start_soon(partial(serve, operations(supervisor), place.host, place.port, port))
            await supervisor.run()
            done.set()
            tasks.cancel_scope.cancel()
        if ended.error:
            raise ended.error
        return ended.reason

    def _follow(self, run: RunDirectory, lease: Lease | None, stop: Callable[..., None], done: threading.Event) -> None:
        """Shows what happens, and stops when an end is reached or the lease is lost; until `done`."""
        began, view = time.monotonic(), _View(run, tuple(self.recipes), self.screen, self.after_round)
        with self.screen as screen:
            for config, recipe in self.recipes.items() if lease else ():
                screen.line(opening(run, config, recipe, usable_cores()))
            if lease:
                screen.line("A line a minute says how far it is. Ctrl-C stops at any moment; the same command goes on.")
            last = False
            while not last:
                last = done.wait(LOOK_SECONDS)
                try:
                    view.look()
                    if lease and not last:
                        lease.check()
                        if reason := self.until.reached(run, self.recipes, time.monotonic() - began):
                            stop(reason)
                        elif missing := missing_games(run, self.recipes):
                            stop(missing, DataError(missing))
                except LeaseLost as error:
                    stop(str(error), error)
                except (
                    DataError,
                    OSError,
                ) as error:  # a full disk, a busy database: the services meet it too, and go on
                    screen.line(str(error))


@dataclass
class _Ended:
    reason: str = ""
    error: Exception | None = None


class _View:
    """What has happened since the last look, on a screen."""

    def __init__(
        self, run: RunDirectory, configs: Sequence[str], screen: Screen, after_round: Callable[[Round], None]
    ) -> None:
        self._run, self._configs, self._screen, self._after_round = run, configs, screen, after_round
        self._heard = run.fabric.log.last()
        self._judged = {config: judged(run, config) for config in configs}

    def look(self) -> None:
        """Shows it."""
        for entry in self._run.fabric.log.read(self._heard, types=MILESTONE_TYPES):
            self._screen.line(milestone(entry))
            self._heard = entry.sequence
        self._screen.show(self._run, self._configs)
        for config, known in self._judged.items():
            if judged(self._run, config) > known:
                past = finished_rounds(self._run, config)
                self._judged[config] = len(past)
                for one in past[known:]:
                    self._after_round(one)


def listen_near(host: str, port: int) -> socket.socket:
    """A socket that listens on this port, or on the next that is free: another loop of this machine may have it.

    Raises `SettingsError` where none of `PORTS` can be had.
    """
    ports = range(port, min(port + PORTS, 1 << 16))
    for number in ports:
        try:
            return listen(host, number)
        except SettingsError as error:
            taken = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
            if not taken or number == ports[-1]:
                raise
    raise AssertionError("a range of ports is not empty")


async def _heed_signals(stop: Callable[[str], None]) -> None:
    """Ctrl-C and SIGTERM end the loop in order; a later one ends it at once, and its jobs with it."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        first = None
        async for number in received:
            first = first or time.monotonic()
            if time.monotonic() - first > TWICE_SECONDS:
                os._exit(128 + number)
            stop(f"{signal.Signals(number).name} was received")


def context(
    run: RunDirectory, recipes: Mapping[str, Recipe], services: SupervisionSettings, lease: Lease | None = None
) -> Context:
    """What the services of a process get."""
    return Context(run, Bus(run.fabric.log, process_name()), services, lease, recipes=dict(recipes))


def finished_rounds(run: RunDirectory, config: str) -> list[Round]:
    """The candidates that were judged."""
    return [one for one in rounds(run, config) if one.finished]


def recipes_of(directory: Path, given: Mapping[str, Recipe], *, smoke: bool = False) -> dict[str, Recipe]:
    """The settings of each config; of a smoke loop, which trains one more small candidate than there are."""
    if not smoke:
        return dict(given)
    there = (directory / "run.json").is_file()
    with RunDirectory.open(directory) if there else nullcontext() as run:
        known = {config: judged(run, config) if run else 0 for config in given}
    return {config: small(recipe, known[config] + 1) for config, recipe in given.items()}


def dry_run(
    directory: Path, recipes: Mapping[str, Recipe], profile: Profile = Profile.LAPTOP
) -> list[tuple[str, list[Step]]]:
    """What each service of a loop would do now; nothing is started, and nothing is written."""
    with ExitStack() as stack:
        if (directory / "run.json").is_file():
            run = stack.enter_context(RunDirectory.open(directory))
        else:
            RunDirectory.check_vacant(directory)
            run = stack.enter_context(RunDirectory.create(stack.enter_context(scratch()) / "run"))
        settings = next(iter(recipes.values()), Recipe())
        ctx = context(run, recipes, settings.services)
        level = gauge(measure(ctx, EFFECTS).parts(settings.services), Level.LOW).level
        ctx = replace(ctx, level=lambda: level)
        if profile in WORKING:
            ctx.state[STATE] = crew(run, settings.worker, profile, lambda: None)
        services = [service for service in start_order(STAGES) if profile in service.profiles]
        return [(service.name, list(service.plan(ctx))) for service in services]


def crew(run: RunDirectory, settings: WorkerSettings, profile: Profile, ended: Callable[[], None]) -> Crew:
    """The jobs of this process, each in a child; `ended` is called when one of them has ended."""

    def start(job: Job) -> Child:
        child = [sys.executable, "-m", "ringrift.pipeline.child"]
        return Child([*child, str(run.path), job.id, str(job.fence), str(settings.nice)], job, ended)

    stages = [stage for stage in STAGES if profile is not Profile.TRAINER or stage.name == "train"]
    return Crew(run.fabric, start, settings, clock=SYSTEM_CLOCK, services=stages)


def watch(directory: Path, screen: Screen) -> None:
    """Shows the loop that another process runs, until Ctrl-C."""
    with RunDirectory.open(directory) as run, screen:
        view = _View(run, loop_configs(run), screen, lambda done: None)
        with suppress(KeyboardInterrupt):
            while True:
                view.look()
                time.sleep(LOOK_SECONDS)


def is_running(directory: Path) -> bool:
    """Whether a process has the loop of this run."""
    if not (directory / "run.json").is_file():
        return False
    with RunDirectory.open(directory) as run:
        return run.fabric.leases.holder(LOOP_LEASE) is not None
