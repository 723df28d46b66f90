"""Games that people won: kept by the service, learned from by `ringrift learn`, and only the gate promotes."""

import json
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import pytest
from asking import Client
from earlier_games import random_game, wire_moves
from typer.testing import CliRunner

from ringrift.cli import app
from ringrift.errors import DataError
from ringrift.pipeline import Recipe, gate, models, smoke, train
from ringrift.pipeline.online import PROFILES, OnlineProfile, learn_stage
from ringrift.store import ModelStore, RunDirectory
from ringrift.store.run import TAKEN
from ringrift.web.app import create_app
from ringrift.web.service import Service
from ringrift.web.settings import ServeSettings

CONFIG = "square8_2p"
PROFILE = OnlineProfile(games=3, weight=4.0, rate=0.5, steps=2)
RECIPE = replace(smoke(Recipe()), gate=replace(smoke(Recipe()).gate, games=4, early=(-2000.0, -1900.0)))


def won_by_a_person(seed: int) -> dict[str, object]:
    game = random_game(CONFIG, seed)
    outcome = game.outcome()
    assert outcome
    return {"board_type": "square8", "num_players": 2, "moves": wire_moves(game), "winner": outcome.winner,
            "human_player": outcome.winner}  # fmt: skip


def test_people_teach_a_candidate_and_the_gate_decides(run: RunDirectory) -> None:
    service = Service(ServeSettings(), run)
    service.networks.refresh()
    client, store = Client(create_app(service)), ModelStore(run)
    where = "/api/online-learning/learn_from_game"
    with pytest.raises(DataError, match="no promoted model"):
        learn_stage(run, CONFIG, PROFILE, RECIPE)
    first = models.initial_model(run, CONFIG, RECIPE.training)
    assert store.promote(first.id, over=None)
    games = [won_by_a_person(seed) for seed in range(3)]
    for game in games[:2]:
        assert client.post(where, json=game).json()["success"]
    untold = won_by_a_person(7) | {"moves": [{"from_pos": None, "to_pos": {"x": 1, "y": 1}, "move_type": "place_ring"}]}
    assert client.post(where, json=untold).json()["metrics"]["games_in_buffer"] == 3

    few = learn_stage(run, CONFIG, PROFILE, RECIPE)
    assert (few.taken, few.refused, few.waiting, few.candidate) == (2, 1, 2, "")
    assert "asks for 3" in few.reason
    assert "known already" in client.post(where, json=games[0]).json()["message"]
    assert client.post(where, json=games[2]).json()["metrics"]["games_in_buffer"] == 1

    done = learn_stage(run, CONFIG, PROFILE, RECIPE)
    assert (done.taken, done.waiting) == (1, 0)
    model = store.show(done.candidate)
    assert (model.parents, model.metrics["people"]) == ((first.id,), 3)
    assert store.promoted(CONFIG) == (model.id if done.promoted else first.id)
    assert model.metrics["gate"] == {"passes": done.promoted, "reason": done.reason}
    assert not list(run.online(CONFIG).glob("*.jsonl"))
    assert len(list((run.online(CONFIG) / TAKEN).iterdir())) == 4
    assert "asks for 3" in learn_stage(run, CONFIG, PROFILE, RECIPE).reason


def test_a_candidate_that_was_not_judged_is_judged_first(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    store, first = ModelStore(run), models.initial_model(run, CONFIG, RECIPE.training)
    assert store.promote(first.id, over=None)
    run.online(CONFIG).mkdir(parents=True)
    for seed in range(3):
        game = won_by_a_person(seed)
        line = {"boardType": "square8", "numPlayers": 2, "gameStatus": "completed", **game}
        (run.online(CONFIG) / f"online-{seed}.jsonl").write_text(json.dumps(line))

    seen = list[object]()

    def killed(*given: object, **_: object) -> None:
        seen.append(given[3])
        raise KeyboardInterrupt

    original = train.train_model

    def trained(*given: Any, **named: Any) -> Any:
        seen.append(named["window"])
        return original(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(train, "train_model", trained)
        patch.setattr(gate, "gate_model", killed)
        with pytest.raises(KeyboardInterrupt):
            learn_stage(run, CONFIG, replace(PROFILE, strict=True), RECIPE)
    assert seen == [replace(RECIPE.window, sources=("import:online-*=4",)), replace(RECIPE.gate, mature_after=0)]
    workers = [row["worker"] for row in run.database.rows("SELECT worker FROM games")]
    assert [fnmatchcase(worker, "import:online-*") for worker in workers] == [True] * 3
    (candidate,) = store.ls(CONFIG, "candidate")
    assert "gate" not in candidate.metrics
    assert learn_stage(run, CONFIG, PROFILE, RECIPE).candidate == candidate.id
    assert "gate" in store.show(candidate.id).metrics


def test_profiles_by_name(run: RunDirectory) -> None:
    assert list(PROFILES) == ["default", "conservative", "aggressive", "tournament"]
    for arguments, told in ((["--profile", "wild"], "aggressive"), ([], "ringrift loop")):
        result = CliRunner().invoke(app, ["learn", "--run", str(run.path), *arguments])
        assert told in str(result.exception)
