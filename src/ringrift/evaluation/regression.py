"""Whether a promoted model is worse than it was taken for: evidence from later matches, in grades.

The promoted model goes on playing matches, its checks: against the model that it replaced, where it should win at
least half of the games, and against the gates, where it should win the share that they ask for. For each of these
opponents a martingale tests the claim, opening by opening: the capital of a gambler who stakes on fewer points than
claimed, mixed over several stakes (I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by
betting", 2024, section 4). While the claim is true it exceeds 1 / alpha with a chance of at most alpha, whenever one
looks and however the games of an opening depend on each other (J. Ville 1939). Grades come from the difference in Elo,
once it is established that there is one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import IntEnum
from itertools import groupby

import numpy as np
from numpy.typing import ArrayLike

from ringrift.evaluation.match import SEATINGS, MatchResult
from ringrift.evaluation.settings import RegressionSettings
from ringrift.evaluation.statistics import elo
from ringrift.rules import config_info

#: Stakes of the gambler, as shares of the most that can be staked: the greater, the sooner a great drop is found.
STAKES = np.array([0.05, 0.1, 0.2, 0.35, 0.6, 0.95])


class Grade(IntEnum):
    """How bad it is."""

    NONE = 0
    MINOR = 1
    MODERATE = 2
    SEVERE = 3
    CRITICAL = 4


@dataclass(frozen=True)
class Check:
    """One later match of the promoted model."""

    opponent: str
    claim: float
    """Share of the games that the model should win at least."""
    match: MatchResult


@dataclass(frozen=True)
class Finding:
    """What the checks of a model have shown so far."""

    grade: Grade
    opponent: str = ""
    """Against whom it shows most."""
    drop: float = 0.0
    """Elo per seat below the claim, by all games against that opponent."""
    evidence: float = 0.0
    """Logarithm of the gambler's capital there."""
    in_a_row: int = 0
    """Checks up to the last one after which a regression was established."""
    games: int = 0
    """Games of all checks together."""
    reason: str = ""

    def to_dict(self) -> dict[str, object]:
        """The report as JSON can hold it, and as the evidence of a rollback."""
        return asdict(self) | {"grade": self.grade.name.lower()}


def log_capital(counts: ArrayLike, claim: float) -> float:
    """Logarithm of the gambler's capital, from 1.

    `counts` [K] says how many openings gave the model each of K equally spaced scores from none to all of the points;
    `claim` in (0, 1) is the least mean score under the hypothesis that is tested.
    """
    seen = np.asarray(counts, np.float64)
    points = np.linspace(0.0, 1.0, len(seen))
    growth = np.log1p(STAKES[:, None] / (1 - claim) * (claim - points)) @ seen
    return float(np.logaddexp.reduce(growth) - np.log(len(STAKES)))


def assess(checks: Sequence[Check], settings: RegressionSettings) -> Finding:
    """The finding after the last of the checks, which are in their order.

    A regression is established once the capital against some opponent has exceeded 1 / alpha; from then on its grade is
    that of the drop as all games against that opponent estimate it. `settings.escalate` such checks in a row raise the
    grade by one, `settings.force` make it severe at least.
    """
    finding, row = Finding(Grade.NONE), 0
    for number in range(1, len(checks) + 1):
        found = _established(checks[:number], settings)
        row, grade = (row + 1, found.grade) if found.grade else (0, Grade.NONE)
        if row >= settings.force:
            grade = max(grade, Grade.SEVERE)
        elif row >= settings.escalate:
            grade = Grade(min(grade + 1, Grade.CRITICAL))
        finding = replace(found, grade=grade, in_a_row=row)
    return finding


def _established(checks: Sequence[Check], settings: RegressionSettings) -> Finding:
    """The worst that holds by all of the checks, in its own grade."""
    games, voids = sum(check.match.games for check in checks), sum(check.match.voids[0] for check in checks)
    worst = Finding(Grade.NONE, games=games)

    def met_with(check: Check) -> tuple[str, float]:
        return check.opponent, check.claim

    for (opponent, claim), own in groupby(sorted(checks, key=met_with), key=met_with):
        met = [check for check in own if check.match.games]
        if not met:
            continue
        rows = SEATINGS[config_info(met[0].match.config).players]
        sums = np.cumsum([check.match.counts for check in met], axis=0)
        evidence = max(log_capital(counts, claim) for counts in sums)
        if evidence < -math.log(settings.alpha):
            continue
        played = int(sums[-1].sum()) * len(rows)
        score = float(sums[-1] @ np.arange(len(rows) + 1)) / played
        drop = elo(claim, rows) - elo(score, rows)
        grade = Grade(sum(drop >= least for least in settings.drops))
        if grade > worst.grade:
            said = (
                f"{score:.3f} of {played} games against {opponent}, where {claim:.3f} was claimed: {drop:.0f} Elo less"
            )
            worst = Finding(grade, opponent, round(drop, 1), round(evidence, 2), 0, games, said)
    if worst.grade < Grade.MODERATE and voids >= settings.voids_least and voids > settings.voids * (games + voids):
        worst = Finding(Grade.MODERATE, games=games, reason=f"made {voids} of {games + voids} games void")
    return worst
