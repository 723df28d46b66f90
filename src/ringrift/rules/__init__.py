"""The rules: games, moves and records, on the compiled core. Needs numpy alone."""

from ringrift.rules.config import CONFIGS, ConfigInfo, config_info
from ringrift.rules.game import Game, GameBatch, LegalMoves, Move, Options, Outcome, Phase, Score
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
