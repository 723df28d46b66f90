"""The twelve configs: a board and a number of seats, and the numbers that follow from them."""

import reprlib
from dataclasses import dataclass
from functools import cache

from ringrift import _core
from ringrift.errors import RulesError, unknown

#: The twelve configs, small boards first.
CONFIGS: tuple[str, ...] = tuple(_core.config_names())


@dataclass(frozen=True)
class ConfigInfo:
    """Numbers of a config under the default options (rules sections 1 and 2)."""

    name: str
    board: str
    """`square8`, `hex8`, `square19` or `hexagonal`"""
    players: int
    """seats of the config"""
    cells: int
    """cells of the board"""
    rings_per_player: int
    victory_threshold: int
    """eliminated rings that win"""
    territory_minimum: int
    """collapsed cells that win, if they are more than all others have together"""
    line_length: int
    """markers in a row that a line collapse needs"""
    height: int
    """rows (values of x) of the box around the board"""
    width: int
    """columns (values of y) of the box around the board"""

    @property
    def is_hex(self) -> bool:
        """True for the boards of hexagons, whose cells have axial coordinates around (0, 0)."""
        return self.board.startswith("hex")


def config_info(name: str) -> ConfigInfo:
    """The numbers of a config.

    Raises:
        RulesError: unknown name.
    """
    if not isinstance(name, str):
        raise RulesError(f"a config is a text such as 'square8_2p', not {reprlib.repr(name)}")
    return _config_info(name)


@cache
def _config_info(name: str) -> ConfigInfo:
    if name not in CONFIGS:
        raise RulesError(unknown("config", name, CONFIGS))
    return ConfigInfo(**_core.describe(name))
