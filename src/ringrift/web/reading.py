"""What requests have in common: the state, and the game it is of."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import ConfigDict, Field
from pydantic_core import from_json

from ringrift.rules import Game, config_info
from ringrift.web.errors import misfit
from ringrift.wire import WireError, is_ended, read_config, read_state, write_state

EXAMPLE_STATE = write_state(Game("square8_2p"), about={"id": "a-game", "rngSeed": 7})
#: A state as the game server sends it, read by `wire`.
GameState = Annotated[dict[str, Any], Field(description="GameState of the game server")]
#: 1, the weakest, to 10.
Level = Annotated[int, Field(ge=1, le=10)]
#: What the game server may call an engine.
AiType = Literal["random", "heuristic", "minimax", "mcts", "descent", "policy_only", "gumbel_mcts", "ig_gmo"]
_T = TypeVar("_T")
LARGE = 100_000  #: bytes from which a body is parsed beside the event loop, one at a time
_PARSER = ThreadPoolExecutor(1, "json")


class _Body(Request):
    """A request whose body is JSON that the guard has looked through."""

    async def json(self) -> Any:
        body = await self.body()
        if len(body) < LARGE:
            return from_json(body)
        return await asyncio.get_running_loop().run_in_executor(_PARSER, from_json, body)


class BodyRoute(APIRoute):
    """A route whose large bodies do not hold up the event loop."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(_Body(request.scope, request.receive))

        return handle


def example(**fields: Any) -> ConfigDict:
    """The configuration of a body that is documented with an example."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


def _read(what: Callable[[dict[str, Any]], _T], state: dict[str, Any], at: tuple[str | int, ...]) -> _T:
    try:
        return what(state)
    except WireError as error:
        raise misfit((*at, *error.loc), str(error)) from error


def game_of(state: dict[str, Any], at: tuple[str | int, ...] = ("game_state",)) -> Game:
    """The game of a state. Raises `Refused` (422) naming the field that cannot be."""
    return _read(read_state, state, at)


def game_to_move(state: dict[str, Any], player: int, index: int | None = None) -> Game | None:
    """The game, where this player is to move in it; None where another is, or it is over. Raises as `game_of`.

    `index`: of the state and of its player, where there are many.
    """
    many: tuple[int, ...] = () if index is None else (index,)
    at = ("game_states" if many else "game_state", *many)
    check_seat(_read(read_config, state, at), player, ("player_numbers" if many else "player_number", *many))
    if _read(is_ended, state, at):
        return None
    game = game_of(state, at)
    return game if game.to_move == player else None


def check_seat(config: str, player: int, at: tuple[str | int, ...] = ("player_number",)) -> None:
    """Raises `Refused` (422) for a player that does not sit there."""
    seats = config_info(config).players
    if not 1 <= player <= seats:
        raise misfit(at, f"1 to {seats} is right: so many players the state has", given=player)


def seed_of(seed: int | None, state: dict[str, Any], at: tuple[str | int, ...] = ("game_state",)) -> int:
    """What everything random of an answer is drawn from: the request's seed, the game's, or one of the game's id.

    Raises `Refused` (422) for a seed of the game that is none.
    """
    own = state.get("rngSeed")
    if own is not None and not (type(own) is int and 0 <= own < 2**63):
        raise misfit((*at, "rngSeed"), "0 to 2**63 - 1 is right", given=own)
    if seed is not None:
        return seed
    return zlib.crc32(str(state.get("id") or "").encode()) if own is None else own
