"""Days of a cluster in minutes: the real services, workers, fabric and store in virtual time, with machines that fail.

Simulated is what takes time (the jobs' computing) and what goes wrong (FAULTS); everything else is the code that runs a
loop: services plan and act through `tick`, crews claim, hold and settle, games are judged and promoted in the stores.
One queue of events in virtual time decides what happens next; the same seed gives the same report.
"""

from __future__ import annotations

import heapq
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from ringrift.clock import VirtualClock
from ringrift.errors import JobError, LeaseLost, NodeUnreachable
from ringrift.evaluation import GateSettings, MatchResult, RegressionSettings, score_interval
from ringrift.fabric import OPEN, Blobs, Fabric, Job, Jobs, JobState, Leases, Log, MemoryFabric, Registry
from ringrift.fabric.memory import MemoryJobs
from ringrift.pipeline import jobs, stages
from ringrift.pipeline.bus import Bus
from ringrift.pipeline.events import (
    Event,
    GamesAudited,
    GamesValidated,
    JobDied,
    LoopStarted,
    MatchFinished,
    SamplesExported,
    SelfplayFinished,
    TrainingFinished,
)
from ringrift.pipeline.service import Context, Profile
from ringrift.pipeline.services import SERVICES
from ringrift.pipeline.settings import LoopSettings, Recipe, WorkerSettings
from ringrift.pipeline.supervisor import tick
from ringrift.pipeline.worker import Crew, Outcome, Running
from ringrift.players.player import RandomPlayer
from ringrift.rules import Game, Record
from ringrift.store import GameStore, ModelStore, RunDirectory
from ringrift.store.audit import reach
from ringrift.store.games import StoredGame
from ringrift.store.provenance import Provenance
from ringrift.store.run import LOOP_LEASE
from ringrift.store.validate import problem

DAY = 86400.0
TELL_SECONDS = 18.0  #: between two times that a node says that it is there
WORK_SECONDS = 36.0  #: between two looks of its worker
DECIDE_SECONDS = 120.0  #: between two ticks of the services
REAP_SECONDS = 30.0
CHECK_SECONDS = 6 * 3600.0  #: between two checks of the invariants
LOOP_TTL = 300.0
DRAIN_DAYS = 0.5  #: in which all open jobs have to end once no more are put and nothing fails
GAME_SECONDS = 75.0
OF_MACHINES = ("janitor", "backup")  #: services that look at a real disk
SHOWN = 20  #: violations that the text names
SECONDS = {jobs.AUDIT: 60.0, jobs.INGEST: 90.0, jobs.EXPORT: 120.0, jobs.TRAIN: 1800.0, jobs.MATCH: 600.0}
RECIPE = Recipe(
    gate=GateSettings(gates={"random": 0.85}, games=100),
    regression=RegressionSettings(checks=0),
    loop=LoopSettings(minutes=0, games=300, first_engine="", batch_seconds=600.0),
)


