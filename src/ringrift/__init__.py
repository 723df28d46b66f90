"""RingRift: exact rules, search and self-play training. Importing it needs numpy alone.

What it offers is loaded when it is first asked for, so that the command line begins at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ringrift import errors, rules
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
    "errors",
    "rules",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in ("errors", "rules"):
        return import_module(f"{__name__}.{name}")
    errors = import_module(f"{__name__}.errors")
    found = getattr(errors if hasattr(errors, name) else import_module(f"{__name__}.rules"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
