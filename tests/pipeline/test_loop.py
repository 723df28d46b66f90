"""The whole loop: candidate after candidate, kill -9 of anybody, one loop at a time, dry runs that write nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from ringrift.app import Loop, dry_run, recipes_of
from ringrift.cli import app
from ringrift.errors import DataError
from ringrift.fabric import OPEN, JobState
from ringrift.kernel.supervisor import start_order
from ringrift.pipeline import Recipe, smoke
from ringrift.pipeline.loop import rounds
from ringrift.pipeline.table import STAGES
from ringrift.pipeline.watch import whole
from ringrift.store import RunDirectory
from ringrift.store.check import check

CONFIG = "square8_2p"
LOOP = [sys.executable, "-m", "ringrift", "loop", "--config", CONFIG, "--games", "12", "--simulations", "4"]
LOOP += ["--engine", "gumbel", "--steps", "20", "--set", "training.architecture=nano", "--set", "match.games=4"]
LOOP += ["--set", "gate.games=4", "--set", "gate.gates={random=0.01}", "--set", "loop.precision=float32"]
LOOP += ["--set", "gate.gate_games=4"]
LOOP += ["--set", "match.search.simulations=2", "--set", "services.port=0"]


def stored_games(directory: Path) -> list[str]:
    if not (directory / "games.db").exists():
        return []
    with closing(sqlite3.connect(f"file:{directory / 'games.db'}?mode=ro", uri=True)) as database, database:
        try:
            return [row[0] for row in database.execute("SELECT work_id FROM games")]
        except sqlite3.OperationalError:  # killed before it had tables
            return []


def tree(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_the_table_of_services_is_whole() -> None:
    assert len(start_order(STAGES)) == len(STAGES)


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    recipes = {CONFIG: Recipe()}
    plans = dict(dry_run(tmp_path / "new", recipes))
    assert plans["selfplay"][0].what == f"let paranoid play 8 games of {CONFIG} (batch 1)"
    assert "0 self-play jobs are open" in plans["selfplay"][0].why
    assert not list(tmp_path.iterdir())
    RunDirectory.create(tmp_path / "old").close()
    before = tree(tmp_path)
    done = CliRunner().invoke(app, ["loop", "--run", str(tmp_path / "old"), "--dry-run"])
    assert "selfplay: would let paranoid play 8 games" in done.stdout and "because 0 self-play jobs" in done.stdout
    assert tree(tmp_path) == before
    done = CliRunner().invoke(app, ["loop", "--run", str(tmp_path / "new"), "--dry-run", "--json"])
    assert json.loads(done.stdout)["train"] == []
    assert tree(tmp_path) == before


def test_the_coordinator_does_without_torch() -> None:
    code = "import sys, ringrift.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_smoke_loop_adds_one_candidate(tmp_path: Path) -> None:
    given = {CONFIG: Recipe()}
    assert recipes_of(tmp_path / "new", given, smoke=True)[CONFIG].loop.rounds == 1
    assert recipes_of(tmp_path / "new", given)[CONFIG] is given[CONFIG]


@pytest.mark.slow
def test_two_rounds_and_no_more(tmp_path: Path) -> None:
    command = [*LOOP, "--run", str(tmp_path), "--rounds", "2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert [one["round"] for one in result["rounds"]] == [1, 2]
    first, second = result["rounds"]
    assert second["parent"] == first["candidate"]
    for one in result["rounds"]:
        assert one["finished"]
        assert one["games"] >= 12
        assert one["samples"] > 100
        assert one["matches"]["random"]["games"] == 4
    assert "round 2" in done.stderr
    again = subprocess.run(command[:-1], capture_output=True, text=True, check=True)
    assert "nothing new: every config has its 2 judged candidates" in again.stdout
    with RunDirectory.open(tmp_path) as run:
        assert check(run) == []
        assert not run.fabric.jobs.ls(states=OPEN) and not run.fabric.jobs.ls(states=[JobState.DEAD])
        assert [entry.type for entry in run.fabric.log.tail(1)] == ["LoopStopped"]


@pytest.mark.slow
def test_killed_at_random_moments_it_goes_on_and_loses_nothing(tmp_path: Path) -> None:
    command, draw = [*LOOP, "--run", str(tmp_path), "--rounds", "1"], random.Random(4)
    games: set[str] = set()
    for turn in range(4):
        loop = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 2 + 5 * draw.random()
        while loop.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        now = stored_games(tmp_path)
        children = psutil.Process(loop.pid).children(recursive=True) if loop.poll() is None else []
        if turn % 2 and children:  # of its processes first one, then itself
            draw.choice(children).kill()
            time.sleep(1)
        os.kill(loop.pid, signal.SIGKILL)
        loop.communicate()
        assert psutil.wait_procs(children, timeout=10)[1] == []
        assert games <= set(now)
        games = set(stored_games(tmp_path))
        assert games >= set(now)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)
    assert len(stored_games(tmp_path)) == len(set(stored_games(tmp_path))) >= 12
    with RunDirectory.open(tmp_path) as run:
        (one,) = rounds(run, CONFIG)
        assert one.finished
        assert check(run) == []
        kinds = run.database.rows("SELECT role, count(*) FROM models GROUP BY role ORDER BY role")
        assert [tuple(row) for row in kinds] == [("candidate", 1), ("initial", 1)]
        verdicts = [entry for entry in run.fabric.log.read() if entry.type in ("ModelPromoted", "ModelRejected")]
        assert len(verdicts) == 1


@pytest.mark.slow
def test_a_coordinator_and_a_worker_in_processes_of_their_own(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path).close()
    worker = subprocess.Popen(
        [sys.executable, "-m", "ringrift", "worker", "--run", str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
    )
    command = [*LOOP, "--run", str(tmp_path), "--rounds", "1", "--profile", "coordinator"]
    coordinator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while not stored_games(tmp_path):
        time.sleep(0.1)
    assert psutil.Process(coordinator.pid).children() == []
    second = subprocess.run([*LOOP, "--run", str(tmp_path)], capture_output=True, text=True)
    assert second.returncode == 2 and "in use by another loop, process" in second.stderr
    with RunDirectory.open(tmp_path) as run:
        assert whole(run, [CONFIG])
    assert "1 judged" in coordinator.communicate(timeout=120)[0]
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=30)
    assert worker.returncode == 0
    with RunDirectory.open(tmp_path) as run:
        assert check(run) == []
        assert run.fabric.registry.ls("node/") == []


@pytest.mark.slow
def test_sigterm_ends_it_in_order(tmp_path: Path) -> None:
    command = [*LOOP, "--run", str(tmp_path), "--rounds", "5", "--games", "5000"]
    loop = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while not stored_games(tmp_path):
        time.sleep(0.1)
    children = psutil.Process(loop.pid).children(recursive=True)
    loop.send_signal(signal.SIGTERM)
    loop.send_signal(signal.SIGTERM)  # as `timeout` does: to the process, then to its group
    said, _ = loop.communicate(timeout=60)
    assert loop.returncode == 0 and "SIGTERM was received" in said
    assert psutil.wait_procs(children, timeout=5)[1] == []
    with RunDirectory.open(tmp_path) as run:
        open_jobs = run.fabric.jobs.ls(states=OPEN)
        assert open_jobs and all(job.state is JobState.WAITING and job.attempts == 0 for job in open_jobs)


@pytest.mark.slow
def test_a_second_loop_is_refused(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path) as run, run.loop_lease():
        done = subprocess.run([*LOOP, "--run", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "in use by another loop" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_smoke_round_lowers_the_loss(tmp_path: Path) -> None:
    recipe = smoke(Recipe())
    result = Loop(tmp_path, {"hex8_3p": recipe}).run()
    (one,) = result.rounds
    # A match plays whole openings: six games with three seats.
    assert (one.games, one.steps, one.matches["initial"].games) == (4, 40, 6)
    assert one.loss_after < one.loss_before
    assert result.promoted == {"hex8_3p": None}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["loop", "--config", "chess"], "unknown config 'chess'"),
        (["loop", "--run", "{file}"], "is a file"),
        (["match", "random", "best", "--run", "{empty}"], "is not a run directory"),
        (["match", "random", "alphago"], "unknown player 'alphago'"),
        (["export", "--config", CONFIG, "--run", "{empty}"], "is not a run directory"),
        (["train", "--config", CONFIG, "--run", "{new}"], "no samples of square8_2p"),
        (["gate", "m-12", "--run", "{new}"], "means 0 models"),
        (["selfplay", "--config", CONFIG, "--run", "{new}", "--engine", "alphago"], "unknown engine 'alphago'"),
        (["loop", "--run", "{later}"], "format 99"),
        (["loop", "--set", "loop.game=3"], "unknown key 'loop.game'"),
        (["loop", "--configs", "square8_2p,chess"], "unknown config 'chess'"),
        (["loop", "--until", "elo=high"], "a number is right, as in elo=2"),
        (["loop", "--profile", "desktop"], "unknown profile 'desktop'"),
        (["worker", "--run", "{empty}"], "is not a run directory"),
        (["jobs", "retry", "train/1", "--run", "{new}"], "no dead or cancelled job"),
    ],
)
def test_bad_input_gets_one_sentence(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name in ("new", "later"):
        RunDirectory.create(tmp_path / name).close()
    (tmp_path / "later" / "run.json").write_text('{"format": 99, "identity": "x"}')
    places = {path.name: str(path) for path in tmp_path.iterdir()}
    command = [sys.executable, "-m", "ringrift", *(text.format(**places) for text in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.training
def test_a_loop_that_plays_nothing_and_has_nothing_says_so(tmp_path: Path) -> None:
    command = ["loop", "--run", str(tmp_path / "run"), "--skip-selfplay", "--set", "services.port=0"]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, DataError) and "has no game of square8_2p to train on" in str(done.exception)
