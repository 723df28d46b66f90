"""Requests of the longest games: with all that the game server sends of them, many at a time."""

import gzip
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from asking import Client
from long_games import board_bytes, long_state
from recorded import VECTORS
from starlette.responses import JSONResponse

from ringrift.rules import CONFIGS
from ringrift.web.app import create_app
from ringrift.web.limits import Access, Guard
from ringrift.web.service import Service
from ringrift.web.settings import LimitSettings, ServeSettings
from ringrift.wire import read_move

PLIES = 2_200
CASE = VECTORS.parents[1] / "cases" / "long-game-request.json.gz"


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    service = Service(ServeSettings(poll=60.0))
    service.start()
    yield Client(create_app(service))
    service.stop()


@pytest.mark.parametrize("config", CONFIGS)
def test_a_long_game_is_answered_as_if_it_had_no_history(client: Client, config: str) -> None:
    game, state = long_state(config, PLIES)
    body = {"game_state": state, "player_number": game.to_move, "difficulty": 2}
    long = client.post("/ai/move", json=body)
    assert long.status_code == 200, long.text
    found = long.json()
    assert read_move(game, found["move"]) in game.playable_moves()
    assert found["move"]["moveNumber"] == len(state["moveHistory"]) + 1 > PLIES
    short = client.post("/ai/move", json=body | {"game_state": state | {"history": []}}).json()
    assert short["move"] == found["move"] and short["evaluation"] == found["evaluation"]


@pytest.mark.parametrize("path", ["/ai/evaluate", "/ai/evaluate_position", "/rules/evaluate_move", "/ai/moves_batch"])
def test_every_endpoint_takes_a_long_game(client: Client, path: str) -> None:
    game, state = long_state("hexagonal_4p", PLIES)
    body: dict[str, Any] = {"game_state": state, "player_number": game.to_move, "move": state["moveHistory"][-1]}
    if path == "/ai/moves_batch":
        body = {"game_states": [state] * 3, "player_numbers": [game.to_move] * 3, "difficulty": 1}
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text


def test_of_the_longest_game_little_is_held() -> None:
    """Boards as full as they can be in every move of the history: nearly all is dropped as it comes."""
    _, state = long_state("hexagonal_4p", PLIES)
    _, full = long_state("hexagonal_4p", 1, board_bytes("hexagonal_4p"))
    entry = json.dumps(full["history"][0]).encode()
    del state["history"]
    rest = json.dumps(state).encode()[1:]
    seen = list[bytes]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((await receive())["body"])
        await JSONResponse({})(scope, receive, send)

    async def parts() -> AsyncIterator[bytes]:
        yield b'{"player_number":1,"game_state":{"history":['
        for number in range(PLIES):
            yield entry + b"," * (number < PLIES - 1)
            assert guard._buffered < 1_000
        yield b"]," + rest + b"}"

    guard = Guard(app, limits=LimitSettings(), access=Access())
    assert len(entry) * PLIES > 50_000_000
    Client(guard).post("/ai/move", content=parts(), headers={"Content-Type": "application/json"})
    assert json.loads(seen[0]) == {"player_number": 1, "game_state": {"history": None} | state}
    assert len(seen[0]) < 1_000_000
    assert guard._buffered == 0


def test_others_have_their_turn_beside_many_long_games() -> None:
    """Of all the large pieces that come at a time, one is looked through in a turn of the event loop."""
    pieces, clients, turns = 20, 16, [0]

    async def go() -> None:
        async def watch() -> None:
            while True:
                turns[0] += 1
                await anyio.sleep(0)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            assert (await receive())["body"] == b'{"game_state":{"history":null}}'

        async def ask() -> None:
            parts = [b'{"game_state":{"history":"', *[b"x" * 100_000] * pieces, b'"}}']
            messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
            messages[-1]["more_body"] = False

            async def receive() -> Any:
                return messages.pop(0)

            async def send(message: Any) -> None:
                raise AssertionError(message)

            await guard(scope, receive, send)

        headers = [(b"content-type", b"application/json"), (b"host", b"localhost")]
        scope = {"type": "http", "method": "POST", "path": "/ai/move", "headers": headers}
        guard = Guard(app, limits=LimitSettings(), access=Access())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            async with anyio.create_task_group() as asking:
                for _ in range(clients):
                    asking.start_soon(ask)
            tasks.cancel_scope.cancel()

    anyio.run(go)
    assert turns[0] >= pieces * clients


def test_what_is_skipped_is_json_all_the_same(client: Client) -> None:
    game, state = long_state("square8_2p", 60)
    good = json.dumps({"player_number": game.to_move, "game_state": state}).encode()
    for wrong, right in ((b"1e999", b'"moveNumber": 7'), (b"NaN", b'"moveNumber": 7'), (b"\xff", b"move_stack")):
        assert right in good
        at = good.rindex(right) + len(right) - 1
        answer = client.post(
            "/ai/move", content=good[:at] + wrong + good[at + 1 :], headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 422 and answer.json()["detail"][0]["type"] == "json_invalid"


@pytest.mark.skipif(not CASE.is_file(), reason=f"no long game: {CASE}")
def test_the_game_that_was_lost(client: Client) -> None:
    """A game of the real server; it is over, so it is asked for as it stood before its last moves as well."""
    with gzip.open(CASE) as file:
        state = json.load(file)["state"]
    assert client.post("/ai/move", json={"game_state": state, "player_number": 3}).json()["move"] is None
    answer = client.post("/ai/evaluate_position", json={"game_state": state})
    assert answer.status_code == 200 and answer.json()["move_number"] == len(state["moveHistory"])
