"""The run directory: refused when it is something else, and kept by one loop at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ringrift.errors import CorruptBlob, DataError, FormatTooNew, JobError
from ringrift.store import RunDirectory

LOOP = """
import sys, time
from ringrift.store import RunDirectory
with RunDirectory.open(sys.argv[1]) as run, run.loop_lease():
    print("started", flush=True)
    time.sleep(600)
"""


def test_create_and_open(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "runs" / "a") as run:
        identity = run.identity
    for opened in (RunDirectory.open(tmp_path / "runs" / "a"), RunDirectory.open_or_create(tmp_path / "runs" / "a")):
        with opened as run:
            assert run.identity == identity


def test_what_is_not_a_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match=r"not a run directory.*give"):
        RunDirectory.open(tmp_path / "home")
    with pytest.raises(DataError, match="neither empty nor a run directory"):
        RunDirectory.open_or_create(tmp_path / "home")
    with pytest.raises(DataError, match="is a file"):
        RunDirectory.create(tmp_path / "home" / "letter.txt")
    with pytest.raises(DataError, match="does not exist"):
        RunDirectory.open(tmp_path / "nowhere")
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["letter.txt"]


def test_formats_and_damage(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path).close()
    about = tmp_path / "run.json"
    good = json.loads(about.read_text())
    about.write_text(json.dumps(good | {"format": 99}))
    with pytest.raises(FormatTooNew, match=r"run\.json has format 99"):
        RunDirectory.open(tmp_path)
    for text in ("{", "[]", "{}", json.dumps(good | {"format": "x"})):
        about.write_text(text)
        with pytest.raises(CorruptBlob, match=r"run\.json"):
            RunDirectory.open(tmp_path)


def test_second_loop_is_told_who_has_the_directory(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path) as run:
        loop = subprocess.Popen([sys.executable, "-c", LOOP, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert loop.stdout is not None
        assert loop.stdout.readline() == "started\n"
        told = rf"in use by another loop, process {loop.pid} on .* since 20"
        with pytest.raises(JobError, match=told), run.loop_lease():
            pass
        loop.kill()
        loop.communicate()
        with run.loop_lease() as lease:
            assert lease.fence == 2
            assert f"process {os.getpid()}" in lease.holder
