"""Whether a move is legal, and the state after it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from ringrift.errors import RulesError
from ringrift.rules import Game
from ringrift.web.errors import misfit
from ringrift.web.reading import EXAMPLE_STATE, BodyRoute, GameState, example, game_of
from ringrift.web.service import Service
from ringrift.wire import read_move, write_state

#: Fields of the state that a move leaves as they are.
KEPT = ("id", "rngSeed", "timeControl", "spectators", "createdAt", "isRated", "maxPlayers")
#: And of its players.
KEPT_OF_PLAYERS = ("id", "username", "type", "isReady", "timeRemaining", "rating", "aiDifficulty", "aiProfile")


class EvaluateMove(BaseModel):
    """A state and a move in it."""

    game_state: GameState
    move: dict[str, Any]

    model_config = example(
        game_state=EXAMPLE_STATE,
        move={"id": "1", "type": "place_ring", "player": 1, "to": {"x": 3, "y": 3}, "placementCount": 2},
    )


def router(_service: Service) -> APIRouter:
    """`/rules/evaluate_move`."""
    routes = APIRouter(tags=["rules"], route_class=BodyRoute)

    @routes.post("/rules/evaluate_move")
    def evaluate_move(request: EvaluateMove) -> dict[str, Any]:
        """Plays the move: `valid`, and the state after it, or why it cannot be played."""
        move = request.move
        for name in ("id", "type", "player"):
            if move.get(name) is None:
                raise misfit(("move", name), "Field required", "missing")
        game = game_of(request.game_state)
        unknown = {"valid": False, "next_state": None, "state_hash": None, "s_invariant": None, "game_status": None}
        try:
            game.push(read_move(game, move, request.game_state["board"]["stacks"]))
        except RulesError as error:
            return unknown | {"validation_error": str(error)[:400]}
        after = next_state(game, request.game_state, move)
        scores = game.scores()
        return {
            "valid": True,
            "validation_error": None,
            "next_state": after,
            "state_hash": game.canonical_hash(),
            "s_invariant": sum(one.markers + one.terr + one.elim for one in scores),
            "game_status": after["gameStatus"],
        }

    return routes


def next_state(game: Game, before: dict[str, Any], move: dict[str, Any]) -> dict[str, Any]:
    """`game` in wire form, with the move at the end of its history and what is known beside it kept."""
    about = {name: before[name] for name in KEPT if name in before}
    after = write_state(game, [*(before.get("moveHistory") or []), move], about=about)
    after["players"] = [
        {name: old[name] for name in KEPT_OF_PLAYERS if name in old} | new
        for old, new in zip(before["players"], after["players"], strict=True)
    ]
    return after
