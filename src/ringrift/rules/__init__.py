"""The rules: games, moves and records, on the compiled core. Needs numpy alone."""

from ringrift.rules.game import (
    CONFIGS,
    ConfigInfo,
    Game,
    GameBatch,
    LegalMoves,
    Move,
    Options,
    Outcome,
    Phase,
    Score,
    config_info,
)
from ringrift.rules.record import Record, SearchStats

__all__ = [
    "CONFIGS",
    "ConfigInfo",
    "Game",
    "GameBatch",
    "LegalMoves",
    "Move",
    "Options",
    "Outcome",
    "Phase",
    "Record",
    "Score",
    "SearchStats",
    "config_info",
]
