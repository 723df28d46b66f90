"""A score with its interval, and as Elo."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np


def score_interval(groups: Sequence[Sequence[float]], confidence: float = 0.95) -> tuple[float, float]:
    """The interval of the mean of all points, each in [0, 1], of which those in one group share an opening.

    Wilson's interval (1927) for as many games as were played, divided by the design effect of the groups (Kish 1965:
    the variance of the mean over groups, over that of as many independent games) where that is above 1. So two games
    from one opening never count as more than two, and as one where they always end alike.
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
        effect = max(1.0, clustered / independent)
    n, z = games / effect, NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (score + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(score * (1 - score) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def elo(score: float, seatings: Sequence[tuple[int, ...]]) -> float:
    """The Elo difference per seat at which the expected share of wins over `seatings` is `score`, within ±1200.

    A seat of strength s wins with probability s over the sum of all strengths (Bradley-Terry, Plackett-Luce); Elo is
    400 log10 of the ratio of strengths. A seating says for each seat which player (0 or 1) sits there.
    """
    low, high = -1200.0, 1200.0
    for _ in range(60):
        middle = (low + high) / 2
        strength = 10 ** (middle / 400)
        weights = [(seating.count(0) * strength, seating.count(1)) for seating in seatings]
        shares = [ours / (ours + theirs) for ours, theirs in weights]
        low, high = (middle, high) if sum(shares) / len(shares) < score else (low, middle)
    return round((low + high) / 2, 1)
