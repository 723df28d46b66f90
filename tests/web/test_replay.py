"""Stored games to look at, and games of people stored, as the browser's client does."""

import gzip
import json
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from asking import Client
from fastapi import FastAPI
from recorded import VECTORS
from stored import finished

from ringrift.rules import Game
from ringrift.store import GameStore, RunDirectory
from ringrift.store.browse import Totals
from ringrift.store.validate import validate
from ringrift.web import replay
from ringrift.web.errors import add_handlers
from ringrift.wire import read_state, write_moves

EXAMPLES = VECTORS.parents[1] / "http" / "examples.jsonl.gz"

#: Fields of games and moves that are as the earlier service has them.
SAME = (
    "boardType numPlayers winner terminationReason totalMoves totalTurns createdAt completedAt durationMs source"
    " moveNumber turnNumber player phase moveType thinkTimeMs"
).split()


def recorded() -> list[dict[str, Any]]:
    """The pairs of request and answer of the earlier service's replay store."""
    if not EXAMPLES.is_file():
        pytest.skip(f"no recorded requests: {EXAMPLES}")
    with gzip.open(EXAMPLES, "rt") as lines:
        pairs = [json.loads(line) for line in lines]
    return [pair for pair in pairs if pair["kind"] == "endpoint" and "/api/replay" in pair["path"]]


@pytest.fixture
def client(run: RunDirectory) -> Client:
    return made(run)


def made(run: RunDirectory | None) -> Client:
    app = FastAPI()
    add_handlers(app)
    service: Any = SimpleNamespace(run=run)
    app.include_router(replay.router(service))
    return Client(app)


def body(seed: int = 1, **more: Any) -> dict[str, Any]:
    """A finished random game, as the browser sends it."""
    record = finished(seed)
    end = record.replay()
    game, moves = Game(record.config, record.options), []
    for move in end.moves:
        moves += write_moves(game, [move])
        game.push(move)
    board = {"type": "square8", "size": 8, "stacks": {}, "markers": {}, "collapsedSpaces": {}}
    hands = record.options.rings_per_player
    first = [
        {"playerNumber": seat, "ringsInHand": hands, "eliminatedRings": 0, "territorySpaces": 0} for seat in (1, 2)
    ]
    last = [
        {"playerNumber": seat, "ringsInHand": one.hand, "eliminatedRings": one.elim, "territorySpaces": one.terr,
         "type": "human" if seat == 1 else "ai", "aiProfile": {"aiType": "mcts", "difficulty": 7}}
        for seat, one in enumerate(end.scores(), 1)
    ]  # fmt: skip
    rules = {"boardType": "square8", "rulesOptions": {"ringsPerPlayer": hands}, "board": board, "moveHistory": []}
    return {
        "initialState": rules | {"currentPhase": "ring_placement", "currentPlayer": 1, "gameStatus": "active",
                                 "players": first, "createdAt": "2026-01-01T00:00:00Z"},
        "finalState": rules | {"currentPhase": "game_over", "currentPlayer": 1, "gameStatus": "completed",
                               "players": last, "winner": record.winner, "lastMoveAt": "2026-01-01T00:01:00Z"},
        "moves": moves,
        "metadata": {"source": "sandbox", "victoryReason": record.reason},
    } | more  # fmt: skip


def test_the_recorded_requests(client: Client) -> None:
    """What the earlier service answered, except where it was an accident: games that it refused by name, failures."""
    better = {
        "replay store exactly as the browser client at HEAD does (Maps become {}, victoryReason instead of"
        " termination_reason)": 200,
        "replay store, compact states of the sandbox (no id, thresholds, players names)": 200,
        "replay store, unfinished game": 422,
    }
    compared = 0
    for pair in recorded():
        answer = client.request(pair["method"], pair["path"], json=pair.get("request"))
        assert answer.status_code == better.get(pair["label"], pair["status"]), (pair["label"], answer.text)
        if pair["status"] != 200 or pair["label"] in better:
            continue
        ours, theirs = answer.json(), pair["response"]
        assert ours.keys() == theirs.keys(), pair["path"]
        for kind in ("games", "moves"):
            key = {"games": "gameId", "moves": "moveNumber"}[kind]
            found = {one[key]: one for one in ours.get(kind, ())}
            for other in theirs.get(kind, ()):
                one = found.get(other[key])
                if one is None:  # behind a game of those that we take too
                    continue
                assert one.keys() == other.keys()
                compared += 1
                for name in SAME:
                    assert one.get(name) == other.get(name), (name, pair["path"])
        if "gameState" in theirs:
            assert read_state(ours["gameState"]) == read_state(theirs["gameState"])
        if theirs.get("players"):
            finals = ("playerNumber", "finalEliminatedRings", "finalTerritorySpaces", "finalRingsInHand")
            for one, other in zip(ours["players"], theirs["players"], strict=True):
                assert one.keys() == other.keys()
                assert all(one[name] == other[name] for name in finals)
    assert compared > 4


