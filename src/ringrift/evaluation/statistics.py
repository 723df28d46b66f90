"""A score with its interval, and as Elo."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

#: An effect of pairing that makes the interval narrower is trusted as if so many openings without it had been seen too.
CAUTION = 4


def score_interval(groups: Sequence[Sequence[float]], confidence: float = 0.95) -> tuple[float, float]:
    """The interval of the mean of all points, each in [0, 1], of which those in one group share an opening.

    Wilson's interval (1927) for as many games as were played, divided by the design effect of the groups (Kish 1965:
    the variance of the mean over groups, over that of as many independent games). Two games from one opening that
    always end alike so count as one; where openings are lopsided and the games of a pair are each other's opposite,
    they count as more than two, with caution.
    """
    points = np.array([point for group in groups for point in group], np.float64)
    games = len(points)
    if games == 0:
        return 0.0, 1.0
    score = float(points.mean())
    independent = score * (1 - score) / max(games - 1, 1)
    effect = 1.0
    if len(groups) > 1 and independent > 0:
        residues = np.array([sum(group) - score * len(group) for group in groups])
        clustered = len(groups) / (len(groups) - 1) * float((residues**2).sum()) / games**2
        effect = clustered / independent
        effect = max(effect, (effect * len(groups) + CAUTION) / (len(groups) + CAUTION))
    n, z = games / effect, NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (score + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(score * (1 - score) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def expected_score(difference: float, seatings: Sequence[tuple[int, ...]]) -> float:
    """The share of games over `seatings` that player 0 wins who is better by `difference` Elo.

    A seat of strength s wins with probability s over the sum of all strengths (Bradley-Terry, Plackett-Luce); Elo is
    400 log10 of the ratio of strengths. A seating says for each seat which player (0 or 1) sits there.
    """
    strength = 10 ** (difference / 400)
    weights = [(seating.count(0) * strength, seating.count(1)) for seating in seatings]
    return sum(ours / (ours + theirs) for ours, theirs in weights) / len(weights)


def elo(score: float, seatings: Sequence[tuple[int, ...]]) -> float:
    """The Elo difference per seat at which `expected_score` is `score`, within ±1200."""
    low, high = -1200.0, 1200.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if expected_score(middle, seatings) < score else (low, middle)
    return round((low + high) / 2, 1)
