"""Writes the golden files of the core: perft tables, readable playthroughs and scores of the heuristic.

    .venv/bin/python tools/golden.py            # write tests/golden
    .venv/bin/python tools/golden.py --check    # compare instead; status 1 where something differs

Those of the rules pin the behaviour that parity with the recorded games proved: a change of them is a change of the
rules. A change of the scores is a change of play.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ringrift.rules import CONFIGS, Game, Options
from ringrift.search import heuristic_values

GOLDEN = Path(__file__).parent.parent / "tests" / "golden"
#: Sequences counted for one position, at most.
NODES = 100_000
#: config, rings per player and seed of a short game on each board.
PLAYTHROUGHS = (("square8_2p", 6, 5), ("hex8_3p", 5, 1), ("square19_2p", 3, 2), ("hexagonal_4p", 2, 3))


def random_game(config: str, plies: int, seed: int, options: Options | None = None) -> Game:
    """A game of at most so many uniformly random plies."""
    game, rng = Game(config, options), np.random.default_rng(seed)
    while not game.is_over and game.ply < plies:
        playable = game.playable_packed()
        game.push_packed(int(playable[rng.integers(len(playable))]))
    return game


def perft_rows() -> Iterator[dict[str, str | list[int]]]:
    """Counts by depth, from 1, of the start and of positions from all over random games of every config."""
    for config in CONFIGS:
        for plies in (0, 23, 61, 95, 120, 177):
            game = random_game(config, plies, plies, Options(rings_per_player=8) if plies > 100 else None)
            if game.is_over:
                continue
            nodes: list[int] = []
            while len(nodes) < 6 and (not nodes or nodes[-1] * max(nodes[0], 4) < NODES):
                nodes.append(game.perft(len(nodes) + 1))
            yield {"position": game.text(), "nodes": nodes}


def playthrough(config: str, rings: int, seed: int) -> str:
    """A random game as a table: ply, seat, phase, legal moves, the move, the hash after it; the board after each turn
    that changed much, and at the end."""
    game, rng = Game(config, Options(rings_per_player=rings)), np.random.default_rng(seed)
    lines = [f"{config}, {rings} rings per player, uniformly random moves of seed {seed}", ""]
    while not game.is_over:
        if game.ply % 100 == 0:
            lines += [game.ascii(), "", "ply seat phase                 legal hash              move"]
        seat, phase, count = game.to_move, game.phase.name.lower(), len(game.legal_moves)
        playable = game.playable_packed()
        move = game.move(int(playable[rng.integers(len(playable))]))
        game.push(move)
        lines.append(f"{game.ply - 1:3} {seat:4} {phase:21} {count:5} {game.canonical_hash()}  {move}")
        if game.is_over or game.ply % 100 == 0:
            lines.append("")
    return "\n".join([*lines, game.ascii(), f"ranks {' '.join(map(str, game.ranks or ()))}", game.text(), ""])


def heuristic_rows(positions: int = 100) -> Iterator[dict[str, str | list[float]]]:
    """Positions from all over random games of every config in turn, with each seat's probability of winning."""
    number = found = 0
    while found < positions:
        game = random_game(CONFIGS[number % len(CONFIGS)], 5 + 7 * number % 150, number)
        number += 1
        if not game.is_over:
            found += 1
            yield {"position": game.text(), "values": [round(value, 5) for value in heuristic_values(game).tolist()]}


def files() -> Iterator[tuple[Path, str]]:
    """Every golden file with what belongs in it."""
    for name, rows in (("perft", perft_rows()), ("heuristic", heuristic_rows())):
        yield GOLDEN / f"{name}.json", "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"
    for config, rings, seed in PLAYTHROUGHS:
        yield GOLDEN / f"playthrough_{config}.txt", playthrough(config, rings, seed)


def main() -> None:
    """Write or check."""
    changed = [path for path, text in files() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        sys.exit("\n".join(f"{path} differs" for path in changed))
    for path, text in files():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
