"""What is simulated, what goes wrong, and what came out of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

BROKEN = "failing jobs"  #: the fault of a node that fails every job after a second
SHOWN = 20  #: violations that the text names


@dataclass(frozen=True)
class Plan:
    """What is simulated."""

    nodes: int = 40
    days: float = 1.0
    faults: bool = True
    seed: int = 0
    broken: int = 0
    """Nodes that fail every job from beginning to end."""
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
    Fault(BROKEN, 0.3, (600.0, 4 * 3600.0)),
)
SINGLE_FAULTS = (Fault("loop hangs", 6.0, (60.0, 1800.0)), Fault("date jumps", 4.0, (0.0, 0.0)))
"""Faults of which there is one of a kind, however many nodes there are."""


@dataclass(frozen=True)
class Report:
    """What came out."""

    plan: Plan
    jobs: dict[str, int]
    """How many jobs there are in each state."""
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
    """Core-seconds of work that counted, of those that nodes were alive …"""
    healthy: float
    """… and the same of the nodes that were not broken from the beginning."""
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
        """The report for people."""

        def listed(counts: Mapping[str, int]) -> str:
            return ", ".join(f"{many:,} {name}" for name, many in counts.items()) or "none"

        rows = {
            "simulated": f"{self.plan.nodes} nodes, {self.plan.days:g} days, seed {self.plan.seed}",
            "faults": listed(self.faults),
            "jobs": f"{listed(self.jobs)}; {self.attempts:,} claims, {self.late:,} late reports refused",
            "games": f"{self.games:,}, {self.quarantined:,} quarantined",
            "models": f"{self.models:,}, {self.promoted:,} promoted, {self.rejected:,} rejected",
            "utilisation": f"{self.utilisation:.1%}, of unbroken nodes {self.healthy:.1%}",
            "lost work": f"{self.lost}",
            "doubled effects": f"{self.doubled}",
            "checked": listed(self.invariants),
            "violations": "".join(f"\n  {text}" for text in self.violations[:SHOWN]) or "none",
        }
        return "\n".join(f"{name:<16}{text}" for name, text in rows.items())

    def to_json(self) -> str:
        """The report as JSON, the same byte by byte for the same plan."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)
