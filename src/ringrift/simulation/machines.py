"""The machines that fail: nodes with their workers, cut links, clocks that jump, jobs that are witnessed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ringrift.clock import VirtualClock
from ringrift.errors import NodeUnreachable
from ringrift.fabric import Blobs, Fabric, Job, Jobs, Leases, Log, Registry
from ringrift.fabric.memory import MemoryJobs
from ringrift.kernel.bus import Bus
from ringrift.kernel.crew import Crew, Outcome
from ringrift.pipeline.service import Context
from ringrift.simulation.plan import BROKEN

if TYPE_CHECKING:
    from ringrift.simulation.days import Simulation


FAILS_AFTER, FAILED = 1.0, "DataError: this machine is broken"  #: seconds until a broken node's jobs fail, and how


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
    useful: float = 0.0
    """Core-seconds of its work that counted."""
    looked: float = 0.0

    def is_struck(self, fault: str) -> bool:
        return self.wrong[fault] > 0


class Computing:
    """A job's process on a node: it ends after a time, and stores what came out when it can reach the store."""

    def __init__(self, simulation: Simulation, node: Node, job: Job, link: Link) -> None:
        self._simulation, self._node, self._job, self._link = simulation, node, job, link
        self._outcome: Outcome | None = None
        self._left = self.seconds = simulation.seconds(job)
        self._looked = self._begun = simulation.clock.monotonic()

    @property
    def progress(self) -> Mapping[str, object]:
        done = 1 - self._left / self.seconds
        return {"done": int(done * int(str(self._job.payload.get("games", 1)))), "share": round(done, 3)}

    def outcome(self) -> Outcome | None:
        self._work()
        if self._outcome is None and self._node.is_struck(BROKEN) and self._looked - self._begun >= FAILS_AFTER:
            self._outcome = Outcome(None, FAILED)
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
