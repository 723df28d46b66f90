"""`ringrift data` and `ringrift models` from the command line, bad input included."""

from __future__ import annotations

import json
import re
import sys
from datetime import datetime
from pathlib import Path

import pytest
from stored import finished
from typer.testing import CliRunner

from ringrift.cli import app, main
from ringrift.cli.options import parse_time
from ringrift.cli.printing import moment
from ringrift.errors import DataError, RingRiftError, SettingsError
from ringrift.fabric import Job, LocalFabric
from ringrift.pipeline import gate
from ringrift.pipeline.by_hand import context
from ringrift.store import GameStore, ModelStore, RunDirectory

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


def test_what_cannot_be_read_of_models_hides_no_other(directory: Path) -> None:
    ids = [row["id"] for row in json.loads(tell("models", "ls", "--run", directory, "--json"))["rows"]]
    with RunDirectory.open(directory) as run, run.database.transaction() as connection:
        connection.execute("UPDATE models SET window = '[3]' WHERE id = ?", [ids[0]])
        connection.execute("UPDATE models SET metrics = '{' WHERE id = ?", [ids[1]])
    told = CliRunner().invoke(app, ["models", "ls", "--run", str(directory)], catch_exceptions=False)
    assert (told.exit_code, ids[2] in told.stdout) == (2, True)
    for model in ids[:2]:
        assert f"games.db, model {model}" in told.stderr
    checked = CliRunner().invoke(app, ["data", "check", str(directory)], catch_exceptions=False)
    assert checked.exit_code == 1
    for one in ids[:2]:
        assert f"model {one}" in checked.stdout
    for command in (["loop", "--dry-run"], ["serve", "--check"]):
        plan = CliRunner().invoke(app, [*command, "--run", str(directory)])
        assert plan.exit_code in (0, 1, 2)
        assert plan.exception is None or isinstance(plan.exception, RingRiftError | SystemExit), plan.exception


@pytest.mark.parametrize("value", ["[]", '{"model": 3}', "{", '{"x": 1}'])
def test_a_registry_that_names_no_model_is_a_sentence(directory: Path, value: str) -> None:
    with RunDirectory.open(directory) as run:
        ModelStore(run).promote(ModelStore(run).ls()[0].id, over=None)
        assert isinstance(run.fabric, LocalFabric)
        with run.fabric.database.transaction() as connection:
            connection.execute("UPDATE registry SET value = ? WHERE key = ?", [value, f"promoted/{CONFIG}"])
    for command in (["models", "ls"], ["loop", "--dry-run"], ["serve", "--check"]):
        done = CliRunner().invoke(app, [*command, "--run", str(directory)])
        assert done.exit_code in (0, 1, 2)
        assert done.exception is None or isinstance(done.exception, RingRiftError | SystemExit), done.exception
    checked = CliRunner().invoke(app, ["data", "check", str(directory)], catch_exceptions=False)
    assert (checked.exit_code, "promoted" in checked.stdout) == (1, True)
    tell("data", "repair", directory)
    assert "sets it again" not in tell("models", "ls", "--run", directory)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-22T08:30:15Z", 1795336215.0),
        ("2026-11-22T08:30+02:00", 1795329000.0),
        ("2026-11-22T08Z", 1795334400.0),
        ("2026-11-22 08:30:15.5Z", 1795336215.5),
    ],
)
def test_times_may_have_a_zone(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


def test_times_without_a_zone_are_local_and_hours_are_ago() -> None:
    assert parse_time("2026-11-22T08") == datetime(2026, 11, 22, 8).timestamp()
    assert parse_time("2026-11-22") == datetime(2026, 11, 22).timestamp()
    assert datetime.fromtimestamp(parse_time("08:30")).strftime("%H:%M:%S") == "08:30:00"
    assert parse_time("6h") == pytest.approx(parse_time("0") - 6 * 3600, abs=60)
    for text in ("", "yesterday", "25:00", "2026-13-01", "6d", "1e9", "nan", "-3"):
        with pytest.raises(SettingsError, match="is no time"):
            parse_time(text)


def test_tables_show_dates(directory: Path) -> None:
    with RunDirectory.open(directory) as run:
        GameStore(run).add(finished(0).to_bytes(), "a")
        GameStore(run).judge([(1, "bad")])
        (game,) = GameStore(run).quarantine()
        models = ModelStore(run)
        models.promote(models.ls()[0].id, over=None)
        (entry,) = models.history(CONFIG)
        run.fabric.jobs.put([Job("export/1", "export", CONFIG)])
        run.fabric.registry.set(f"milestone/{CONFIG}/x", {"at": entry.at})
    assert moment(game.at) in tell("quarantine", "ls", directory)
    assert moment(game.at) in tell("quarantine", "show", directory, 1)
    assert moment(entry.at) in tell("models", "history", "--run", directory)
    assert moment(entry.at) in tell("models", "milestones", "--run", directory)
    for command in (["models", "show", "best"], ["models", "ls"], ["jobs", "show", "export/1"]):
        assert not re.search(r"1\.[0-9]*e\+09|[0-9]{10}\.", tell(*command, "--run", directory)), command


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
