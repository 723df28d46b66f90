"""What every fabric promises, on every fabric: another one is one more row of FABRICS and one more `open_…`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ringrift.clock import SYSTEM_CLOCK, Clock, VirtualClock
from ringrift.errors import CorruptBlob, DataError, JobError, LeaseLost
from ringrift.fabric import Fabric, Job, JobState, LocalFabric, LogEntry, MemoryFabric
from ringrift.fabric.job import RETRY_SECONDS
from ringrift.fabric.shared import BOOT_CLOCK
from ringrift.fabric.workers import failing

CORES = {"cores": 2.0}


def open_memory(directory: Path, clock: Clock | None) -> Fabric:
    return MemoryFabric(clock or SYSTEM_CLOCK)


def open_local(directory: Path, clock: Clock | None) -> Fabric:
    return LocalFabric(directory, clock or BOOT_CLOCK)


FABRICS = {"memory": open_memory, "local": open_local}


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1000.0)


@pytest.fixture(params=FABRICS)
def fabric(request: pytest.FixtureRequest, tmp_path: Path, clock: VirtualClock) -> Iterator[Fabric]:
    """One under a virtual clock."""
    made = FABRICS[request.param](tmp_path, clock)
    yield made
    made.close()


@pytest.fixture(params=FABRICS)
def timed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fabric]:
    """One under the system's clock."""
    made = FABRICS[request.param](tmp_path, None)
    yield made
    made.close()


