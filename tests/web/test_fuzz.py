"""Whatever is sent, the service answers, and never with a 500."""

import copy
import gzip
import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from asking import Client
from recorded import VECTORS
from stored import finished

from ringrift.rules import Game
from ringrift.store import GameStore, RunDirectory
from ringrift.web.app import create_app
from ringrift.web.service import Service
from ringrift.web.settings import ServeSettings
from ringrift.wire import write_moves, write_state

#: What is put in the place of a value somewhere in a request.
ODD = (
    None, True, -1, 0, 1, 5, 99, 2**31, 2**63, -(2**70), 1.5, 1e308, "", "0,0", "9,9", "-3,1,2", "x" * 300, "\x00", "é",
    "🎲", [], [[]], {}, {"x": 0}, {"x": 1, "y": 2, "z": 3}, [1, 2, 3], [None], "square19", "hex8", "game_over",
    "chain_capture",
)  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    with RunDirectory.create(tmp_path / "run") as opened:
        GameStore(opened).add(finished(1).to_bytes(), "work/1")
        yield opened


def states() -> list[dict[str, Any]]:
    """Recorded states, or where there are none, those of a game."""
    path = VECTORS.parents[1] / "http" / "examples.jsonl.gz"
    if path.is_file():
        with gzip.open(path, "rt") as lines:
            found = [record["state"] for record in map(json.loads, lines) if record["kind"] == "state"]
        return sorted(found, key=lambda state: len(json.dumps(state)))[:30]
    record = finished(1)
    game, history, found = Game(record.config, record.options), list[dict[str, Any]](), []
    for move in record.replay().moves:
        found.append(write_state(game, list(history), about={"id": "g", "rngSeed": 1}))
        history += write_moves(game, [move])
        game.push(move)
    return found


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to all values inside."""
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def bent(document: Any, rng: random.Random) -> Any:
    """A copy with one to three values replaced, dropped, doubled or renamed."""
    document = copy.deepcopy(document)
    for _ in range(rng.randint(1, 3)):
        ways = list(places(document))
        # A few hundred places are in lists of cells; those near the root matter as much.
        way = rng.choice(sorted(ways, key=len)[: rng.choice((8, 40, len(ways)))] or [()])
        if not way:
            return rng.choice(ODD)
        inner = document
        for key in way[:-1]:
            inner = inner[key]
        match rng.randrange(4):
            case 0:
                del inner[way[-1]]
            case 1 if isinstance(inner, dict):
                inner[rng.choice(["0,0", "7,7", "x", "", "4,-4,0"])] = inner.pop(way[-1])
            case 2 if isinstance(inner, list):
                inner.append(copy.deepcopy(inner[way[-1]]))
            case _:
                inner[way[-1]] = copy.deepcopy(rng.choice(ODD))
    return document


def requests(rng: random.Random, known: list[dict[str, Any]]) -> tuple[str, Any]:
    """An endpoint and a body that it would take."""
    state = rng.choice(known)
    player, moves = (
        state["currentPlayer"],
        state["moveHistory"][-1:] or [{"id": "m", "type": "place_ring", "player": 1}],
    )
    region = {"regionId": "1", "size": 3, "representativePosition": {"x": 0, "y": 0}}
    option = {"stackPosition": {"x": 1, "y": 1}, "capHeight": 1, "totalHeight": 2, "ringsToEliminate": 1, "moveId": "m"}
    game = {
        "board_type": "square8",
        "num_players": 2,
        "moves": state["moveHistory"][:9],
        "winner": 1,
        "human_player": 1,
    }
    asked = {"game_state": state, "player_number": player}
    return rng.choice([
        ("/ai/move", asked | {"difficulty": rng.choice((1, 2, 5)), "seed": 3}),
        ("/ai/moves_batch", {"game_states": [state], "player_numbers": [player], "difficulty": 1}),
        ("/ai/evaluate", asked),
        ("/ai/evaluate_position", {"game_state": state}),
        ("/rules/evaluate_move", {"game_state": state, "move": moves[0]}),
        ("/ai/choice/ring_elimination", asked | {"options": [option]}),
        ("/ai/choice/region_order", asked | {"options": [region]}),
        ("/api/online-learning/learn_from_game", game),
        ("/api/replay/games", {"initialState": known[0], "finalState": state, "moves": state["moveHistory"] or moves}),
    ])  # fmt: skip


def bend(run: RunDirectory, count: int, seed: int) -> Counter[int]:
    """Statuses of so many bent requests, a tenth of them random bytes."""
    service = Service(ServeSettings(), run)
    service.networks.refresh()
    client, rng, known, statuses = Client(create_app(service)), random.Random(seed), states(), Counter[int]()
    for number in range(count):
        path, body = requests(rng, known)
        if number % 10 == 0:
            content = rng.randbytes(rng.randint(0, 300))
        else:
            content = json.dumps(body if rng.random() < 0.1 else bent(body, rng)).encode()
        answer = client.post(path, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code < 500, (path, content[:20_000], answer.text)
        statuses[answer.status_code] += 1
    assert service.metrics.registry.get_sample_value("ringrift_serve_errors_total") == 0
    return statuses


def test_bent_requests(run: RunDirectory) -> None:
    assert bend(run, 150, seed=1).keys() >= {200, 422}


@pytest.mark.slow
def test_many_bent_requests(run: RunDirectory) -> None:
    assert bend(run, 800, seed=2).keys() >= {200, 400, 422}


@pytest.mark.slow
def test_the_whole_schema(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every operation of the OpenAPI document with bodies and parameters made from it, right and wrong."""
    import schemathesis
    from hypothesis import HealthCheck, given, settings
    from hypothesis.errors import Unsatisfiable
    from schemathesis import GenerationMode
    from schemathesis.core.result import Ok

    monkeypatch.setenv("ADMIN_API_KEY", "a")
    service = Service(ServeSettings(), run)
    service.networks.refresh()
    client = Client(create_app(service))
    schema, statuses = schemathesis.openapi.from_dict(client.get("/openapi.json").json()), Counter[int]()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation: Any = found.ok()
        for mode in GenerationMode:

            @settings(
                max_examples=8, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                sent = case.as_transport_kwargs(base_url="http://localhost")
                names = {"params": "params", "json": "json", "data": "content"}
                given = {ours: sent[name] for name, ours in names.items() if sent.get(name) is not None}
                url = sent["url"].removeprefix("http://localhost")
                answer = client.request(sent["method"], url, headers={"X-Admin-Key": "a"}, **given)
                assert answer.status_code < 500 or answer.status_code == 503, (url, given, answer.text)
                statuses[answer.status_code] += 1

            with suppress(Unsatisfiable):  # without parameters there are no wrong ones
                ask()
    assert statuses.total() > 300
    assert statuses.keys() >= {200, 404, 422}
    assert service.metrics.registry.get_sample_value("ringrift_serve_errors_total") == 0
