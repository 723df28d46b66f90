"""The AI service: moves, evaluations and choices over HTTP."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from asking import Client, asked, middle, state_of
from random_play import random_game

from ringrift.evaluators.shipped import shipped_network
from ringrift.rules import CONFIGS, Game
from ringrift.web.app import create_app
from ringrift.web.evaluation import BREAKDOWN
from ringrift.web.room import Answer
from ringrift.web.service import LEVEL_TYPES, Service
from ringrift.web.settings import ServeSettings
from ringrift.wire import read_move, read_state, write_moves

CONFIG = "square8_2p"
#: Fields that every move has.
MOVE = {"id", "type", "player", "to", "timestamp", "thinkTime", "moveNumber"}


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
        assert found["move"].keys() >= MOVE and found["move"]["moveNumber"] == 1
        judged = client.post("/rules/evaluate_move", json={"game_state": state_of(game), "move": found["move"]})
        assert judged.json()["valid"]
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
        assert one["move"].keys() >= MOVE
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


def test_what_is_wrong_with_a_batch_is_named_by_its_place(client: Client) -> None:
    state = state_of(game := middle())
    for wrong, loc in (
        ({"player_numbers": [game.to_move, 9]}, ["player_numbers", 1]),
        ({"game_states": [state, {}]}, ["game_states", 1, "board"]),
    ):
        body = {"game_states": [state] * 2, "player_numbers": [game.to_move] * 2} | wrong
        refused = client.post("/ai/moves_batch", json=body | {"difficulty": 1})
        assert refused.status_code == 422 and refused.json()["detail"][0]["loc"] == ["body", *loc]


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


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
def test_a_body_that_is_not_said_to_be_json_is_refused_for_that(client: Client, kind: str) -> None:
    answer = client.post("/ai/move", content=json.dumps(asked(middle())), headers={"Content-Type": kind})
    (told,) = answer.json()["detail"]
    assert answer.status_code == 422 and told["loc"] == ["header", "content-type"]
    assert told["msg"] == "application/json is right"


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


# -- numbers -----------------------------------------------------------------------------------------------------------

ENDLESS = b"1" + b"0" * 210 + b"e99"


def bodies() -> dict[str, dict[str, Any]]:
    """A sound body of every endpoint that takes one."""
    game = middle()
    state = state_of(game)
    asked_ = {"game_state": state, "player_number": game.to_move}
    learned = {"board_type": "hex8", "num_players": 2, "moves": [{"thinkTime": 1}], "winner": 1, "human_player": 1}
    return {
        "/ai/move": asked_ | {"seed": 1},
        "/ai/moves_batch": {"game_states": [state], "player_numbers": [game.to_move], "difficulty": 1},
        "/ai/evaluate": asked_,
        "/ai/evaluate_position": {"game_state": state, "random_seed": 1},
        "/rules/evaluate_move": {"game_state": state, "move": {"id": "m", "type": "place_ring", "player": 1}},
        "/ai/choice/line_reward_option": asked_ | {"options": []},
        "/ai/choice/ring_elimination": asked_ | {"options": [{"capHeight": 1}]},
        "/ai/choice/region_order": asked_ | {"options": [{"size": 1}]},
        "/ai/choice/line_order": asked_ | {"options": [{"size": 1}]},
        "/ai/choice/capture_direction": asked_ | {"options": [{"capturedCapHeight": 1}]},
        "/api/online-learning/learn_from_game": learned,
        "/api/replay/games": {"initialState": state, "finalState": state, "moves": [{"player": 1}]},
    }


def test_those_are_all_endpoints_with_bodies(client: Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    found = {path for path, one in paths.items() if "requestBody" in one.get("post", {})}
    assert found == {*bodies(), "/admin/sync/trigger"}


@pytest.mark.parametrize("path", bodies())
@pytest.mark.parametrize("place", ["at the top", "unread", "history"])
@pytest.mark.parametrize(
    "number", [ENDLESS, b"1e400", b"9" * 400, b"-1e999", b"Infinity"], ids=lambda one: repr(one)[:9]
)
def test_no_endpoint_takes_a_number_that_is_infinite(client: Client, path: str, place: str, number: bytes) -> None:
    text = json.dumps(bodies()[path]).encode()
    new = {"at the top": b'"new": %s', "unread": b'"new": [{"deep": [%s]}]', "history": b'"history": [%s]'}[
        place
    ] % number
    before = b'"id": "g"' if place == "history" and b'"id": "g"' in text else b"{"
    text = text.replace(before, before + new + b", " if before == b"{" else before + b", " + new, 1)
    answer = client.post(path, content=text, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422 and answer.json()["detail"][0]["type"] == "json_invalid", answer.text


@pytest.mark.parametrize("number", [10**300, -(10**300), 2**64, 1e300, -1e300, 1.5])
@pytest.mark.parametrize(
    ("path", "way"),
    [
        ("/ai/move", ["seed"]),
        ("/ai/move", ["difficulty"]),
        ("/ai/move", ["player_number"]),
        ("/ai/move", ["game_state", "rngSeed"]),
        ("/ai/move", ["game_state", "currentPlayer"]),
        ("/ai/move", ["game_state", "lpsRoundsRequired"]),
        ("/ai/move", ["game_state", "players", 0, "ringsInHand"]),
        ("/ai/moves_batch", ["player_numbers", 0]),
        ("/ai/moves_batch", ["simulation_budget"]),
        ("/ai/moves_batch", ["game_states", 0, "rngSeed"]),
        ("/ai/evaluate_position", ["random_seed"]),
        ("/ai/choice/ring_elimination", ["options", 0, "capHeight"]),
        ("/ai/choice/region_order", ["options", 0, "size"]),
        ("/ai/choice/capture_direction", ["options", 0, "capturedCapHeight"]),
        ("/api/online-learning/learn_from_game", ["winner"]),
        ("/api/online-learning/learn_from_game", ["ai_difficulty"]),
    ],
    ids=str,
)
def test_every_number_is_within_its_range(client: Client, path: str, way: list[Any], number: float) -> None:
    body = bodies()[path]
    inner: Any = body
    for key in way[:-1]:
        inner = inner[key]
    inner[way[-1]] = number
    answer = client.post(path, json=body)
    if number == 1.5 and "options" in way:  # a fraction is told apart from a count by nothing
        assert answer.status_code == 200
        return
    assert answer.status_code == 422, answer.text
    assert len(answer.content) < 600
