"""Searches of the AI service in time and under load."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from asking import Client, asked, middle
from numpy.typing import NDArray

from ringrift.errors import DataError
from ringrift.evaluators import UniformEvaluator
from ringrift.players.player import Decision, Limit, Player, RandomPlayer, Rng
from ringrift.players.table import PLAYERS, PlayerSpec, choose
from ringrift.rules import Game
from ringrift.search import GumbelSettings
from ringrift.web.app import create_app
from ringrift.web.room import Overloaded, SearchRoom, Seated
from ringrift.web.service import Service
from ringrift.web.settings import ServeSettings
from ringrift.wire import read_move

CONFIG = "square8_2p"


class Slow(UniformEvaluator):
    """Takes its time, and remembers how many positions it was asked for at a time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(CONFIG)
        self.seconds, self.rows = seconds, list[int]()

    def evaluate(
        self, planes: NDArray[np.uint8], globals_: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        time.sleep(self.seconds)
        self.rows.append(len(planes))
        return super().evaluate(planes, globals_)


class Broken(UniformEvaluator):
    """Fails after so many calls."""

    def __init__(self, config: str, after: int = 2) -> None:
        super().__init__(config)
        self.left = after

    def evaluate(
        self, planes: NDArray[np.uint8], globals_: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.left -= 1
        if self.left < 0:
            raise DataError("the network is broken")
        return super().evaluate(planes, globals_)


def seated(evaluator: UniformEvaluator, simulations: int = 64) -> Seated:
    return Seated(choose("gumbel", CONFIG, GumbelSettings(simulations)), evaluator)


@pytest.fixture
def room() -> Iterator[SearchRoom]:
    made = SearchRoom(threads=1, waiting=4)
    yield made
    made.close()


def test_requests_share_batches_and_join_at_any_step(room: SearchRoom) -> None:
    slow = Slow(0.005)

    async def go() -> None:
        first = asyncio.ensure_future(room.decide(seated(slow), middle(), 1, time.monotonic() + 20))
        await asyncio.sleep(0.03)
        others = [room.decide(seated(slow), middle(seed=seed), 1, time.monotonic() + 20) for seed in (2, 3)]
        for answer in await asyncio.gather(first, *others):
            assert answer.spent == answer.asked == 64 and answer.why == "searched"

    asyncio.run(go())
    assert slow.rows[0] == 1 and max(slow.rows) > 16, slow.rows


def test_a_deadline_gives_the_best_move_so_far(room: SearchRoom) -> None:
    game, start = middle(), time.monotonic()
    answer = asyncio.run(room.decide(seated(Slow(0.02), 100_000), game, 1, start + 0.3))
    assert answer.why == "deadline" and 0 < answer.spent < 100_000 and answer.move in game.playable_moves()
    assert time.monotonic() - start < 5
    late = asyncio.run(room.decide(seated(Slow(0.02)), game, 1, time.monotonic() - 1))
    assert late.why == "deadline" and late.spent == 0 and late.move in game.playable_moves()


def test_the_most_urgent_is_searched_first(room: SearchRoom) -> None:
    slow, order = [Slow(0.01), Slow(0.01)], list[str]()

    async def ask(name: str, evaluator: Slow, seconds: float) -> None:
        await room.decide(seated(evaluator), middle(), 1, time.monotonic() + seconds)
        order.append(name)

    async def go() -> None:
        patient = asyncio.ensure_future(ask("patient", slow[0], 60))
        await asyncio.sleep(0.02)
        await asyncio.gather(patient, ask("urgent", slow[1], 20))

    asyncio.run(go())
    assert order == ["urgent", "patient"]


def test_beyond_capacity_requests_are_refused_or_answered_without_a_search(room: SearchRoom) -> None:
    game = middle()

    async def go() -> None:
        fill = [room.decide(seated(Slow(0.01)), game, 1, time.monotonic() + 30) for _ in range(4)]
        under_way = [asyncio.ensure_future(one) for one in fill]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="4 moves are being decided"):
            await room.decide(seated(Slow(0.01)), game, 1, time.monotonic() + 30)
        quick = await room.decide(seated(UniformEvaluator(CONFIG)), game, 1, time.monotonic() + 30, quick=True)
        assert quick.why == "overload" and quick.move in game.playable_moves()
        assert all(answer.why == "searched" for answer in await asyncio.gather(*under_way))
        assert room.busy == 0

    asyncio.run(go())


def test_whoever_goes_ends_the_search(room: SearchRoom) -> None:
    slow = Slow(0.01)

    async def go() -> None:
        search = asyncio.ensure_future(room.decide(seated(slow, 100_000), middle(), 1, time.monotonic() + 60))
        await asyncio.sleep(0.1)
        search.cancel()
        await asyncio.sleep(0.1)
        assert search.cancelled() and room.busy == 0
        steps = len(slow.rows)
        await asyncio.sleep(0.2)
        assert len(slow.rows) - steps <= 1

    asyncio.run(go())


def test_a_room_that_closes_gives_up_what_is_in_its_hands() -> None:
    room, slow = SearchRoom(threads=1), Slow(0.01)

    async def go() -> None:
        search = asyncio.ensure_future(room.decide(seated(slow, 2000), middle(), 1, time.monotonic() + 60))
        while not slow.rows:
            await asyncio.sleep(0.01)
        room.close()  # while nothing can reach the search from here, as when the server ends
        with pytest.raises(asyncio.CancelledError):
            await search

    asyncio.run(go())
    assert len(slow.rows) < 10, slow.rows


THINKERS = {
    "alpha-beta": Seated(choose("alpha-beta", CONFIG, limit=Limit(1 << 40))),
    "maxn": Seated(choose("maxn", CONFIG, limit=Limit(1 << 40))),
    "puct": Seated(choose("puct", CONFIG, limit=Limit(1 << 23))),
    "gumbel": Seated(choose("gumbel", CONFIG, limit=Limit(1 << 23))),
}


@pytest.mark.parametrize("name", THINKERS)
def test_a_search_in_one_go_that_nobody_waits_for_leaves_its_thread(room: SearchRoom, name: str) -> None:
    async def go() -> None:
        search = asyncio.ensure_future(room.decide(THINKERS[name], middle(), 1, time.monotonic() + 60))
        await asyncio.sleep(0.1)
        search.cancel()
        few = replace(THINKERS[name], choice=replace(THINKERS[name].choice, limit=Limit(20)))
        next_one = await asyncio.wait_for(room.decide(few, middle(), 1, time.monotonic() + 60), 10)
        assert next_one.why == "searched" and search.cancelled()

    asyncio.run(go())


def test_a_room_closes_beside_a_search_in_one_go() -> None:
    room = SearchRoom(threads=2)

    async def go() -> None:
        ends = time.monotonic() + 60
        searches = [asyncio.ensure_future(room.decide(one, middle(), 1, ends)) for one in THINKERS.values()]
        await asyncio.sleep(0.1)
        room.close()
        for search in searches:
            with pytest.raises(asyncio.CancelledError):
                await search
        assert time.monotonic() < ends - 40

    asyncio.run(go())


def test_a_network_that_fails_fails_no_game_and_reaches_nobody_else(room: SearchRoom) -> None:
    games = [middle(seed=seed) for seed in (1, 2, 3)]

    async def go() -> None:
        ends, broken = time.monotonic() + 20, Broken(CONFIG)
        good, *ill = await asyncio.gather(
            room.decide(seated(Slow(0.0)), games[0], 1, ends), *(room.decide(seated(broken), g, 1, ends) for g in games)
        )
        assert good.why == "searched"
        for game, answer in zip(games, ill, strict=True):  # the same network answered once or twice, then no more
            assert answer.why == "failure" and answer.move in game.playable_moves()
        policy = Seated(choose("policy:best", CONFIG, models=lambda _: ("m", Path())), Broken(CONFIG, after=0))
        one_ply = await room.decide(policy, games[0], 1, ends)
        assert (one_ply.why, one_ply.spent) == ("failure", 0) and one_ply.move in games[0].playable_moves()
        deep = await room.decide(seated(Broken(CONFIG, after=5)), games[0], 1, ends)
        assert deep.why == "failure" and 0 < deep.spent < 64 and deep.value_by_seat is not None

    asyncio.run(go())


def test_only_what_cannot_even_be_rescued_is_an_error(room: SearchRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object) -> None:
        raise ValueError("lost")

    monkeypatch.setattr("ringrift.players.player.HeuristicPlayer.decide", lost)
    with pytest.raises(ValueError, match="lost"):
        asyncio.run(room.decide(seated(Broken(CONFIG, after=0)), middle(), 1, time.monotonic() + 20))


def test_a_failure_is_told_and_counted() -> None:
    service = Service(ServeSettings(poll=60.0))
    service.start()
    try:
        one = service.networks.current[CONFIG]
        service.networks.current[CONFIG] = replace(one, evaluator=Broken(CONFIG, after=0))
        found = Client(create_app(service)).post("/ai/move", json=asked(middle(), 8)).json()
        assert read_move(middle(), found["move"]) in middle().playable_moves()
        assert (found["why"], found["use_neural_net"], found["simulations_spent"]) == ("failure", False, 0)
        assert found["fallback"] == f"{one.id} failed: one ply of the hand-written evaluation is played"
        counted = service.metrics.text().decode()
        assert f'ringrift_serve_fallbacks_total{{config="{CONFIG}",level="8"}} 1.0' in counted
    finally:
        service.stop()


@pytest.mark.parametrize("evaluator", [None, UniformEvaluator(CONFIG)])
def test_a_move_without_a_search_waits_for_no_long_search(evaluator: UniformEvaluator | None) -> None:
    room, game = SearchRoom(threads=1, waiting=1), middle()

    async def go() -> None:
        ends = time.monotonic() + 60
        long = asyncio.ensure_future(room.decide(THINKERS["alpha-beta"], game, 1, ends))
        await asyncio.sleep(0.1)
        who = Seated(choose("alpha-beta", CONFIG)) if evaluator is None else seated(evaluator)
        quick = await asyncio.wait_for(room.decide(who, game, 1, ends, quick=True), 20)
        assert quick.why == "overload" and not long.done()

    try:
        asyncio.run(go())
    finally:
        room.close()


def test_a_player_that_does_not_stop_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, asked_for = threading.Event(), threading.Event()

    class Endless(Player):
        def decide(self, games: Sequence[Game], rng: Rng) -> list[Decision]:
            asked_for.set()
            go_on.wait(60)
            return [Decision(game.playable_moves()[0]) for game in games]

    monkeypatch.setitem(PLAYERS, "endless", PlayerSpec("endless", "thinks as long as it likes", Endless))
    room, game, endless = SearchRoom(threads=1), middle(), Seated(choose("endless", CONFIG))

    async def go() -> None:
        first = asyncio.ensure_future(room.decide(endless, game, 1, time.monotonic() + 0.2))
        while not asked_for.is_set():
            await asyncio.sleep(0.005)
        for name in ("heuristic", "alpha-beta", "policy:shipped"):
            choice = choose(name, CONFIG)
            who = Seated(choice, UniformEvaluator(CONFIG) if choice.network else None)
            quick = await room.decide(who, game, 1, time.monotonic() + 0.5)
            assert quick.why in ("searched", "deadline")
        for waiting in (first, room.decide(endless, game, 1, time.monotonic() + 0.01)):
            late = await waiting
            assert (late.why, late.spent) == ("deadline", 0) and late.move in game.playable_moves()

    try:
        asyncio.run(go())
    finally:
        go_on.set()
        room.close()


def test_what_a_player_can_do_in_time_stands_on_its_row() -> None:
    assert {name for name, row in PLAYERS.items() if row.thinks == "not"} == {"random", "heuristic", "policy"}
    assert {name for name, row in PLAYERS.items() if row.thinks == "freely"} == {"mixed"}
    assert PlayerSpec("own", "says nothing of itself", RandomPlayer).thinks == "freely"


def test_a_client_that_goes_stops_its_search_and_overload_is_said_at_once() -> None:
    service = Service(ServeSettings(threads=1, waiting=1, deadlines=(20.0,) * 10, poll=60.0))
    service.start()
    app, game = create_app(service), middle()
    body = json.dumps(asked(game, 10)).encode()
    scope = {
        "type": "http", "method": "POST", "path": "/ai/move", "query_string": b"", "http_version": "1.1",
        "headers": [(b"content-type", b"application/json")], "client": ("127.0.0.1", 1), "server": ("localhost", 80),
        "scheme": "http", "root_path": "", "raw_path": b"/ai/move", "asgi": {"version": "3.0"},
    }  # fmt: skip

    async def go() -> None:
        gone, sent = asyncio.Event(), list[dict[str, Any]]()
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        asking = asyncio.ensure_future(app(scope, receive, send))
        while service.room.busy == 0:
            await asyncio.sleep(0.005)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            refused = await client.post("/ai/move", json=asked(game, 10))
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
            gone.set()
            await asking
            assert service.room.busy == 0
            assert (await client.post("/ai/move", json=asked(game, 5))).status_code == 200

    try:
        asyncio.run(go())
    finally:
        service.stop()
