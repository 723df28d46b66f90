"""The service as a process, asked as the game server asks it: whole games on all boards, memory, and its end."""

import asyncio
import signal
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from ringrift.bench.serve import play_games, server
from ringrift.rules import CONFIGS, Game, Options
from ringrift.wire import read_move, write_moves, write_state

pytestmark = pytest.mark.slow


class Unavailable(Exception):
    """The client does not ask, or has no answer."""


class AiClient:
    """Asks for moves like the game server: 30 s for an answer, 16 questions at a time, and after five failures in a row
    none for a minute."""

    TIMEOUT, CAP, FAILURES, PAUSE = 30.0, 16, 5, 60.0

    def __init__(self, url: str) -> None:
        self.http = httpx.AsyncClient(base_url=url, timeout=self.TIMEOUT)
        self._in_flight = self._failed = 0
        self._open_until = 0.0

    async def move(self, state: dict[str, Any], player: int, difficulty: int) -> dict[str, Any]:
        if time.monotonic() < self._open_until:
            raise Unavailable("circuit breaker is open")
        if self._in_flight >= self.CAP:
            raise Unavailable("AI_SERVICE_OVERLOADED")
        self._in_flight += 1
        try:
            body = {"game_state": state, "player_number": player, "difficulty": difficulty}
            answer = await self.http.post("/ai/move", json=body, headers={"X-Request-Id": f"r-{player}"})
            answer.raise_for_status()
        except httpx.HTTPError as error:
            self._failed += 1
            if self._failed >= self.FAILURES:
                self._failed, self._open_until = 0, time.monotonic() + self.PAUSE
            raise Unavailable(str(error)) from error
        finally:
            self._in_flight -= 1
        self._failed = 0
        found: dict[str, Any] = answer.json()
        return found


def accepted(move: dict[str, Any], listed: list[dict[str, Any]]) -> bool:
    """The host's test: some move of its own list is alike in these fields."""
    fields = ("type", "player", "from", "to", "captureTarget", "placementCount")
    return any(all(move.get(name) == one.get(name) for name in fields) for one in listed)


async def hosted(client: AiClient, config: str, level: int) -> int:
    """Plays a whole game in which every seat is the service's; how many moves it was asked for."""
    rings = 5 if config.startswith(("square19", "hexagonal")) else 8
    game, history, asked = Game(config, Options(rings_per_player=rings)), list[dict[str, Any]](), 0
    while not game.is_over:
        moves = game.playable_moves()
        move = moves[0]
        if len(moves) > 1:
            state = write_state(game, history, about={"id": config, "rngSeed": 11})
            del state["ringrift"]  # the game server knows nothing of it
            answer = (await client.move(state, game.to_move, level))["move"]
            assert accepted(answer, write_moves(game, moves)), (game.text(), answer)
            move, asked = read_move(game, answer, state["board"]["stacks"]), asked + 1
        history += write_moves(game, [move])
        game.push(move)
    return asked


def test_whole_games_on_all_boards() -> None:
    async def go(url: str) -> None:
        client = AiClient(url)
        async with client.http:
            asked = await asyncio.gather(*(hosted(client, config, 1 + i % 2) for i, config in enumerate(CONFIGS)))
        assert min(asked) > 5

    with server() as (url, _):
        asyncio.run(go(url))


def test_it_is_small_needs_no_torch_and_ends_with_its_answers_given() -> None:
    with server() as (url, process):
        found = asyncio.run(play_games(url, "square8_2p", 6, 4, 2.0))
        assert found.statuses.keys() == {200} and found.spent == found.asked > 0
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        assert "onnxruntime" in maps and "libtorch" not in maps
        game, answers = Game("hexagonal_3p"), list[httpx.Response]()
        body = {"game_state": write_state(game), "player_number": 1, "difficulty": 10}
        asking = threading.Thread(target=lambda: answers.append(httpx.post(f"{url}/ai/move", json=body, timeout=30)))
        asking.start()
        time.sleep(0.5)
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.send_signal(signal.SIGTERM)
        asking.join()
        assert process.wait(10) == 0
        assert answers[0].status_code == 200 and answers[0].json()["move"]
    with server() as (url, process):
        with pytest.raises(httpx.TimeoutException):  # the search takes some tenths of a second at least
            httpx.post(f"{url}/ai/move", json=body, timeout=0.1)
        told = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert time.monotonic() - told < 8 / 3  # nobody waits for the search, which may take 8 s
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak < 600_000  # kB
