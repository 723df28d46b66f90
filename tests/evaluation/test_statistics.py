"""Intervals and Elo."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ringrift.evaluation import elo, score_interval
from ringrift.evaluation.match import SEATINGS


def test_independent_games_give_wilsons_interval() -> None:
    low, high = score_interval([[1.0]] * 81 + [[0.0]] * 182)
    assert (low, high) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, table I, method 3
    assert score_interval([[1.0, 1.0]] * 50) == pytest.approx((0.963, 1), abs=1e-3)
    assert score_interval([]) == (0, 1)


def test_games_that_always_end_alike_count_once() -> None:
    alike = score_interval([[1.0, 1.0], [0.0, 0.0]] * 25)
    singles = score_interval([[1.0], [0.0]] * 25)
    assert alike == pytest.approx(singles, abs=0.004)


def test_pairs_that_are_each_others_opposite_count_for_more() -> None:
    """Where openings are lopsided, as the pentanomial of a pair sees and the naive variance of games does not."""
    pairs, naive = score_interval([[1.0, 0.0]] * 50), score_interval([[1.0], [0.0]] * 50)
    assert (pairs[1] - pairs[0]) / (naive[1] - naive[0]) < 0.3
    rng, inside = np.random.default_rng(1), 0
    for _ in range(400):
        chances = rng.beta(0.5, 0.5, size=50)  # of the first seat; the players are equal
        groups = [[float(rng.random() < chance), float(rng.random() >= chance)] for chance in chances]
        low, high = score_interval(groups)
        inside += low <= 0.5 <= high
    assert 0.93 < inside / 400 < 0.98


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng, inside = np.random.default_rng(1), 0
    for _ in range(400):
        chances = rng.beta(4, 2, size=50)  # of each opening: mean 2/3
        groups = [[float(rng.random() < chance) for _ in range(2)] for chance in chances]
        low, high = score_interval(groups)
        inside += low <= 2 / 3 <= high
    assert inside / 400 > 0.93


def test_elo() -> None:
    assert elo(0.5, [(0, 1)]) == 0
    assert elo(0.75, [(0, 1), (1, 0)]) == pytest.approx(400 * math.log10(3), abs=0.1)
    assert elo(1.0, [(0, 1)]) == 1200
    for seatings in SEATINGS.values():
        assert elo(0.5, seatings) == 0
        assert elo(0.7, seatings) == pytest.approx(-elo(0.3, seatings), abs=0.1)
