"""Players: a search and an evaluator under a name. Works with numpy alone, but for networks, which need onnxruntime."""

from ringrift.players.player import Decision, GumbelPlayer, Limit, Player, Rng
from ringrift.players.table import PLAYERS, PlayerChoice, PlayerSpec, choose

__all__ = ["PLAYERS", "Decision", "GumbelPlayer", "Limit", "Player", "PlayerChoice", "PlayerSpec", "Rng", "choose"]
