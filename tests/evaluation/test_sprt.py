"""The sequential test: against the papers' approximation, published numbers of games, and its promised errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from ringrift.evaluation.match import SEATINGS
from ringrift.evaluation.sprt import Sprt, log_likelihood_ratio
from ringrift.evaluation.statistics import expected_score

BOUND = math.log(0.95 / 0.05)


def games_needed(
    lo: float, hi: float, chances: NDArray[np.float64], tests: int, seats: int = 2, step: int = 1
) -> tuple[float, float]:
    """Mean games, and share that accepted H1, of tests on openings that have a score k / K with `chances[k]`."""
    rng, size = np.random.default_rng(1), len(chances) - 1
    s0, s1 = (expected_score(difference, SEATINGS[seats]) for difference in (lo, hi))
    counts, running, played, accepted, openings = np.zeros((tests, size + 1)), np.arange(tests), 0, 0, 0
    while len(running):
        drawn = rng.choice(size + 1, p=chances, size=(len(running), step))
        np.add.at(counts, (running[:, None], drawn), 1)
        openings += step
        ratio = log_likelihood_ratio(counts[running], s0, s1)
        over = np.abs(ratio) >= BOUND
        played += openings * int(over.sum())
        accepted += int((ratio[over] > 0).sum())
        running = running[~over]
    return played * size / tests, accepted / tests


def independent(difference: float) -> NDArray[np.float64]:
    """The chances of 0, 1 and 2 wins in a pair."""
    p = expected_score(difference, SEATINGS[2])
    return np.array([(1 - p) ** 2, 2 * p * (1 - p), p * p])


def test_bounds() -> None:
    assert Sprt(0, 20, 0.5, 0.52).bounds == pytest.approx((-2.944, 2.944), abs=1e-3)
    assert Sprt(0, 20, 0.5, 0.52, alpha=0.01, beta=0.1).bounds == pytest.approx((-2.293, 4.500), abs=1e-3)


def test_the_ratio_is_near_the_approximation_of_the_papers() -> None:
    """(s1 - s0) (2 s - s0 - s1) / (2 variance) per opening: Van den Bergh, GSPRT_approximation."""
    for counts in ([100, 250, 120], [90, 0, 400, 0, 120], [5, 10, 40, 90, 60, 20, 4]):
        points, n = np.linspace(0, 1, len(counts)), sum(counts)
        mean = float(np.dot(counts, points)) / n
        variance = float(np.dot(counts, (points - mean) ** 2)) / n
        near = n * 0.02 * (2 * mean - 0.5 - 0.52) / (2 * variance)
        assert float(log_likelihood_ratio(counts, 0.5, 0.52)) == pytest.approx(near, rel=0.04, abs=0.02)
        assert float(log_likelihood_ratio(counts[::-1], 0.5, 0.48)) == pytest.approx(
            float(log_likelihood_ratio(counts, 0.5, 0.52))
        )
    test = Sprt(0, 20, 0.5, 0.5288)
    assert test.verdict([0, 10, 0]) == "undecided"
    assert test.verdict([100, 250, 220]) == "H1"
    assert test.verdict([220, 250, 100]) == "H0"


def test_the_likelihood_is_the_greatest_of_that_mean() -> None:
    """By search over all distributions on three scores with that mean: one is left free."""
    counts = np.array([30.0, 50.0, 20.0])

    def best(mean: float) -> float:
        top = np.linspace(1e-6, min(mean, 1), 200_001)
        middle = 2 * (mean - top)
        rest = 1 - middle - top
        chances = np.stack([rest, middle, top], 1)[(middle > 0) & (rest > 0)]
        return float((np.log(chances) @ counts).max())

    assert float(log_likelihood_ratio(counts, 0.5, 0.53)) == pytest.approx(best(0.53) - best(0.5), abs=1e-4)


#: bounds, true difference, published mean games of a test on single games without draws, alpha = beta = 0.05
PUBLISHED = [
    (0, 100, 0, 69), (0, 100, 50, 112), (0, 100, 100, 68), (0, 50, 0, 272), (0, 50, 25, 416), (0, 50, 50, 267),
    (0, 20, 0, 1633), (0, 20, 10, 2637), (0, 20, 20, 1632), (0, 20, 40, 590),
]  # fmt: skip


@pytest.mark.parametrize(
    ("lo", "hi", "true", "published"),
    [pytest.param(*row, marks=() if row[1] == 100 else pytest.mark.slow) for row in PUBLISHED],
)
def test_published_numbers_of_games(lo: float, hi: float, true: float, published: float) -> None:
    """On pairs; looked at every fifth pair where tests are long."""
    step = 5 if hi == 20 else 1
    games, accepted = games_needed(lo, hi, independent(true), 400, step=step)
    assert games == pytest.approx(published, rel=0.15)
    if true == lo:
        assert accepted < 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 400)
    if true >= hi:
        assert accepted > 0.95 - 2.5 * math.sqrt(0.05 * 0.95 / 400)


@pytest.mark.slow
def test_lopsided_openings_need_fewer_games_at_the_same_errors() -> None:
    """Four pairs in five are won by the same seat twice: the pentanomial knows, and errors stay as promised."""
    for true, wrong in ((0, 1), (50, 0)):
        p = expected_score(true, SEATINGS[2])
        games, accepted = games_needed(0, 50, np.array([0.6 - p, 0.8, p - 0.4]), 400)
        assert games < 0.6 * 270
        assert abs(accepted - wrong) > 0.95 - 2.5 * math.sqrt(0.05 * 0.95 / 400)


@pytest.mark.parametrize("seats", [3, 4])
def test_errors_with_three_and_four_seats(seats: int) -> None:
    """Groups of six games whose openings favour one side or the other."""
    rng = np.random.default_rng(2)
    for true, wrong in ((0, 1), (100, 0)):
        wins = np.zeros(7)
        for _ in range(4000):
            shift = rng.normal(0, 100)
            each = [
                expected_score(true + shift * (-1) ** row, [seating]) for row, seating in enumerate(SEATINGS[seats])
            ]
            wins[int((rng.random(6) < each).sum())] += 1
        _, accepted = games_needed(0, 100, wins / wins.sum(), 200, seats)
        assert abs(accepted - wrong) > 0.95 - 3 * math.sqrt(0.05 * 0.95 / 200)
