"""Writes tests/golden/player_moves.json: what every player does in 20 positions, over a made-up evaluator.

    .venv/bin/python tests/player_moves.py            # write
    .venv/bin/python tests/player_moves.py --check    # compare instead; status 1 where something differs

A change of it is a change of play: say so in the commit.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from trees import HashEvaluator

from ringrift.players import PLAYERS, Decision, Player, choose
from ringrift.rules import CONFIGS, Game, config_info
from ringrift.search import MinimaxSettings
from ringrift.search.positions import middle_positions

FILE = Path(__file__).parent / "golden" / "player_moves.json"
POSITIONS = 20


def positions() -> list[Game]:
    """Positions with a choice: all twelve configs, then the small boards again."""
    small = [config for config in CONFIGS if config_info(config).cells < 100]
    chosen = [*CONFIGS, *small, *small][:POSITIONS]
    return [middle_positions(config, 1, seed=index)[0] for index, config in enumerate(chosen)]


def golden_player(row: str, config: str) -> Player:
    """The player of a row with its usual settings, but fewer nodes, over the made-up evaluator where it has one."""
    spec = PLAYERS[row]
    search = replace(spec.search, nodes=500) if isinstance(spec.search, MinimaxSettings) else spec.search
    given = [*([HashEvaluator(config)] if spec.evaluator else []), *([search] if search else [])]
    return spec.player(*given) if given else choose(row, config).make()


def decisions(row: str) -> list[Decision | None]:
    """The row's decision in every position; None where it does not play so many seats."""
    return [
        golden_player(row, game.config).play(game, rng=np.random.default_rng(index))
        if config_info(game.config).players in PLAYERS[row].seats
        else None
        for index, game in enumerate(positions())
    ]


def moves() -> dict[str, list[str]]:
    """Position texts, and for each row of PLAYERS its moves there."""
    rows = {row: [str(one.move) if one else "" for one in decisions(row)] for row in PLAYERS}
    return {"positions": [game.text() for game in positions()], **rows}


def main() -> None:
    """Write or check."""
    text = json.dumps(moves(), indent=1) + "\n"
    if "--check" in sys.argv:
        sys.exit(f"{FILE} differs" if not FILE.exists() or FILE.read_text() != text else 0)
    FILE.write_text(text)


if __name__ == "__main__":
    main()
