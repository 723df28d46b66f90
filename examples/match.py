"""Two players, a hundred games: a score, what it is worth, and what it would be in Elo.

python examples/match.py [CONFIG [A [B [GAMES]]]]
"""

import sys

from ringrift.evaluation import MatchSettings, match
from ringrift.players import choose


def main(config: str = "square8_2p", a: str = "heuristic", b: str = "random", games: str = "100") -> None:
    settings = MatchSettings(games=int(games))
    first, second = choose(a, config, settings.search), choose(b, config, settings.search)
    result = match(first, second, settings, seed=1)
    low, high = result.interval
    print(f"{a} won {result.wins} of {result.games} games against {b} on {config}")
    print(f"score {result.score:.3f}, 95 % interval {low:.3f} to {high:.3f}, Elo {result.elo:+.0f}")


if __name__ == "__main__":  # the playing processes import this file
    main(*sys.argv[1:])
