"""Recorded games as lines for `rr_test --replay`: the position text before the first ply, a tab, the moves with bars.

The games are those of RINGRIFT_VECTORS (default: ../shared/rules/vectors); of the large boards every third game.
"""

import gzip
import json
import os
import sys
from pathlib import Path

from ringrift.rules import Game, Options


def main() -> None:
    folder = Path(os.environ.get("RINGRIFT_VECTORS", "../shared/rules/vectors"))
    files = sorted(folder.glob("*.jsonl.gz"))
    if not files:
        sys.exit(f"recorded_moves: {folder} has no recorded games; set RINGRIFT_VECTORS to their folder")
    for file in files:
        large = file.name.startswith(("square19", "hexagonal"))
        with gzip.open(file, "rt") as lines:
            for number, line in enumerate(lines):
                game = json.loads(line)
                if (large and number % 3) or not game.get("clean", True):
                    continue
                config, options = f"{game['board']}_{game['players']}p", Options.from_dict(game["opts"])
                start = Game.from_canonical(config, game["init"], options)
                moves = "|".join(ply["m"] + (f"@{ply['x']}" if "x" in ply else "") for ply in game["plies"])
                print(start.text(), moves, sep="\t")


if __name__ == "__main__":
    main()
