"""Temperature schedules of self-play: how boldly a game's moves are drawn, by the number of the decision.

At temperature T a move is drawn from the search's policy to the power of 1 / T; at 0 the search's own choice is played.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ringrift.errors import check_fields, unknown


@dataclass(frozen=True)
class TemperatureSettings:
    """How the temperature falls over a game's decisions, counted over all seats from 0 after the opening."""

    kind: str = "constant"
    """Row of KINDS."""
    start: float = 1.0
    """Temperature of the first decisions."""
    end: float = 0.1
    """Temperature of the last decisions; never more than start."""
    exploration_decisions: int = 30
    """`step` keeps `start` for so many decisions."""
    decay_from: int = 10
    """Decision at which the decaying kinds begin to fall."""
    decay_to: int = 60
    """Decision from which on they are at `end`."""
    opening: float = 1.5
    """Temperature of the opening decisions, whatever the kind; never less than start."""
    opening_decisions: int = 0
    """How many they are."""
    elo_low: float = 1300.0
    """`elo_adaptive`: up to this Elo of the player, the schedule is as it stands."""
    elo_high: float = 1900.0
    """`elo_adaptive`: from this Elo on, everything is at `end`."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(unknown("temperature schedule", self.kind, KINDS))
        if not 0 <= self.end <= self.start <= self.opening < math.inf:
            raise ValueError(
                f"temperatures are {self.opening} (opening), {self.start} (start), {self.end} (end);"
                " right is 0 or more, and none above the one before"
            )
        if self.kind == "exp_decay" and self.end == 0:
            raise ValueError("exp_decay never reaches an end of 0: give one above it, or linear_decay")
        counts = ("exploration_decisions", "opening_decisions", "decay_from")
        check_fields(self, lambda value: value >= 0, "0 or more", *counts)
        if not self.decay_from < self.decay_to:
            raise ValueError(f"decay_from is {self.decay_from} and decay_to {self.decay_to}; right is from below to")
        if not self.elo_low < self.elo_high:
            raise ValueError(f"elo_low is {self.elo_low} and elo_high {self.elo_high}; right is low below high")


@dataclass(frozen=True)
class TemperatureContext:
    """What a schedule may look at besides the number of the decision."""

    complexity: float = 1.0
    """`adaptive`: how open the position is, the entropy of the policy over that of even chances, 0 to 1"""
    progress: float = 0.0
    """`curriculum`: share of the training that is done, 0 to 1"""
    elo: float = 0.0
    """`elo_adaptive`: of the player"""
    seed: int = 0
    """`mixed`: of the game"""

    def __post_init__(self) -> None:
        if not 0 <= self.complexity <= 1 or not 0 <= self.progress <= 1:
            raise ValueError("complexity and progress are shares from 0 to 1")


Schedule = Callable[[TemperatureSettings, int, TemperatureContext], float]


def _fallen(s: TemperatureSettings, decision: int) -> float:
    """How far the decay has come, 0 to 1."""
    return min(1.0, max(0.0, (decision - s.decay_from) / (s.decay_to - s.decay_from)))


def _linear(s: TemperatureSettings, decision: int) -> float:
    return s.start + (s.end - s.start) * _fallen(s, decision)


def _exponential(s: TemperatureSettings, decision: int) -> float:
    return s.start * (s.end / s.start) ** _fallen(s, decision) if s.start else 0.0


def _cosine(s: TemperatureSettings, decision: int) -> float:
    return s.end + (s.start - s.end) * (1 + math.cos(math.pi * _fallen(s, decision))) / 2


def _step(s: TemperatureSettings, decision: int) -> float:
    return s.start if decision < s.exploration_decisions else s.end


def _adaptive(s: TemperatureSettings, decision: int, context: TemperatureContext) -> float:
    return s.end + (_linear(s, decision) - s.end) * context.complexity


def _curriculum(s: TemperatureSettings, decision: int, context: TemperatureContext) -> float:
    return s.end + (_linear(s, decision) - s.end) * (1 - context.progress)


def _elo(s: TemperatureSettings, decision: int, context: TemperatureContext) -> float:
    strong = min(1.0, max(0.0, (context.elo - s.elo_low) / (s.elo_high - s.elo_low)))
    return s.end + (_linear(s, decision) - s.end) * (1 - strong)


def _mixed(s: TemperatureSettings, decision: int, context: TemperatureContext) -> float:
    drawn = MIXED[int(np.random.default_rng([context.seed, 0x7E]).integers(len(MIXED)))]
    return KINDS[drawn](s, decision, context)


#: The schedules. All of them lie between `end` and `start` and never rise with the decision.
KINDS: dict[str, Schedule] = {
    "constant": lambda s, decision, context: s.start,
    "linear_decay": lambda s, decision, context: _linear(s, decision),
    "exp_decay": lambda s, decision, context: _exponential(s, decision),
    "step": lambda s, decision, context: _step(s, decision),
    "cosine": lambda s, decision, context: _cosine(s, decision),
    "adaptive": _adaptive,
    "curriculum": _curriculum,
    "mixed": _mixed,
    "elo_adaptive": _elo,
}
#: What `mixed` draws from, once a game.
MIXED = ("constant", "linear_decay", "step", "cosine")


def temperature(
    settings: TemperatureSettings, decision: int, context: TemperatureContext = TemperatureContext()
) -> float:
    """The temperature of a decision. Pure."""
    if decision < settings.opening_decisions:
        return settings.opening
    found = KINDS[settings.kind](settings, decision, context)
    return min(settings.start, max(settings.end, found))  # sums of rounded numbers may lie a bit outside


def schedule(
    settings: TemperatureSettings, length: int, context: TemperatureContext = TemperatureContext()
) -> NDArray[np.float32]:  # [length]
    """The temperatures of a game's first decisions, for whoever draws without asking position by position."""
    return np.array([temperature(settings, decision, context) for decision in range(length)], np.float32)


def complexity(policy: NDArray[np.floating]) -> float:  # policy [A]
    """How open a position is by its policy: its entropy over that of even chances, 0 to 1."""
    chances = policy[policy > 0].astype(np.float64)
    if len(chances) < 2:
        return 0.0
    chances /= chances.sum()
    return float(min(1.0, -(chances * np.log(chances)).sum() / math.log(len(policy))))


def drawn(policy: NDArray[np.floating], heat: float, lot: float) -> int:  # policy [A]
    """The index that `lot`, in [0, 1), draws from a policy at a temperature above 0."""
    chances = np.cumsum((policy / policy.max()).astype(np.float64) ** (1 / heat))
    return int(np.searchsorted(chances, lot * chances[-1], side="right"))
