"""`ringrift events` and `ringrift services` on a run directory."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ringrift.cli import app
from ringrift.errors import DataError, SettingsError
from ringrift.fabric import LogEntry
from ringrift.kernel.bus import Bus
from ringrift.kernel.effects import DeadLetter, Effect, deliver
from ringrift.kernel.events import AlertRaised
from ringrift.kernel.supervisor import RESTART
from ringrift.pipeline.events import GamesValidated, ModelPromoted, SelfplayFinished
from ringrift.pipeline.service import Context
from ringrift.store import RunDirectory

C = "square8_2p"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    with RunDirectory.create(tmp_path / "run") as run:
        bus = Bus(run.fabric.log, "test")
        played = bus.publish(
            SelfplayFinished(
                config=C, job=f"selfplay/{C}/1", batch=f"{C}/batch-1", player="p", games=3, plies=9, seconds=1
            )
        )
        bus.publish(GamesValidated(job="ingest/1", valid=3, quarantined=0), parent=played)
        bus.publish(AlertRaised(alert="disk", severity="critical", text="full"))
        yield run


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def context(run: RunDirectory) -> Context:
    return Context(run, Bus(run.fabric.log, "test"))


def test_ls(run: RunDirectory) -> None:
    lines = call("events", "ls", "--run", run.path).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("#1 ") and f"SelfplayFinished {C} job=selfplay/{C}/1" in lines[0]
    assert call("events", "ls", "--run", run.path, "--type", "AlertRaised").count("\n") == 1
    assert call("events", "ls", "--run", run.path, "--config", C, "--limit", "9").count("\n") == 1
    (entry,) = json.loads(call("events", "ls", "--run", run.path, "--limit", "1", "--json"))
    assert entry["type"] == "AlertRaised" and entry["payload"]["text"] == "full"
    with pytest.raises(SettingsError, match="unknown event 'AlertRised'; did you mean 'AlertRaised'"):
        call("events", "ls", "--run", run.path, "--type", "AlertRised")


def test_tail_follows(run: RunDirectory) -> None:
    command = [sys.executable, "-m", "ringrift", "events", "tail", "--run", str(run.path), "--limit", "1", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["sequence"] == 3
        Bus(run.fabric.log, "test").publish(ModelPromoted(config=C, model="m-1", over="", reason="x"))
        assert json.loads(process.stdout.readline())["payload"]["model"] == "m-1"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_trace(run: RunDirectory) -> None:
    text = call("events", "trace", f"{C}/batch-1/0001", "--run", run.path)
    assert "#1 " in text and "#2 " in text and "#3" not in text
    (found,) = json.loads(call("events", "trace", "2", "--run", run.path, "--json"))
    assert [entry["sequence"] for entry in found["path"]] == [1]
    with pytest.raises(DataError, match="nothing is known of 'm-1'"):
        call("events", "trace", "m-1", "--run", run.path)


def test_dead_and_replay(run: RunDirectory) -> None:
    def broken(*_: object) -> None:
        raise DataError("no network")

    ctx = context(run)
    deliver(Effect("log", broken, (AlertRaised,), attempts=1), ctx)
    assert "no network" in call("events", "dead", "--run", run.path)
    (letter,) = json.loads(call("events", "dead", "--run", run.path, "--effect", "log", "--json"))
    assert letter["entry"]["sequence"] == 3 and "Traceback" in letter["error"]
    assert DeadLetter(**letter | {"entry": LogEntry(**letter["entry"])}).attempts == 1
    assert "log has taken event 3" in call("events", "replay", "log", 3, "--run", run.path)
    assert "no dead letters" in call("events", "dead", "--run", run.path)
    with pytest.raises(DataError, match="has no dead letter 3"):
        call("events", "replay", "log", 3, "--run", run.path)


def test_a_replay_without_the_webhook_keeps_the_letter(run: RunDirectory) -> None:
    def broken(*_: object) -> None:
        raise DataError("no network")

    deliver(Effect("webhook", broken, (AlertRaised,), attempts=1), context(run))
    with pytest.raises(DataError, match="no webhook is set"):
        call("events", "replay", "webhook", 3, "--run", run.path)
    assert "no webhook is set" in call("events", "dead", "--run", run.path)


def test_purge(run: RunDirectory) -> None:
    def broken(*_: object) -> None:
        raise DataError("no network")

    ctx = context(run)
    deliver(Effect("webhook", broken, (AlertRaised,), attempts=1), ctx)
    assert "0 dead letters" in call("events", "purge", "--run", run.path, "--dead", "webhook/7")
    assert "1 dead letters" in call("events", "purge", "--run", run.path, "--dead", "all")
    assert "0 events" in call("events", "purge", "--run", run.path, "--days", "0")  # the log effect has had none yet
    deliver(Effect("log", lambda *_: None, (AlertRaised,)), ctx)
    assert "0 events" in call("events", "purge", "--run", run.path, "--days", "1")
    assert "3 events" in call("events", "purge", "--run", run.path, "--days", "0")
    with pytest.raises(SettingsError, match="what is to be purged"):
        call("events", "purge", "--run", run.path)
    with pytest.raises(SettingsError, match="EFFECT/EVENT"):
        call("events", "purge", "--run", run.path, "--dead", "webhook/x")


def test_services(run: RunDirectory) -> None:
    assert "no loop is running" in call("services", "ls", "--run", run.path)
    with pytest.raises(DataError, match="no loop is running in"):
        call("services", "restart", "train", "--run", run.path)
    status = {
        "name": "train", "state": "failing", "ticks": 3, "steps": 0, "failures": 2, "backlog": 1.0,
        "last_tick": time.time(), "note": "DataError: no disk\nmore",
    }  # fmt: skip
    run.fabric.registry.set("service/laptop/train", status)
    result = CliRunner().invoke(app, ["services", "ls", "--run", str(run.path)])
    assert result.exit_code == 1 and "DataError: no disk" in result.output and "more" not in result.output
    assert json.loads(call("services", "ls", "--run", run.path, "--json"))[0]["process"] == "laptop"
    with pytest.raises(DataError, match="unknown service 'trian'; did you mean 'train'"):
        call("services", "restart", "trian", "--run", run.path)
    assert "train will be restarted" in call("services", "restart", "train", "--run", run.path)
    assert run.fabric.registry.get(RESTART + "train") is not None
