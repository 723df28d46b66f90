"""What a run keeps: games, shards, models; all in one run directory."""

from ringrift.store.games import ConfigCounts, GameStore, StoredGame
from ringrift.store.models import ModelInfo, ModelStore, Promotion
from ringrift.store.run import RunDirectory

__all__ = ["ConfigCounts", "GameStore", "ModelInfo", "ModelStore", "Promotion", "RunDirectory", "StoredGame"]
