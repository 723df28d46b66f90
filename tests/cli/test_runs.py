"""`ringrift train` over several configs, `ringrift runs`, model cards and imports, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ringrift.cli import app
from ringrift.errors import DataError, SettingsError
from ringrift.evaluators.metadata import read_metadata
from ringrift.pipeline import export, gate, ingest, models, selfplay
from ringrift.selfplay import PlaySettings, SelfplaySettings
from ringrift.store import ModelStore, RunDirectory
from ringrift.store.samples import ExportSettings
from ringrift.training import TrainSettings
from ringrift.training.tracking import TrackedRun, curve

HERE = SelfplaySettings(engine="heuristic", play=PlaySettings(processes=1))
SET = [f"--set=training.{one}" for one in ("architecture=nano", "batch_size=32", "held_out=0.3", "check_every=10")]
SET.append("--set=loop.precision=float32")


def tell(*arguments: object) -> str:
    told = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    return told.stdout


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    with RunDirectory.create(path) as run:
        for config in ("square8_2p", "hex8_3p"):
            player = models.choose_player(run, config, "heuristic")
            selfplay.play_games(run, config, "one", 6, HERE, player)
            ingest.ingest_games(run)
            export.export_games(run, config, ExportSettings())
    return path


def test_train_look_and_compare(directory: Path, tmp_path: Path) -> None:
    at = ["--run", directory]
    first = json.loads(tell("train", "--config", "square8_2p", *at, "--steps", 20, *SET, "--json"))
    told = tell("train", "--configs", "square8_2p,hex8_3p", *at, "--steps", 20, *SET, "--json",
                "--set=training.schedule=cosine")  # fmt: skip
    second = json.loads(told)
    assert second["parents"] == [first["id"]]
    rows = json.loads(tell("runs", "ls", *at, "--json"))["rows"]
    assert [row["configs"] for row in rows] == ["square8_2p", "square8_2p hex8_3p"]
    assert rows[0]["models"] == first["id"]
    assert rows[1]["models"].startswith(second["id"])
    assert [row["id"] for row in rows] == [model["metrics"]["training"] for model in (first, second)]
    with RunDirectory.open(directory) as run:
        for model in ModelStore(run).ls():
            assert (directory / "cards" / f"{model.id}.md").read_text() == tell("models", "card", model.id, *at,
                                                                                 "--config", model.config)  # fmt: skip
        hexes = ModelStore(run).ls("hex8_3p", "candidate")
        assert [model.id for model in hexes] == rows[1]["models"].split()[1:]
        gate.note_verdict(run, first["id"], False, "0.4 is below 0.55")
        assert models.rejected_in_a_row(run, "square8_2p") == 1
    assert "Gate: rejected. 0.4 is below 0.55" in (directory / "cards" / f"{first['id']}.md").read_text()

    shown = json.loads(tell("runs", "show", first["id"], *at, "--json"))
    assert shown["about"]["settings"]["held_out"] == 0.3
    assert [row["step"] for row in shown["rows"]] == [10, 20]
    compared = json.loads(tell("runs", "compare", rows[0]["id"], "last", *at, "--json"))
    assert compared["differing"] == ["schedule"]
    for name in ("curve.png", "curve.svg"):
        tell("runs", "plot", rows[0]["id"], "last", *at, "--figure", "held_out", "--out", tmp_path / name)
        assert (tmp_path / name).stat().st_size > 5000
    assert "schedule" in tell("runs", "compare", rows[0]["id"], "last", *at)


@pytest.mark.slow
def test_start_from_another_config_and_from_a_file(directory: Path, tmp_path: Path) -> None:
    with RunDirectory.open(directory) as run:
        initial = models.initial_model(run, "square8_2p", TrainSettings(architecture="nano"))
        file = run.fabric.blobs.path(initial.checkpoint).read_bytes()
    (tmp_path / "weights.safetensors").write_bytes(file)
    at = ["--run", directory]
    moved = json.loads(
        tell("train", "--config", "hex8_3p", *at, "--steps", 5, "--from", initial.id, *SET, "--json", "--seed", 5)
    )
    assert (moved["config"], moved["parents"]) == ("hex8_3p", [initial.id])
    taken = json.loads(tell("models", "import", tmp_path / "weights.safetensors", "--config", "hex8_3p", *at, "--json"))
    from_file = json.loads(
        tell("train", "--config", "hex8_3p", *at, "--steps", 5, "--from", tmp_path / "weights.safetensors", *SET,
             "--json")
    )  # fmt: skip
    assert from_file["parents"] == [taken["model"]]
    grown = json.loads(tell("train", "--config", "hex8_3p", *at, "--steps", 5, "--from", "tiny", *SET, "--json"))
    with RunDirectory.open(directory) as run:
        assert ModelStore(run).show(grown["parents"][0]).role == "untrained"
        assert read_metadata(run.fabric.blobs.path(grown["checkpoint"])).architecture == "tiny"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["runs", "show", "t-none"], "means 0 trainings"),
        (["runs", "plot", "last", "--out", "curve.gif"], ".png or .svg is right"),
        (["train", "--config", "square8_2p", "--from", "m-none"], "means 0 models"),
        (["train", "--configs", "square8_2p,hex8_4p", "--steps", "1"], "no samples of hex8_4p"),
        (["models", "import", "none.pth", "--config", "square8_2p"], "there is no file none.pth"),
    ],
)
def test_bad_input(directory: Path, arguments: list[str], said: str) -> None:
    with pytest.raises((DataError, SettingsError), match=said):
        tell(*arguments, "--run", directory)


def test_a_figure_that_was_never_logged_says_what_is_missing() -> None:
    ran = TrackedRun("t-1", {}, [{"step": 1.0, "at": 0.0, "loss": 2.0}])
    assert curve(ran, "loss") == ([1.0], [2.0])
    with pytest.raises(DataError, match=r"t-1 has no losses on games held out.*training\.held_out=0\.05.*loss$"):
        curve(ran, "held_out")
    with pytest.raises(DataError, match="unknown figure 'los'; did you mean 'loss'"):
        curve(ran, "los")
    with pytest.raises(DataError, match="t-1 has logged no step yet"):
        curve(TrackedRun("t-1", {}, []), "loss")
