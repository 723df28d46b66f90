"""States of long games with all that the game server sends of them."""

from typing import Any

from random_play import random_game

from ringrift.rules import Game, config_info
from ringrift.wire import write_moves, write_state

#: Bytes that a cell takes in a text of the board, at most: `-10,11,-1:4:12:10|`.
CELL = 18


def board_bytes(config: str) -> int:
    """The longest text of a board."""
    return CELL * config_info(config).cells


def long_state(config: str, plies: int, size: int = 400) -> tuple[Game, dict[str, Any]]:
    """A game on its way, and its state after at least so many plies: the moves of the game stand at the end, others of
    it before them. `size`: bytes of a board in `history`, which has four of each move."""
    played = random_game(config, 50, 1)
    game, real = Game(config), list[dict[str, Any]]()
    for move in played.moves:
        real += write_moves(game, [move])
        game.push(move)
    moves = real * (plies // len(real) + 1)
    moves = [{"id": f"move-{n}", **one, "timestamp": "2026-11-30T20:28:16.495Z", "thinkTime": 0, "moveNumber": n}
             for n, one in enumerate(moves, 1)]  # fmt: skip
    state = write_state(game, moves, about={"id": "long", "rngSeed": 3})
    del state["ringrift"]
    return game, state | {"history": [_entry(move, size) for move in moves]}


def _entry(move: dict[str, Any], size: int) -> dict[str, Any]:
    text, cells = "-10,11,-1:4:12:10|" * (size // CELL), ["-10,11,-1:4:12:1"] * (size // CELL)
    progress = {"markers": 83, "collapsed": 107, "eliminated": 48, "S": 238}
    board = {"stacks": cells[: len(cells) // 2], "markers": cells[len(cells) // 2 :], "collapsedSpaces": []}
    return {
        "moveNumber": move["moveNumber"], "action": move, "actor": move["player"], "phaseBefore": "movement",
        "phaseAfter": "movement", "statusBefore": "active", "statusAfter": "active", "progressBefore": progress,
        "progressAfter": progress, "stateHashBefore": text, "stateHashAfter": text, "boardBeforeSummary": board,
        "boardAfterSummary": board,
    }  # fmt: skip
