"""What networks see of a position and where they answer: feature planes, globals and policy addresses, from the core.

Letters of the shapes: `B` positions, `C` planes, `H` rows (x) and `W` columns (y) of the box around the board, `G`
globals, `L` policy logits, `A` playable moves. C and G are the same for all configs. Seats are rotated: the seat to
move is the first. A hexagonal board lies in its square box; plane 0 says which cells are on the board.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ringrift import _core
from ringrift.errors import RulesError
from ringrift.rules import Game, config_info

__all__ = [
    "ENCODING_HASH",
    "GLOBALS",
    "GLOBAL_TABLE",
    "PLANES",
    "PLANE_SCALES",
    "PLANE_TABLE",
    "POLICY_GLOBALS",
    "POLICY_GLOBAL_TABLE",
    "POLICY_PLANES",
    "POLICY_TABLE",
    "Feature",
    "encode",
    "feature_slice",
    "policy_addresses",
    "policy_length",
]


@dataclass(frozen=True)
class Feature:
    """One row of a table of the encoding."""

    name: str
    meaning: str
    count: int
    """planes, globals or logits of the row; four where there is one for each seat"""
    scale: float
    """what a network multiplies the stored number with, to bring it near 0 … 1"""


PLANE_TABLE = tuple(Feature(*row) for row in _core.plane_table())
GLOBAL_TABLE = tuple(Feature(*row) for row in _core.global_table())
POLICY_TABLE = tuple(Feature(*row) for row in _core.policy_table())
POLICY_GLOBAL_TABLE = tuple(Feature(*row) for row in _core.policy_global_table())

#: Numbers C and G, and of the policy's planes and global logits.
PLANES = sum(row.count for row in PLANE_TABLE)
GLOBALS = sum(row.count for row in GLOBAL_TABLE)
POLICY_PLANES = sum(row.count for row in POLICY_TABLE)
POLICY_GLOBALS = sum(row.count for row in POLICY_GLOBAL_TABLE)
#: Scale of each plane [C].
PLANE_SCALES = tuple(row.scale for row in PLANE_TABLE for _ in range(row.count))
#: 16 hex digits over the tables: networks and samples of another hash mean something else.
ENCODING_HASH = _core.encoding_hash()


def feature_slice(table: tuple[Feature, ...], name: str) -> slice:
    """Where the row `name` of a table lies among its planes, globals or logits."""
    names = [row.name for row in table for _ in range(row.count)]
    first = names.index(name)
    return slice(first, first + names.count(name))


def policy_length(config: str) -> int:
    """L: logits that a network gives for a position of `config`."""
    info = config_info(config)
    return POLICY_PLANES * info.height * info.width + POLICY_GLOBALS


def encode(games: Sequence[Game]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Planes uint8 [B, C, H, W] and globals float32 [B, G] of games of one config.

    Raises:
        RulesError: no games, or games of several configs.
    """
    if not games:
        raise RulesError("there is no game to encode: give one or more")
    return _core.encode(games[0].config, games)


def policy_addresses(game: Game) -> NDArray[np.int32]:  # [A, 2]
    """Where the policy keeps the logit of each playable move, in the list's order.

    The logit of a move is the sum of `logits[address]` over its addresses; the second is that of the extraction cell of
    a slide that costs a ring, and -1 for other moves. No two moves of a list have the same pair.
    """
    return _core.policy_addresses(game)
