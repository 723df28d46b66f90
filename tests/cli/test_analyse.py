"""`ringrift analyse`, `replay` and `ladder` from the command line, and the worked example of docs/analysis.md."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ringrift.cli import app, main
from ringrift.evaluators.shipped import shipped_network
from ringrift.players import choose
from ringrift.players.ladder import choose_level
from ringrift.rules import Game, Record
from ringrift.search import GumbelSettings
from ringrift.selfplay import PlaySettings, Task, play
from ringrift.store import GameStore, RunDirectory

CONFIG = "square8_2p"
DOCUMENT = Path(__file__).parents[2] / "docs" / "analysis.md"


def tell(*arguments: object, status: int = 0, given: str | None = None) -> str:
    told = CliRunner().invoke(app, [str(argument) for argument in arguments], input=given, catch_exceptions=False)
    assert told.exit_code == status, told.output
    return told.stdout


@pytest.fixture(scope="module")
def record() -> bytes:
    """A game of self-play by the search without a network."""
    choice = choose("gumbel", CONFIG, GumbelSettings(simulations=4))
    (finished,) = play([choice], [Task("batch/000007", 5, (0, 0))], PlaySettings(processes=1), keep_search=True)
    return finished.record


def test_analyse(tmp_path: Path, record: bytes) -> None:
    found = json.loads(tell("analyse", "--config", "hex8_3p", "--simulations", 30, "--top", 3, "--json"))
    assert (found["simulations"], len(found["moves"]), len(found["value_by_seat"])) == (30, 3, 3)
    shown = tell("analyse", "--from", found["position"], "--simulations", 30)
    assert "seat 3" in shown
    assert "30 simulations choose" in shown
    (tmp_path / "g.rrg").write_bytes(record)
    (tmp_path / "g.json").write_text(Record.from_bytes(record).to_json())
    for name in ("g.rrg", "g.json"):
        told = tell("analyse", "--record", tmp_path / name, "--ply", 9, "--simulations", 5, "--json")
        game = Game(CONFIG)
        for move in Record.from_bytes(record).replay().moves[:9]:
            game.push(move)
        assert json.loads(told)["position"] == game.text()


def test_replay_runs_the_search_again(tmp_path: Path, record: bytes) -> None:
    path, game = tmp_path / "g.rrg", Record.from_bytes(record)
    path.write_bytes(record)
    assert game.search is not None
    ply = int(game.search.ply[6])
    told = json.loads(tell("replay", path, "--ply", ply, "--search", "--json"))
    assert told["again"] | {"move": ""} == {
        "move": "", "simulations": 4, "drawn": False, "same": True,
        "same_move": True, "same_policy": True, "same_value": True,
        "policy_difference": pytest.approx(0, abs=1e-3), "value_difference": pytest.approx(0, abs=1e-3),
    }  # fmt: skip
    assert told["again"]["move"] == told["played"]
    assert told["recorded"]["decision"] == 6
    shown = tell("replay", path, "--ply", ply, "--search")
    assert "move same, policy same, value same" in shown
    assert "has won" in tell("replay", path)
    with RunDirectory.create(tmp_path / "run") as run:
        GameStore(run).add(record, "batch/000007")
    for name in ("1", "batch/000007"):
        assert json.loads(tell("replay", tmp_path / "run", name, "--ply", ply, "--search", "--json")) == told
    changed = Record(**{**vars(game), "seed": 6})
    path.write_bytes(changed.to_bytes())
    assert "DIFFERENT" in tell("replay", path, "--ply", ply, "--search", status=1)


def test_ladder_show_and_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringrift.evaluators.shipped.NETWORKS", tmp_path)
    rows = json.loads(tell("ladder", "show", "--config", CONFIG, "--json"))["rows"]
    assert [row["level"] for row in rows] == list(range(1, 11))
    assert rows[0]["fallback"] is None
    assert "alpha-beta plays level 10" in rows[9]["fallback"]
    assert "where somebody else plays now: no run is given" in tell("ladder", "show", "--config", CONFIG)
    costs = json.loads(tell("ladder", "cost", "--config", CONFIG, "--positions", 3, "--level", 2, "--json"))
    assert costs["too_slow"] == []
    assert [row["player"] for row in costs["rows"]] == ["heuristic"]


def moves_of(line: str) -> str:
    """The game of a line of a match's file."""
    game = json.loads(line)
    return f"{game['game']} {game['result']['moves']}"


