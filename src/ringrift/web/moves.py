"""Moves and evaluations."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, model_validator

from ringrift.players.table import PLAYERS
from ringrift.rules import Game, config_info
from ringrift.search.heuristic import heuristic_values
from ringrift.web.errors import Refused
from ringrift.web.evaluation import breakdown, margins
from ringrift.web.metrics import Metrics
from ringrift.web.reading import (
    EXAMPLE_STATE,
    AiType,
    BodyRoute,
    GameState,
    Level,
    check_seat,
    example,
    game_of,
    game_to_move,
    seed_of,
)
from ringrift.web.room import Answer, Overloaded, Seated, with_budget
from ringrift.web.service import LEVEL_TYPES, Service
from ringrift.wire import write_moves

OVERLOAD: dict[int | str, dict[str, Any]] = {
    503: {"description": "as many moves are being decided as there may be; Retry-After says when to ask again"}
}
_T = TypeVar("_T")


class MoveRequest(BaseModel):
    """A state and who is to move in it."""

    game_state: GameState
    player_number: int = Field(ge=1, le=4)
    difficulty: Level = 5
    ai_type: AiType | None = None
    seed: int | None = Field(None, ge=0, le=2**31 - 1)

    model_config = example(game_state=EXAMPLE_STATE, player_number=1, difficulty=6, seed=7)


class BatchRequest(BaseModel):
    """States of several games, of any configs."""

    game_states: list[GameState] = Field(min_length=1, max_length=64)
    player_numbers: list[int]
    difficulty: Level = 8
    mode: str = "batch"
    device: str = "auto"
    simulation_budget: int = Field(64, ge=10, le=1000, description="of each tree search; left out: the level's own")

    model_config = example(game_states=[EXAMPLE_STATE], player_numbers=[1], difficulty=4)

    @model_validator(mode="after")
    def as_many(self) -> BatchRequest:
        if len(self.player_numbers) != len(self.game_states):
            raise ValueError("as many player_numbers as game_states are needed")
        return self


class EvaluateRequest(BaseModel):
    """A state and whose evaluation is asked for."""

    game_state: GameState
    player_number: int = Field(ge=1, le=4)

    model_config = example(game_state=EXAMPLE_STATE, player_number=1)


class PositionRequest(BaseModel):
    """A state."""

    game_state: GameState
    engine_profile: str = Field("heuristic_v1_d5", max_length=100)
    random_seed: int | None = Field(None, ge=0, lt=2**63)

    model_config = example(game_state=EXAMPLE_STATE)


def router(service: Service) -> APIRouter:
    """`/ai/move`, `/ai/moves_batch`, `/ai/evaluate`, `/ai/evaluate_position`."""
    routes = APIRouter(prefix="/ai", tags=["moves"], route_class=BodyRoute)
    limit = service.settings.time_limit

    @routes.post("/move", responses=OVERLOAD)
    async def move(body: MoveRequest, request: Request) -> dict[str, Any]:
        """A move for the player, and which player, budget, network and fallback it is from; `move` is null where the
        player is not to move or the game is over."""
        return await while_connected(request, service.metrics, decided(service, body), limit)

    @routes.post("/moves_batch", responses=OVERLOAD)
    async def moves_batch(body: BatchRequest, request: Request) -> dict[str, Any]:
        """A move for each state, searched side by side."""
        if body.mode not in ("batch", "tensor"):
            raise Refused(400, f"unknown mode {body.mode[:40]!r}; batch or tensor is right")
        start = time.monotonic()
        found = await while_connected(request, service.metrics, decided_batch(service, body), 2 * limit)
        seconds = time.monotonic() - start
        return {
            "moves": found,
            "total_thinking_time_ms": round(1000 * seconds),
            "games_processed": len(found),
            "mode": body.mode,
            "throughput_games_per_sec": round(len(found) / seconds, 2),
        }

    @routes.post("/evaluate")
    def evaluate(body: EvaluateRequest) -> dict[str, Any]:
        """What the hand-written evaluation sees in the position for a player, over the mean of all players."""
        game = game_of(body.game_state)
        check_seat(game.config, body.player_number)
        found = breakdown(game, body.player_number)
        return {"score": found["total"], "breakdown": found}

    @routes.post("/evaluate_position")
    def evaluate_position(body: PositionRequest) -> dict[str, Any]:
        """Every player's evaluation: margins over the mean of all, which add up to 0."""
        if not body.game_state.get("players"):
            raise Refused(400, "the state has no players")
        game = game_of(body.game_state)
        return {
            "engine_profile": body.engine_profile,
            "board_type": config_info(game.config).board,
            "game_id": body.game_state.get("id", ""),
            "move_number": len(body.game_state.get("moveHistory") or ()),
            "per_player": margins(game),
            "evaluation_scale": "zero_sum_margin",
            "generated_at": datetime.now(UTC).isoformat(),
        }

    return routes