def test_a_game_of_people_waits_for_another_judge(client: Client, run: RunDirectory) -> None:
    answer = client.post("/api/replay/games", json=body(1, gameId="g-1")).json()
    assert answer == {"gameId": "g-1", "totalMoves": len(finished(1).moves), "success": True}
    store = GameStore(run)
    assert [game.work_id for game in store.iter_waiting()] == ["web/g-1"]
    assert list(store.iter_valid("square8_2p")) == []
    assert validate(run).valid == 1
    assert client.post("/api/replay/games", json=body(1, gameId="g-1")).status_code == 200
    other = client.post("/api/replay/games", json=body(2, gameId="g-1"))
    assert other.status_code == 400
    assert "another game is stored under the name g-1" in other.json()["detail"]
    assert client.get("/api/replay/games").json()["total"] == 1


def test_the_same_game_without_a_name_is_stored_once(client: Client) -> None:
    names = {client.post("/api/replay/games", json=body(3)).json()["gameId"] for _ in range(2)}
    assert len(names) == 1
    assert client.get("/api/replay/stats").json()["totalGames"] == 1


def test_who_played(client: Client) -> None:
    client.post("/api/replay/games", json=body(1, gameId="g"))
    players = client.get("/api/replay/games/g").json()["players"]
    told = [(one["playerType"], one["aiType"], one["aiDifficulty"]) for one in players]
    assert told == [("human", None, None), ("ai", "mcts", 7)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gameStatus": "active", "currentPhase": "movement"}, "goes on"),
        ({"winner": 3 - finished(1).winner}, "but its file says"),
        ({"players": []}, "has 0 players"),
    ],
)
def test_an_end_that_the_moves_do_not_come_to(client: Client, change: dict[str, Any], said: str) -> None:
    sent = body(1)
    sent["finalState"] |= change
    answer = client.post("/api/replay/games", json=sent)
    assert answer.status_code == 400
    assert said in answer.json()["detail"]
    assert client.get("/api/replay/stats").json()["totalGames"] == 0


@pytest.mark.parametrize("players", [None, 5, "ab", {}])
def test_a_final_state_with_odd_players(client: Client, players: object) -> None:
    game = body(1)
    game["finalState"]["players"] = players
    answer = client.post("/api/replay/games", json=game)
    assert (answer.status_code, answer.json()) == (400, {"detail": "finalState has 0 players, initialState 2"})


def test_a_refusal_repeats_little_of_what_was_sent(client: Client) -> None:
    game = body(1)
    game["moves"][3] |= {"type": "x" * 100_000}
    answer = client.post("/api/replay/games", json=game)
    assert answer.status_code == 400 and "unknown type" in answer.text and len(answer.text) < 600


@pytest.mark.parametrize("at", [1e300, -1e15, 10**400, "0001-01-01T00:00:00+14:00"], ids=lambda at: str(at)[:6])
def test_a_time_that_never_was_is_none(client: Client, at: object) -> None:
    game = body(1)
    game["initialState"]["createdAt"] = game["finalState"]["lastMoveAt"] = at
    assert client.post("/api/replay/games", json=game).status_code == 200
    (listed,) = client.get("/api/replay/games").json()["games"]
    assert listed["createdAt"][:2] == "20" and listed["completedAt"] is None


def test_moves_that_are_not_legal_or_end_too_early(client: Client) -> None:
    sent = body(1)
    sent["moves"][2] = sent["moves"][0]
    assert "ply 2: " in client.post("/api/replay/games", json=sent).json()["detail"]
    sent = body(1)
    sent["moves"] = sent["moves"][:20]
    answer = client.post("/api/replay/games", json=sent)
    assert answer.status_code == 400
    assert "not over after its 20 plies" in answer.json()["detail"]


