"""A worker's crew: with jobs that only exist here, and with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil
import pytest

from ringrift.clock import SYSTEM_CLOCK, VirtualClock
from ringrift.errors import DataError
from ringrift.fabric import Job, JobState, MemoryFabric
from ringrift.kernel.crew import GRACE_SECONDS, NODE_SECONDS, Child, Crew, Outcome, give_back_orphans
from ringrift.pipeline import Recipe, WorkerSettings, selfplay, settings, smoke, table
from ringrift.pipeline.watch import Lasting, Lines
from ringrift.store import GameStore, RunDirectory
from ringrift.store.check import check

CONFIG = "square8_2p"


class Pretended:
    """A job that is done when the test says so."""

    def __init__(self) -> None:
        self.progress: Mapping[str, object] = {}
        self.end: Outcome | None = None
        self.asked: list[bool] = []

    def outcome(self) -> Outcome | None:
        return self.end

    def stop(self, *, kill: bool = False) -> None:
        self.asked.append(kill)


class Stage:
    """A crew of pretended jobs, in virtual time."""

    def __init__(self, load: float = 0.0) -> None:
        self.clock = VirtualClock(100.0)
        self.fabric = MemoryFabric(self.clock)
        self.load = load
        self.running: dict[str, Pretended] = {}
        self.crew = Crew(
            self.fabric, self.start, WorkerSettings(utilisation=0.9), clock=self.clock, services=table.STAGES, name="w",
            capacity={"cores": 3, "memory": 1e12, "gpus": 0}, load=lambda: self.load,
        )  # fmt: skip

    def start(self, job: Job) -> Pretended:
        self.running[job.id] = Pretended()
        return self.running[job.id]

    def put(self, kind: str, name: str) -> str:
        job = Job(f"{kind}/{name}", kind, priority=table.KINDS[kind].priority, needs={"cores": 1})
        self.fabric.jobs.put([job])
        return job.id

    def state(self, id_: str) -> JobState:
        job = self.fabric.jobs.get(id_)
        assert job is not None
        return job.state

    def settle(self) -> None:
        for held in self.crew.ended():
            self.crew.settle(held)


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.fabric.close()


def test_it_claims_what_fits_the_most_important_first(stage: Stage) -> None:
    for name in "abc":
        stage.put("selfplay", name)
    stage.put("train", "t")
    claimed = [job.id for job in stage.crew.claim()]
    assert claimed[0] == "train/t"
    assert len(claimed) == 3
    assert stage.crew.free["cores"] == 0
    assert stage.crew.wants() == []


def test_results_and_errors_are_reported(stage: Stage) -> None:
    good, bad = stage.put("match", "good"), stage.put("match", "bad")
    stage.crew.claim()
    stage.running[good].end = Outcome({"score": 1})
    stage.running[bad].end = Outcome(None, "DataError: no\n\ntrace", retry=False)
    stage.settle()
    assert (stage.state(good), stage.state(bad)) == (JobState.DONE, JobState.DEAD)
    done, dead = stage.fabric.jobs.get(good), stage.fabric.jobs.get(bad)
    assert done is not None and done.result == {"score": 1}
    assert dead is not None and dead.error.startswith("DataError: no")
    assert stage.crew.held == {}


def test_progress_holds_the_lease(stage: Stage) -> None:
    id_ = stage.put("match", "m")
    stage.crew.claim()
    for done in range(100):
        stage.running[id_].progress = {"done": done, "total": 100}
        stage.clock.advance(10)
        stage.crew.hold()
        assert stage.fabric.jobs.reap() == []
    job = stage.fabric.jobs.get(id_)
    assert job is not None and job.progress["done"] == 99


def test_a_broken_worker_waits_and_tells_that_it_is_there(stage: Stage) -> None:
    other = Crew(
        stage.fabric,
        stage.start,
        clock=stage.clock,
        services=table.STAGES,
        name="other",
        capacity={"cores": 3},
        load=lambda: 0.0,
    )
    assert other.claim() == [] and stage.fabric.registry.get("node/other") is not None
    for name in "abcd":
        stage.put("selfplay", name)
    for job in stage.crew.claim():
        stage.running[job.id].end = Outcome(None, "DataError: no library", retry=False)
    stage.settle()
    assert stage.crew.is_paused and stage.crew.wants() == [] == stage.crew.claim()
    stage.clock.advance(2)
    assert not stage.crew.is_paused and len(stage.crew.claim()) == 3
    stage.crew.close(0)
    assert stage.fabric.registry.ls("failing/") == []


@pytest.mark.parametrize(("how", "then"), [("cancel", JobState.CANCELLED), ("preempt", JobState.WAITING)])
def test_a_stop_is_passed_on_and_becomes_force(stage: Stage, how: str, then: JobState) -> None:
    id_ = stage.put("match", "m")
    stage.crew.claim()
    stage.fabric.jobs.stop(id_, how)
    stage.clock.advance(1)
    stage.crew.hold()
    assert stage.running[id_].asked == [False]
    stage.clock.advance(GRACE_SECONDS)
    stage.crew.hold()
    assert stage.running[id_].asked == [False, True]
    stage.running[id_].end = Outcome(None, "its process ended by SIGKILL")
    stage.settle()
    assert stage.state(id_) == then
    job = stage.fabric.jobs.get(id_)
    assert job is not None and job.attempts == (1 if how == "cancel" else 0)


def test_a_job_that_somebody_else_has_is_killed_at_once(stage: Stage) -> None:
    id_ = stage.put("match", "m")
    stage.crew.claim()
    stage.clock.advance(61)
    assert len(stage.fabric.jobs.reap()) == 1
    stage.crew.hold()
    assert stage.running[id_].asked == [True]
    stage.running[id_].end = Outcome({"score": 1})
    stage.settle()
    assert stage.state(id_) == JobState.WAITING


def test_self_play_gives_way_on_a_busy_machine_and_comes_back(stage: Stage) -> None:
    for name in "abcdefgh":
        stage.put("selfplay", name)

    def after(seconds: float, load: float) -> int:
        stage.load = load
        for _ in range(int(seconds / NODE_SECONDS)):
            stage.clock.advance(NODE_SECONDS)
            stage.crew.tell()
        return stage.crew.throttle.allowed

    assert after(60, 0.9) == 3
    assert after(200, 1.0) == 1
    stage.crew.claim()
    assert stage.crew.filling == 1
    assert after(60, 0.3) == 3
    stage.crew.claim()
    assert stage.crew.filling == 3
    (node,) = stage.fabric.registry.ls("node/")
    assert node.value["jobs"] == 1 or node.value["jobs"] == 3
    stage.crew.close(0)
    assert stage.fabric.registry.ls("node/") == []
    assert {job.state for job in stage.fabric.jobs.ls()} == {JobState.WAITING}


# -- with processes ----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    with RunDirectory.create(tmp_path / "run") as made:
        settings.keep_recipe(made.fabric.registry, CONFIG, smoke(Recipe()))
        yield made


def crew_of(run: RunDirectory, cores: int = 2) -> Crew:
    def start(job: Job) -> Child:
        child = [sys.executable, "-m", "ringrift.pipeline.child", str(run.path), job.id, str(job.fence), "5"]
        return Child(child, job, lambda: None)

    capacity = {"cores": cores, "memory": 1e12}
    return Crew(
        run.fabric,
        start,
        WorkerSettings(),
        clock=SYSTEM_CLOCK,
        services=table.STAGES,
        capacity=capacity,
        load=lambda: 0.5,
    )


def put(run: RunDirectory, games: int, engine: str = "random", number: int = 1) -> str:
    payload = selfplay.SelfplayBatch(number=number, games=games, engine=engine)
    job = selfplay.KIND.job(f"{number:06d}", payload, CONFIG)
    run.fabric.jobs.put([job])
    return job.id


def until(true: Callable[[], object], crew: Crew, seconds: float = 60.0) -> None:
    """Works until something is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "nothing came of it"
        for held in crew.ended():
            crew.settle(held)
        crew.hold()
        time.sleep(0.05)