async def while_connected(request: Request, metrics: Metrics, work: Coroutine[Any, Any, _T], seconds: float) -> _T:
    """What `work` answers. It is cancelled when the client has gone, or after so many seconds (504)."""
    answers = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((answers, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if answers.done():
            return answers.result()
        if gone.done():
            metrics.cancelled.inc()
            raise Refused(499, "the client has closed the connection")
        raise Refused(504, f"no answer within {seconds:g} seconds")
    finally:
        answers.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def decided(service: Service, body: MoveRequest) -> dict[str, Any]:
    """The answer of /ai/move."""
    start, level, state = time.monotonic(), body.difficulty, body.game_state
    ai_type = body.ai_type or LEVEL_TYPES[level - 1]
    said: dict[str, Any] = {"move": None, "evaluation": 0.0, "thinking_time_ms": 0, "ai_type": ai_type}
    said |= {"difficulty": level, "heuristic_profile_id": None, "use_neural_net": None, "nn_model_id": None}
    said |= {"nn_checkpoint": None, "nnue_checkpoint": None}
    game = game_to_move(state, body.player_number)
    if game is None:
        return said
    game_id, found = str(state.get("id") or ""), None
    seated = service.seat(game.config, level, body.ai_type, game_id)
    try:
        seed = seed_of(body.seed, state)
        found = await _decide(service, seated, game, seed, level, start)
    finally:
        service.metrics.moved(ai_type, level, game.config, found, time.monotonic() - start)
    searched = found.why in ("searched", "deadline", "overload") or found.spent > 0
    model = seated.model
    return said | {
        "move": _move(game, found, state),
        "evaluation": _score(game, found, body.player_number),
        "thinking_time_ms": round(1000 * (time.monotonic() - start)),
        "heuristic_profile_id": None if model else "linear",
        "use_neural_net": bool(model) and searched,
        "nn_model_id": model,
        "nn_checkpoint": f"{model}.onnx" if model else None,
        "player": seated.choice.name,
        "simulations": found.asked,
        "simulations_spent": found.spent,
        "fallback": _fallback(seated, found),
        "why": found.why,
    }


def _move(game: Game, found: Answer, state: dict[str, Any]) -> dict[str, Any]:
    """The move with all that every `Move` has. It depends on the state alone, so the time is that of the last move."""
    (move,) = write_moves(game, [found.move])
    number, at = len(state.get("moveHistory") or ()) + 1, state.get("lastMoveAt")
    when = at if isinstance(at, str) and len(at) <= 40 else "1970-01-01T00:00:00.000Z"
    return {"id": f"{move['type']}-{number}", **move, "timestamp": when, "thinkTime": 0, "moveNumber": number}


def _score(game: Game, found: Answer, player: int) -> float:
    """How the player stands, -1 to 1: as the search sees it, or where there was none, the hand-written evaluation."""
    values = heuristic_values(game) if found.value_by_seat is None else found.value_by_seat
    return round(2 * float(values[player - 1]) - 1, 6)


def _fallback(seated: Seated, found: Answer) -> str | None:
    """Why it is not the move of the player that was asked for."""
    late = found.why == "deadline" and PLAYERS[seated.choice.spec].thinks == "freely"
    if found.why != "failure" and not late:
        return seated.fallback
    instead = "its best move so far" if found.spent else "one ply of the hand-written evaluation"
    return f"{seated.choice.name} {'took too long' if late else 'failed'}: {instead} is played"


async def _decide(
    service: Service, seated: Seated, game: Game, seed: int, level: int, start: float, games: int = 1
) -> Answer:
    """The decision by the level's deadline; with many `games` in a request there is more time."""
    settings = service.settings
    deadline = start + min(settings.deadlines[level - 1] * max(1.0, games / 8), settings.time_limit / 2)
    try:
        found = await service.room.decide(seated, game, seed, deadline, quick=settings.overload == "quick")
    except Overloaded as error:
        service.metrics.overload.labels("refused").inc()
        raise Refused(503, str(error), {"Retry-After": "1"}) from error
    if found.why == "overload":
        service.metrics.overload.labels("quick").inc()
    if _fallback(seated, found):
        service.metrics.fallbacks.labels(game.config, str(level)).inc()
    return found


async def decided_batch(service: Service, body: BatchRequest) -> list[dict[str, Any]]:
    """The moves of /ai/moves_batch, each with the budget of the level, or the one that is given."""
    start, level = time.monotonic(), body.difficulty
    budget = body.simulation_budget if "simulation_budget" in body.model_fields_set else None

    async def one(index: int) -> dict[str, Any]:
        state, player = body.game_states[index], body.player_numbers[index]
        game = game_to_move(state, player, index)
        if game is None:
            return {"move": None, "evaluation": 0.0, "game_index": index}
        game_id = str(state.get("id") or "")
        seated = with_budget(service.seat(game.config, level, None, game_id), budget)
        seed = seed_of(None, state, ("game_states", index))
        found = await _decide(service, seated, game, seed, level, start, games=len(body.game_states))
        return {"move": _move(game, found, state), "evaluation": _score(game, found, player), "game_index": index}

    try:
        async with asyncio.TaskGroup() as group:  # when one is refused, so are all, and nothing goes on
            found = [group.create_task(one(index)) for index in range(len(body.game_states))]
    except* Refused as refused:
        raise refused.exceptions[0] from None
    return [task.result() for task in found]
