"""Regressions of a promoted model: how often they are found where they are, and where they are not."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from ringrift.evaluation import Check, Grade, MatchResult, RegressionSettings, assess
from ringrift.evaluation.match import SEATINGS
from ringrift.evaluation.regression import log_capital
from ringrift.evaluation.statistics import expected_score

SETTINGS = RegressionSettings()
CONFIGS = {2: "square8_2p", 3: "square8_3p", 4: "square8_4p"}


def check(counts: tuple[int, ...], opponent: str = "m-1", claim: float = 0.5, void: int = 0) -> Check:
    """A check with so many openings by the games won."""
    seats, size = (2, 2) if len(counts) == 3 else (4, 6)
    games, wins = sum(counts) * size, sum(n * wins for wins, n in enumerate(counts))
    match = MatchResult(
        config=CONFIGS[seats], a="m-2", b=opponent, wins=wins, losses=games - wins, draws=0, games=games,
        score=wins / games if games else 0.5, interval=(0, 1), elo=0, elo_interval=(0, 0), openings=sum(counts),
        duplicates=0, plies=50, simulations={}, seed=0, confidence=0.95, voids=(void, 0, 0),
        pentanomial=(counts[0], 0, counts[1], 0, counts[2]) if seats == 2 else counts,
    )  # fmt: skip
    return Check(opponent, claim, match)


def history(difference: float, rng: np.random.Generator, checks: int = 20, seats: int = 2) -> list[Check]:
    """Checks of a model that is so much better in Elo."""
    rows = SEATINGS[seats]
    wins = sum(rng.random((checks, 20)) < expected_score(difference, [row]) for row in rows)
    return [check(tuple(np.bincount(one, minlength=len(rows) + 1).tolist())) for one in np.asarray(wins)]


def test_equal_models_are_left_alone() -> None:
    rng = np.random.default_rng(1)
    assert not any(assess(history(0, rng), SETTINGS).grade for _ in range(50))
    assert not any(assess(history(0, rng, seats=4), SETTINGS).grade for _ in range(10))


def test_the_capital_is_one_on_average_where_the_claim_is_just_true() -> None:
    """However the games of an opening depend on each other; so it is rarely great (Ville)."""
    for claim, chances in ((0.5, (0.25, 0.5, 0.25)), (0.5, (0.5, 0.0, 0.5)), (0.85, (0.1, 0.1, 0.8))):
        mean = great = 0.0
        for lost, half in product(range(11), repeat=2):
            if (won := 10 - lost - half) < 0:
                continue
            counts = (lost, half, won)
            ways = math.factorial(10) / math.prod(map(math.factorial, counts))
            chance = ways * math.prod(p**n for p, n in zip(chances, counts, strict=True))
            capital = math.exp(log_capital(counts, claim))
            mean, great = mean + chance * capital, great + chance * (capital >= 20)
        assert mean == pytest.approx(1.0) and great <= 0.05
    assert log_capital((0, 0, 0), 0.5) == pytest.approx(0)
    assert log_capital((5, 0, 0), 0.5) > 1.5 > -1 > log_capital((0, 0, 5), 0.5)


def test_great_drops_are_found_soon_and_graded() -> None:
    rng = np.random.default_rng(3)
    for difference, games, grade in ((-400, 120, Grade.CRITICAL), (-150, 320, Grade.SEVERE)):
        for _ in range(30):
            past = history(difference, rng)
            first = next(n for n in range(1, 21) if assess(past[:n], SETTINGS).grade)
            found = assess(past[:first], SETTINGS)
            assert found.games <= games and found.grade >= grade, found
            assert found.opponent == "m-1" and found.drop > 50 and "where 0.500 was claimed" in found.reason


def test_small_drops_become_severe_when_they_last() -> None:
    slight = replace(SETTINGS, alpha=0.4)  # established at once
    one = check((6, 9, 5))  # 0.475, 17 Elo: none
    two = check((35, 45, 20))  # 0.425, 52 Elo
    assert assess([one], slight).grade == Grade.NONE
    grades = [assess([two] * n, replace(slight, drops=(20, 60, 90, 120))).grade for n in (1, 2, 3, 4)]
    assert grades == [Grade.MINOR, Grade.MODERATE, Grade.SEVERE, Grade.SEVERE]
    assert assess([two] * 3, replace(slight, drops=(20, 60, 90, 120))).in_a_row == 3
    assert assess([], SETTINGS).grade == Grade.NONE


def test_each_opponent_has_its_own_claim() -> None:
    even = [check((5, 10, 5), "random", 0.85)] * 3
    found = assess([check((4, 8, 8)), *even], SETTINGS)
    assert found.opponent == "random" and found.grade == Grade.CRITICAL
    assert assess([replace(one, claim=0.45) for one in even], SETTINGS).grade == Grade.NONE


def test_void_games_are_a_regression_too() -> None:
    crashes = check((4, 8, 8), void=6)
    assert assess([crashes], SETTINGS).grade == Grade.MODERATE
    assert "made 6 of 46 games void" in assess([crashes], SETTINGS).reason
    assert assess([crashes] * 3, SETTINGS).grade == Grade.SEVERE
    assert assess([check((4, 8, 8), void=2)], SETTINGS).grade == Grade.NONE
    assert assess([check((0, 0, 0), void=40)], SETTINGS).grade == Grade.MODERATE


def test_wrong_settings_are_refused() -> None:
    for wrong in ({"games": 0}, {"alpha": 0.7}, {"drops": (50, 35, 20, 10)}, {"escalate": 1}, {"minutes": -1}):
        with pytest.raises(ValueError, match=r"(right|more|below|share)"):
            RegressionSettings(**wrong)
