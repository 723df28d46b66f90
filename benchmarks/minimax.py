"""The depth-first searches: speed and depth per board, and matches between rules or settings at equal time.

    python benchmarks/minimax.py speed --ms 100
    python benchmarks/minimax.py match square8_3p maxn paranoid --games 120 --ms 10
    python benchmarks/minimax.py match square8_2p alpha-beta alpha-beta,quiescence=0 --games 200 --ms 20
    python benchmarks/minimax.py match hex8_2p alpha-beta heuristic --games 100 --ms 100

A player is a rule with settings, or `heuristic`. Every opening (4 to 8 random plies) is played in every seating.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import fields, replace

import numpy as np

from ringrift.evaluation import MatchSettings, match
from ringrift.pipeline.display import match_lines
from ringrift.players import PlayerChoice
from ringrift.rules import CONFIGS, config_info
from ringrift.search import MINIMAX_RULES, MinimaxSettings, minimax
from ringrift.search.positions import middle_positions

UNLIMITED = 1 << 60


def settings_of(text: str) -> MinimaxSettings | None:
    """`paranoid,quiescence=0,nodes=500`; None for the player that looks one turn ahead."""
    rule, *given = text.split(",")
    if rule == "heuristic":
        return None
    numbers = {f.name for f in fields(MinimaxSettings)} - {"rule"}
    changed = {name: int(value) for name, value in (item.split("=") for item in given) if name in numbers}
    if len(changed) != len(given):
        raise SystemExit(f"{text}: a setting is one of {', '.join(sorted(numbers))}")
    return MinimaxSettings(rule, **{"nodes": UNLIMITED, **changed})


def nodes_per_second(config: str, settings: MinimaxSettings, positions: int = 24) -> float:
    """Of CPU time, in searches of 5,000 nodes."""
    games = middle_positions(config, positions, seed=6)
    start = time.process_time()
    results = minimax(games, replace(settings, nodes=5000), range(positions))
    return sum(result.nodes for result in results) / (time.process_time() - start)


def speed(seconds: float, positions: int) -> None:
    """Nodes per second of CPU time, and the mean depth that is searched to its end in so much of it,
    where the position is not decided before."""
    print(f"{'config':14}{'rule':12}{'nodes/s':>10}{'depth':>7}")
    for config in CONFIGS:
        games = middle_positions(config, positions, seed=5)
        for rule in MINIMAX_RULES:
            if (rule == "alpha-beta") != (config_info(config).players == 2):
                continue
            settings = MinimaxSettings(rule)
            rate = nodes_per_second(config, settings)
            results = minimax(games, replace(settings, nodes=round(seconds * rate)), range(positions))
            depths = [result.depth for result in results if not result.decided]
            reached = f"{np.mean(depths):.2f}" if depths else "-"
            print(f"{config:14}{rule:12}{rate:10,.0f}{reached:>7}", flush=True)


def choice_of(config: str, text: str, seconds: float | None) -> PlayerChoice:
    """The player, its time turned into nodes by its measured speed."""
    settings = settings_of(text)
    if settings and seconds is not None:
        settings = replace(settings, nodes=max(1, round(seconds * nodes_per_second(config, settings))))
    return PlayerChoice(text, config, settings.rule if settings else text, settings)


def compare(config: str, names: list[str], games: int, seconds: float | None, seed: int) -> None:
    """A match of the two; equal CPU time, whatever else the machine does."""
    first, second = (choice_of(config, name, seconds) for name in names)
    print("\n".join(match_lines(match(first, second, MatchSettings(games=games), seed=seed))), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest="what", required=True)
    one = what.add_parser("speed")
    one.add_argument("--ms", type=float, default=100)
    one.add_argument("--positions", type=int, default=16)
    two = what.add_parser("match")
    two.add_argument("config", choices=CONFIGS)
    two.add_argument("players", nargs=2)
    two.add_argument("--games", type=int, default=120)
    two.add_argument("--ms", type=float, help="CPU time of a decision; default: the settings' nodes")
    two.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.what == "speed":
        speed(given.ms / 1e3, given.positions)
    else:
        compare(given.config, given.players, given.games, given.ms and given.ms / 1e3, given.seed)


if __name__ == "__main__":
    main()
