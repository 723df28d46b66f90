"""Sequential tests: the generalised sequential probability ratio test of a match.

What is tested is the distribution of the points that A takes from one opening with every seating played: with two
seats the pentanomial of a pair of games. The generalised log-likelihood ratio compares, for the observed counts, the
likeliest distribution of mean `s1` with the likeliest of mean `s0` (M. Van den Bergh, "A practical introduction to the
GSPRT" and "Comments on normalized Elo", proposition 1.1 of "support_MLE_multinomial": p_i ∝ n_i / (1 + x (a_i - s))).
So nothing is assumed about how the games of one opening depend on each other, or how lopsided openings are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Counts of 0 are taken for this much, so that every mean has a likelihood.
EPSILON = 1e-3


def _log_likelihood(counts: NDArray[np.float64], points: NDArray[np.float64], mean: float) -> NDArray[np.float64]:
    """Of the likeliest distributions with that mean, over `points`, up to a constant. Counts [..., K] → [...]."""
    away = points - mean
    low = np.full(counts.shape[:-1], -1 / away[-1])
    high = np.full(counts.shape[:-1], -1 / away[0])
    for _ in range(50):  # the sum falls from +∞ to -∞ between the two
        x = (low + high) / 2
        positive = (counts * away / (1 + x[..., None] * away)).sum(-1) > 0
        low, high = np.where(positive, x, low), np.where(positive, high, x)
    found: NDArray[np.float64] = -(counts * np.log1p(x[..., None] * away)).sum(-1)
    return found


def log_likelihood_ratio(counts: ArrayLike, s0: float, s1: float) -> NDArray[np.float64]:
    """Of the mean `s1` against `s0`, both shares of the points in (0, 1).

    `counts` [..., K] says how many openings gave A each of K equally spaced scores from none to all of the points.
    """
    seen = np.maximum(np.asarray(counts, np.float64), EPSILON)
    points = np.linspace(0.0, 1.0, seen.shape[-1])
    return _log_likelihood(seen, points, s1) - _log_likelihood(seen, points, s0)


@dataclass(frozen=True)
class Sprt:
    """A test of the hypotheses that A is better than B by `lo` Elo (H0) and by `hi` Elo (H1)."""

    lo: float
    hi: float
    s0: float
    """Share of the points that A is expected to take under H0 …"""
    s1: float
    """… and under H1."""
    alpha: float = 0.05
    """Chance to accept H1 where H0 is true."""
    beta: float = 0.05
    """Chance to accept H0 where H1 is true."""

    @property
    def bounds(self) -> tuple[float, float]:
        """The test ends when the ratio leaves them (A. Wald 1945)."""
        return math.log(self.beta / (1 - self.alpha)), math.log((1 - self.beta) / self.alpha)

    def llr(self, counts: ArrayLike) -> float:
        """The ratio after so many openings of each score."""
        return float(log_likelihood_ratio(counts, self.s0, self.s1))

    def verdict(self, counts: ArrayLike) -> str:
        """`H0`, `H1` or `undecided`."""
        (low, high), ratio = self.bounds, self.llr(counts)
        return "H0" if ratio <= low else "H1" if ratio >= high else "undecided"
