"""Who made a game; taking games back, and the quarantine."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from typing import Any

import pytest
from earlier_games import random_game
from stored import CONFIG, finished
from typer.testing import CliRunner

from ringrift.cli import app
from ringrift.errors import DataError
from ringrift.rules import Record
from ringrift.selfplay import SelfplaySettings
from ringrift.store import GameStore, ModelStore, RunDirectory
from ringrift.store.provenance import Provenance, retract, retractions, undo_retraction
from ringrift.store.samples import export, read_shard, shards
from ringrift.store.validate import validate


def fill(run: RunDirectory) -> None:
    """Games 1 to 4 of one process on a machine, 5 and 6 of another machine, all in one shard."""
    store = GameStore(run)
    for seed in range(6):
        made = Provenance(f"{'good' if seed < 4 else 'bad'}:{seed // 2}:ab", "good" if seed < 4 else "bad")
        store.add(finished(seed).to_bytes(), str(seed), made)
    assert validate(run).valid == 6
    export(run, CONFIG)


def learn(run: RunDirectory, name: str, window: range, *parents: str) -> str:
    blob = run.fabric.blobs.put(name.encode(), ".safetensors")
    return ModelStore(run).register(CONFIG, blob, None, {}, parents, window=window)


def exported(run: RunDirectory) -> list[int]:
    return [int(game) for one in shards(run) for game in read_shard(run.fabric.blobs.path(one.blob)).games]


def test_games_of_another_config_between_are_not_learned_from(run: RunDirectory) -> None:
    store = GameStore(run)
    for seed in range(6):
        store.add((finished(seed) if seed % 2 else _other(seed)).to_bytes(), str(seed))
    mine = learn(run, "mine", range(2, 7, 2))
    left_out = learn(run, "left out", range(2, 7, 4))
    assert ModelStore(run).show(mine).window == ((2, 6),)
    assert ModelStore(run).show(left_out).window == ((2, 2), (6, 6))
    assert retract(run, games=[3], reason="r", dry_run=True).models == ()
    assert retract(run, games=[3, 4], reason="r", dry_run=True).models == (mine,)
    assert retract(run, games=[6], reason="r").models == retractions(run)[0].models == (mine, left_out)


def _other(seed: int) -> Record:
    return Record.from_game(random_game("hex8_2p", seed), seed=seed, players=("a", "b"))


def test_a_game_says_who_made_it(run: RunDirectory) -> None:
    store = GameStore(run)
    model = "m-0123456789ab"
    store.add(replace(finished(0), players=(f"gumbel:{model}", "heuristic")).to_bytes(), "a")
    made = Provenance.here("node", SelfplaySettings(), generation=3)
    store.add(finished(1).to_bytes(), "b", made)
    first, second = store.about(1), store.about(2)
    assert (first["model"], first["engines"], first["seed"]) == (model, [f"gumbel:{model}", "heuristic"], 0)
    assert (first["machine"], first["worker"]) == (socket.gethostname(), first["played_by"])
    assert second["settings"] not in ("", Provenance.here("node", SelfplaySettings(opening_plies=1)).settings)
    assert (second["worker"], second["generation"], second["seed"]) == ("node", 3, 1)
    assert second["played_by"] == first["played_by"] != "node"


@pytest.mark.parametrize("worker", ["bad", "bad:2", "bad:2:ab"])
def test_what_is_taken_back_is_in_no_window_until_it_is_undone(run: RunDirectory, worker: str) -> None:
    fill(run)
    old = learn(run, "old", range(1, 5))
    taught = learn(run, "taught", range(3, 7), old)
    child = learn(run, "child", range(1, 2), taught)
    assert retract(run, worker=worker, reason="r", dry_run=True).models == (taught, child)
    assert len(exported(run)) == 6
    done = retract(run, worker=worker, reason="wrong results", by="me")
    assert (done.id, done.games, done.models, done.reason) == (1, 2, (taught, child), "wrong results")
    (row,) = GameStore(run).counts()
    assert (row.games, row.retracted, row.samples) == (6, 2, 0)
    export(run, CONFIG)
    assert exported(run) == [1, 2, 3, 4]
    assert [game.id for game in GameStore(run).iter_valid(CONFIG)] == [1, 2, 3, 4]
    assert retract(run, worker=worker, reason="again").games == 0
    assert [(one.id, one.games, one.undone) for one in retractions(run)] == [(1, 2, None), (2, 0, None)]
    assert undo_retraction(run, 1).undone is not None
    export(run, CONFIG)
    assert sorted(exported(run)) == [1, 2, 3, 4, 5, 6]
    assert GameStore(run).counts()[0].retracted == 0
    with pytest.raises(DataError, match="no retraction 9"):
        undo_retraction(run, 9)


def test_what_two_retractions_mean_stays_out_until_both_are_undone(run: RunDirectory) -> None:
    fill(run)
    for number, chosen in enumerate(({"worker": "bad"}, {"games": [4, 5]}, {"worker": "good:1"}), start=1):
        assert retract(run, reason="r", **chosen).id == number  # type: ignore[arg-type]

    def out() -> list[int]:
        return [one.games for one in retractions(run)]

    assert out() == [2, 1, 1], "5 is the first one's, 4 the second one's"
    assert undo_retraction(run, 1, dry_run=True).undone is None
    undo_retraction(run, 1)
    assert out() == [0, 2, 1]
    assert [game.id for game in GameStore(run).iter_valid(CONFIG)] == [1, 2, 6]
    undo_retraction(run, 2)
    assert [game.id for game in GameStore(run).iter_valid(CONFIG)] == [1, 2, 5, 6]


def test_a_machine_s_games_go_whatever_its_workers_are_called(run: RunDirectory) -> None:
    store = GameStore(run)
    for number, made in enumerate((Provenance("gpu", "host9"), Provenance("host9:1:ab", "host9"), Provenance("gpu"))):
        store.add(finished(number).to_bytes(), str(number), made)
    assert retract(run, worker="host9", reason="r", dry_run=True).games == 2
    assert retract(run, worker="gpu", reason="r", dry_run=True).games == 2


def test_all_that_is_given_has_to_hold(run: RunDirectory) -> None:
    fill(run)
    with pytest.raises(DataError, match="which games are taken back"):
        retract(run, reason="r", since=1.0)
    assert retract(run, worker="ba", reason="r", dry_run=True).games == 0
    assert retract(run, worker="bad", until=1.0, reason="r", dry_run=True).games == 0
    assert retract(run, worker="bad", games=[1, 5], reason="r", dry_run=True).games == 1
    assert retract(run, model="m-0123456789ab", reason="r", dry_run=True).games == 0
    with pytest.raises(DataError, match=r"has no game 7, 99$"):
        retract(run, games=[1, 7, 99], reason="r")
    assert not retractions(run)


def tell(status: int, *arguments: object) -> Any:
    told = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert told.exit_code == status, told.output
    return json.loads(told.stdout)


def test_commands(run: RunDirectory) -> None:
    fill(run)
    store = GameStore(run)
    store.judge([(2, "planted"), (3, "planted too")])
    assert [row["reason"] for row in tell(0, "quarantine", "ls", run.path)["rows"]] == ["planted", "planted too"]
    shown = tell(0, "quarantine", "show", run.path, 2)
    assert (shown["worker"], shown["problem"], len(shown["moves"])) == ("good:0:ab", "planted", shown["plies"])
    assert CliRunner().invoke(app, ["quarantine", "purge", str(run.path)]).exit_code != 0
    with pytest.raises(DataError, match="none is 4"):
        store.restore([2, 4])
    assert tell(0, "quarantine", "purge", run.path, "--all", "--dry-run")["dry_run"]
    assert len(store.quarantine()) == 2
    tell(0, "quarantine", "restore", run.path, 2)
    assert validate(run).valid == 1
    tell(0, "quarantine", "purge", run.path, "--all")
    assert (store.quarantine(), store.counts()[0].games) == ([], 5)
    assert tell(0, "data", "retract", run.path, "--worker", "bad", "--since", "2026-01-01", "--dry-run")["games"] == 2
    assert tell(0, "data", "retract", run.path, "--worker", "bad")["id"] == 1
    assert tell(0, "data", "retractions", run.path)["rows"][0]["games"] == 2
    both = CliRunner().invoke(app, ["data", "retract", str(run.path), "--undo", "1", "--worker", "good"])
    assert both.exit_code != 0
    assert tell(0, "data", "retract", run.path, "--undo", 1, "--dry-run")["games"] == 2
    assert tell(0, "data", "retract", run.path, "--undo", 1)["games"] == 0
    assert tell(0, "data", "show", run.path, 1)["worker"] == "good:0:ab"