@dataclass(frozen=True)
class Plan:
    """What is simulated."""

    nodes: int = 40
    days: float = 1.0
    faults: bool = True
    seed: int = 0
    configs: tuple[str, ...] = ("square8_2p", "hex8_2p")


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong with a node (or with the loop's process, or the clock), and for how long."""

    name: str
    a_day: float
    """How often, on average; for each node."""
    seconds: tuple[float, float]
    """From shortest to longest."""


FAULTS = (
    Fault("death", 1.0, (60.0, 4 * 3600.0)),
    Fault("partition", 2.0, (30.0, 3600.0)),
    Fault("slowness", 1.0, (600.0, 4 * 3600.0)),
    Fault("wrong results", 0.3, (1800.0, 2 * 3600.0)),
    Fault("heartbeat without work", 0.5, (600.0, 2 * 3600.0)),
)
SINGLE_FAULTS = (Fault("loop hangs", 6.0, (60.0, 1800.0)), Fault("date jumps", 4.0, (0.0, 0.0)))
"""Of which there is one of a kind, however many nodes."""


class JumpingClock(VirtualClock):
    """Its date can be set, as a machine's can."""

    shift = 0.0

    def now(self) -> float:
        return super().now() + self.shift


class WitnessedJobs(MemoryJobs):
    """The memory's jobs; what was asked of them is noted apart, to be compared with what they say later."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.known: set[str] = set()
        self.claims: Counter[tuple[str, int]] = Counter()
        self.finished: dict[str, set[int]] = defaultdict(set)
        """Fences of the claims under which a job's result was taken."""
        self.stale: list[str] = []
        """Reports that were taken though the claim was not the last one."""

    def put(self, jobs: Sequence[Job]) -> int:
        self.known.update(job.id for job in jobs)
        return super().put(jobs)

    def claim(
        self,
        holder: str,
        capacity: Mapping[str, float],
        *,
        kinds: Collection[str] = (),
        ttl: float = 60.0,
        limit: int = 1,
    ) -> list[Job]:
        taken = super().claim(holder, capacity, kinds=kinds, ttl=ttl, limit=limit)
        self.claims.update((job.id, job.fence) for job in taken)
        return taken

    def extend(self, job: Job, progress: Mapping[str, object] | None = None, ttl: float = 60.0) -> Job:
        return self._noted(job, super().extend(job, progress, ttl))

    def finish(self, job: Job, result: Mapping[str, object]) -> Job:
        left = self._noted(job, super().finish(job, result))
        self.finished[job.id].add(job.fence)
        return left

    def _noted(self, job: Job, left: Job) -> Job:
        if left.fence != job.fence:
            self.stale.append(
                f"{job.holder} reported on {job.id} under claim {job.fence}; the last one is {left.fence}"
            )
        return left


class Link:
    """The fabric as a node sees it: not at all, while the node is cut off."""

    def __init__(self, fabric: Fabric, cut: Callable[[], bool]) -> None:
        self._fabric, self._cut = fabric, cut

    def _here(self) -> Fabric:
        if self._cut():
            raise NodeUnreachable("the fabric cannot be reached from a node that is cut off")
        return self._fabric

    @property
    def blobs(self) -> Blobs:
        return self._here().blobs

    @property
    def registry(self) -> Registry:
        return self._here().registry

    @property
    def leases(self) -> Leases:
        return self._here().leases

    @property
    def log(self) -> Log:
        return self._here().log

    @property
    def jobs(self) -> Jobs:
        return self._here().jobs

    def check(self) -> None:
        self._here().check()

    def close(self) -> None:
        """The fabric outlives a node."""


@dataclass
class Node:
    """A machine with a worker."""

    name: str
    capacity: dict[str, float]
    wrong: Counter[str] = field(default_factory=Counter)
    """Faults that it has now, each as often as it was struck and has not recovered."""
    crew: Crew | None = None
    up: float = 0.0
    """Core-seconds that it was alive."""
    looked: float = 0.0

    def is_struck(self, fault: str) -> bool:
        return self.wrong[fault] > 0


class Computing:
    """A job's process on a node: it ends after a time, and stores what came out when it can reach the store."""

    def __init__(self, simulation: Simulation, node: Node, job: Job, link: Link) -> None:
        self._simulation, self._node, self._job, self._link = simulation, node, job, link
        self._outcome: Outcome | None = None
        self._left = self.seconds = simulation.seconds(job)
        self._looked = simulation.clock.monotonic()

    @property
    def progress(self) -> Mapping[str, object]:
        done = 1 - self._left / self.seconds
        return {"done": int(done * int(str(self._job.payload.get("games", 1)))), "share": round(done, 3)}

    def outcome(self) -> Outcome | None:
        self._work()
        if self._outcome is None and self._left <= 0:
            with suppress(NodeUnreachable):  # it has its results, and will report them late
                event = self._simulation.result(self._job, self._node)
                source = f"job {self._job.id} on {self._node.name}"
                name = f"{type(event).__name__}/{self._job.id}"
                Bus(self._link.log, source).publish(event, parent=self._job.parent, id_=name)
                self._outcome = Outcome(event.model_dump(mode="json"))
        return self._outcome

    def _work(self) -> None:
        now = self._simulation.clock.monotonic()
        if not self._node.is_struck("heartbeat without work"):
            self._left -= (now - self._looked) / (8.0 if self._node.is_struck("slowness") else 1.0)
        self._looked = now

    def stop(self, *, kill: bool = False) -> None:
        self._outcome = self._outcome or Outcome(None, "its process was told to end")


@dataclass
class Coordinator:
    """A process that runs the loop, or stands by to."""

    ctx: Context
    hangs: bool = False


@dataclass(frozen=True)
class Report:
    """What came out."""

    plan: Plan
    jobs: dict[str, int]
    """By state."""
    attempts: int
    late: int
    """Reports of lost claims, refused."""
    faults: dict[str, int]
    """How many of each."""
    games: int
    quarantined: int
    models: int
    promoted: int
    rejected: int
    utilisation: float
    """Core-seconds of work that counted, of those that nodes were alive."""
    lost: int
    """Jobs forgotten, left over, or done without their results."""
    doubled: int
    """Jobs whose results were taken twice, or from another than the last holder."""
    invariants: dict[str, int]
    """How often each was checked."""
    violations: list[str]

    @property
    def sound(self) -> bool:
        return not self.violations

    def text(self) -> str:
        """For people."""

        def listed(counts: Mapping[str, int]) -> str:
            return ", ".join(f"{many:,} {name}" for name, many in counts.items()) or "none"

        rows = {
            "simulated": f"{self.plan.nodes} nodes, {self.plan.days:g} days, seed {self.plan.seed}",
            "faults": listed(self.faults),
            "jobs": f"{listed(self.jobs)}; {self.attempts:,} claims, {self.late:,} late reports refused",
            "games": f"{self.games:,}, {self.quarantined:,} quarantined",
            "models": f"{self.models:,}, {self.promoted:,} promoted, {self.rejected:,} rejected",
            "utilisation": f"{self.utilisation:.1%}",
            "lost work": f"{self.lost}",
            "doubled effects": f"{self.doubled}",
            "checked": listed(self.invariants),
            "violations": "".join(f"\n  {text}" for text in self.violations[:SHOWN]) or "none",
        }
        return "\n".join(f"{name:<16}{text}" for name, text in rows.items())

    def to_json(self) -> str:
        """The same for the same plan, byte by byte."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)


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
        self.useful, self.late = 0.0, 0
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
            self.run_directory, self.plan.configs, recipes, Bus(self.fabric.log, name), clock=self.clock, state={}
        )

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
        if fault.name == "death":
            node.crew = None  # as after kill -9: nothing is given back
        self._at(self.clock.monotonic() + seconds, partial(self._recover, fault, node))

    def _recover(self, fault: Fault, node: Node) -> None:
        node.wrong[fault.name] -= 1
        if fault.name == "death" and not node.is_struck("death"):
            self._boot(node)

    def _boot(self, node: Node) -> None:
        link = Link(self.fabric, lambda: node.is_struck("partition"))

        def start(job: Job) -> Running:
            return Computing(self, node, job, link)

        node.crew = Crew(
            link, start, WorkerSettings(ttl=120.0), clock=self.clock, name=node.name, capacity=node.capacity,
            load=lambda: RECIPE.worker.utilisation,
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
                    self.useful += running.seconds
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
            for service in SERVICES:
                decides = Profile.COORDINATOR in service.profiles and service.name not in OF_MACHINES
                if decides and tick(service, ctx):
                    self.commands.append(ctx.lease.fence)
            ctx.lease.extend()  # after the services: whoever was hanging acts before he learns that he is late
        except LeaseLost:
            ctx.lease = None
        except JobError:
            pass  # another one is the loop; this one stands by

    def _reap(self) -> None:
        for job in self.fabric.jobs.reap():
            if job.state is JobState.DEAD:
                died = JobDied(config=job.config, job=job.id, kind=job.kind, attempts=job.attempts, error=job.error)
                Bus(self.fabric.log, "reaper").publish(died, parent=job.parent, id_=f"JobDied/{job.id}/{job.fence}")

    # -- what comes out of jobs

    def seconds(self, job: Job) -> float:
        """How long a job computes."""
        mean = GAME_SECONDS * int(str(job.payload["games"])) if job.kind == jobs.SELFPLAY else SECONDS[job.kind]
        return mean * self.rng.uniform(0.7, 1.3)

    def result(self, job: Job, node: Node) -> Event:
        """Stores what a job makes, under ids that follow from the job; its event."""
        if node.is_struck("partition"):
            raise NodeUnreachable(f"the store cannot be reached from {node.name}")
        spoilt = node.is_struck("wrong results")
        payload = jobs.kind_of(job.kind).payload.model_validate(dict(job.payload))
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
            utilisation=round(self.useful / max(1.0, sum(node.up for node in self.nodes)), 4),
            lost=violated(lost),
            doubled=violated(doubled),
            invariants=dict(sorted(self.checked.items())),
            violations=list(self.violations),
        )


NUMBERS = 2  #: what games of the simulation have after their moves, so that no two are the same


def record(config: str, sound: bool) -> Record:
    """A random game; an unsound one says that it is over after a few plies."""
    game, player, rng = Game(config), RandomPlayer(), np.random.default_rng(1)
    while not game.is_over and (sound or game.ply < 20):
        game.push(player.decide([game], rng)[0].move)
    return Record.from_game(game, seed=1, players=("random",) * int(config[-2]))


# -- what comes out of each kind of job


def _selfplay(at: Simulation, job: Job, batch: jobs.SelfplayBatch, spoilt: bool) -> Event:
    played = at.records[job.config][spoilt]
    name = f"{job.config}/batch-{batch.number:06d}"
    moves = (np.append(played.moves, np.array([batch.number, i], np.uint32)) for i in range(batch.games))
    contents = (replace(played, moves=one).to_bytes() for one in moves)
    at.store.add_many(((one, f"{name}/{i:06d}") for i, one in enumerate(contents)), Provenance("a node"))
    return SelfplayFinished(
        config=job.config, job=job.id, batch=name, player=batch.model or batch.engine, games=batch.games,
        plies=50 * batch.games, seconds=batch.games * GAME_SECONDS,
    )  # fmt: skip


def _ingest(at: Simulation, job: Job, _: jobs.WaitingGames, _spoilt: bool) -> Event:
    judged = [(game.id, at.problem(game)) for game in at.store.iter_waiting()]
    at.store.judge(judged)
    bad = sum(reason is not None for _, reason in judged)
    return GamesValidated(job=job.id, valid=len(judged) - bad, quarantined=bad)


def _export(at: Simulation, job: Job, _: jobs.ValidGames, _spoilt: bool) -> Event:
    games = [game.id for game in at.store.iter_valid(job.config, unexported=True)]
    if games:
        with at.run_directory.database.transaction() as connection:
            row = (job.config, f"{job.id}/{games[0]}", 10 * len(games), len(games))
            shard = connection.execute(
                "INSERT INTO shards (config, blob, samples, games, encoding_hash, added)"
                " VALUES (?, ?, ?, ?, 'simulated', 0) RETURNING id", row,
            ).fetchone()[0]  # fmt: skip
            connection.executemany("UPDATE games SET shard = ? WHERE id = ?", [(shard, game) for game in games])
    return SamplesExported(
        config=job.config, job=job.id, games=len(games), samples=10 * len(games), shards=int(bool(games))
    )


def _train(at: Simulation, job: Job, wanted: jobs.Training, spoilt: bool) -> Event:
    parent = wanted.parent or "initial"
    blob = at.fabric.blobs.put(job.id.encode(), ".safetensors")
    games = at.store.flow(job.config).exported
    metrics = {"games_total": games, "samples_total": 10 * games}
    model = at.models.register(job.config, blob, None, {}, filter(None, [wanted.parent]), metrics)  # type: ignore[arg-type]
    if model not in at.strength:
        at.strength[model] = at.strength[parent] + (-250.0 if spoilt else at.rng.gauss(60.0, 30.0))
        if spoilt:
            at.spoilt.add(model)
    return TrainingFinished(
        config=job.config, job=job.id, model=model, trained_from=parent, steps=400, samples=10 * games,
        loss_before=2.0, loss_after=1.0,
    )  # fmt: skip


def _match(at: Simulation, job: Job, pair: jobs.MatchPair, _spoilt: bool) -> Event:
    expected = 1 / (1 + 10 ** ((at.strength[pair.b] - at.strength[pair.a]) / 400))
    openings = pair.games // 2
    points = [sum(at.rng.random() < expected for _ in range(2)) for _ in range(openings)]
    wins, games = sum(points), 2 * openings
    low, high = score_interval([[1.0] * won + [0.0] * (2 - won) for won in points])
    result = MatchResult(
        config=job.config, a=pair.a, b=pair.b, wins=wins, losses=games - wins, draws=0, games=games,
        score=wins / games, interval=(low, high), elo=0.0, elo_interval=(0.0, 0.0), openings=openings, duplicates=0,
        plies=50.0, simulations={}, seed=0, confidence=0.95,
        pentanomial=(points.count(0), 0, points.count(1), 0, points.count(2)), openings_sha256=pair.openings_sha256,
    )  # fmt: skip
    stages.note_match(at.run_directory, pair.a, pair.name, result, at.clock.now())
    return MatchFinished(
        config=job.config, job=job.id, a=pair.a, b=pair.b, opponent=pair.name, games=games, score=result.score,
        low=low, high=high,
    )  # fmt: skip


def _audit(at: Simulation, job: Job, _: jobs.GamesToAudit, _spoilt: bool) -> Event:
    mark: dict[str, object] = {"up_to": reach(at.run_directory, job.config), "at": at.clock.now()}
    at.fabric.registry.set(f"audit/{job.config}", mark)
    return GamesAudited(config=job.config, job=job.id, searched=0, replayed=0, skipped=0, quarantined=[])


RESULTS: dict[str, Callable[[Simulation, Job, Any, bool], Event]] = {
    jobs.SELFPLAY: _selfplay, jobs.INGEST: _ingest, jobs.EXPORT: _export, jobs.TRAIN: _train, jobs.MATCH: _match,
    jobs.AUDIT: _audit,
}  # fmt: skip


# -- what has to be true: None for each thing that is, a sentence for each that is not


Looked = Iterator[str | None]


def results_are_taken_once(at: Simulation) -> Looked:
    """No job was finished under two claims."""
    for id_, fences in at.jobs.finished.items():
        yield f"{id_} was finished under claims {sorted(fences)}" if len(fences) > 1 else None


def only_the_last_claim_reports(at: Simulation) -> Looked:
    """Nobody whose claim was lost could extend or finish a job."""
    yield from at.jobs.stale or (None,)


def claims_never_meet(at: Simulation) -> Looked:
    """Each claim of a job has a fencing number of its own."""
    for (id_, fence), times in at.jobs.claims.items():
        yield f"{id_} was claimed {times} times under fence {fence}" if times > 1 else None


def no_job_is_forgotten(at: Simulation) -> Looked:
    """Every job that was ever put is there."""
    for id_ in sorted(at.jobs.known):
        yield None if at.fabric.jobs.get(id_) else f"{id_} was put and is gone"


def done_jobs_are_stored(at: Simulation) -> Looked:
    """What a finished job was to make is in the store."""
    for id_ in at.unseen:
        job = at.fabric.jobs.get(id_)
        if job is None or job.kind != jobs.SELFPLAY:
            continue
        batch = jobs.SelfplayBatch.model_validate(dict(job.payload))
        stored = len(at.store.work_ids(f"{job.config}/batch-{batch.number:06d}/"))
        yield None if stored == batch.games else f"{id_} is done, and {stored} of its {batch.games} games are stored"


def wrong_games_are_quarantined(at: Simulation) -> Looked:
    """Unsound games are never valid, and sound ones never quarantined."""
    rows = at.run_directory.database.rows("SELECT config, plies, state, count(*) AS n FROM games GROUP BY 1, 2, 3")
    for row in rows:
        unsound = row["plies"] == len(at.records[row["config"]][True].moves) + NUMBERS
        right = "quarantined" if unsound else "valid"
        yield None if row["state"] in (right, "received") else f"{row['n']} games are {row['state']}, not {right}"


def games_are_in_one_shard(at: Simulation) -> Looked:
    """Shards count the games that say that they are in them."""
    query = "SELECT id, games, (SELECT count(*) FROM games WHERE shard = shards.id) AS found FROM shards"
    for row in at.run_directory.database.rows(query):
        yield None if row["games"] == row["found"] else f"shard {row['id']} has {row['found']} of {row['games']} games"


def promotions_follow_each_other(at: Simulation) -> Looked:
    """Each promoted model took the place of the one before it, and none of them was spoilt."""
    for config in at.plan.configs:
        before = None
        for promotion in at.models.history(config):
            sound = promotion.previous == before and promotion.model not in at.spoilt
            yield (
                None if sound else f"{promotion.model} was promoted over {promotion.previous}, not {before}, or spoilt"
            )
            before = promotion.model


def events_are_in_order(at: Simulation) -> Looked:
    """Numbers without a gap, causes before what they caused, and one event for each job that ended."""
    for entry in at.fabric.log.read(at.read_up_to, at.fabric.log.last()):
        sound = entry.sequence == at.read_up_to + 1 and (entry.parent or 0) < entry.sequence
        yield None if sound else f"event {entry.sequence} follows {at.read_up_to}, caused by {entry.parent}"
        if "job" in entry.payload and entry.type != JobDied.__name__:
            told = entry.type, entry.payload["job"]
            yield f"{told} was told twice" if told in at.told else None
            at.told.add(told)
        at.read_up_to = entry.sequence


def one_loop_at_a_time(at: Simulation) -> Looked:
    """No process carried out a step after another had taken the loop's lease."""
    for before, after in pairwise(at.commands):
        yield None if before <= after else f"a loop with lease {after} acted after one with {before}"


def nothing_left_over(at: Simulation) -> Looked:
    """Once nothing fails any more, every open job ends."""
    left = at.fabric.jobs.ls(states=OPEN)
    yield from [f"{job.id} is {job.state} and never ends" for job in left] or (None,)


INVARIANTS = (
    results_are_taken_once,
    only_the_last_claim_reports,
    claims_never_meet,
    no_job_is_forgotten,
    done_jobs_are_stored,
    wrong_games_are_quarantined,
    games_are_in_one_shard,
    promotions_follow_each_other,
    events_are_in_order,
    one_loop_at_a_time,
)
