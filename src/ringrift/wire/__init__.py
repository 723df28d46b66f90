"""The game server's JSON, both ways: states and moves."""

from ringrift.wire.state import (
    SIZES,
    WireError,
    is_ended,
    read_config,
    read_move,
    read_state,
    write_moves,
    write_state,
)

__all__ = [
    "SIZES",
    "WireError",
    "is_ended",
    "read_config",
    "read_move",
    "read_state",
    "write_moves",
    "write_state",
]
