"""The AI service: moves, evaluations and choices over HTTP, in time, under load, and while networks change."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from asking import Client
from numpy.typing import NDArray
from random_play import random_game

from ringrift.clock import VirtualClock
from ringrift.errors import DataError
from ringrift.evaluators import UniformEvaluator
from ringrift.evaluators.shipped import NETWORKS, shipped_network
from ringrift.players.player import Limit
from ringrift.players.table import choose
from ringrift.rules import CONFIGS, Game
from ringrift.rules.wire import read_move, read_state, write_moves, write_state
from ringrift.search import GumbelSettings
from ringrift.store import ModelStore, RunDirectory
from ringrift.web.evaluation import BREAKDOWN
from ringrift.web.networks import Networks
from ringrift.web.room import Answer, Overloaded, SearchRoom, Seated
from ringrift.web.service import LEVEL_TYPES, Service, create_app
from ringrift.web.settings import ServeSettings

CONFIG = "square8_2p"


def state_of(game: Game, **about: Any) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(json.dumps(write_state(game, about={"id": "g", "rngSeed": 5} | about)))
    return state


def middle(config: str = CONFIG, plies: int = 40, seed: int = 1) -> Game:
    """A game on its way in which there is something to choose."""
    while True:
        game = random_game(config, plies, seed)
        if not game.is_over and len(game.playable_moves()) > 8:
            return game
        seed += 1


def asked(game: Game, level: int = 5, **fields: Any) -> dict[str, Any]:
    return {"game_state": state_of(game), "player_number": game.to_move, "difficulty": level} | fields


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    made = Service(ServeSettings(poll=60.0))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def client(service: Service) -> Client:
    return Client(create_app(service))


# -- moves -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS)
def test_every_level_up_to_8_answers_a_legal_move(client: Client, config: str) -> None:
    game = middle(config)
    for level in (1, 2, 3, 5, 8):
        answer = client.post("/ai/move", json=asked(game, level))
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert read_move(game, found["move"]) in game.playable_moves()
        assert found["difficulty"] == level and found["ai_type"] == LEVEL_TYPES[level - 1]
        assert -1 <= found["evaluation"] <= 1
        assert {
            "thinking_time_ms",
            "nn_model_id",
            "nn_checkpoint",
            "nnue_checkpoint",
            "player",
            "fallback",
        } <= found.keys()


def test_the_answer_tells_who_played_with_what(client: Client) -> None:
    found = client.post("/ai/move", json=asked(middle(), 8)).json()
    model = shipped_network(CONFIG)[0]
    assert (found["player"], found["nn_model_id"], found["nn_checkpoint"]) == (model, model, f"{model}.onnx")
    assert (found["use_neural_net"], found["simulations"], found["simulations_spent"]) == (True, 64, 64)
    assert found["why"] == "searched"
    without = client.post("/ai/move", json=asked(middle("hex8_3p"), 5)).json()
    assert without["use_neural_net"] is False and "paranoid plays level 5 instead of best" in without["fallback"]


@pytest.mark.parametrize(
    ("ai_type", "player"),
    [("random", "random"), ("heuristic", "heuristic"), ("minimax", "alpha-beta"), ("descent", "alpha-beta"),
     ("mcts", "puct:m-"), ("policy_only", "policy:m-"), ("gumbel_mcts", "m-"), ("ig_gmo", "m-")],
)  # fmt: skip
def test_an_engine_that_is_named_plays(client: Client, ai_type: str, player: str) -> None:
    found = client.post("/ai/move", json=asked(middle(), 6, ai_type=ai_type)).json()
    named_by_level = ai_type == LEVEL_TYPES[5]
    assert found["player"].startswith("m-" if named_by_level else player) and found["ai_type"] == ai_type


def test_an_engine_without_its_network_says_so(client: Client) -> None:
    for ai_type in ("mcts", "gumbel_mcts", "policy_only"):
        found = client.post("/ai/move", json=asked(middle("hex8_3p"), 4, ai_type=ai_type)).json()
        assert found["use_neural_net"] is False and "hex8_3p" in found["fallback"]
    assert client.post("/ai/move", json=asked(middle("hex8_3p"), 4, ai_type="heuristic")).json()["fallback"] is None


def test_the_same_request_has_the_same_answer_whatever_is_asked_beside_it(service: Service) -> None:
    games = [middle(plies=30 + 7 * seed, seed=seed) for seed in range(8)]
    fields = ("move", "evaluation", "simulations_spent")

    async def ask(client: httpx.AsyncClient, game: Game, seed: int) -> dict[str, Any]:
        answer = await client.post("/ai/move", json=asked(game, 7, seed=seed))
        return {name: answer.json()[name] for name in fields}

    async def all_of_them() -> None:
        transport = httpx.ASGITransport(create_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            alone = [await ask(client, game, 3) for game in games]
            together = await asyncio.gather(*(ask(client, game, 3) for game in games))
        assert alone == list(together)

    asyncio.run(all_of_them())


def test_random_decisions_differ_in_the_course_of_a_game_with_one_seed(service: Service) -> None:
    game, ranks = middle(plies=0), []
    seated = service.seat(CONFIG, 1)
    for _ in range(12):
        answer = asyncio.run(service.room.decide(seated, game, 5, time.monotonic() + 5))
        ranks.append(game.playable_moves().index(answer.move) / len(game.playable_moves()))
        game.push(answer.move)
    assert len(set(ranks)) > 3


def test_there_is_no_move_for_who_is_not_to_move_and_in_a_game_that_is_over(client: Client) -> None:
    game = middle()
    assert client.post("/ai/move", json=asked(game) | {"player_number": 3 - game.to_move}).json()["move"] is None
    over = state_of(game) | {"gameStatus": "abandoned"}
    assert client.post("/ai/move", json=asked(game) | {"game_state": over}).json()["move"] is None
    ended = random_game(CONFIG, seed=2)
    answer = client.post("/ai/move", json={"game_state": state_of(ended), "player_number": 1})
    assert answer.status_code == 200 and answer.json()["move"] is None


def test_a_move_without_a_choice_is_answered_at_once(client: Client) -> None:
    game = random_game(CONFIG, 30, 3)
    while len(game.playable_moves()) > 1:
        game.push(game.playable_moves()[0])
    found = client.post("/ai/move", json=asked(game, 10)).json()
    assert found["why"] == "only move" and read_move(game, found["move"]) == game.playable_moves()[0]


def test_a_batch_has_a_move_for_each_state(client: Client) -> None:
    games = [middle(config) for config in ("square8_2p", "hex8_3p", "square8_2p")]
    body = {"game_states": list(map(state_of, games)), "player_numbers": [game.to_move for game in games]}
    found = client.post("/ai/moves_batch", json=body | {"difficulty": 4}).json()
    for index, (game, one) in enumerate(zip(games, found["moves"], strict=True)):
        assert one["game_index"] == index and read_move(game, one["move"]) in game.playable_moves()
    assert found["games_processed"] == 3 and found["mode"] == "batch" and found["throughput_games_per_sec"] > 0
    assert client.post("/ai/moves_batch", json=body | {"mode": "both"}).status_code == 400
    assert client.post("/ai/moves_batch", json=body | {"player_numbers": [1]}).status_code == 422


def test_a_batch_has_the_budget_that_is_given(
    client: Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    games, answers = [middle("square8_2p"), middle("hex8_3p")], list[Answer]()
    body = {"game_states": list(map(state_of, games)), "player_numbers": [game.to_move for game in games]}
    decide = service.room.decide

    async def seen(*given: Any, **more: Any) -> Answer:
        answers.append(await decide(*given, **more))
        return answers[-1]

    monkeypatch.setattr(service.room, "decide", seen)
    for given, budgets in (({}, [64, 16_000]), ({"simulation_budget": 20}, [20, 16_000])):
        assert client.post("/ai/moves_batch", json=body | given).status_code == 200
        assert sorted(answer.asked or 0 for answer in answers) == budgets
        answers.clear()


def test_a_batch_is_refused_as_one() -> None:
    service = Service(ServeSettings(waiting=1, poll=60.0))
    service.start()
    client, game = Client(create_app(service)), middle()
    try:
        body = {"game_states": [state_of(game)] * 4, "player_numbers": [game.to_move] * 4, "difficulty": 10}
        assert client.post("/ai/moves_batch", json=body).status_code == 503
        assert service.room.busy == 0
        body["game_states"] = [state_of(game), state_of(game) | {"currentPlayer": 9}, *[state_of(game)] * 2]
        refused = client.post("/ai/moves_batch", json=body)
        assert refused.status_code == 422
        assert refused.json()["detail"][0]["loc"] == ["body", "game_states", 1, "currentPlayer"]
    finally:
        service.stop()


@pytest.mark.parametrize(
    ("changed", "loc"),
    [
        ({"player_number": 3}, ["body", "player_number"]),
        ({"player_number": 0}, ["body", "player_number"]),
        ({"difficulty": 11}, ["body", "difficulty"]),
        ({"ai_type": "stockfish"}, ["body", "ai_type"]),
        ({"seed": -1}, ["body", "seed"]),
        ({"seed": 2**31}, ["body", "seed"]),
        ({"game_state": {}}, ["body", "game_state", "board"]),
        ({"game_state": "x" * 30_000}, ["body", "game_state"]),
    ],
)
def test_a_request_that_does_not_fit_is_refused_where_it_does_not(
    client: Client, changed: dict[str, Any], loc: list[str]
) -> None:
    answer = client.post("/ai/move", json=asked(middle()) | changed)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == loc
    assert len(answer.content) < 600, "what was sent is not sent back"


# -- evaluations, rules, choices ---------------------------------------------------------------------------------------


def test_evaluations_add_up(client: Client) -> None:
    game = middle("hex8_3p")
    found = client.post("/ai/evaluate", json={"game_state": state_of(game), "player_number": 2}).json()
    parts = found["breakdown"]
    assert parts.keys() == {"total", *BREAKDOWN}
    assert (
        sum(parts.values()) - parts["total"] == pytest.approx(parts["total"], abs=1e-4)
        and found["score"] == parts["total"]
    )
    position = client.post("/ai/evaluate_position", json={"game_state": state_of(game)}).json()
    players = position["per_player"]
    assert sum(one["totalEval"] for one in players.values()) == pytest.approx(0, abs=1e-4)
    assert sum(one["winProbability"] for one in players.values()) == pytest.approx(1, abs=1e-4)
    assert (position["board_type"], position["game_id"], position["engine_profile"]) == ("hex8", "g", "heuristic_v1_d5")
    assert client.post("/ai/evaluate_position", json={"game_state": {"players": []}}).status_code == 400


def test_every_feature_of_ours_has_one_place_among_the_game_servers() -> None:
    from ringrift.search.heuristic import HEURISTIC_TABLE

    assert sorted(one for ours in BREAKDOWN.values() for one in ours) == sorted(row.name for row in HEURISTIC_TABLE)


def test_a_move_is_played_by_the_rules(client: Client) -> None:
    game = middle("hex8_2p")
    move = write_moves(game, [game.playable_moves()[0]])[0] | {"id": "m"}
    state = state_of(game, createdAt="then")
    found = client.post("/rules/evaluate_move", json={"game_state": state, "move": move}).json()
    game.push(game.playable_moves()[0])
    assert found["valid"] and found["validation_error"] is None and found["game_status"] == "active"
    assert (
        read_state(found["next_state"]).canonical() == game.canonical() and found["state_hash"] == game.canonical_hash()
    )
    assert found["next_state"]["moveHistory"][-1] == move and found["next_state"]["createdAt"] == "then"
    again = client.post("/rules/evaluate_move", json={"game_state": found["next_state"], "move": move}).json()
    assert again["valid"] is False and again["validation_error"] and again["next_state"] is None
    assert client.post("/rules/evaluate_move", json={"game_state": state, "move": {"id": "m"}}).status_code == 422


CHOICES: list[tuple[str, list[Any], int]] = [
    ("line_reward_option", ["option_1_collapse_all_and_eliminate", "option_2_min_collapse_no_elimination"], 1),
    ("line_reward_option", ["option_1_collapse_all_and_eliminate"], 0),
    ("ring_elimination", [{"capHeight": 2, "totalHeight": 2}, {"capHeight": 1, "totalHeight": 4, "moveId": "x"},
                          {"capHeight": 1, "totalHeight": 3, "stackPosition": {"x": 1, "y": 2}}], 2),
    ("region_order", [{"regionId": "skip", "size": 90}, {"regionId": "1", "size": 3}, {"regionId": "2", "size": 5}], 2),
    ("line_order", [{"lineId": "1", "markerPositions": [1] * 4}, {"lineId": "2", "markerPositions": [1] * 5}], 1),
    ("capture_direction", [{"landingPosition": {"x": 0, "y": 0}, "capturedCapHeight": 1},
                           {"landingPosition": {"x": 5, "y": 0}, "capturedCapHeight": 2},
                           {"landingPosition": {"x": 1, "y": 0}, "capturedCapHeight": 2}], 2),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options", "chosen"), CHOICES)
def test_a_choice_is_one_of_the_options_as_it_came(client: Client, kind: str, options: list[Any], chosen: int) -> None:
    found = client.post(f"/ai/choice/{kind}", json={"playerNumber": 1, "options": options, "aiType": "mcts"}).json()
    assert found == {"selectedOption": options[chosen], "aiType": "mcts", "difficulty": 5}
    snake = {"player_number": 1, "options": options, "difficulty": 9}
    assert client.post(f"/ai/choice/{kind}", json=snake).json()["aiType"] == "gumbel_mcts"


def test_choices_without_options(client: Client) -> None:
    statuses = {
        kind: client.post(f"/ai/choice/{kind}", json={"player_number": 1, "options": []}).status_code
        for kind in ("line_reward_option", "region_order", "ring_elimination", "line_order", "capture_direction")
    }
    assert list(statuses.values()) == [200, 200, 400, 400, 400]
    bad = {"player_number": 1, "options": ["option_3"]}
    assert client.post("/ai/choice/line_reward_option", json=bad).status_code == 422


def test_the_documentation_has_an_example_for_every_body(client: Client) -> None:
    schema = client.get("/openapi.json").json()
    for path in ("/ai/move", "/ai/evaluate", "/ai/moves_batch", "/rules/evaluate_move", "/ai/evaluate_position"):
        name = schema["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        (example, *_) = schema["components"]["schemas"][name.rpartition("/")[2]]["examples"]
        assert client.post(path, json=example).status_code == 200, path


# -- in time, under load -----------------------------------------------------------------------------------------------


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
        policy = Seated(choose("policy:m", CONFIG, models=lambda _: ("m", Path())), Broken(CONFIG, after=0))
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


# -- networks that change ----------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    with RunDirectory.create(tmp_path / "run") as made:
        yield made


def registered(run: RunDirectory, name: str, network: Path | None = None, **metrics: Any) -> str:
    """A model of that many bytes of checkpoint, with the shipped network."""
    blobs = run.fabric.blobs
    checkpoint = blobs.put(name.encode())
    onnx = blobs.put((network or NETWORKS / f"{CONFIG}.onnx").read_bytes(), suffix=".onnx")
    return ModelStore(run).register(CONFIG, checkpoint, onnx, {}, metrics=metrics)


def test_a_promoted_network_takes_over_without_a_failed_request(run: RunDirectory) -> None:
    store, first, second = ModelStore(run), registered(run, "first"), registered(run, "second")
    assert store.promote(first, over=None)
    service = Service(ServeSettings(poll=0.05), run)
    service.start()
    client, seen = Client(create_app(service)), list[str]()
    try:
        for turn in range(200):
            answer = client.post("/ai/move", json=asked(middle(), 5))
            assert answer.status_code == 200
            seen.append(answer.json()["nn_model_id"])
            if turn == 3:
                assert store.promote(second, over=first)
            if seen[-1] == second:
                break
            time.sleep(0.02)
    finally:
        service.stop()
    assert seen[0] == first and seen[-1] == second and sorted(set(seen)) == sorted([first, second])


def test_who_is_seated_is_told_though_a_promotion_forgets_it_meanwhile() -> None:
    service = Service(ServeSettings(poll=60.0))

    class Fleeting(dict[Any, Any]):
        def setdefault(self, key: Any, value: Any = None) -> Any:
            service._seated = {}
            return super().setdefault(key, value)

    service._seated = Fleeting()
    assert service.seat(CONFIG, 2).choice.config == CONFIG and service.seats == 0
    assert service.seat(CONFIG, 2) is service.seat(CONFIG, 2) and service.seats == service.forget() == 1
    service.stop()


def test_a_store_that_cannot_be_read_for_a_while_ends_no_watch(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = VirtualClock(100.0)
    store, networks = ModelStore(run), Networks(run, ServeSettings(), clock=clock)
    assert store.promote(first := registered(run, "first"), over=None)
    with monkeypatch.context() as broken:
        broken.setattr("ringrift.web.networks.make_evaluator", unreadable)
        networks.refresh()
        assert "Too many open files" in networks.problems[CONFIG]
    clock.advance(61)
    networks.refresh()
    assert networks.current[CONFIG].id == first and CONFIG not in networks.problems


def unreadable(config: str, path: Path) -> UniformEvaluator:
    raise OSError(24, "Too many open files")


def test_a_network_that_does_not_answer_as_it_did_never_plays(run: RunDirectory) -> None:
    from ringrift.evaluators import make_evaluator
    from ringrift.evaluators.canary import canary

    kept = canary(make_evaluator(CONFIG, NETWORKS / f"{CONFIG}.onnx"), CONFIG)
    wrong = kept | {"value": [[1 - value for value in row] for row in kept["value"]]}
    good, bad = registered(run, "good", canary=kept), registered(run, "bad", canary=wrong)
    store = ModelStore(run)
    assert store.promote(good, over=None)
    networks = Networks(run, ServeSettings())
    networks.refresh()
    assert networks.current[CONFIG].id == good and not networks.problems
    assert store.promote(bad, over=good)
    networks.refresh()
    assert networks.current[CONFIG].id == good and "does not answer known positions" in networks.problems[CONFIG]


def test_a_network_that_failed_is_tried_again_after_a_while_and_stands_in_no_canarys_way(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp := run.path / "bad.onnx").write_bytes(b"bad")
    store, clock, loaded = ModelStore(run), VirtualClock(100.0), list[bytes]()
    bad, worse = registered(run, "bad", tmp), registered(run, "worse", tmp)
    canary = registered(run, "canary")

    def load(config: str, path: Path) -> UniformEvaluator:
        loaded.append(path.read_bytes()[:3])
        if loaded[-1] == b"bad":
            raise DataError("it is broken")
        return UniformEvaluator(config)

    def tries(again: bool = False) -> int:
        loaded.clear()
        networks.refresh(again)
        assert networks.problems == {CONFIG: "it is broken"} and CONFIG not in networks.current
        return loaded.count(b"bad")

    monkeypatch.setattr("ringrift.web.networks.make_evaluator", load)
    networks = Networks(run, ServeSettings(canary={CONFIG: canary}), clock=clock)
    assert store.promote(bad, over=None)
    assert (tries(), tries()) == (1, 0) and networks.canaries[CONFIG].id == canary
    clock.advance(59)
    assert (tries(), tries(again=True), tries()) == (0, 1, 0)
    clock.advance(61)
    assert (tries(), tries()) == (1, 0)
    assert store.promote(worse, over=bad)
    assert (tries(), tries()) == (1, 0)
    assert store.promote(canary, over=worse)
    networks.refresh()
    assert networks.current[CONFIG].id == canary and not networks.problems


def test_players_are_kept_for_a_while_and_so_many_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringrift.web.service.KEPT", 3)
    service = Service(ServeSettings(poll=60.0), clock=(clock := VirtualClock(100.0)))
    first = service.seat(CONFIG, 1)
    clock.advance(1000)
    assert service.seat(CONFIG, 1) is first
    for level in (2, 3, 4):
        service.seat(CONFIG, level)
    assert service.seats == 3 and service.seat(CONFIG, 1) is not first
    clock.advance(1801)
    assert service.seats == 0
    service.stop()


def test_a_pinned_network_stays_and_a_canary_plays_its_share_of_games(run: RunDirectory) -> None:
    promoted, pinned, canary = (registered(run, name) for name in ("promoted", "pinned", "canary"))
    assert ModelStore(run).promote(promoted, over=None)
    networks = Networks(run, ServeSettings(pins={CONFIG: pinned}, canary={CONFIG: canary}, canary_share=0.25))
    networks.refresh()
    names = [network.id for i in range(400) if (network := networks.of_game(CONFIG, f"game-{i}"))]
    assert set(names) == {pinned, canary} and 0.15 < names.count(canary) / 400 < 0.35
    assert networks.of_game(CONFIG, "game-1") is networks.of_game(CONFIG, "game-1")
    missing = Networks(run, ServeSettings(pins={CONFIG: "m-unknown"}))
    missing.refresh()
    assert "m-unknown" in missing.problems[CONFIG]
    without = Networks(None, ServeSettings(pins={CONFIG: promoted}))
    without.refresh()
    assert "--run" in without.problems[CONFIG]


def test_a_run_without_a_promoted_network_plays_the_shipped_one_and_says_so(run: RunDirectory) -> None:
    service = Service(ServeSettings(poll=60.0), run)
    service.start()
    try:
        found = Client(create_app(service)).post("/ai/move", json=asked(middle(), 6)).json()
    finally:
        service.stop()
    assert found["nn_model_id"] == shipped_network(CONFIG)[0] and "nothing is promoted" in found["fallback"]


def test_health_tells_what_is_wrong(run: RunDirectory) -> None:
    service = Service(ServeSettings(poll=60.0, pins={CONFIG: "m-unknown"}), run)
    client = Client(create_app(service))
    assert client.get("/ready").status_code == 503 and client.get("/health").json()["status"] == "unhealthy"
    assert client.get("/live").json() == {"live": True}
    service.start()
    try:
        health = client.get("/health")
        assert health.status_code == 200 and health.json()["status"] == "healthy"
        assert "m-unknown" in health.json()["warnings"][0] and health.json()["components"]["networks"] == "warning"
        assert client.get("/ready").json() == {"ready": True}
    finally:
        service.stop()
    assert client.get("/ready").json() == {"ready": False}
    assert client.get("/").json()["service"] == "RingRift AI Service"
