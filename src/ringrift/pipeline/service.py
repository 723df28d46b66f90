"""What a service is: a plan that compares the store with what is wanted, again and again.

A service keeps nothing between two ticks that the store does not have, so that a lost wake-up costs time and never
correctness. `plan` looks and decides, and writes nothing: `ringrift loop --dry-run` prints its steps and their reasons.
Carrying the steps out is the supervisor's business. Replaces the daemons of the earlier system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from ringrift.clock import SYSTEM_CLOCK, Clock
from ringrift.errors import RingRiftError
from ringrift.pipeline.events import Event
from ringrift.pipeline.settings import SupervisionSettings

if TYPE_CHECKING:
    from ringrift.fabric import Lease
    from ringrift.pipeline.bus import Bus
    from ringrift.pipeline.settings import Recipe
    from ringrift.store import RunDirectory

E = TypeVar("E", bound=Event)


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
class Service:
    """A row of SERVICES."""

    name: str
    plan: Callable[[Context], Iterable[Step]]
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
    backlog: Callable[[Context], float] = lambda ctx: 0.0
    """How much waits for it, in any unit: a service with a backlog whose steps come to nothing has stalled."""


@dataclass
class Context:
    """What a plan and its steps may use."""

    run: RunDirectory
    """The store, and `run.fabric`."""
    configs: tuple[str, ...]
    recipes: dict[str, Recipe]
    """The settings in force for each of `configs`."""
    bus: Bus
    services: SupervisionSettings = field(default_factory=SupervisionSettings)
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