def ended(run: RunDirectory, id_: str) -> bool:
    job = run.fabric.jobs.get(id_)
    return job is not None and job.state is not JobState.LEASED


def test_children_play_and_say_what_is_wrong(run: RunDirectory) -> None:
    good, bad = put(run, 3), put(run, 3, "m-0123456789ab", 2)
    crew = crew_of(run)
    assert len(crew.claim()) == 2
    until(lambda: ended(run, good) and ended(run, bad), crew)
    done, failed = run.fabric.jobs.get(good), run.fabric.jobs.get(bad)
    assert done is not None and done.state is JobState.DONE and done.result["games"] == 3
    assert failed is not None and failed.state is JobState.WAITING
    assert failed.error.splitlines()[0].startswith("DataError: ")
    assert "Traceback" in failed.error
    assert GameStore(run).flow(CONFIG).waiting == 3


def test_a_child_that_is_killed_is_the_jobs_failure(run: RunDirectory) -> None:
    id_ = put(run, 2_000)
    crew = crew_of(run)
    crew.claim()
    until(lambda: GameStore(run).flow(CONFIG).waiting, crew)
    (child,) = (held.running for held in crew.held.values())
    assert isinstance(child, Child)
    assert psutil.Process(child.pid).nice() >= 5
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: ended(run, id_), crew)
    job = run.fabric.jobs.get(id_)
    assert job is not None and "ended by SIGKILL" in job.error and job.attempts == 1
    assert check(run) == []


