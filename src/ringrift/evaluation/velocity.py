"""How fast candidates gain Elo, and whether they have stopped to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np

from ringrift.evaluation.settings import ProgressSettings


@dataclass(frozen=True)
class Strength:
    """A candidate's Elo, and what it took."""

    elo: float
    low: float
    """Ends of its 95 % interval."""
    high: float
    games: int
    """How many training games the run had when it was made."""
    at: float
    """Unix time at which it was made."""


@dataclass(frozen=True)
class Slope:
    """Elo gained, with its interval."""

    per_unit: float
    low: float
    high: float


@dataclass(frozen=True)
class Velocity:
    """Elo gained over the last candidates, by weighted least squares."""

    per_1000_games: Slope
    per_hour: Slope
    models: int
    games: int
    """From the first to the last of them."""
    hours: float

    def to_dict(self) -> dict[str, object]:
        """The report as JSON can hold it."""
        return asdict(self)


def velocity(past: Sequence[Strength], settings: ProgressSettings) -> Velocity | None:
    """Over the last `settings.models` candidates; None while there are fewer, or no games between them."""
    last = past[-settings.models :]
    games, hours = (last[-1].games - last[0].games, (last[-1].at - last[0].at) / 3600) if last else (0, 0.0)
    if len(last) < settings.models or games <= 0 or hours <= 0:
        return None
    by_games = _slope([one.games / 1000 for one in last], last, settings.confidence)
    by_hours = _slope([one.at / 3600 for one in last], last, settings.confidence)
    return Velocity(by_games, by_hours, len(last), games, round(hours, 3))


def is_plateau(found: Velocity, settings: ProgressSettings) -> bool:
    """Whether the last candidates have surely gained less than `settings.plateau` per 1,000 games."""
    return found.per_1000_games.high < settings.plateau


def _slope(x: Sequence[float], past: Sequence[Strength], confidence: float) -> Slope:
    """Of Elo over x, the errors of the ratings taken as independent; where the points scatter more than these say, the
    interval is as much wider (R. T. Birge 1932)."""
    error = np.array([max(one.high - one.low, 1.0) / 3.92 for one in past])
    elo, places, weight = np.array([one.elo for one in past]), np.array(x), error**-2.0
    centred = places - weight @ places / weight.sum()
    spread = float(weight @ centred**2)
    slope = float(weight @ (centred * elo)) / spread
    level = float(weight @ elo) / float(weight.sum())
    scatter = float(weight @ (elo - level - slope * centred) ** 2) / (len(past) - 2)
    half = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(max(1.0, scatter) / spread)
    return Slope(round(slope, 2), round(slope - half, 2), round(slope + half, 2))
