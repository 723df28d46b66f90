"""The days themselves: one queue of events in virtual time, over real services, crews and stores."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from ringrift.errors import JobError, LeaseLost, NodeUnreachable
from ringrift.evaluation import GateSettings, RegressionSettings
from ringrift.fabric import OPEN, Fabric, Job, JobState, MemoryFabric
from ringrift.kernel.bus import Bus
from ringrift.kernel.crew import Crew, Running
from ringrift.kernel.events import Event, JobDied
from ringrift.kernel.service import Profile
from ringrift.kernel.settings import WorkerSettings
from ringrift.kernel.supervisor import tell_of_workers, tick
from ringrift.pipeline import audit, evaluate, export, ingest, selfplay, table, train
from ringrift.pipeline.events import LoopStarted
from ringrift.pipeline.service import Context
from ringrift.pipeline.settings import LoopSettings, Recipe
from ringrift.pipeline.table import STAGES
from ringrift.simulation.invariants import (
    INVARIANTS,
    claims_never_meet,
    done_jobs_are_stored,
    no_job_is_forgotten,
    nothing_left_over,
    only_the_last_claim_reports,
    results_are_taken_once,
)
from ringrift.simulation.machines import (
    FAILS_AFTER,
    Computing,
    Coordinator,
    JumpingClock,
    Link,
    Node,
    WitnessedJobs,
)
from ringrift.simulation.plan import BROKEN, FAULTS, SINGLE_FAULTS, Fault, Plan, Report
from ringrift.simulation.results import GAME_SECONDS, NUMBERS, RESULTS, record
from ringrift.store import GameStore, ModelStore, RunDirectory
from ringrift.store.games import StoredGame
from ringrift.store.run import LOOP_LEASE
from ringrift.store.validate import problem

DAY = 86400.0
FAULT_OF = {fault.name: fault for fault in FAULTS}
TELL_SECONDS = 18.0  #: between two times that a node says that it is there
WORK_SECONDS = 36.0  #: between two looks of its worker
DECIDE_SECONDS = 120.0  #: between two ticks of the services
REAP_SECONDS = 30.0
CHECK_SECONDS = 6 * 3600.0  #: between two checks of the invariants
LOOP_TTL = 300.0
DRAIN_DAYS = 0.5  #: in which all open jobs have to end once no more are put and nothing fails
OF_MACHINES = ("janitor", "backup")  #: services that look at a real disk
SECONDS = {
    audit.KIND.name: 60.0,
    ingest.KIND.name: 90.0,
    export.KIND.name: 120.0,
    train.KIND.name: 1800.0,
    evaluate.KIND.name: 600.0,
}
RECIPE = Recipe(
    gate=GateSettings(gates={"random": 0.85}, games=100),
    regression=RegressionSettings(checks=0),
    loop=LoopSettings(minutes=0, games=300, first_engine="", batch_seconds=600.0),
)


def utilisation(nodes: Sequence[Node]) -> float:
    """Share of the core-seconds that they were alive."""
    return round(sum(node.useful for node in nodes) / max(1.0, sum(node.up for node in nodes)), 4)


class Simulation:
    """One run of a plan."""

    def __init__(self, plan: Plan, jobs: type[WitnessedJobs] = WitnessedJobs) -> None:
        self.plan, self.clock, self.rng = plan, JumpingClock(1e9), random.Random(plan.seed)
        fabric = MemoryFabric(self.clock, jobs)
        assert isinstance(fabric.jobs, WitnessedJobs)
        self.run_directory, self.jobs = RunDirectory.in_memory(self.clock, fabric), fabric.jobs
        self.fabric: Fabric = fabric
        self.store, self.models = GameStore(self.run_directory), ModelStore(self.run_directory)
        self.records = {config: (record(config, sound=True), record(config, sound=False)) for config in plan.configs}
        self.verdicts: dict[tuple[str, str], str | None] = {}
        self.strength: dict[str, float] = {"random": -400.0, "initial": -100.0}
        self.spoilt: set[str] = set()
        """Models that were trained where results are wrong."""
        self.faults: Counter[str] = Counter()
        self.late = 0
        self.checked: Counter[str] = Counter()
        self.violations: dict[str, None] = {}
        self.unseen: list[str] = []
        """Jobs finished since the last check."""
        self.commands: list[int] = []
        """Fence of the loop's lease at each step that was carried out."""
        self.read_up_to = 0
        """How much of the log was checked."""
        self.told: set[tuple[str, object]] = set()
        """Types of events and the jobs that ended with them."""
        self.draining = False
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        self._number = 0
        cores = [1.0, 2.0, 4.0]
        self.nodes = [
            Node(f"node-{n:02d}", {"cores": self.rng.choice(cores), "memory": 64e9, "gpus": 0.0})
            for n in range(plan.nodes)
        ]
        self.coordinators = [Coordinator(self._context(f"loop-{n}")) for n in range(2)]

    def _context(self, name: str) -> Context:
        recipes = dict.fromkeys(self.plan.configs, RECIPE)
        return Context(
            self.run_directory, Bus(self.fabric.log, name), clock=self.clock, state={}, recipes=recipes,
        )  # fmt: skip

    def run(self) -> Report:
        """Simulates it all."""
        with self.run_directory:
            start, end = self.clock.monotonic(), self.clock.monotonic() + self.plan.days * DAY
            started = LoopStarted(profile="coordinator", configs=list(self.plan.configs), release="simulated")
            Bus(self.fabric.log, "simulation").publish(started)
            for node in self.nodes:
                self._boot(node)
                self._every(TELL_SECONDS, partial(self._tell, node))
                self._every(WORK_SECONDS, partial(self._look, node))
                node.looked = start
            for coordinator in self.coordinators:
                self._every(DECIDE_SECONDS, partial(self._decide, coordinator))
            self._every(REAP_SECONDS, self._reap)
            self._every(CHECK_SECONDS, self._check)
            for node in self.nodes[: self.plan.broken]:
                self._strike(FAULT_OF[BROKEN], node, end - start)
            if self.plan.faults:
                self._plan_faults(start, end)
            self._until(end)
            self.draining = True
            drained = end + DRAIN_DAYS * DAY
            while self.clock.monotonic() < drained and self.fabric.jobs.ls(states=OPEN, limit=1):
                self._until(self.clock.monotonic() + 600)
            self._check()
            self._judge(nothing_left_over)
            return self._report()

    # -- the queue of events

    def _at(self, when: float, act: Callable[[], object]) -> None:
        self._number += 1
        heapq.heappush(self._queue, (when, self._number, act))

    def _every(self, seconds: float, act: Callable[[], object]) -> None:
        def again() -> None:
            act()
            self._at(self.clock.monotonic() + seconds, again)

        self._at(self.clock.monotonic() + self.rng.uniform(0, seconds), again)

    def _until(self, end: float) -> None:
        while self._queue[0][0] <= end:
            when, _, act = heapq.heappop(self._queue)
            self.clock.advance(max(0.0, when - self.clock.monotonic()))
            act()
        self.clock.advance(max(0.0, end - self.clock.monotonic()))

    # -- what goes wrong

    def _plan_faults(self, start: float, end: float) -> None:
        for subject in (*self.nodes, None):
            for fault in FAULTS if subject else SINGLE_FAULTS:
                when = start
                while (when := when + self.rng.expovariate(fault.a_day / DAY)) < end:
                    seconds = min(self.rng.uniform(*fault.seconds), end - when)
                    self._at(when, partial(self._strike, fault, subject, seconds))

    def _strike(self, fault: Fault, node: Node | None, seconds: float) -> None:
        self.faults[fault.name] += 1
        if node is None:
            if fault.name == "date jumps":
                self.clock.shift += self.rng.uniform(-7200, 7200)
                return
            coordinator = next((one for one in self.coordinators if one.ctx.lease), self.coordinators[0])
            coordinator.hangs = True
            self._at(self.clock.monotonic() + seconds, lambda: setattr(coordinator, "hangs", False))
            return
        node.wrong[fault.name] += 1
        if fault.name == BROKEN:
            self._hurry(node)
        if fault.name == "death":
            node.crew = None  # as after kill -9: nothing is given back
        self._at(self.clock.monotonic() + seconds, partial(self._recover, fault, node))

    def _recover(self, fault: Fault, node: Node) -> None:
        node.wrong[fault.name] -= 1
        if fault.name == "death" and not node.is_struck("death"):
            self._boot(node)

    def _hurry(self, node: Node) -> None:
        """A broken node looks for its next job as soon as it has failed the last."""
        if node.is_struck(BROKEN):
            self._look(node)
            self._at(self.clock.monotonic() + FAILS_AFTER, partial(self._hurry, node))

    def _boot(self, node: Node) -> None:
        link = Link(self.fabric, lambda: node.is_struck("partition"))

        def start(job: Job) -> Running:
            return Computing(self, node, job, link)

        node.crew = Crew(
            link, start, WorkerSettings(ttl=120.0), clock=self.clock, services=STAGES, name=node.name,
            capacity=node.capacity, load=lambda: RECIPE.worker.utilisation,
        )  # fmt: skip

    # -- what the processes do

    def _look(self, node: Node) -> None:
        """One turn of a node's worker."""
        now = self.clock.monotonic()
        crew, spent, node.looked = node.crew, now - node.looked, now
        if crew is None:
            return
        node.up += spent * node.capacity["cores"]
        with suppress(NodeUnreachable):
            for held in crew.ended():
                running, told = held.running, held.running.outcome()
                settled = crew.settle(held)
                if settled is None:
                    self.late += 1
                elif settled.state is JobState.DONE and isinstance(running, Computing) and told and told.result:
                    node.useful += running.seconds
                    self.unseen.append(settled.id)
            crew.claim()
            crew.hold()

    def _tell(self, node: Node) -> None:
        if node.crew:
            with suppress(NodeUnreachable):
                node.crew.tell()

    def _decide(self, one: Coordinator) -> None:
        """One turn of a loop's services, with a lease or to get one."""
        if one.hangs or self.draining:
            return
        ctx = one.ctx
        try:
            if ctx.lease is None:
                ctx.lease = self.fabric.leases.acquire(LOOP_LEASE, LOOP_TTL)
            for service in STAGES:
                decides = Profile.COORDINATOR in service.profiles and service.name not in OF_MACHINES
                if decides and tick(service, ctx):
                    self.commands.append(ctx.lease.fence)
            ctx.lease.extend()  # after the services: whoever was hanging acts before he learns that he is late
        except LeaseLost:
            ctx.lease = None
        except JobError:
            pass  # another one is the loop; this one stands by

    def _reap(self) -> None:
        for step in tell_of_workers(self.coordinators[0].ctx):
            step.do()
        for job in self.fabric.jobs.reap():
            if job.state is JobState.DEAD:
                died = JobDied(config=job.config, job=job.id, kind=job.kind, attempts=job.attempts, error=job.error)
                Bus(self.fabric.log, "reaper").publish(died, parent=job.parent, id_=f"JobDied/{job.id}/{job.fence}")

    # -- what comes out of jobs

    def seconds(self, job: Job) -> float:
        """How long a job computes."""
        mean = GAME_SECONDS * int(str(job.payload["games"])) if job.kind == selfplay.KIND.name else SECONDS[job.kind]
        return mean * self.rng.uniform(0.7, 1.3)

    def result(self, job: Job, node: Node) -> Event:
        """Stores what a job makes, under ids that follow from the job; its event."""
        if node.is_struck("partition"):
            raise NodeUnreachable(f"the store cannot be reached from {node.name}")
        spoilt = node.is_struck("wrong results")
        payload = table.kind_of(job.kind).payload.model_validate(dict(job.payload))
        return RESULTS[job.kind](self, job, payload, spoilt)

    def problem(self, game: StoredGame) -> str | None:
        """What the judge of games says of the game that it was made from, `NUMBERS` apart."""
        found = game.read()
        key = found.config, found.final_hash
        if key not in self.verdicts:
            made_from = replace(found, moves=found.moves[:-NUMBERS]).to_bytes()
            self.verdicts[key] = problem(replace(game, record=made_from))
        return self.verdicts[key]

    # -- what has to be true

    def _check(self) -> None:
        for invariant in INVARIANTS:
            self._judge(invariant)
        self.unseen.clear()

    def _judge(self, invariant: Callable[[Simulation], Iterator[str | None]]) -> None:
        name = invariant.__name__
        for found in invariant(self):
            self.checked[name] += 1
            if found is not None:
                self.violations[f"{name}: {found}"] = None

    def _report(self) -> Report:
        counts = Counter(str(state) for (_, _, state), many in self.fabric.jobs.counts().items() for _ in range(many))
        rows = self.run_directory.database.rows("SELECT count(*), sum(state = 'quarantined') FROM games")
        lost = (done_jobs_are_stored, no_job_is_forgotten, nothing_left_over)
        doubled = (results_are_taken_once, only_the_last_claim_reports, claims_never_meet)

        def violated(kinds: Sequence[Callable[..., object]]) -> int:
            return sum(text.startswith(tuple(f"{kind.__name__}:" for kind in kinds)) for text in self.violations)

        candidates = [model for config in self.plan.configs for model in self.models.ls(config, "candidate")]
        passed = [model for model in candidates if dict(model.metrics.get("gate") or {}).get("passes")]  # type: ignore[call-overload]
        return Report(
            plan=self.plan,
            jobs=dict(sorted(counts.items())),
            attempts=sum(self.jobs.claims.values()),
            late=self.late,
            faults=dict(sorted(self.faults.items())),
            games=rows[0][0],
            quarantined=rows[0][1] or 0,
            models=len(candidates),
            promoted=len(passed),
            rejected=sum("gate" in model.metrics for model in candidates) - len(passed),
            utilisation=utilisation(self.nodes),
            healthy=utilisation(self.nodes[self.plan.broken :]),
            lost=violated(lost),
            doubled=violated(doubled),
            invariants=dict(sorted(self.checked.items())),
            violations=list(self.violations),
        )
