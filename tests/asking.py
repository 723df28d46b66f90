"""Requests to an app in this process, without a port, and what is asked."""

import json
from typing import Any

import anyio
import httpx
from random_play import random_game

from ringrift.rules import Game
from ringrift.wire import write_state


class Client:
    """Asks one app; an exception that it lets out is raised."""

    def __init__(self, app: Any, base_url: str = "http://localhost", **headers: str) -> None:
        self.app, self.base_url, self.headers = app, base_url, headers

    def request(self, method: str, path: str, **given: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=("127.0.0.1", 1))
            async with httpx.AsyncClient(transport=transport, base_url=self.base_url, headers=self.headers) as client:
                return await client.request(method, path, **given)

        return anyio.run(ask)

    def get(self, path: str, **given: Any) -> httpx.Response:
        return self.request("GET", path, **given)

    def post(self, path: str, **given: Any) -> httpx.Response:
        return self.request("POST", path, **given)


def state_of(game: Game, **about: Any) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(json.dumps(write_state(game, about={"id": "g", "rngSeed": 5} | about)))
    return state


def middle(config: str = "square8_2p", plies: int = 40, seed: int = 1) -> Game:
    """A game on its way in which there is something to choose."""
    while True:
        game = random_game(config, plies, seed)
        if not game.is_over and len(game.playable_moves()) > 8:
            return game
        seed += 1


def asked(game: Game, level: int = 5, **fields: Any) -> dict[str, Any]:
    return {"game_state": state_of(game), "player_number": game.to_move, "difficulty": level} | fields
