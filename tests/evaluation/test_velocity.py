"""Elo velocity: its interval, and plateaus found where they are."""

from __future__ import annotations

import numpy as np
import pytest

from ringrift.evaluation import ProgressSettings, Strength, is_plateau, velocity

SETTINGS = ProgressSettings()
ERROR = 35.0


def past(elos: np.ndarray, error: float = ERROR) -> list[Strength]:
    """A candidate every 800 games and every half hour."""
    return [
        Strength(float(elo), elo - 1.96 * error, elo + 1.96 * error, 800 * number, 1800.0 * number)
        for number, elo in enumerate(elos)
    ]


def test_a_straight_line() -> None:
    found = velocity(past(20.0 * np.arange(20)), SETTINGS)
    assert found is not None and (found.models, found.games, found.hours) == (12, 8800, 5.5)
    assert found.per_1000_games.per_unit == pytest.approx(25)
    assert found.per_hour.per_unit == pytest.approx(40)
    error = ERROR / (0.8 * np.sqrt(143))  # of the slope over 12 evenly spaced points
    assert found.per_1000_games.high - 25 == pytest.approx(1.96 * error, abs=0.05)
    assert velocity(past(np.arange(11.0)), SETTINGS) is None
    assert velocity([], SETTINGS) is None


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng, inside, wide = np.random.default_rng(1), 0, 0
    for _ in range(300):
        line = 20 * np.arange(12)
        found = velocity(past(line + rng.normal(0, ERROR, 12)), SETTINGS)
        inside += found is not None and found.per_1000_games.low <= 25 <= found.per_1000_games.high
        rough = velocity(past(line + rng.normal(0, 3 * ERROR, 12)), SETTINGS)  # the ratings are worse than they say
        wide += rough is not None and rough.per_1000_games.low <= 25 <= rough.per_1000_games.high
    assert inside / 300 > 0.93 and wide / 300 > 0.85


def test_plateaus_are_found_and_steady_gains_are_not() -> None:
    rng = np.random.default_rng(2)

    def first(elos: np.ndarray) -> int:
        seen = past(elos + rng.normal(0, ERROR, len(elos)))
        whens = (n for n in range(1, len(seen) + 1) if (v := velocity(seen[:n], SETTINGS)) and is_plateau(v, SETTINGS))
        return next(whens, 0)

    steady = [first(20.0 * np.arange(40)) for _ in range(50)]
    assert not any(steady)
    stopped = [first(20.0 * np.minimum(np.arange(40), 15)) for _ in range(50)]
    assert all(15 < when <= 15 + 20 for when in stopped)
