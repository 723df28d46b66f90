"""`ringrift data` and `ringrift models` from the command line, bad input included."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ringrift.cli import app, main
from ringrift.errors import DataError
from ringrift.pipeline.by_hand import context
from ringrift.pipeline.services import gate
from ringrift.store import ModelStore, RunDirectory

CONFIG = "square8_2p"


def tell(*arguments: object) -> str:
    told = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    return told.stdout


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    with RunDirectory.create(tmp_path / "run") as run:
        for number in range(3):
            checkpoint = run.fabric.blobs.put(f"weights {number}".encode(), ".safetensors")
            ModelStore(run).register(CONFIG, checkpoint, None, {}, role="candidate" if number else "initial")
    return tmp_path / "run"


def test_models_commands(directory: Path) -> None:
    rows = json.loads(tell("models", "ls", "--run", directory, "--json"))["rows"]
    initial, first, second = (row["id"] for row in rows)
    assert [row["role"] for row in rows] == ["initial", "candidate", "candidate"]
    assert initial in tell("models", "ls", "--run", directory)
    tell("models", "promote", first, "--run", directory)
    tell("models", "promote", second[2:9], "--run", directory, "--config", CONFIG)
    shown = json.loads(tell("models", "show", "best", "--run", directory, "--json"))
    assert (shown["id"], shown["promoted"]) == (second, True)
    assert shown["promotions"][0]["evidence"] == {"by": "hand"}
    assert first in tell("models", "rollback", "--run", directory)
    assert json.loads(tell("models", "show", "best", "--run", directory, "--json"))["id"] == first
    assert "0 models pruned" in tell("models", "prune", "--run", directory, "--keep", 0)


def test_what_is_changed_by_hand_is_told_once(directory: Path) -> None:
    _initial, first, second = (
        row["id"] for row in json.loads(tell("models", "ls", "--run", directory, "--json"))["rows"]
    )
    for model in (first, second, second):
        tell("models", "promote", model, "--run", directory)
    tell("models", "rollback", "--run", directory)
    tell("models", "promote", second, "--run", directory)
    with RunDirectory.open(directory) as run:
        told = [(entry.type, entry.payload["model"]) for entry in run.fabric.log.read()]
        assert told == [
            ("ModelPromoted", first), ("ModelPromoted", second), ("ModelRolledBack", second), ("ModelPromoted", second),
        ]  # fmt: skip
        assert {entry.key for entry in run.fabric.log.read()} == {CONFIG}
        assert run.fabric.log.read()[2].payload["to"] == first
        ctx = context(run)
        for done in ModelStore(run).history(CONFIG):  # as the gate does for a candidate that it has not judged
            if done.action == "promote":
                gate.tell_promoted(ctx, done)
        assert run.fabric.log.last() == 4
    assert "m-" in tell("events", "trace", first, "--run", directory)


def test_an_id_needs_no_config_where_it_is_the_only_one(directory: Path) -> None:
    with RunDirectory.open(directory) as run:
        models, blob = ModelStore(run), run.fabric.blobs.put(b"other", ".safetensors")
        other = models.register("hex8_2p", blob, None, {}, role="candidate")
        mine = models.ls(CONFIG)[-1].id
    assert f"{mine} is promoted for {CONFIG}" in tell("models", "promote", mine[:9], "--run", directory)
    assert f"{other} is promoted for hex8_2p" in tell("models", "promote", other, "--run", directory)
    assert json.loads(tell("models", "show", other, "--run", directory, "--json"))["config"] == "hex8_2p"
    for name, said in (("m-", "give more of the id"), ("best", "give --config"), ("m-nobody", "unknown model")):
        with pytest.raises(DataError, match=said):
            CliRunner().invoke(
                app, ["models", "promote", name, "--run", str(directory)], catch_exceptions=False, standalone_mode=False
            )


def test_an_empty_run_has_nothing_to_show(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path / "run").close()
    assert json.loads(tell("data", "ls", tmp_path / "run", "--json")) == {"rows": []}
    assert "no games yet" in tell("data", "ls", tmp_path / "run")
    assert "0 unsound" in tell("data", "check", tmp_path / "run")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["data", "ls", "{}/run/blobs"],
            "is not a run directory (it has no run.json): give a directory made by `ringrift loop",
        ),
        (["data", "check", "{}/nowhere"], "does not exist"),
        (["models", "ls", "--run", "{}"], "is not a run directory"),
        (["models", "ls"], "give --run DIR"),
        (["models", "ls", "--config", "square9_2p"], "unknown config 'square9_2p'"),
        (["models", "show", "m-0", "--run", "{}/run"], "means 0 models"),
        (["models", "rollback", "--run", "{}/run", "--config", "hex8_2p"], "nothing to roll back to"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    directory: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["ringrift", *(argument.format(directory.parent) for argument in arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert said in told.err
    assert len(told.err.splitlines()) == 1
    assert not told.out
