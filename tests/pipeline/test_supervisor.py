"""The supervisor: order, time-outs, back-off, stalls, wake-ups, restarts, shutdown."""

import threading
import time
from collections import Counter
from collections.abc import Callable

import anyio
import pytest
from services import context, doing

from ringrift.clock import VirtualClock
from ringrift.errors import DataError, SettingsError
from ringrift.fabric import Job
from ringrift.kernel.service import Profile, Service, Step, Stopped
from ringrift.kernel.supervisor import Supervisor, start_order, tick
from ringrift.pipeline.events import GamesValidated, SamplesExported
from ringrift.pipeline.service import Context
from ringrift.pipeline.settings import SupervisionSettings
from ringrift.pipeline.table import supervisor_of
from ringrift.pipeline.watch import workers_told

WAIT = 20.0  #: generous: the machine may be busy


def run_until(supervisor: Supervisor, true: Callable[[], bool], then: Callable[[], object] = lambda: None) -> None:
    """Runs the supervisor until `true()`, and `then()` before it is stopped."""

    def watch() -> None:
        deadline = time.monotonic() + WAIT
        while not true() and time.monotonic() < deadline:
            time.sleep(0.005)
        then()
        supervisor.stop("the test is over")

    thread = threading.Thread(target=watch)
    thread.start()
    anyio.run(supervisor.run)
    thread.join()
    assert true()


def status_of(supervisor: Supervisor, name: str) -> str:
    return next(f"{s.state}: {s.note}" for s in supervisor.snapshot().services if s.name == name)


def types(ctx: Context) -> list[str]:
    """Of the events about services."""
    return [entry.type for entry in ctx.bus.log.read() if entry.type.startswith("Service")]


def nothing(ctx: Context) -> None:
    pass


def failing(ctx: Context) -> None:
    raise DataError("the disk is on fire")


def test_a_tick_carries_out_the_plan_and_stops_at_a_checkpoint() -> None:
    done: list[str] = []

    def plan(ctx: Context) -> list[Step]:
        return [Step("one", "", lambda: done.append("one")), Step("two", "", lambda: done.append("two"))]

    def stop_after_one() -> None:
        if done:
            raise Stopped("enough")

    service, ctx = Service("s", plan, 1.0), context()
    assert tick(service, ctx) == 2
    done.clear()
    ctx.checkpoint = stop_after_one
    with pytest.raises(Stopped, match="enough"):
        tick(service, ctx)
    assert done == ["one"]


def test_the_order_of_start_and_what_is_wrong_with_a_table() -> None:
    order = start_order([doing("c", nothing, after=("b",)), doing("b", nothing, after=("a",)), doing("a", nothing)])
    assert [service.name for service in order] == ["a", "b", "c"]
    with pytest.raises(SettingsError, match=r"for each other: . → . → .$"):
        start_order([doing("a", nothing, after=("b",)), doing("b", nothing, after=("a",))])
    with pytest.raises(SettingsError, match="'b' comes after an unknown service 'selfplya'"):
        start_order([doing("selfplay", nothing), doing("b", nothing, after=("selfplya",))])
    with pytest.raises(SettingsError, match="two services are called 'a'"):
        start_order([doing("a", nothing), doing("a", nothing)])


def test_a_failing_service_does_not_stop_its_neighbours_and_its_dependants_say_that_they_wait() -> None:
    counts: Counter[str] = Counter()
    ctx = context()
    services = (
        doing("bad", failing),
        doing("good", lambda ctx: counts.update(["good"])),
        doing("late", lambda ctx: counts.update(["late"]), after=("bad",)),
    )
    supervisor = supervisor_of(services, ctx, Profile.LAPTOP)
    seen: list[str] = []
    run_until(
        supervisor,
        lambda: counts["good"] > 5,
        lambda: seen.extend(status_of(supervisor, name) for name in ("bad", "late")),
    )
    assert seen == ["failing: DataError: the disk is on fire", "waiting: waits for bad"]
    assert counts["late"] == 0
    assert types(ctx).count("ServiceFailed") == 1  # and then its back-off


def test_a_service_is_never_given_up_on_and_heals() -> None:
    clock = VirtualClock()
    ctx, broken = context(clock), [True]

    def sometimes(ctx: Context) -> None:
        if broken[0]:
            failing(ctx)

    supervisor = supervisor_of([doing("s", sometimes, every=10)], ctx, Profile.LAPTOP)
    waits: list[float] = []
    for _ in range(12):
        failures = supervisor.snapshot().services[0].failures
        began = clock.monotonic()
        while supervisor.snapshot().services[0].failures == failures:
            clock.advance(supervisor.run_due())
        waits.append(clock.monotonic() - began)
    assert sum(waits) == pytest.approx(2 + 4 + 8 + 16 + 32 + 64 + 128 + 256 + 3 * 300, abs=310)
    broken[0] = False
    clock.advance(301)
    supervisor.run_due()
    supervisor.run_due()
    assert status_of(supervisor, "s") == "idle: "
    assert types(ctx).count("ServiceFailed") == 12
    assert types(ctx)[-1] == "ServiceRecovered"


