"""What a service is: a plan that compares the store with what is wanted, again and again.

A service keeps nothing between two ticks that the store does not have, so that a lost wake-up costs time and never
correctness. `plan` looks and decides, and writes nothing: `ringrift loop --dry-run` prints its steps and their reasons.
Carrying the steps out is the supervisor's business. Replaces the daemons of the earlier system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ringrift.clock import SYSTEM_CLOCK, Clock
from ringrift.errors import RingRiftError
from ringrift.kernel.events import Event
from ringrift.kernel.settings import Supervision

if TYPE_CHECKING:
    from ringrift.fabric import Fabric, Lease
    from ringrift.kernel.bus import Bus
    from ringrift.kernel.kind import Kind

E = TypeVar("E", bound=Event)
C = TypeVar("C", bound="Context", contravariant=True)


class Profile(StrEnum):
    """Which services a process runs."""

    LAPTOP = "laptop"
    """Everything."""
    COORDINATOR = "coordinator"
    """Everything that decides; no jobs."""
    WORKER = "worker"
    """Jobs, whatever the machine can do."""
    TRAINER = "trainer"
    """Training jobs alone."""


class Level(StrEnum):
    """How full the system is, by the fullest of its parts."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Stopped(RingRiftError):
    """The tick was told to stop."""


@dataclass(frozen=True)
class Step:
    """One thing that a service wants done."""

    what: str
    """As a sentence without a subject: `train square8_2p from m-0123 for 400 steps`."""
    why: str
    """What it saw: `9,500 samples that m-0123 has not seen, 8,000 are enough`."""
    do: Callable[[], object]


@dataclass(frozen=True)
class Service(Generic[C]):
    """A stage of the project: a row of its table."""

    name: str
    plan: Callable[[C], Iterable[Step]]
    every: float
    """Seconds from the end of a tick to the next one."""
    on: tuple[type[Event], ...] = ()
    """Events that bring the next tick forward."""
    emits: tuple[type[Event], ...] = ()
    after: tuple[str, ...] = ()
    """Services that must have worked once before this one starts."""
    profiles: tuple[Profile, ...] = (Profile.LAPTOP, Profile.COORDINATOR)
    timeout: float = 30.0
    """Seconds that a tick may take."""
    required: bool = True
    """Whether `/health` answers 503 while it fails."""
    quiet: bool = False
    """Whether its steps are too ordinary for the log."""
    job: Kind[Any, Any, Any, Any] | None = None
    """The kind of job that it puts, if any; it is woken when one has ended."""
    backlog: Callable[[C], float] = lambda ctx: 0.0
    """How much waits for it, in any unit: a service with a backlog whose steps come to nothing has stalled."""


class Place(Protocol):
    """Where a project has its things."""

    @property
    def path(self) -> Path:
        """A directory, whose disk must not be full."""

    @property
    def fabric(self) -> Fabric:
        """Its log, jobs, registry and blobs."""


@dataclass
class Context:
    """What a plan and its steps may use; a project adds what its own need."""

    run: Place
    bus: Bus
    services: Supervision = field(default_factory=Supervision)
    lease: Lease | None = None
    """The right to be the one loop; guarded writes check it."""
    clock: Clock = SYSTEM_CLOCK
    level: Callable[[], Level] = lambda: Level.LOW
    """The gauge of backpressure."""
    checkpoint: Callable[[], None] = lambda: None
    """Called between steps and in long ones; raises `Stopped` when the tick has to end."""
    wake: Callable[[str], None] = lambda service: None
    """Brings a service's next tick forward."""
    state: dict[str, object] = field(default_factory=dict)
    """What services keep while the process lives: child processes, measurements. Nothing that may not be lost."""

    def publish(self, event: E, *, parent: int | None = None, id_: str | None = None) -> int:
        """See `Bus.publish`."""
        return self.bus.publish(event, parent=parent, id_=id_)