def together(*work: Callable[[], object]) -> None:
    threads = [threading.Thread(target=each) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def meanwhile(wait: Callable[[], object], act: Callable[[], object]) -> object:
    """What `wait` gives, which began before `act`."""
    timer = threading.Timer(0.1, act)
    timer.start()
    try:
        return wait()
    finally:
        timer.join()


# -- log


def events(*ids: str, type_: str = "A", key: str = "") -> list[LogEntry]:
    return [LogEntry(type_, {"of": id_}, id_, key, source="test") for id_ in ids]


def test_log_numbers_upwards_and_keeps_what_it_was_given(fabric: Fabric) -> None:
    assert fabric.log.last() == 0 and fabric.log.read() == [] == fabric.log.tail()
    entry = LogEntry("A", {"deep": {"list": [1, 2.5, "ü", None, True]}}, "one", "hex8_2p", None, 3, "me")
    assert fabric.log.append([entry, replace(entry, id="two", parent=1)]) == [1, 2]
    assert fabric.log.append([]) == []
    assert fabric.log.read() == [
        replace(entry, at=1000.0, sequence=1),
        replace(entry, id="two", parent=1, at=1000.0, sequence=2),
    ]


def test_log_appends_an_id_once(fabric: Fabric) -> None:
    assert fabric.log.append(events("a", "b")) == [1, 2]
    assert fabric.log.append(events("b", "c", "c", "a", type_="other")) == [2, 3, 3, 1]
    assert [(entry.sequence, entry.id, entry.type) for entry in fabric.log.read()] == [
        (1, "a", "A"), (2, "b", "A"), (3, "c", "other")
    ]  # fmt: skip


def test_log_reads_by_type_key_place_and_from_the_end(fabric: Fabric) -> None:
    for number in range(12):
        fabric.log.append(events(str(number), type_="ABC"[number % 3], key="xy"[number % 2]))

    def numbers(found: list[LogEntry]) -> list[int]:
        return [entry.sequence for entry in found]

    assert numbers(fabric.log.read(10)) == [11, 12]
    assert numbers(fabric.log.read(2, 3)) == [3, 4, 5]
    assert numbers(fabric.log.read(types=["A", "C"], limit=4)) == [1, 3, 4, 6]
    assert numbers(fabric.log.read(types=["A"], key="x")) == [1, 7]
    assert numbers(fabric.log.read(1, key="x")) == [3, 5, 7, 9, 11]
    assert numbers(fabric.log.read(types=["nothing"])) == [] == numbers(fabric.log.tail(types=["nothing"]))
    assert numbers(fabric.log.tail(3)) == [10, 11, 12]
    assert numbers(fabric.log.tail(3, types=["A", "B"], key="y")) == [4, 8, 10]
    assert numbers(fabric.log.tail(0)) == [] == numbers(fabric.log.read(limit=0))


def test_log_never_gives_a_number_again(fabric: Fabric) -> None:
    fabric.log.append(events("a", "b", "c"))
    assert fabric.log.purge(2) == 2
    assert fabric.log.purge(2) == 0
    assert fabric.log.purge(100) == 1
    assert fabric.log.last() == 3
    assert fabric.log.append(events("a")) == [4]
    assert [entry.id for entry in fabric.log.read()] == ["a"]


def test_log_writers_share_one_counter(timed: Fabric) -> None:
    given: list[int] = []
    work = [
        lambda w=w: given.extend(n for i in range(20) for n in timed.log.append(events(f"{w}/{i}", f"{w}/{i}b")))
        for w in range(4)
    ]
    together(*work)
    assert sorted(given) == list(range(1, 161))
    assert [entry.sequence for entry in timed.log.read()] == list(range(1, 161))


def test_log_wait(timed: Fabric) -> None:
    assert not timed.log.wait(0, 0.05)
    assert meanwhile(lambda: timed.log.wait(0, 30), lambda: timed.log.append(events("a")))
    assert timed.log.wait(0, 0)
    assert not timed.log.wait(1, 0)


# -- jobs


def claim(fabric: Fabric, holder: str = "me", **options: object) -> Job:
    return fabric.jobs.claim(holder, CORES, **options)[0]  # type: ignore[arg-type]


def test_job_is_put_once_whatever_became_of_it(fabric: Fabric) -> None:
    job = Job("a", "play", "hex8_2p", {"games": 3, "list": [1, {"x": None}]}, 7, {"cores": 1.5}, 5, 10.0, 20.0, 4)
    assert fabric.jobs.put([job, job, replace(job, id="b")]) == 2
    assert fabric.jobs.put([replace(job, kind="other"), replace(job, id="c")]) == 1
    assert fabric.jobs.get("a") == replace(job, created_at=1000.0)
    assert fabric.jobs.get("unknown") is None
    fabric.jobs.finish(claim(fabric), {})
    assert fabric.jobs.put([job]) == 0
    assert fabric.jobs.get("a").state is JobState.DONE  # type: ignore[union-attr]


def test_claim_takes_what_fits_by_priority_then_age(fabric: Fabric) -> None:
    fabric.jobs.put([
        Job("gpu", "train", priority=99, needs={"cores": 1, "gpus": 1}),
        Job("old", "play", priority=50, needs={"cores": 1}),
        Job("large", "play", priority=60, needs={"cores": 2}),
        Job("new", "match", priority=50, needs={"cores": 1}),
        Job("free", "count", priority=10),
    ])  # fmt: skip

    def ids(*found: Job) -> list[str]:
        return [job.id for job in found]

    assert ids(*fabric.jobs.claim("a", {"cores": 1}, kinds=["match", "count"])) == ["new"]
    assert ids(*fabric.jobs.claim("a", {"cores": 1}, limit=5)) == ["old", "free"]
    assert fabric.jobs.claim("a", {"cores": 1}) == []
    assert ids(*fabric.jobs.claim("a", {"cores": 8, "gpus": 1}, limit=5)) == ["gpu", "large"]


def test_claim_sums_the_needs(fabric: Fabric) -> None:
    fabric.jobs.put([Job(f"{n}/{i}", "play", priority=9 - i, needs={"cores": n}) for n in (1, 2) for i in range(4)])
    taken = fabric.jobs.claim("a", {"cores": 6}, limit=9)
    assert [job.id for job in taken] == ["1/0", "2/0", "1/1", "2/1"]


def test_a_claim_is_a_lease(fabric: Fabric, clock: VirtualClock) -> None:
    fabric.jobs.put([Job("a", "play")])
    job = claim(fabric, "node 1", ttl=30)
    assert (job.state, job.attempts, job.fence, job.holder) == (JobState.LEASED, 1, 1, "node 1")
    assert (job.claimed, job.changed, job.expires) == (1000.0, 1000.0, 1030.0)
    assert fabric.jobs.claim("node 2", CORES) == []
    clock.advance(20)
    job = fabric.jobs.extend(job, {"games": 3}, ttl=30)
    assert (job.expires, job.changed, dict(job.progress)) == (1050.0, 1020.0, {"games": 3})
    clock.advance(20)
    job = fabric.jobs.extend(job, {"games": 3}, ttl=30)
    assert (job.expires, job.changed) == (1070.0, 1020.0)
    assert fabric.jobs.extend(job, ttl=30).progress == {"games": 3}
    done = fabric.jobs.finish(job, {"plies": 100})
    assert (done.state, dict(done.result), done.finished_at) == (JobState.DONE, {"plies": 100}, 1040.0)
    assert fabric.jobs.finish(job, {"plies": 99}) == done == fabric.jobs.get("a")


def test_failed_job_waits_then_dies_and_can_be_revived(fabric: Fabric, clock: VirtualClock) -> None:
    fabric.jobs.put([Job("a", "play", max_attempts=3)])
    for attempt in (1, 2):
        left = fabric.jobs.fail(claim(fabric), f"fault {attempt}")
        assert (left.state, left.attempts, left.error) == (JobState.WAITING, attempt, f"fault {attempt}")
        clock.advance(RETRY_SECONDS * 2 ** (attempt - 1) - 0.5)
        assert fabric.jobs.claim("me", CORES) == []
        clock.advance(0.5)
    dead = fabric.jobs.fail(claim(fabric), "fault 3")
    assert (dead.state, dead.error, dead.finished_at) == (JobState.DEAD, "fault 3", clock.now())
    assert fabric.jobs.claim("me", CORES) == []
    revived = fabric.jobs.retry("a")
    assert revived is not None and (revived.state, revived.attempts) == (JobState.WAITING, 0)
    assert fabric.jobs.retry("a") is None and fabric.jobs.retry("unknown") is None
    assert fabric.jobs.fail(claim(fabric), "hopeless", retry=False).state is JobState.DEAD


HEALTHY = ("h1", "h2", "h3", "h4")


def work(fabric: Fabric, clock: VirtualClock, seconds: int, broken: Collection[str], kind: str = "play") -> float:
    """Four healthy workers and broken ones, a second at a time; the healthy ones' share of time with a job.

    Jobs take ten seconds, broken workers fail them after one, ten are open, and nothing is put for five minutes after
    one has died.
    """
    held: dict[str, tuple[Job, float]] = {}
    busy, number, pause, known = 0, len(fabric.jobs.ls()), 0.0, 0
    for _ in range(seconds):
        now = clock.monotonic()
        for worker, (_job, since) in list(held.items()):
            if worker in broken and now >= since + 1:
                fabric.jobs.fail(held.pop(worker)[0], f"{worker} is broken")
            elif now >= since + 10:
                fabric.jobs.finish(held.pop(worker)[0], {})
        dead = len(fabric.jobs.ls(states=[JobState.DEAD]))
        known, pause = dead, now + 300 if dead > known else pause
        for _ in range(10 - len(fabric.jobs.ls(states=[JobState.WAITING, JobState.LEASED])) if now >= pause else 0):
            number += 1
            fabric.jobs.put([Job(f"{kind}/{number}", kind)])
        for worker in (*broken, *HEALTHY):
            if worker not in held and (jobs := fabric.jobs.claim(worker, CORES)):
                held[worker] = jobs[0], now
        busy += sum(worker in held for worker in HEALTHY)
        clock.advance(1)
    for job, _ in held.values():
        fabric.jobs.release(job)
    return busy / (len(HEALTHY) * seconds)


@pytest.mark.parametrize("broken", [("b1",), ("b1", "b2", "b3")])
def test_broken_workers_starve_nobody_and_kill_no_job(
    fabric: Fabric, clock: VirtualClock, broken: tuple[str, ...]
) -> None:
    assert work(fabric, clock, 600, broken) >= 0.95
    assert fabric.jobs.ls(states=[JobState.DEAD]) == []
    found = {one.worker: one for one in failing(fabric.registry)}
    assert found.keys() == set(broken) and all(one.is_set_aside for one in found.values())
    one = found["b1"]
    assert one.error == "b1 is broken" and one.failures < 20 and one.until > clock.now()
    assert fabric.jobs.claim("b1", CORES) == []


def test_a_worker_that_was_set_aside_is_tried_with_one_job_and_released(fabric: Fabric, clock: VirtualClock) -> None:
    work(fabric, clock, 600, ("b",))
    clock.advance(failing(fabric.registry)[0].until - clock.now())
    fabric.jobs.put([Job(f"more/{n}", "play") for n in range(9)])
    taken = fabric.jobs.claim("b", CORES, limit=4)
    assert len(taken) == 1 and fabric.jobs.claim("b", CORES, limit=4) == []
    fabric.jobs.finish(taken[0], {})
    assert failing(fabric.registry) == []
    assert len(fabric.jobs.claim("b", CORES, limit=4)) == 4


def test_a_worker_that_breaks_after_good_work_kills_nothing(fabric: Fabric, clock: VirtualClock) -> None:
    work(fabric, clock, 30, ())
    fabric.jobs.put([Job("only/1", "train", priority=99)])
    fabric.jobs.put([Job(f"play/x{n}", "play") for n in range(4)])
    for worker in HEALTHY[1:]:
        fabric.registry.set(f"node/{worker}", {"kinds": ["train"], "capacity": CORES})
    for _ in range(8):  # nobody else takes it, though they could
        if jobs := fabric.jobs.claim("h1", CORES, kinds=["train"]):
            assert fabric.jobs.fail(jobs[0], "broken now", retry=False).state is JobState.WAITING
        clock.advance(60)
    job = claim(fabric, "h2", kinds=["train"])
    assert job.attempts == 2  # its first failure counts: it had been sound until then
    assert fabric.jobs.finish(job, {}).state is JobState.DONE


def test_a_job_that_fails_everywhere_dies_and_its_workers_stay(fabric: Fabric, clock: VirtualClock) -> None:
    for worker in HEALTHY:
        fabric.registry.set(f"node/{worker}", {"kinds": ["play"], "capacity": CORES})
    fabric.jobs.put([Job("poisoned", "play", priority=99)])
    fabric.jobs.put([Job(f"good/{n}", "play") for n in range(400)])
    held: dict[str, tuple[Job, float]] = {}
    for _ in range(100):
        now = clock.monotonic()
        for worker, (job, since) in list(held.items()):
            if job.id == "poisoned" and now >= since + 1:
                fabric.jobs.fail(held.pop(worker)[0], "it is poisoned")
            elif now >= since + 10:
                fabric.jobs.finish(held.pop(worker)[0], {})
        for worker in HEALTHY:
            if worker not in held and (jobs := fabric.jobs.claim(worker, CORES)):
                held[worker] = jobs[0], now
        clock.advance(1)
    assert [job.id for job in fabric.jobs.ls(states=[JobState.DEAD])] == ["poisoned"]
    assert not any(one.is_set_aside for one in failing(fabric.registry))


def test_what_every_worker_fails_dies_soon(fabric: Fabric, clock: VirtualClock) -> None:
    fabric.jobs.put([Job(f"bad/{n}", "play") for n in range(8)])
    for _ in range(120):
        for worker in HEALTHY:
            for job in fabric.jobs.claim(worker, CORES):
                fabric.jobs.fail(job, "bad settings")
        clock.advance(1)
    assert len(fabric.jobs.ls(states=[JobState.DEAD])) == 8


def test_released_job_waits_at_once_and_its_attempt_does_not_count(fabric: Fabric) -> None:
    fabric.jobs.put([Job("a", "play", max_attempts=1)])
    for fence in (1, 2, 3):
        job = claim(fabric)
        assert (job.attempts, job.fence) == (1, fence)
        fabric.jobs.release(job)


@pytest.mark.parametrize("how", ["reaped", "cancelled", "given to another", "forgotten"])
def test_lost_claim_can_report_nothing(fabric: Fabric, clock: VirtualClock, how: str) -> None:
    fabric.jobs.put([Job("a", "play")])
    job = claim(fabric, ttl=10)
    clock.advance(11)
    if how == "cancelled":
        fabric.jobs.stop("a")
    assert [reaped.id for reaped in fabric.jobs.reap()] == ["a"]
    clock.advance(300)
    if how == "given to another":
        claim(fabric, "another")
    if how == "forgotten":
        fabric.jobs.stop("a")
        fabric.jobs.purge(clock.now() + 1)
    before = fabric.jobs.get("a")
    assert (before is None) is (how == "forgotten")
    for report in (
        lambda: fabric.jobs.extend(job, {"late": True}),
        lambda: fabric.jobs.finish(job, {"late": True}),
        lambda: fabric.jobs.fail(job, "late"),
        lambda: fabric.jobs.release(job),
    ):
        with pytest.raises(LeaseLost, match="job a was taken from me"):
            report()
    assert fabric.jobs.get("a") == before


def test_reap_finds_the_gone_the_slow_and_the_stuck(fabric: Fabric, clock: VirtualClock) -> None:
    fabric.jobs.put([
        Job("gone", "play"), Job("slow", "play", time_limit=100),
        Job("stuck", "play", stuck_after=50), Job("well", "play"),
    ])  # fmt: skip
    jobs = {job.id: job for job in fabric.jobs.claim("me", CORES, ttl=20, limit=4)}
    assert fabric.jobs.reap() == []
    errors = {}
    for second in range(11):
        clock.advance(10)
        for name in ("slow", "well"):
            if name not in errors:
                fabric.jobs.extend(jobs[name], {"at": second}, ttl=20)
        if "stuck" not in errors:
            fabric.jobs.extend(jobs["stuck"], {"at": "the same"}, ttl=20)
        errors |= {job.id: job.error for job in fabric.jobs.reap()}
    assert sorted(errors) == ["gone", "slow", "stuck"]
    assert "not heard of" in errors["gone"] and "100 s" in errors["slow"] and "no progress for 50 s" in errors["stuck"]


def test_stopping(fabric: Fabric) -> None:
    assert fabric.jobs.stop("unknown") is None
    fabric.jobs.put([Job(id_, "play") for id_ in ("waiting", "cancelled", "given back", "failed", "finished")])
    waiting = fabric.jobs.stop("waiting")
    assert waiting is not None and waiting.state is JobState.CANCELLED
    jobs = {job.id: job for job in fabric.jobs.claim("me", CORES, limit=4)}
    assert fabric.jobs.stop("given back", "preempt") is not None
    for id_ in ("cancelled", "failed", "finished"):
        fabric.jobs.stop(id_)
        fabric.jobs.stop(id_, "preempt")
        assert fabric.jobs.extend(jobs[id_]).stop == "cancel"
    assert fabric.jobs.extend(jobs["given back"]).stop == "preempt"
    assert fabric.jobs.release(jobs["cancelled"]).state is JobState.CANCELLED
    assert fabric.jobs.fail(jobs["failed"], "while stopping").state is JobState.CANCELLED
    assert fabric.jobs.finish(jobs["finished"], {}).state is JobState.DONE
    again = fabric.jobs.release(jobs["given back"])
    assert (again.state, again.stop, again.attempts) == (JobState.WAITING, "", 0)
    assert fabric.jobs.stop("finished") is None
    assert fabric.jobs.stop("given back", "preempt") == again


def test_jobs_are_listed_counted_and_purged(fabric: Fabric, clock: VirtualClock) -> None:
    fabric.jobs.put([Job(str(n), "ab"[n % 2], "xyz"[n % 3]) for n in range(6)])
    fabric.jobs.finish(claim(fabric), {})
    clock.advance(10)
    fabric.jobs.fail(claim(fabric), "", retry=False)
    fabric.jobs.stop("2")

    def ids(**options: object) -> str:
        return "".join(job.id for job in fabric.jobs.ls(**options))  # type: ignore[arg-type]

    assert ids() == "543210" and ids(limit=2) == "54" and ids(kind="a") == "420" and ids(kind="b", config="x") == "3"
    assert ids(states=[JobState.DONE, JobState.DEAD]) == "10" and ids(states=[JobState.WAITING], config="z") == "5"
    assert ids(config="") == ""
    counts = fabric.jobs.counts()
    assert counts["b", "x", JobState.WAITING] == 1 == counts["a", "x", JobState.DONE] and sum(counts.values()) == 6
    assert fabric.jobs.purge(clock.now()) == 1
    assert fabric.jobs.purge(clock.now() + 1) == 1
    assert ids() == "5431"
    assert fabric.jobs.put([Job("0", "a")]) == 1
    assert ids(limit=1) == "0"


def test_claims_of_many_threads_never_meet(timed: Fabric) -> None:
    timed.jobs.put([Job(str(n), "play") for n in range(60)])
    done: list[str] = []

    def work() -> None:
        while taken := timed.jobs.claim("me", CORES, limit=2):
            done.extend(timed.jobs.finish(job, {}).id for job in taken)

    together(*[work] * 4)
    assert sorted(done, key=int) == [str(n) for n in range(60)]


def test_jobs_wait(timed: Fabric) -> None:
    timed.jobs.claim("me", CORES)
    assert not timed.jobs.wait(0.05)
    assert meanwhile(lambda: timed.jobs.wait(30), lambda: timed.jobs.put([Job("a", "play")]))
    assert timed.jobs.wait(0)
    job = claim(timed)
    assert timed.jobs.claim("me", CORES) == [] and not timed.jobs.wait(0)
    timed.jobs.extend(job, {"at": 1})
    assert not timed.jobs.wait(0)
    timed.jobs.release(job)
    assert timed.jobs.wait(0)


# -- registry


def test_compare_and_set_has_one_winner(timed: Fabric) -> None:
    first = timed.registry.compare_and_set("promoted/x", {"model": "a"}, 0)
    assert first is not None
    assert timed.registry.compare_and_set("promoted/x", {"model": "b"}, 0) is None
    assert timed.registry.compare_and_set("promoted/x", {"model": "b"}, first.revision + 1) is None
    second = timed.registry.compare_and_set("promoted/x", {"model": "b"}, first.revision)
    assert second is not None and second.revision > first.revision
    assert timed.registry.get("promoted/x") == second
    results: list[object] = []
    together(*(lambda n=n: results.append(timed.registry.compare_and_set("one", {"n": n}, 0)) for n in range(8)))
    assert sum(result is not None for result in results) == 1


def test_registry_lists_deletes_and_expires(fabric: Fabric, clock: VirtualClock) -> None:
    fabric.registry.set("node/a", {"load": 0.5}, ttl=5)
    old = fabric.registry.set("node/b", {})
    fabric.registry.set("nodes", {})
    fabric.registry.set("node", {})
    assert [entry.key for entry in fabric.registry.ls("node/")] == ["node/a", "node/b"]
    assert [entry.key for entry in fabric.registry.ls()] == ["node", "node/a", "node/b", "nodes"]
    clock.advance(5)
    assert [entry.key for entry in fabric.registry.ls("node/")] == ["node/b"]
    assert fabric.registry.get("node/a") is None and not fabric.registry.delete("node/a")
    assert fabric.registry.compare_and_set("node/a", {}, 0) is not None
    assert fabric.registry.delete("node/b")
    assert not fabric.registry.delete("node/b")
    assert fabric.registry.set("node/b", {}).revision > old.revision + 1


def test_registry_purge_forgets_what_has_expired(fabric: Fabric, clock: VirtualClock) -> None:
    fabric.registry.set("short", {}, ttl=5)
    fabric.registry.set("long", {}, ttl=6)
    last = fabric.registry.set("for ever", {})
    assert fabric.registry.purge() == 0
    clock.advance(5)
    assert fabric.registry.purge() == 1 and fabric.registry.purge() == 0
    assert [entry.key for entry in fabric.registry.ls()] == ["for ever", "long"]
    assert fabric.registry.set("short", {}).revision > last.revision


def test_registry_watch(timed: Fabric) -> None:
    assert timed.registry.watch("node/", 0, 0.05) == []
    first = timed.registry.set("node/b", {"n": 1})
    second = timed.registry.set("node/a", {"n": 2})
    other = timed.registry.set("other", {})
    assert timed.registry.watch("node/", 0, 0) == [first, second]
    assert timed.registry.watch("node/", first.revision, 0) == [second]
    found = meanwhile(
        lambda: timed.registry.watch("node/", other.revision, 30), lambda: timed.registry.set("node/b", {})
    )
    assert found == [timed.registry.get("node/b")]


def test_waits_under_a_virtual_clock_move_it(fabric: Fabric, clock: VirtualClock) -> None:
    fabric.jobs.claim("me", CORES)
    assert not fabric.log.wait(0, 5) and not fabric.jobs.wait(6) and fabric.registry.watch("", 0, 7) == []
    assert clock.now() == 1018.0
    fabric.log.append(events("a"))
    assert fabric.log.wait(0, 5) and clock.now() == 1018.0


# -- leases


def test_expired_holder_is_fenced_out(fabric: Fabric, clock: VirtualClock) -> None:
    hung = fabric.leases.acquire("loop", ttl=30)
    clock.advance(29)
    hung.extend()
    clock.advance(29)
    with pytest.raises(JobError, match="loop is held by"):
        fabric.leases.acquire("loop")
    assert fabric.leases.holder("loop") == hung.holder
    clock.advance(2)
    assert fabric.leases.holder("loop") is None
    hung.check()  # nobody has taken over yet
    new = fabric.leases.acquire("loop", ttl=30)
    assert new.fence > hung.fence
    hung.release()
    assert fabric.leases.holder("loop") == new.holder
    for write in (
        hung.extend,
        hung.check,
        lambda: fabric.registry.set("promoted/x", {}, lease=hung),
        lambda: fabric.registry.compare_and_set("promoted/x", {}, 0, lease=hung),
        lambda: fabric.registry.delete("promoted/x", lease=hung),
    ):
        with pytest.raises(LeaseLost, match="loop was taken from"):
            write()
    assert fabric.registry.get("promoted/x") is None
    fabric.registry.set("promoted/x", {}, lease=new)
    new.release()
    with pytest.raises(LeaseLost, match="nobody"):
        new.check()


def test_leases_by_name(timed: Fabric) -> None:
    one, two = timed.leases.acquire("one"), timed.leases.acquire("two")
    assert one.fence == 1 == two.fence
    one.release()
    assert timed.leases.holder("one") is None and timed.leases.holder("two") is not None
    assert timed.leases.acquire("one").fence == 2
    taken: list[object] = []

    def take() -> None:
        try:
            taken.append(timed.leases.acquire("three"))
        except JobError:
            taken.append(None)

    together(*[take] * 6)
    assert sum(lease is not None for lease in taken) == 1


def test_leases_purge_forgets_those_that_nobody_can_come_back_with(fabric: Fabric, clock: VirtualClock) -> None:
    hung = fabric.leases.acquire("hung", ttl=5)
    fabric.leases.acquire("replay/x/1", ttl=5).release()
    held = fabric.leases.acquire("held", ttl=60)
    assert fabric.leases.purge() == 0
    clock.advance(6)
    assert fabric.leases.purge() == 1 and fabric.leases.purge() == 0
    held.check()
    assert fabric.leases.acquire("hung").fence == hung.fence + 1
    assert fabric.leases.acquire("replay/x/1").fence == 1


# -- blobs


def test_blobs(fabric: Fabric, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"weights")
    blob = fabric.blobs.put(b"weights", ".bin")
    assert fabric.blobs.put(tmp_path / "source", ".bin") == blob
    assert blob.endswith(".bin") and fabric.blobs.get(blob) == b"weights" == fabric.blobs.path(blob).read_bytes()
    assert [(info.blob, info.size_bytes) for info in fabric.blobs.ls()] == [(blob, 7)]
    fabric.blobs.check(blob)
    other = fabric.blobs.put(b"")
    assert fabric.blobs.gc({blob}, older_than=3600) == []
    assert fabric.blobs.gc({blob}, older_than=-1) == [other]
    fabric.blobs.path(blob).write_bytes(b"weightz")
    with pytest.raises(CorruptBlob, match=blob):
        fabric.blobs.get(blob)
    assert fabric.blobs.delete(blob) and not fabric.blobs.delete(blob)
    with pytest.raises(DataError, match="missing"):
        fabric.blobs.get(blob)


def test_check_of_a_sound_fabric_says_nothing(fabric: Fabric) -> None:
    fabric.check()


def test_preempted_job_goes_to_others_first(fabric: Fabric, clock: VirtualClock) -> None:
    fabric.jobs.put([Job("a", "play")])
    fabric.jobs.stop("a", "preempt")
    job = claim(fabric)
    fabric.jobs.stop("a", "preempt")
    assert fabric.jobs.extend(job).stop == "preempt"
    fabric.jobs.release(job)
    assert fabric.jobs.claim("me", CORES) == []
    clock.advance(RETRY_SECONDS)
    assert claim(fabric, "another").attempts == 1


def test_dead_job_can_be_declared_needless(fabric: Fabric) -> None:
    fabric.jobs.put([Job("a", "play")])
    fabric.jobs.fail(claim(fabric), "hopeless", retry=False)
    assert fabric.jobs.stop("a", "preempt") is None
    left = fabric.jobs.stop("a")
    assert left is not None and (left.state, left.error) == (JobState.CANCELLED, "hopeless")
