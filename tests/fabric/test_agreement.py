"""The memory and the local fabric, driven side by side in virtual time by anything hypothesis thinks of, agree."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from ringrift.clock import VirtualClock
from ringrift.errors import JobError
from ringrift.fabric import Fabric, Job, JobState, LocalFabric, LogEntry, MemoryFabric

IDS = st.sampled_from([f"job {n}" for n in range(6)])
KINDS = st.sampled_from(["play", "train"])
CONFIGS = st.sampled_from(["", "hex8_2p", "square8_3p"])
VALUES = st.fixed_dictionaries({"n": st.integers(0, 2)})
CAPACITY = st.fixed_dictionaries({"cores": st.integers(0, 4)}, optional={"gpus": st.integers(0, 1)})
JOBS = st.builds(
    Job,
    id=IDS,
    kind=KINDS,
    config=CONFIGS,
    payload=VALUES,
    priority=st.integers(0, 2),
    needs=st.sampled_from([{}, {"cores": 1}, {"cores": 2}, {"cores": 1, "gpus": 1}]),
    max_attempts=st.integers(1, 2),
    time_limit=st.sampled_from([20.0, 1000.0]),
    stuck_after=st.sampled_from([10.0, 1000.0]),
    parent=st.none() | st.integers(1, 5),
)
ENTRIES = st.builds(
    LogEntry,
    type=st.sampled_from("ABC"),
    payload=VALUES,
    id=st.integers(0, 30).map(str),
    key=CONFIGS,
    parent=st.none() | st.integers(1, 5),
)
TTLS = st.sampled_from([None, 3.0, 30.0])
KEYS = st.sampled_from(["node/a", "node/b", "nodes", "promoted/x"])
LEASES = st.sampled_from(["loop", "other"])


class Agreement(RuleBasedStateMachine):
    """Each rule does one thing to both fabrics; results and errors must be equal."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.clock = VirtualClock(1000.0)
        self.fabrics: list[Fabric] = [
            MemoryFabric(self.clock),
            LocalFabric(Path(self.directory.name), self.clock),
        ]
        self.claims: list[Job] = []  #: every claim ever made, lost ones included
        self.leases: list[list[object]] = []  #: a row a lease, one of each fabric

    def teardown(self) -> None:
        for fabric in self.fabrics:
            fabric.close()
        self.directory.cleanup()

    def same(self, act: Callable[[Fabric], object]) -> object:
        results = []
        for fabric in self.fabrics:
            try:
                results.append((act(fabric), ""))
            except JobError as error:
                results.append((None, f"{type(error).__name__}"))
        assert results[0] == results[1]
        return results[0][0]

    @rule(seconds=st.sampled_from([0.5, 2.0, 5.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    # -- jobs

    @rule(jobs=st.lists(JOBS, max_size=4))
    def put(self, jobs: list[Job]) -> None:
        self.same(lambda fabric: fabric.jobs.put(jobs))

    @rule(
        holder=st.sampled_from("ab"),
        capacity=CAPACITY,
        kinds=st.lists(KINDS, max_size=1),
        ttl=st.sampled_from([4.0, 60.0]),
        limit=st.integers(1, 4),
    )
    def claim(self, holder: str, capacity: dict[str, float], kinds: list[str], ttl: float, limit: int) -> None:
        taken = self.same(lambda fabric: fabric.jobs.claim(holder, capacity, kinds=kinds, ttl=ttl, limit=limit))
        assert isinstance(taken, list)
        self.claims += taken

    @rule(data=st.data(), how=st.sampled_from(["extend", "finish", "fail", "fail for good", "release"]), value=VALUES)
    def report(self, data: st.DataObject, how: str, value: dict[str, object]) -> None:
        if self.claims:
            job = data.draw(st.sampled_from(self.claims))
            reports: dict[str, Callable[[Fabric], object]] = {
                "extend": lambda fabric: fabric.jobs.extend(job, value, 10.0),
                "finish": lambda fabric: fabric.jobs.finish(job, value),
                "fail": lambda fabric: fabric.jobs.fail(job, "fault"),
                "fail for good": lambda fabric: fabric.jobs.fail(job, "fault", retry=False),
                "release": lambda fabric: fabric.jobs.release(job),
            }
            self.same(reports[how])

    @rule(id_=IDS, how=st.sampled_from(["cancel", "preempt"]))
    def stop(self, id_: str, how: str) -> None:
        self.same(lambda fabric: fabric.jobs.stop(id_, how))

    @rule()
    def reap(self) -> None:
        self.same(lambda fabric: sorted(fabric.jobs.reap(), key=lambda job: job.id))

    @rule(id_=IDS)
    def retry(self, id_: str) -> None:
        self.same(lambda fabric: fabric.jobs.retry(id_))

    @rule(age=st.sampled_from([0.0, 5.0]))
    def purge(self, age: float) -> None:
        self.same(lambda fabric: fabric.jobs.purge(self.clock.now() - age))

    @rule(states=st.lists(st.sampled_from(JobState), max_size=2), kind=KINDS, config=CONFIGS, limit=st.integers(0, 5))
    def list_jobs(self, states: list[JobState], kind: str, config: str, limit: int) -> None:
        self.same(lambda fabric: fabric.jobs.ls(states=states, kind=kind, limit=limit))
        self.same(lambda fabric: fabric.jobs.ls(states=states, config=config))

    @rule()
    def wait(self) -> None:
        self.same(lambda fabric: fabric.jobs.wait(0))

    # -- log

    @rule(entries=st.lists(ENTRIES, max_size=5))
    def append(self, entries: list[LogEntry]) -> None:
        self.same(lambda fabric: fabric.log.append(entries))

    @rule(
        after=st.integers(0, 40),
        limit=st.integers(0, 5),
        types=st.lists(st.sampled_from("ABC"), max_size=2),
        key=st.none() | CONFIGS,
    )
    def read(self, after: int, limit: int, types: list[str], key: str | None) -> None:
        self.same(lambda fabric: fabric.log.read(after, limit, types=types, key=key))
        self.same(lambda fabric: fabric.log.tail(limit, types=types, key=key))
        self.same(lambda fabric: fabric.log.wait(after, 0))

    @rule(up_to=st.integers(0, 40))
    def purge_log(self, up_to: int) -> None:
        self.same(lambda fabric: fabric.log.purge(up_to))

    # -- registry and leases

    @rule(key=KEYS, value=VALUES, ttl=TTLS, data=st.data(), guarded=st.booleans())
    def set(self, key: str, value: dict[str, object], ttl: float | None, data: st.DataObject, guarded: bool) -> None:
        row = data.draw(st.sampled_from(self.leases)) if guarded and self.leases else [None, None]
        leases = dict(zip(map(id, self.fabrics), row, strict=True))
        self.same(lambda fabric: fabric.registry.set(key, value, ttl=ttl, lease=leases[id(fabric)]))  # type: ignore[arg-type]

    @rule(key=KEYS, value=VALUES, ttl=TTLS, behind=st.integers(0, 2))
    def compare_and_set(self, key: str, value: dict[str, object], ttl: float | None, behind: int) -> None:
        entry = self.fabrics[0].registry.get(key)
        revision = max(0, (entry.revision if entry else 0) - behind)
        self.same(lambda fabric: fabric.registry.compare_and_set(key, value, revision, ttl=ttl))

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.same(lambda fabric: fabric.registry.delete(key))

    @rule(prefix=st.sampled_from(["", "node", "node/", "x"]), after=st.integers(0, 20))
    def watch(self, prefix: str, after: int) -> None:
        self.same(lambda fabric: fabric.registry.watch(prefix, after, 0))

    @rule(name=LEASES, ttl=st.sampled_from([4.0, 60.0]))
    def acquire(self, name: str, ttl: float) -> None:
        taken: list[object] = []

        def act(fabric: Fabric) -> int:
            taken.append(fabric.leases.acquire(name, ttl))
            return taken[-1].fence  # type: ignore[attr-defined]

        if self.same(act) is not None:
            self.leases.append(taken)

    @rule(data=st.data(), how=st.sampled_from(["extend", "check", "release"]))
    def use(self, data: st.DataObject, how: str) -> None:
        if self.leases:
            leases = dict(zip(map(id, self.fabrics), data.draw(st.sampled_from(self.leases)), strict=True))
            self.same(lambda fabric: getattr(leases[id(fabric)], how)())

    @invariant()
    def agree(self) -> None:
        for id_ in range(6):
            self.same(lambda fabric, id_=id_: fabric.jobs.get(f"job {id_}"))  # type: ignore[misc]
        self.same(lambda fabric: fabric.jobs.counts())
        self.same(lambda fabric: fabric.log.last())
        self.same(lambda fabric: fabric.registry.ls())
        self.same(lambda fabric: [fabric.leases.holder(name) is None for name in ("loop", "other")])


def agree(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Agreement,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            phases=[Phase.generate],  # shrinking takes minutes; enlarge the tests by hand to look for a short example
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


def test_memory_and_local_agree() -> None:
    agree(examples=12, steps=40)


@pytest.mark.slow
def test_memory_and_local_agree_for_longer() -> None:
    agree(examples=40, steps=80)