def test_a_tick_past_its_timeout_fails_and_is_not_doubled() -> None:
    running: list[int] = []
    most, gate = [0], threading.Event()

    def hang(ctx: Context) -> None:
        running.append(1)
        most[0] = max(most[0], len(running))
        gate.wait(WAIT)
        running.pop()

    counts: Counter[str] = Counter()
    ctx = context()
    services = (doing("hangs", hang, timeout=0.05), doing("good", lambda ctx: counts.update(["good"])))
    supervisor = supervisor_of(services, ctx, Profile.LAPTOP)
    seen: list[str] = []

    def look() -> None:
        seen.append(status_of(supervisor, "hangs"))
        supervisor.restart("hangs")
        before = counts["good"]
        while counts["good"] < before + 5:
            time.sleep(0.01)
        gate.set()

    run_until(supervisor, lambda: status_of(supervisor, "hangs").startswith("failing") or bool(seen), look)
    assert seen == ["failing: the tick took longer than 0.05 s and reaches no checkpoint"]
    assert most == [1]
    assert "ServiceFailed" in types(ctx)


def test_a_tick_past_its_timeout_ends_at_a_checkpoint() -> None:
    def long(ctx: Context) -> None:
        while True:
            ctx.checkpoint()
            time.sleep(0.01)

    supervisor = supervisor_of([doing("long", long, timeout=0.05)], context(), Profile.LAPTOP)
    run_until(supervisor, lambda: supervisor.snapshot().services[0].failures > 0)
    assert supervisor.snapshot().services[0].failed == 1


def test_services_are_woken_by_events_and_by_each_other() -> None:
    counts: Counter[str] = Counter()

    def first(ctx: Context) -> None:
        counts.update(["first"])
        ctx.wake("third")

    services = (
        doing("first", first, every=3600, on=(GamesValidated,)),
        doing("other", lambda ctx: counts.update(["other"]), every=3600, on=(SamplesExported,)),
        doing("third", lambda ctx: counts.update(["third"]), every=3600),
    )
    ctx = context()
    supervisor = supervisor_of(services, ctx, Profile.LAPTOP)
    published: list[int] = []

    def twice() -> bool:
        if counts["first"] == 1 and counts["other"] == 1 and not published and supervisor.snapshot().ready:
            time.sleep(0.2)  # the listener has begun
            published.append(ctx.publish(GamesValidated(job="j", valid=1, quarantined=0)))
        return counts["first"] == 2 and counts["third"] >= 2

    run_until(supervisor, twice)
    assert counts["other"] == 1


def test_an_event_during_a_tick_brings_another_tick() -> None:
    clock = VirtualClock()
    ctx = context(clock)
    counts: Counter[str] = Counter()

    def plan(inner: Context) -> list[Step]:
        counts.update(["plan"])
        if counts["plan"] == 1:
            inner.wake("s")
        return []

    supervisor = supervisor_of([Service("s", plan, 3600)], ctx, Profile.LAPTOP)
    supervisor.run_due()
    assert supervisor.run_due() > 0
    assert counts["plan"] == 2


def test_a_service_that_achieves_nothing_is_found_by_its_own_baseline() -> None:
    clock = VirtualClock()
    ctx, works = context(clock), [True]
    done = [0]

    def plan(ctx: Context) -> list[Step]:
        return [Step("work", "", lambda: done.append(1))] if works[0] else []

    service = Service("s", plan, every=60, backlog=lambda ctx: 7.0)
    supervisor = supervisor_of([service], ctx, Profile.LAPTOP, SupervisionSettings(stall=100))

    def go(seconds: float) -> None:
        end = clock.monotonic() + seconds
        while clock.monotonic() < end:
            clock.advance(min(supervisor.run_due() or 0.001, end - clock.monotonic()))

    go(1200)
    works[0] = False
    go(5 * 60 - 30)
    assert status_of(supervisor, "s") == "idle: "
    go(150)
    assert status_of(supervisor, "s").startswith("stalled: achieved nothing for")
    assert types(ctx).count("ServiceStalled") == 1
    works[0] = True
    go(120)
    assert status_of(supervisor, "s") == "idle: "
    assert types(ctx)[-1] == "ServiceRecovered"


def test_a_service_without_work_is_not_stalled() -> None:
    clock = VirtualClock()
    ctx = context(clock)
    supervisor = supervisor_of([Service("s", lambda ctx: [], 60)], ctx, Profile.LAPTOP, SupervisionSettings(stall=1))
    for _ in range(200):
        clock.advance(supervisor.run_due() or 1)
    assert types(ctx) == []


def test_a_restart_asked_for_through_the_registry() -> None:
    clock = VirtualClock()
    ctx = context(clock)
    supervisor = supervisor_of([doing("s", failing)], ctx, Profile.LAPTOP)
    for _ in range(60):
        clock.advance(supervisor.run_due())
    assert supervisor.snapshot().services[0].failures > 3
    ctx.run.fabric.registry.set("command/restart/s", {})
    clock.advance(5)
    supervisor.run_due()
    supervisor.run_due()
    assert supervisor.snapshot().services[0].failures == 1
    assert ctx.run.fabric.registry.ls("command/") == []


