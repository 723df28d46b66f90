"""The whole loop on one config: rounds, resumption after kill -9, one loop at a time."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ringrift.pipeline import Recipe, run_loop, smoke
from ringrift.pipeline.loop import STAGES, rounds
from ringrift.store import RunDirectory
from ringrift.store.check import check

CONFIG = "square8_2p"
LOOP = [
    sys.executable,
    "-m",
    "ringrift",
    "loop",
    "--config",
    CONFIG,
    "--games",
    "12",
    "--simulations",
    "4",
    "--engine",
    "gumbel",
]
LOOP += ["--set", "training.architecture=nano", "--steps", "20", "--set", "match.games=4", "--set", "gate.games=4"]
LOOP += ["--set", 'loop.opponents=["random"]', "--set", "loop.precision=float32", "--set", "match.search.simulations=2"]


def stored_games(directory: Path) -> set[str]:
    if not (directory / "games.db").exists():
        return set()
    with sqlite3.connect(f"file:{directory / 'games.db'}?mode=ro", uri=True) as database:
        try:
            return {row[0] for row in database.execute("SELECT work_id FROM games")}
        except sqlite3.OperationalError:  # killed before it had tables
            return set()


@pytest.mark.slow
def test_two_rounds_and_no_more(tmp_path: Path) -> None:
    command = [*LOOP, "--run", str(tmp_path), "--rounds", "2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert [one["round"] for one in result["rounds"]] == [1, 2]
    first, second = result["rounds"]
    assert second["parent"] == first["candidate"]
    for one in result["rounds"]:
        assert one["done"] == list(STAGES)
        assert one["games"] == 12
        assert one["samples"] > 100
        assert one["matches"]["random"]["games"] == 4
    assert "round 2" in done.stderr
    again = subprocess.run(command[:-1], capture_output=True, text=True, check=True)
    assert "nothing to do" in again.stdout
    with RunDirectory.open(tmp_path) as run:
        assert check(run) == []


@pytest.mark.slow
def test_killed_at_random_moments_it_goes_on_and_loses_nothing(tmp_path: Path) -> None:
    command, draw = [*LOOP, "--run", str(tmp_path), "--rounds", "1"], random.Random(4)
    games: set[str] = set()
    for _ in range(8):
        loop = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        before = time.monotonic()
        while loop.poll() is None and time.monotonic() - before < 2 + 5 * draw.random():
            time.sleep(0.01)
            if len(stored_games(tmp_path)) > len(games) + 4:
                break
        now = stored_games(tmp_path)
        os.kill(loop.pid, signal.SIGKILL)
        loop.communicate()
        assert games <= now
        games = stored_games(tmp_path)
        assert games >= now
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)
    assert stored_games(tmp_path) == {f"{CONFIG}/round-000001/{i:06d}" for i in range(12)}
    with RunDirectory.open(tmp_path) as run:
        (one,) = rounds(run, CONFIG)
        assert one.finished
        assert check(run) == []
        kinds = run.database.rows("SELECT role, count(*) FROM models GROUP BY role ORDER BY role")
        assert [tuple(row) for row in kinds] == [("candidate", 1), ("initial", 1)]


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
    result = run_loop(tmp_path, "hex8_3p", recipe, at_most=1)
    (one,) = result.rounds
    # A match plays whole openings: six games with three seats.
    assert (one.games, one.steps, one.matches["initial"].games) == (4, 40, 6)
    assert one.loss_after < one.loss_before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["loop", "--config", "chess"], "unknown config 'chess'"),
        (["loop", "--run", "{file}"], "is a file"),
        (["match", "random", "best", "--run", "{empty}"], "is not a run directory"),
        (["match", "random", "alphago"], "does not exist"),
        (["export", "--config", CONFIG, "--run", "{empty}"], "is not a run directory"),
        (["train", "--config", CONFIG, "--run", "{new}"], "no samples of square8_2p"),
        (["gate", "m-12", "--run", "{new}"], "means 0 models"),
        (["selfplay", "--config", CONFIG, "--run", "{new}", "--engine", "alphago"], "unknown engine 'alphago'"),
        (["loop", "--run", "{later}"], "format 99"),
        (["loop", "--set", "loop.game=3"], "unknown key 'loop.game'"),
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
