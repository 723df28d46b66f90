"""The command line's frame: version, answers to errors, config and doctor."""

import errno
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ringrift
from ringrift.cli import app, doctor, sentence
from ringrift.errors import CorruptBlob, unknown

runner = CliRunner()


def ringrift_command(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ringrift", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin", **environ})


def test_version() -> None:
    assert runner.invoke(app, ["--version"]).output == f"ringrift {ringrift.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["config", "show", "--set", "places.dta=1"], "did you mean 'places.data'?"),
        (["config", "show", "--config", "hex9_2p"], "unknown config 'hex9_2p'"),
        (["config", "show", "--settings", "/nowhere.toml"], "/nowhere.toml"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(arguments: list[str], said: str) -> None:
    done = ringrift_command(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ringrift: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_a_closed_pipe_is_not_an_error() -> None:
    command = f"{sys.executable} -m ringrift config reference | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("# Settings\n0\n", "")


def test_errors_with_a_sentence() -> None:
    assert sentence(CorruptBlob("blob ab is truncated")) == "blob ab is truncated"
    assert "no space left" in str(sentence(OSError(errno.ENOSPC, "No space left on device", "/data/x")))
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorname = "SQLITE_FULL"
    assert "no space left" in str(sentence(full))
    assert sentence(OSError(errno.EIO, "broken")) is None
    assert sentence(KeyError("a fault of the program")) is None


def test_unknown_names_get_a_suggestion() -> None:
    assert unknown("player", "gumbl", ["random", "gumbel"]) == (
        "unknown player 'gumbl'; did you mean 'gumbel'? known: random, gumbel"
    )


def test_config_show() -> None:
    done = runner.invoke(app, ["config", "show", "--json", "--set", "places.data=here"])
    rows = {row["key"]: row for row in json.loads(done.output)["rows"]}
    assert rows["places.data"] == {"key": "places.data", "value": "here", "source": "--set"}
    assert "places.data" in runner.invoke(app, ["config", "show"]).output


def test_config_reference() -> None:
    assert runner.invoke(app, ["config", "reference"]).output.startswith("# Settings")


@pytest.mark.slow
def test_doctor() -> None:
    done = runner.invoke(app, ["doctor", "--json"])
    report = json.loads(done.output)
    checks = {check["name"]: check["value"] for check in report["checks"]}
    assert {"ringrift", "core", "cores", "disk", "rules", "evaluator", "torch", "port 8001"} <= set(checks)
    assert all(checks.values())
    assert (done.exit_code == 0) == report["ok"]


def test_doctor_fails_where_something_would_not_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "CHECKS", (doctor.check_versions, doctor.check_disk))
    assert runner.invoke(app, ["doctor"]).exit_code == 0
    monkeypatch.setenv("RINGRIFT_PLACES__DTA", "x")
    done = runner.invoke(app, ["doctor"])
    assert done.exit_code == 1
    assert "unknown key 'places.dta'" in done.output