def test_own_games_are_listed_by_filters_and_replayed(client: Client, run: RunDirectory) -> None:
    store, games = GameStore(run), [finished(seed) for seed in range(4)]
    for seed, record in enumerate(games):
        store.add(record.to_bytes(), f"work/{seed}")
    client.post("/api/replay/games", json=body(9, gameId="nine"))
    listed = client.get("/api/replay/games?limit=2").json()
    assert (listed["total"], listed["hasMore"], len(listed["games"])) == (5, True, 2)
    assert [game["gameId"] for game in listed["games"]] == ["nine", "game-4"]
    found = client.get("/api/replay/games?source=selfplay&winner=1&limit=100").json()
    assert found["total"] == sum(record.winner == 1 for record in games)
    assert client.get("/api/replay/games?source=sandbox").json()["total"] == 1
    assert client.get("/api/replay/games?board_type=hex8").json()["games"] == []
    shortest = min(len(record.moves) for record in games)
    assert client.get(f"/api/replay/games?source=selfplay&max_moves={shortest}").json()["total"] >= 1
    assert client.get("/api/replay/games?board_type=cube").status_code == 400
    assert client.get("/api/replay/games/work%2F0").status_code == 404

    record, end = games[3], games[3].replay()
    told = client.get("/api/replay/games/game-4/moves?limit=1000").json()
    assert len(told["moves"]) == len(record.moves)
    assert not told["hasMore"]
    assert record.search is not None
    ply = int(record.search.ply[0])
    seat = told["moves"][ply]["player"]
    assert told["moves"][ply]["engineEval"] == pytest.approx(float(record.search.root_value[0][seat - 1]), abs=1e-4)
    state = client.get(f"/api/replay/games/game-4/state?move_number={len(record.moves)}").json()
    assert state["gameState"]["winner"] == record.winner
    assert len(state["gameState"]["moveHistory"]) == len(record.moves)
    middle = Game(record.config, record.options)
    for move in end.moves[:25]:
        middle.push(move)
    state = client.get("/api/replay/games/game-4/state?move_number=25").json()["gameState"]
    assert read_state(state) == middle


def test_only_games_that_came_since_are_counted_unless_some_went(run: RunDirectory) -> None:
    store, totals = GameStore(run), Totals(run)
    assert (totals.counts(), totals.ends().total()) == ([], 0)
    for seed in range(3):
        store.add(finished(seed).to_bytes(), f"work/{seed}")
        assert totals.ends().total() == seed + 1
    ((config, games, plies),) = totals.counts()
    assert (config, games, plies) == ("square8_2p", 3, sum(len(finished(seed).moves) for seed in range(3)))
    store.judge([(2, "it is odd")])
    assert totals.ends() == Counter(finished(seed).reason for seed in (0, 2))
    assert totals.counts()[0][1] == 2
    store.restore([2])
    assert totals.ends().total() == 3


def test_choices_come_back(client: Client) -> None:
    choice = {
        "move_number": 4,
        "choice_type": "line_order",
        "player": 1,
        "options": [1, 2],
        "selected": 2,
        "reasoning": "x",
    }
    client.post("/api/replay/games", json=body(1, gameId="c", choices=[choice]))
    told = client.get("/api/replay/games/c/choices?move_number=4").json()["choices"]
    assert told == [{"choiceType": "line_order", "player": 1, "options": [1, 2], "selected": 2, "reasoning": "x"}]
    assert client.get("/api/replay/games/c/choices?move_number=5").json() == {"choices": []}


def test_without_a_run_there_is_nothing_and_nothing_can_be_stored() -> None:
    client = made(None)
    assert client.get("/api/replay/games").json() == {"games": [], "total": 0, "hasMore": False}
    assert client.get("/api/replay/stats").json()["totalGames"] == 0
    assert client.get("/api/replay/games/game-1").status_code == 404
    assert client.post("/api/replay/games", json=body(1)).status_code == 503


def test_names_open_nothing(client: Client) -> None:
    for name in ("..%2F..%2Fetc%2Fpasswd", "game-1%00", "game-999999999999999999999", "%2e%2e", "web%2Fx"):
        assert client.get(f"/api/replay/games/{name}").status_code == 404
    assert client.post("/api/replay/games", json=body(1, gameId="../x")).status_code == 422
    assert client.post("/api/replay/games", json=body(1, gameId="game-1")).status_code == 400