def test_what_other_processes_see() -> None:
    clock = VirtualClock()
    ctx = context(clock)
    supervisor = supervisor_of([doing("s", failing)], ctx, Profile.LAPTOP)
    supervisor.run_due()
    supervisor.run_due()
    entry = ctx.run.fabric.registry.get("service/test/s")
    assert entry is not None and entry.value["state"] == "failing" and entry.value["profile"] == "laptop"
    clock.advance(60)
    assert ctx.run.fabric.registry.ls("service/") == []


def test_only_the_profile_s_services_run() -> None:
    services = (doing("decides", nothing), doing("works", nothing, profiles=(Profile.WORKER,), after=("decides",)))
    supervisor = supervisor_of(services, context(VirtualClock()), Profile.WORKER)
    supervisor.run_due()
    states = {status.name: status.worked for status in supervisor.snapshot().services}
    assert "decides" not in states
    assert states["works"]


def test_dead_jobs_are_told_of_once() -> None:
    clock = VirtualClock()
    ctx = context(clock)
    jobs = ctx.run.fabric.jobs
    jobs.put([Job("j", "train", "square8_2p", max_attempts=1, parent=3)])
    jobs.claim("somebody", {}, ttl=5)
    supervisor = supervisor_of([], ctx, Profile.WORKER)
    for _ in range(50):
        clock.advance(supervisor.run_due() or 0.1)
    (entry,) = ctx.bus.log.read(types=["JobDied"])
    assert entry.payload["job"] == "j" and entry.parent == 3 and entry.key == "square8_2p"


def test_a_worker_that_is_set_aside_is_told_of_until_it_is_released() -> None:
    clock = VirtualClock(1000.0)
    ctx = context(clock)
    jobs, registry = ctx.run.fabric.jobs, ctx.run.fabric.registry
    for name in ("good", "bad"):
        registry.set(f"node/{name}", {"kinds": ["train"], "capacity": {}, "jobs": 0, "load": 0.0})
    jobs.put([Job(f"j{n}", "train") for n in range(4)])
    for job in jobs.claim("bad", {}, limit=3):
        jobs.fail(job, "DataError: no library\n\ntraceback")
    clock.advance(2)
    supervisor = supervisor_of([], ctx, Profile.WORKER)

    def look() -> list[str]:
        for _ in range(40):
            clock.advance(supervisor.run_due() or 0.1)
        types = ["WorkerSetAside", "WorkerReleased", "AlertRaised", "AlertCleared"]
        return [
            f"{entry.type} {entry.payload.get('worker', entry.payload.get('alert'))}"
            for entry in ctx.bus.log.read(types=types)
        ]

    assert look() == []
    for job in jobs.claim("good", {}, limit=3):
        jobs.finish(job, {})
    assert sorted(look()) == ["AlertRaised worker-set-aside", "WorkerSetAside bad"]
    (alert,) = ctx.bus.log.read(types=["AlertRaised"])
    told = "it failed 3 jobs in a row, of which others finished 3; the last: DataError: no library"
    assert alert.payload["text"] == f"bad: {told}"
    assert f"bad: 0 jobs, 0% busy, set aside ({told})" in workers_told(ctx.run)
    supervisor = supervisor_of([], ctx, Profile.WORKER)  # another process goes on where the log ends
    assert [name for name in look() if "bad" in name] == ["WorkerSetAside bad"]
    jobs.put([Job("j9", "train")])
    clock.advance(60)
    (job,) = jobs.claim("bad", {}, limit=4)
    jobs.finish(job, {})
    assert [name for name in look() if "bad" in name] == ["WorkerSetAside bad", "WorkerReleased bad"]
    assert "AlertCleared worker-set-aside" in look()
    assert "set aside" not in workers_told(ctx.run)


def test_shutdown_within_the_deadline_though_a_tick_hangs() -> None:
    gate, begun = threading.Event(), threading.Event()

    def hang(ctx: Context) -> None:
        begun.set()
        gate.wait(WAIT)

    supervisor = supervisor_of([doing("hangs", hang)], context(), Profile.LAPTOP, SupervisionSettings(deadline=0.3))
    run_until(supervisor, begun.is_set)
    assert not gate.is_set()
    gate.set()


def test_stopping_tells_services_at_their_checkpoint() -> None:
    begun, told = threading.Event(), []

    def long(ctx: Context) -> None:
        begun.set()
        try:
            while True:
                ctx.checkpoint()
                time.sleep(0.01)
        except Stopped as why:
            told.append(str(why))
            raise

    ctx = context()
    supervisor = supervisor_of([doing("long", long)], ctx, Profile.LAPTOP)
    run_until(supervisor, begun.is_set)
    assert told == ["the test is over"]
    assert types(ctx) == []
    assert status_of(supervisor, "long") == "stopped: the test is over"
