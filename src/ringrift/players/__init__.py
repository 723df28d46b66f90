"""Players: a search and an evaluator under a name. Works with numpy alone, but for networks, which need onnxruntime."""

from ringrift.players.player import (
    Decision,
    GumbelPlayer,
    Limit,
    MixedPlayer,
    Pace,
    Player,
    PolicyPlayer,
    PolicySettings,
    Rng,
    drawn_player,
    judged,
)
from ringrift.players.table import MIXTURE, PLAYERS, PlayerChoice, PlayerSpec, SearchSettings, choose

__all__ = [
    "MIXTURE",
    "PLAYERS",
    "Decision",
    "GumbelPlayer",
    "Limit",
    "MixedPlayer",
    "Pace",
    "Player",
    "PlayerChoice",
    "PlayerSpec",
    "PolicyPlayer",
    "PolicySettings",
    "Rng",
    "SearchSettings",
    "choose",
    "drawn_player",
    "judged",
]
