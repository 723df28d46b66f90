"""Settings of the tree searches against each other: a match over one network, or over the hand-written evaluation.

    python benchmarks/search.py square8_2p gumbel gumbel,c_scale=0.1 --network runs/square8_2p/best.onnx --games 200
    python benchmarks/search.py square8_3p puct gumbel --simulations 64 --games 120
    python benchmarks/search.py square8_2p puct puct,c_puct=2 --simulations 64 --games 200

A player is `gumbel` or `puct` with settings. Every opening is played in every seating; simulations are equal.
"""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ringrift.evaluation import MatchSettings, match
from ringrift.pipeline.display import match_lines
from ringrift.players import PLAYERS, PlayerChoice
from ringrift.rules import CONFIGS
from ringrift.search import GumbelSettings, PuctSettings


def choice_of(config: str, text: str, simulations: int, network: Path | None) -> PlayerChoice:
    """The player that `text` describes."""
    rule, *given = text.split(",")
    usual = PLAYERS[rule].search
    assert isinstance(usual, GumbelSettings | PuctSettings)
    kinds = {field.name: type(getattr(usual, field.name)) for field in fields(usual)}
    changed: dict[str, Any] = {"gumbel_scale": 0.0} if rule == "gumbel" else {}
    changed |= {name: kinds[name](value) for name, value in (item.split("=") for item in given)}
    return PlayerChoice(text, config, rule, replace(usual, simulations=simulations, **changed), network)


def main() -> None:
    """Plays the match and prints it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", choices=CONFIGS)
    parser.add_argument("players", nargs=2)
    parser.add_argument("--network", type=Path, help="ONNX file; default: the hand-written evaluation")
    parser.add_argument("--simulations", type=int, default=32)
    parser.add_argument("--games", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    first, second = (choice_of(args.config, text, args.simulations, args.network) for text in args.players)
    print("\n".join(match_lines(match(first, second, MatchSettings(games=args.games), seed=args.seed))), flush=True)


if __name__ == "__main__":
    main()