def test_ladder_measure_goes_on(tmp_path: Path) -> None:
    def measured() -> list[dict[str, object]]:
        arguments = ("--config", CONFIG, "--games", 4, "--out", tmp_path, "--json", "--level", 3, "--level", 1)
        told = tell("ladder", "measure", *arguments, "--level", 2, "--set", "match.play.processes=1")
        rows: list[dict[str, object]] = json.loads(told[told.index("{") :])["rows"]
        return rows

    rows = measured()
    assert [row["level"] for row in rows] == [1, 2, 3]
    assert rows[0]["elo"] == rows[0]["low"] == 0
    assert [row["games"] for row in rows] == [4, 8, 4]
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    text = files[1].read_text()
    lines = text.splitlines()
    files[1].write_text("\n".join(lines[:3]) + "\n" + lines[3][:20])  # killed in mid-line
    assert measured() == rows
    again = files[1].read_text().splitlines()
    assert sorted(map(moves_of, again[1:])) == sorted(map(moves_of, lines[1:]))  # beside them stand times


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["analyse", "--ply", "3"], "give --from, or --record with --ply"),
        (["analyse", "--record", "{}/none"], "No such file"),
        (["analyse", "--from", "x"], "a position text is"),
        (["analyse", "--model", "best"], "give --run"),
        (["analyse", "--model", "bset"], "unknown player 'bset'; did you mean 'best'?"),
        (["play", "--against", "heuristc"], "unknown player 'heuristc'; did you mean 'heuristic'?"),
        (["play", "--against", "gumbl:best"], "unknown player 'gumbl'; did you mean 'gumbel'?"),
        (["play", "--against", "random", "--level", "3"], "give --against or --level, not both"),
        (["match", "mixed:random,heuristc", "random"], "unknown player 'heuristc'; did you mean 'heuristic'?"),
        (["match", "heuristc", "random", "--run", "{}/run"], "unknown player 'heuristc'; did you mean 'heuristic'?"),
        pytest.param(
            ["train", "--from", "tinny", "--run", "{}/run"],
            "unknown architecture 'tinny'; did you mean 'tiny'?",
            marks=pytest.mark.training,
        ),
        (["events", "dead", "--effect", "webhok", "--run", "{}/run"], "unknown effect 'webhok'; did you mean"),
        (["loop", "--profile", "laptp"], "unknown profile 'laptp'; did you mean 'laptop'?"),
        (["analyse", "--network", "{}/net.onnx"], "net.onnx"),
        (["replay", "{}/g", "--ply", "100000"], "ply is 0 to"),
        (["replay", "{}/run"], "is a run: name one of its games"),
        (["replay", "{}/run", "9"], "has no game '9'"),
        (["replay", "{}/net.onnx"], "not a game record"),
        (["replay", "{}/g", "--search"], "no search at ply"),
        (["ladder", "show", "--config", "square9_2p"], "unknown config"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, record: bytes, arguments: list[str], said: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "g").write_bytes(record)
    (tmp_path / "net.onnx").write_bytes(b"\xff\xfe")
    RunDirectory.create(tmp_path / "run").close()
    monkeypatch.setattr(sys, "argv", ["ringrift", *(argument.format(tmp_path) for argument in arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.splitlines()) == 1


def test_the_network_that_comes_with_the_package_is_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def analysed(*arguments: object) -> tuple[str, dict[str, object]]:
        told = CliRunner().invoke(app, ["analyse", "--simulations", "4", "--json", *map(str, arguments)])
        assert told.exit_code == 0, told.output
        return told.stderr, {**json.loads(told.stdout)}

    said, by_default = analysed("--config", CONFIG)
    model, path = shipped_network(CONFIG)
    assert said == f"{CONFIG} is evaluated by {model}, the network that comes with the package\n"
    assert analysed("--config", CONFIG, "--network", path) == ("", by_default)
    assert analysed("--config", CONFIG, "--model", "shipped") == ("", by_default)
    without = analysed("--config", CONFIG, "--model", "heuristic")[1]
    assert without != by_default
    monkeypatch.setattr("ringrift.evaluators.shipped.NETWORKS", tmp_path)
    said, found = analysed("--config", CONFIG)
    assert f"{CONFIG} is evaluated without a network: no network of {CONFIG} comes with the package" in said
    assert found == without


@pytest.mark.parametrize(
    ("level", "said"), [(1, "random plays level 1"), (3, "which comes with the package, plays level 3")]
)
def test_play_at_a_level_of_the_service(level: int, said: str) -> None:
    told = tell("play", "--level", level, "--seed", 1, given="P0,0*1\n1\nq\n")
    assert said in told
    game, player, rng = Game(CONFIG), choose_level(CONFIG, level).choice.make(), np.random.default_rng(1)
    game.push("P0,0*1")
    while game.to_move == 1:
        game.push(game.playable_moves()[0])
    assert f"seat 2 plays {player.decide([game], rng)[0].move}" in told


def test_the_worked_example() -> None:
    """What docs/analysis.md shows is what the engine says, line by line, as a process that ends by itself."""
    queries, answers = re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[:2]
    command = [sys.executable, "-m", "ringrift", "analyse", "--engine", "--model", "heuristic", "--simulations", "8"]
    done = subprocess.run(command, input=queries, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    told = {json.dumps(json.loads(line), sort_keys=True) for line in done.stdout.splitlines()}
    assert told == {json.dumps(json.loads(line), sort_keys=True) for line in answers.splitlines()}
