"""The kernel runs a project that knows nothing of games: words are counted, in jobs, by services, and told of."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from ringrift.clock import VirtualClock
from ringrift.errors import SettingsError
from ringrift.fabric import Job, JobState, MemoryFabric, Parcel
from ringrift.kernel.bus import Bus
from ringrift.kernel.crew import Crew, Outcome
from ringrift.kernel.effects import Delivery, Effect
from ringrift.kernel.events import AlertRaised, Event, JobDied
from ringrift.kernel.health import RULES, Rule
from ringrift.kernel.kind import Kind, Order, Payload, Work
from ringrift.kernel.project import Project
from ringrift.kernel.service import Context, Profile, Service, Step
from ringrift.kernel.supervisor import OWN, Supervisor
from ringrift.kernel.topology import check, loose
from ringrift.kernel.worker import REPORT, STATE, WORKER


class WordsCounted(Event):
    """The words of a text were counted."""

    job: str
    words: int


@dataclass
class Library:
    """Texts, and what was counted in them."""

    path: Path
    fabric: MemoryFabric
    texts: dict[str, str]
    counts: dict[str, int] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)


@dataclass
class Reading(Context):
    run: Library


class Text(Payload):
    name: str


class Words(Order):
    blob: str


def prepare(run: Library, at: Work, payload: Text) -> Words:
    blob = at.blobs.put(run.texts[payload.name].encode())
    return Words(blob=blob, lent=(blob,))


def compute(at: Work, order: Words) -> Iterator[Parcel]:
    for line in at.blobs.get(order.blob).decode().splitlines():
        if line == "unreadable":
            raise ValueError("a line cannot be read")
        yield Parcel({"words": len(line.split()), "line": line})
    yield Parcel({"end": True})


def apply(run: Library, at: Work, parcel: Parcel) -> WordsCounted | None:
    if "end" in parcel.about:
        run.counts[at.job.id] = at.counted["words"]
        return WordsCounted(config=at.config, job=at.job.id, words=at.counted["words"])
    at.counted["words"] += int(parcel.about["words"])
    return None


COUNT = Kind("count", Text, Words, prepare, compute, apply, WordsCounted, priority=1, max_attempts=2)


def plan(ctx: Reading) -> Iterator[Step]:
    """A job for each text that has none."""
    for name in ctx.run.texts:
        job = COUNT.job(name, Text(name=name))
        if ctx.run.fabric.jobs.get(job.id) is None:
            yield Step(f"count {name}", "nobody has", partial(ctx.run.fabric.jobs.put, [job]))


def tell(delivery: Delivery, ctx: Reading) -> None:
    ctx.run.said.append(f"{delivery.event!r}")


COUNTING: Service[Reading] = Service("counting", plan, every=1.0, on=(WordsCounted,), job=COUNT)
PROJECT = Project(
    (COUNTING, WORKER, REPORT),
    (Effect("tell", tell, (WordsCounted, JobDied, AlertRaised)),),
    {"WordsCounted": WordsCounted},
    (*RULES, Rule("few", "info", lambda snapshot: "few words" if snapshot.measured.events else None)),
    required={WordsCounted: "counting"},
)


class Here:
    """A job done at once, in this process."""

    def __init__(self, run: Library, job: Job) -> None:
        self.progress: dict[str, object] = {}
        try:
            event = COUNT.do(run, Work(job, run.fabric.blobs, run.path), COUNT.told(job))
        except ValueError as error:
            self._outcome = Outcome(None, str(error))
            return
        Bus(run.fabric.log, "here").publish(event, id_=f"WordsCounted/{job.id}")
        self._outcome = Outcome(event.model_dump(mode="json"))

    def outcome(self) -> Outcome:
        return self._outcome

    def stop(self, *, kill: bool = False) -> None:
        raise AssertionError("it has ended")


@pytest.fixture
def library(tmp_path: Path) -> Library:
    texts = {"one": "a rose is a rose\nis a rose", "two": "", "three": "unreadable"}
    return Library(tmp_path, MemoryFabric(VirtualClock(1e9)), texts)


def supervised(library: Library) -> tuple[Supervisor[Reading], VirtualClock]:
    clock = VirtualClock(1e9)
    fabric = library.fabric = MemoryFabric(clock)
    ctx = Reading(library, Bus(fabric.log, "test"), clock=clock)
    ctx.state[STATE] = Crew(
        fabric, partial(Here, library), clock=clock, services=PROJECT.services, name="w",
        capacity={"cores": 2, "memory": 1e12}, load=lambda: 0.0,
    )  # fmt: skip
    return Supervisor(PROJECT, ctx, Profile.LAPTOP), clock


def test_jobs_are_put_done_told_of_and_die(library: Library) -> None:
    supervisor, clock = supervised(library)
    end = clock.monotonic() + 120
    while clock.monotonic() < end:
        clock.advance(max(0.1, supervisor.run_due()))
    assert library.counts == {"count/one": 8, "count/two": 0}
    states = Counter(job.state for job in library.fabric.jobs.ls())
    assert states == {JobState.DONE: 2, JobState.DEAD: 1}
    (dead,) = library.fabric.jobs.ls(states=[JobState.DEAD])
    assert (dead.attempts, dead.error.partition("\n")[0]) == (2, "a line cannot be read")
    assert sum("WordsCounted" in said for said in library.said) == 2
    assert sum("JobDied" in said and "count/three" in said for said in library.said) == 1
    assert any("few words" in said for said in library.said)
    assert {alert.name for alert in supervisor.snapshot().alerts} == {"few", "job-dead"}
    assert all(status.healthy for status in supervisor.snapshot().services)
    assert list(library.fabric.blobs.ls()) == [], "what was lent to a job goes with it"


def test_tables_that_do_not_fit_are_refused(library: Library) -> None:
    whole = replace(PROJECT, services=(*PROJECT.services, *OWN))
    check(whole)
    assert "nobody publishes WordsCounted" in loose(replace(whole, services=(WORKER, REPORT)))
    deaf = replace(whole, services=(replace(COUNTING, on=()),))
    with pytest.raises(SettingsError, match="'counting' is missing, or does not hear WordsCounted"):
        check(deaf)


def test_it_loads_nothing_of_the_games() -> None:
    code = """
import sys
import ringrift.kernel.child, ringrift.kernel.supervisor, ringrift.kernel.topology, ringrift.kernel.worker
rooms = "pipeline store selfplay nets training evaluation earlier players search encoding evaluators".split()
print([name for name in sys.modules if name.startswith(("torch", *(f"ringrift.{room}" for room in rooms)))])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
