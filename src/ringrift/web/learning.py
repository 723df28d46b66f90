"""`/api/online-learning`: games that people won, kept to learn from later.

What the callers send does not say how many rings were placed, nor which lines and regions were chosen: most such games
cannot be replayed. They are kept as they came, once each, in `online/CONFIG` of the run, one file of JSON lines per
game; `ringrift learn` takes in those that do replay, and learns from them.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field, model_validator

from ringrift.fabric import write_atomically
from ringrift.fabric.files import make_directory
from ringrift.store.run import ONLINE, TAKEN
from ringrift.web.errors import Refused
from ringrift.web.reading import BodyRoute
from ringrift.web.service import Service

if TYPE_CHECKING:
    from ringrift.store.models import ModelInfo

Board = Literal["square8", "square19", "hex8", "hexagonal"]
Seats = Annotated[int, Field(ge=2, le=4)]
BUFFER = 10_000  #: games of a config that wait to be learned from; more are not kept
THRESHOLD = 0.55  #: share of won games from which a candidate should take the promoted model's place


class Learned(BaseModel):
    """A game that a person has played. Moves are in the form of the game server or of its page."""

    board_type: Board
    num_players: Seats
    moves: list[dict[str, Any]] = Field(max_length=10_000)
    winner: int = Field(ge=1, le=4)
    human_player: int = Field(ge=1, le=4)
    human_won: bool = True
    ai_difficulty: int | None = Field(None, ge=1, le=10)

    @model_validator(mode="after")
    def seated(self) -> Learned:
        if max(self.winner, self.human_player) > self.num_players:
            raise ValueError(f"winner and human_player are 1 to {self.num_players}")
        return self


def router(service: Service) -> APIRouter:
    """Its endpoints."""
    routes = APIRouter(prefix="/api/online-learning", tags=["online learning"], route_class=BodyRoute)

    @routes.post("/learn_from_game")
    def learn(game: Learned) -> dict[str, Any]:
        """Keeps a game for a later training; nothing is trained here, so `model_updated` is false. 404 for a config
        that has no network to go on from."""
        if not game.human_won:
            return {"success": True, "metrics": None, "message": "Skipped learning (human did not win)"}
        config = f"{game.board_type}_{game.num_players}p"
        if config not in service.networks.current:
            raise Refused(404, f"Canonical model not found: {config}")
        if service.run is None:
            return {"success": False, "metrics": None, "message": "not kept: the service was started without a run"}
        folder = service.run.online(config)
        make_directory(folder)
        kept = sum(one.is_file() for one in os.scandir(folder))
        line = json.dumps(_line(game), sort_keys=True, separators=(",", ":"))
        path = folder / f"{ONLINE}{hashlib.sha256(line.encode()).hexdigest()[:32]}.jsonl"
        known = path.is_file() or (folder / TAKEN / path.name).is_file()
        if not known and kept >= BUFFER:
            return {"success": False, "metrics": None, "message": f"not kept: {kept} games of {config} wait already"}
        if not known:
            write_atomically(path, line.encode() + b"\n")
        metrics = {
            "total_loss": None, "td_loss": None, "outcome_loss": None, "num_transitions": len(game.moves),
            "games_in_buffer": kept + (not known), "model_updated": False, "shadow_model_path": None,
        }  # fmt: skip
        said = "known already" if known else "kept for a later training: nothing has learned from it yet"
        return {"success": True, "metrics": metrics, "message": said}

    @routes.get("/shadow_models")
    def shadows() -> dict[str, Any]:
        """The models that could take the place of those that play: the newest candidate of each config."""
        found = []
        for config in sorted(service.networks.current):
            if (model := _candidate(service, config)) is not None:
                assert service.run is not None
                path = service.run.fabric.blobs.path(model.checkpoint)
                found.append({"name": f"{config}:{model.id}", "path": path.name,
                              "size_mb": round(path.stat().st_size / 1e6, 3), "modified": model.added})  # fmt: skip
        return {"shadow_model_dir": "blobs", "models": found, "count": len(found)}

    @routes.post("/validate_merge/{board}/{players}")
    def validate_merge(board: Board, players: Annotated[int, Path(ge=2, le=4)]) -> dict[str, Any]:
        """What the loop's match between the newest candidate and the model that plays has come to; 404 until that is
        done. No games are played here, so that `games` is not heeded."""
        config = f"{board}_{players}p"
        model = _candidate(service, config)
        if model is None:
            raise Refused(404, f"Shadow model not found: {config}")
        assert service.run is not None
        from ringrift.store.models import ModelStore

        promoted = ModelStore(service.run).promoted(config)
        told = [one for name, one in model.metrics.items() if name.startswith("match/") and isinstance(one, dict)]
        match = next((one for one in told if promoted and str(one.get("b", "")).partition("@")[0] == promoted), None)
        if match is None or not match["games"]:
            raise Refused(404, f"no match between {model.id} and {promoted or 'a promoted model'} has been played yet")
        share = match["wins"] / match["games"]
        return {"shadow_wins": match["wins"], "total_games": match["games"], "win_rate": round(share, 4),
                "should_merge": share >= THRESHOLD, "threshold": THRESHOLD}  # fmt: skip

    return routes


def _line(game: Learned) -> dict[str, Any]:
    """The game as `ringrift data import` reads it."""
    players = [{"playerNumber": seat, "playerType": "human" if seat == game.human_player else "ai"}
               for seat in range(1, game.num_players + 1)]  # fmt: skip
    return {
        "boardType": game.board_type, "numPlayers": game.num_players, "winner": game.winner, "players": players,
        "gameStatus": "completed", "source": "online", "aiDifficulty": game.ai_difficulty, "moves": game.moves,
    }  # fmt: skip


def _candidate(service: Service, config: str) -> ModelInfo | None:
    """The newest candidate of a config, unless it plays already, was pruned, or there is no run."""
    if service.run is None:
        return None
    from ringrift.store.models import ModelStore

    store = ModelStore(service.run)
    _, newest = store.newest(config, "candidate")
    return newest if newest is not None and newest.id not in store.champions(config) else None
