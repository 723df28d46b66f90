"""How soon the gate, the watch over the promoted model and the plateau find what there is, and what there is not.

    python benchmarks/regression.py gate | null | plateau [HISTORIES]
    python benchmarks/regression.py planted

`gate`: chance to pass each match of the gauntlet and games that it takes, by the true difference in Elo. `null`:
histories of 20 promotions of models that differ by so much from what they replace, each checked 20 times. `plateau`:
runs that gain steadily, and runs that stop to. `planted`: a small network is trained and promoted, then one of its
broken likenesses is promoted over it (see PLANTED), and the service plays until it has rolled it back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

from ringrift.evaluation import (
    Check,
    GateSettings,
    Grade,
    MatchResult,
    MatchSettings,
    ProgressSettings,
    RegressionSettings,
    Strength,
    assess,
    gauntlet,
    is_plateau,
    velocity,
)
from ringrift.evaluation.gauntlet import elo_of_share
from ringrift.evaluation.match import SEATINGS
from ringrift.evaluation.regression import log_capital
from ringrift.evaluation.sprt import log_likelihood_ratio
from ringrift.evaluation.statistics import expected_score

SEATS = 2
ROWS = SEATINGS[SEATS]
CONFIG = "square8_2p"


def drawn(difference: float, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Games won in each opening."""
    chance = expected_score(difference, ROWS)
    return np.asarray((rng.random((*shape, len(ROWS))) < chance).sum(-1))


def gate_table(histories: int) -> None:
    champions = ["m-3", "m-2"]
    early = gauntlet(CONFIG, GateSettings(), MatchSettings(), champions=champions)
    late = gauntlet(CONFIG, GateSettings(), MatchSettings(), champions=champions, promotions=10)
    print("| match | true difference | passes | games |\n|---|---|---|---|")
    for hurdle, name in [(one, one.name) for one in early] + [(late[2], "best, mature")]:
        centre = elo_of_share(GateSettings().gates[hurdle.name]) if hurdle.name in GateSettings().gates else 0.0
        for away in (-100, -50, 0, 25, 50, 100, 300):
            rng, budget = np.random.default_rng(1), hurdle.games // len(ROWS)
            many = max(1, histories * 200 // max(200, budget))
            wins = drawn(centre + away, (many, budget), rng)
            counts = np.eye(len(ROWS) + 1)[wins].cumsum(1)
            ends = [expected_score(end, ROWS) for end in (hurdle.lo, hurdle.hi)]
            ratio = log_likelihood_ratio(counts, *ends)
            over = np.abs(ratio) >= np.log((1 - hurdle.beta) / hurdle.alpha)
            last = np.where(over.any(1), over.argmax(1), budget - 1)
            score = wins.cumsum(1)[np.arange(many), last] / ((last + 1) * len(ROWS))
            passed = np.where(over.any(1), ratio[np.arange(many), last] > 0, score >= hurdle.least)
            games = (last + 1).mean() * len(ROWS)
            print(f"| {name} | {centre + away:+.0f} | {passed.mean():.1%} | {games:.0f} |", flush=True)


def check(wins: np.ndarray, opponent: str = "m-1") -> Check:
    counts = np.bincount(wins, minlength=len(ROWS) + 1).tolist()
    games, won = len(wins) * len(ROWS), int(wins.sum())
    match = MatchResult(
        config=CONFIG, a="m-2", b=opponent, wins=won, losses=games - won, draws=0, games=games, score=won / games,
        interval=(0, 1), elo=0, elo_interval=(0, 0), openings=len(wins), duplicates=0, plies=50, simulations={}, seed=0,
        confidence=0.95, pentanomial=(counts[0], 0, counts[1], 0, counts[2]),
    )  # fmt: skip
    return Check(opponent, 0.5, match)


def null_table(histories: int) -> None:
    settings, promotions = RegressionSettings(), 20
    print("| difference | models | found | rolled back | games to the first finding: median, 90 % |")
    print("|---|---|---|---|---|")
    for difference in (0, -20, -35, -50, -75, -100, -150, -250, -400):
        rng = np.random.default_rng(2)
        models = histories * promotions if difference == 0 else histories
        found, back, spoilt = list[int](), 0, set[int]()
        for number in range(models):
            wins = drawn(difference, (settings.checks, settings.games // len(ROWS)), rng)
            past = [check(one) for one in wins]
            counts = np.cumsum([one.match.counts for one in past], axis=0)
            if max(log_capital(seen, 0.5) for seen in counts) < -np.log(settings.alpha):
                continue  # nothing was ever established
            grades = [assess(past[:n], settings).grade for n in range(1, settings.checks + 1)]
            if any(grades):
                found.append((1 + next(i for i, one in enumerate(grades) if one)) * settings.games)
                spoilt.add(number // promotions)
            back += max(grades) >= Grade.SEVERE
        when = f"{np.median(found):.0f}, {np.quantile(found, 0.9):.0f}" if found else ""
        row = f"| {difference} | {models} | {len(found) / models:.2%} | {back / models:.2%} | {when} |"
        print(row, f" {len(spoilt)} of {histories} histories" if difference == 0 else "", flush=True)


def plateau_table(histories: int) -> None:
    settings, spacing, error = ProgressSettings(), 800, 35.0
    print("| gain per 1,000 games | until candidate | histories | plateau found | candidates after it: median, 90 % |")
    print("|---|---|---|---|---|")
    for gain, stop in ((15, 40), (25, 40), (50, 40), (25, 15), (50, 15), (100, 15)):
        rng, delays, early = np.random.default_rng(3), list[int](), 0
        for _ in range(histories):
            true = gain * spacing / 1000 * np.minimum(np.arange(40), stop)
            seen = true + rng.normal(0, error, 40)
            past = [
                Strength(e, e - 1.96 * error, e + 1.96 * error, n * spacing, n * 3600.0) for n, e in enumerate(seen, 1)
            ]
            when = next((n for n in range(1, 41) if (v := velocity(past[:n], settings)) and is_plateau(v, settings)), 0)
            early += 0 < when <= stop
            if when > stop:
                delays.append(when - stop)
        said = f"{np.median(delays):.0f}, {np.quantile(delays, 0.9):.0f}" if delays else ""
        found = f"{early / histories:.1%} before, {len(delays) / histories:.1%} after"
        print(f"| {gain} | {stop if stop < 40 else 'the end'} | {histories} | {found} | {said} |", flush=True)


def main(what: str = "null", histories: str = "200") -> None:
    tables: dict[str, Callable[[int], None]] = {"gate": gate_table, "null": null_table, "plateau": plateau_table}
    if what == "planted":
        from planted import planted_table

        planted_table()
    else:
        tables[what](int(histories))


if __name__ == "__main__":
    main(*sys.argv[1:])
