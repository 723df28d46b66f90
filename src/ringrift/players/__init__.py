"""Players: a search and an evaluator under a name. Works with numpy alone, but for networks, which need onnxruntime."""

from ringrift.players.player import (
    CACHE_MIB,
    Decision,
    Limit,
    MinimaxPlayer,
    MixedPlayer,
    Player,
    PolicyPlayer,
    PolicySettings,
    Rng,
    TreePlayer,
    drawn_player,
    judged,
)
from ringrift.players.table import MIXTURE, PLAYERS, PlayerChoice, PlayerSpec, SearchSettings, choose, needs_run

__all__ = [
    "CACHE_MIB",
    "MIXTURE",
    "PLAYERS",
    "Decision",
    "Limit",
    "MinimaxPlayer",
    "MixedPlayer",
    "Player",
    "PlayerChoice",
    "PlayerSpec",
    "PolicyPlayer",
    "PolicySettings",
    "Rng",
    "SearchSettings",
    "TreePlayer",
    "choose",
    "drawn_player",
    "judged",
    "needs_run",
]
