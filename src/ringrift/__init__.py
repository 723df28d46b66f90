"""RingRift: exact rules, search and self-play training. Importing it needs numpy alone."""

from ringrift.errors import (
    CorruptBlob,
    DataError,
    EncodingMismatch,
    FormatTooNew,
    IllegalMove,
    InvalidNotation,
    RingRiftError,
    RulesError,
)
from ringrift.rules import CONFIGS, ConfigInfo, Game, GameBatch, Move, Options, Outcome, Phase, Record, config_info

__all__ = [
    "CONFIGS",
    "ConfigInfo",
    "CorruptBlob",
    "DataError",
    "EncodingMismatch",
    "FormatTooNew",
    "Game",
    "GameBatch",
    "IllegalMove",
    "InvalidNotation",
    "Move",
    "Options",
    "Outcome",
    "Phase",
    "Record",
    "RingRiftError",
    "RulesError",
    "config_info",
]

__version__ = "0.1.0"
