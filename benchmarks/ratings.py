"""How often the intervals of ratings hold the truth: pools of simulated players of known strength.

    python benchmarks/ratings.py [POOLS [SEAT_WORTH…]]

Eight players, one of them the anchor, play 40 matches of six to twelve openings each, chosen at random; every opening
is played with all seatings, as `ringrift match` does. A seat is worth something in it that the ratings do not know:
normally distributed with a standard deviation of SEAT_WORTH Elo (default: 0, then 50 and 100). Prints the share of 95 %
intervals that hold the true Elo, the root of the mean square error and the mean width, from who won and, for three and
four seats, from all ranks.
"""

import sys

import numpy as np

from ringrift.evaluation.match import SEATINGS
from ringrift.evaluation.ratings import SCALE, Played, rate

PLAYERS = 8


def simulated_pool(seats: int, rng: np.random.Generator, lopsided: float) -> tuple[dict[str, float], list[Played]]:
    """True Elo by player, and the games; `lopsided` as SEAT_WORTH."""
    true = np.concatenate([[0.0], rng.normal(0, 200, PLAYERS - 1)])
    names = [f"p{i}" for i in range(PLAYERS)]
    games = []
    for number in range(40):
        two = rng.choice(PLAYERS, 2, replace=False)
        for opening in range(rng.integers(6, 13)):
            seat_worth = rng.normal(0, lopsided, seats)
            for seating in SEATINGS[seats]:
                who = two[list(seating)]
                order = np.argsort(-((true[who] + seat_worth) / SCALE + rng.gumbel(size=seats)))
                ranks = np.argsort(order) + 1
                players = tuple(names[i] for i in who)
                games.append(Played(players, tuple(ranks.tolist()), f"{number}/{opening}"))
    return dict(zip(names, true.tolist(), strict=True)), games


def coverage(seats: int, pools: int, ranks: bool = False, lopsided: float = 0.0) -> tuple[float, float, float]:
    """The share of intervals that hold the truth, the root of the mean square error, the mean width, in Elo."""
    rng, inside, errors, widths = np.random.default_rng(seats), [], [], []
    for _ in range(pools):
        true, games = simulated_pool(seats, rng, lopsided)
        for one in rate(games, {"p0": 0.0}, ranks=ranks).ratings:
            if not one.anchor:
                inside.append(one.low <= true[one.player] <= one.high)
                errors.append(one.elo - true[one.player])
                widths.append(one.high - one.low)
    return float(np.mean(inside)), float(np.sqrt(np.mean(np.square(errors)))), float(np.mean(widths))


def main(pools: str = "200", *lopsided: str) -> None:
    print("| seats | from | seat worth | coverage of 95 % | error | width |\n|---|---|---|---|---|---|")
    for worth in map(float, lopsided or ("0", "50", "100")):
        for seats in SEATINGS:
            for ranks in (False, True) if seats > 2 else (False,):
                held, error, width = coverage(seats, int(pools), ranks, worth)
                what = "ranks" if ranks else "winner"
                print(f"| {seats} | {what} | {worth:.0f} | {held:.1%} | {error:.1f} | {width:.0f} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
