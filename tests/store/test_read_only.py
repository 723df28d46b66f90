"""Runs that may not be written: every command that only reads works there, the others say so."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from stored import CONFIG, finished

from ringrift.fabric import Job, LogEntry
from ringrift.store import GameStore, ModelStore, RunDirectory
from ringrift.store.validate import validate

COMMAND = """
import ctypes, os, sys
if os.geteuid() == 0:
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP: from the next exec on
os.execv(sys.executable, [sys.executable, "-m", "ringrift", *sys.argv[1:]])
"""
KILLED = """
import os, sys
from ringrift.store import GameStore, RunDirectory
run = RunDirectory.open(sys.argv[1])
GameStore(run).judge([(1, "last words")])
os.kill(os.getpid(), 9)
"""


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory with a run, which nobody may write, and one whose last process was killed."""
    with TemporaryDirectory(prefix="ringrift-test-") as directory:
        place = Path(directory)
        with RunDirectory.create(place / "run") as run:
            models = ModelStore(run)
            GameStore(run).add_many([(finished(seed).to_bytes(), f"work/{seed}") for seed in range(3)])
            GameStore(run).judge([(3, "not sound")])
            validate(run)
            one = models.register(CONFIG, run.fabric.blobs.put(b"weights", ".bin"), None, {})
            models.promote(one, over=None)
            run.fabric.jobs.put([Job("export/1", "export", CONFIG)])
            run.fabric.log.append([LogEntry("Tried", {}, "e", CONFIG)])
            with run.loop_lease():
                pass
        shutil.copytree(place / "run", place / "killed")
        subprocess.run([sys.executable, "-c", KILLED, str(place / "killed")], check=False)
        for path in (place, *place.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield place
        for path in (place, *place.rglob("*")):
            path.chmod(0o755)


def tell(*arguments: object) -> tuple[int, str, str]:
    """Status, output and errors of a command of somebody who may write nothing there: root, too, is bound by
    permissions once it has given up the right to pass over them."""
    command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "data ls RUN", "data show RUN 1",
        "data retractions RUN", "data quality RUN", "quarantine ls RUN", "quarantine show RUN 3",
        "models ls --run RUN", "models show best --run RUN", "models card best --run RUN",
        "models history --run RUN", "models milestones --run RUN",
        "runs ls --run RUN", "jobs ls --run RUN", "jobs show export/1 --run RUN", "events ls --run RUN",
        "events trace 1 --run RUN", "events dead --run RUN", "services ls --run RUN", "loop --run RUN --dry-run",
        "quarantine purge RUN --all --dry-run",
        "models prune --run RUN --dry-run", "data retract RUN --model m-1 --dry-run", "data check RUN",
    ],
)  # fmt: skip
@pytest.mark.parametrize("run", ["run", "killed"])
def test_what_only_reads_works(place: Path, command: str, run: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    status, said, errors = tell(*command.replace("RUN", str(place / run)).split())
    assert (status, "ringrift: " in errors) == (1 if "check" in command else 0, False), said + errors
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before
    if command == "quarantine ls RUN":
        assert ("last words" in said) == (run == "killed")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "quarantine purge RUN --all", "models promote initial --run RUN", "data retract RUN --model m-1",
        "data audit RUN", "selfplay -c square8_2p --run RUN --engine random --games 1",
        "export -c square8_2p --run RUN",
        "jobs cancel export/1 --run RUN", "data merge RUN --run RUN/new", "loop --run RUN --set services.port=0",
    ],
)  # fmt: skip
def test_what_writes_says_so(place: Path, command: str) -> None:
    status, said, errors = tell(*command.replace("RUN", str(place / "run")).split())
    assert (status, errors.count("ringrift: "), "Traceback" in errors) == (2, 1, False), said + errors