def test_a_cancelled_child_ends_and_its_games_stay(run: RunDirectory) -> None:
    id_ = put(run, 2_000)
    crew = crew_of(run)
    crew.claim()
    until(lambda: GameStore(run).flow(CONFIG).waiting, crew)
    run.fabric.jobs.stop(id_)
    until(lambda: ended(run, id_), crew)
    job = run.fabric.jobs.get(id_)
    assert job is not None and job.state is JobState.CANCELLED
    games = GameStore(run).work_ids(f"{CONFIG}/")
    assert games and len(games) < 2_000


WORKER = """
import sys, time
from pathlib import Path
from test_worker import crew_of
from ringrift.store import RunDirectory
with RunDirectory.open(Path(sys.argv[1])) as run:
    crew = crew_of(run)
    crew.claim()
    (held,) = crew.held.values()
    print(held.running.pid, flush=True)
    time.sleep(60)
"""


def test_children_end_with_a_worker_that_is_killed(run: RunDirectory) -> None:
    put(run, 2_000)
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen([sys.executable, "-c", WORKER, str(run.path)], stdout=subprocess.PIPE, env=path) as worker:
        assert worker.stdout is not None
        child = psutil.Process(int(worker.stdout.readline()))
        while not GameStore(run).flow(CONFIG).waiting:
            time.sleep(0.05)
        worker.kill()
        child.wait(10)
    (job,) = run.fabric.jobs.ls()
    assert job.state is JobState.LEASED
    assert [job.id for job in give_back_orphans(run.fabric.jobs)] == [job.id]
    (job,) = run.fabric.jobs.ls()
    assert (job.state, job.attempts) == (JobState.WAITING, 0)
    assert check(run) == []


def test_an_orderly_end_gives_jobs_back_uncounted(run: RunDirectory) -> None:
    put(run, 2_000)
    crew = crew_of(run)
    crew.claim()
    until(lambda: GameStore(run).flow(CONFIG).waiting, crew)
    crew.close()
    (job,) = run.fabric.jobs.ls()
    assert (job.state, job.attempts) == (JobState.WAITING, 0)
    assert not [p for p in psutil.Process().children() if "ringrift.pipeline.child" in " ".join(p.cmdline())]


def test_what_cannot_be_started_is_given_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    id_ = stage.put("match", "a")

    def start(job: Job) -> Pretended:
        raise OSError("no processes left")

    monkeypatch.setattr(stage.crew, "_start", start)
    with pytest.raises(OSError, match="no processes left"):
        stage.crew.claim()
    job = stage.fabric.jobs.get(id_)
    assert job is not None and (job.state, job.attempts) == (JobState.WAITING, 0)
    assert stage.crew.held == {}


def test_what_cannot_be_reported_now_is_reported_later(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    id_ = stage.put("match", "a")
    stage.crew.claim()
    stage.running[id_].end = Outcome({"score": 1})
    full = DataError("no space left")

    def fails(*_: object) -> Job:
        raise full

    with monkeypatch.context() as patch:
        patch.setattr(stage.fabric.jobs, "finish", fails)
        patch.setattr(stage.fabric.jobs, "extend", fails)
        stage.clock.advance(2)
        stage.crew.hold()
        with pytest.raises(DataError, match="no space left"):
            stage.settle()
    stage.settle()
    assert stage.state(id_) is JobState.DONE and stage.crew.held == {}


def test_a_screen_that_is_gone_ends_nothing(stage: Stage) -> None:
    shown: list[str] = []

    class Closed(Lines):
        def line(self, text: str) -> None:
            shown.append(text)
            raise BrokenPipeError

        def show(self, run: RunDirectory, configs: Sequence[str]) -> None:
            raise BrokenPipeError

    with Lasting(Closed()) as screen:
        screen.line("a")
        screen.line("b")
    assert shown == ["a"]
    with Lasting(Closed()) as screen, RunDirectory.in_memory() as run:
        screen.show(run, ())
        screen.line("c")
    assert shown == ["a"]
