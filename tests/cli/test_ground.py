"""The command line's frame: version, answers to errors, config and doctor."""

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ringrift
from ringrift.cli import app, doctor, main, sentence
from ringrift.errors import CorruptBlob, unknown
from ringrift.store import RunDirectory

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


INTERRUPTED = """
import os, signal, sys

module = sys.argv.pop(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever started the tests may have it ignored

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from ringrift.__main__ import run
run()
"""


@pytest.mark.parametrize(
    ("module", "status"),
    [
        ("typer", -signal.SIGINT),
        ("numpy", -signal.SIGINT),
        ("ringrift.cli.match", -signal.SIGINT),
        ("ringrift.settings", 130),  # of a command that has begun
    ],
)
def test_an_interrupt_at_the_start_has_no_traceback(module: str, status: int) -> None:
    command = [sys.executable, "-c", INTERRUPTED, module, "config", "show"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


def test_a_package_of_an_extra_that_is_missing_is_named_with_it(tmp_path: Path) -> None:
    said = "torch.nn is not installed: pip install 'ringrift[train]'; in a checkout: make setup"
    assert sentence(ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")) == said
    assert "'ringrift[data]'" in str(sentence(ModuleNotFoundError(name="asyncssh")))
    assert sentence(ModuleNotFoundError(name="numpy")) is None
    code = "import sys; sys.modules['torch'] = None; from ringrift.cli import main; main()"
    command = [sys.executable, "-c", code, "loop", "--run", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.partition(":")[0]) == (2, "ringrift"), done.stderr
    assert "torch is not installed: pip install 'ringrift[train]'" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["config reference", "ladder show", "config show --json"])
def test_a_closed_pipe_has_the_status_of_its_signal_and_no_words(command: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "ringrift", *command.split()],
        stdout=writer, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_errors_with_a_sentence() -> None:
    assert sentence(CorruptBlob("blob ab is truncated")) == "blob ab is truncated"
    assert "no space left" in str(sentence(OSError(errno.ENOSPC, "No space left on device", "/data/x")))
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorname = "SQLITE_FULL"
    assert "no space left" in str(sentence(full))
    locked = sqlite3.OperationalError("unable to open database file")
    assert sentence(locked) == "a database cannot be used: unable to open database file"
    assert sentence(sqlite3.IntegrityError("a fault of the program")) is None
    assert sentence(KeyError("a fault of the program")) is None
    beside = ExceptionGroup("tasks", [CorruptBlob("one"), ExceptionGroup("more", [CorruptBlob("other")])])
    assert sentence(beside) == "one; other"
    assert sentence(ExceptionGroup("tasks", [CorruptBlob("one"), KeyError("a fault of the program")])) is None


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_error_of_the_file_system_has_a_sentence_with_the_path(number: int) -> None:
    said = str(sentence(OSError(number, os.strerror(number), "/data/x")))
    assert "/data/x" in said or (number == errno.ENFILE and "machine" in said)
    assert "[Errno" not in said
    assert "{}" not in str(sentence(OSError(number, os.strerror(number))))


def test_names_are_shown_as_they_are(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What reads as markup or as an emoji in a name is a part of it; an escape is not sent to the terminal."""
    run = tmp_path / "[" / "x]:x:"
    with RunDirectory.create(run):
        pass
    with pytest.raises(SystemExit) as ended:
        main(["data", "check", str(run)])
    assert ended.value.code == 0
    assert "[/x]:x:" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["data", "check", str(tmp_path / "\x1b[2J[/x]\nmore")])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "\\x1b[2J[/x]\\nmore" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp437"])
def test_what_the_encoding_of_the_terminal_lacks_is_replaced(encoding: str) -> None:
    match = ["match", "heuristic", "random", "--games", "2", "--set", "match.play.processes=1"]
    done = subprocess.run(
        [sys.executable, "-m", "ringrift", *match],
        capture_output=True, check=False, env={"PATH": "/usr/bin", "PYTHONIOENCODING": encoding, "LC_ALL": "C"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"heuristic" in done.stdout
    assert b"games from" in done.stdout
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full, a disk that is always full")
@pytest.mark.parametrize("command", ["config reference", "ladder show", "config show --json"])
def test_an_output_that_is_full(command: str) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ringrift", *command.split()],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("ringrift: no space left on the device")
    assert done.stderr.count("\n") == 1


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
