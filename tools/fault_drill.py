"""Kills each stage of the loop wherever it writes, and at random, and looks at what is left.

    python tools/fault_drill.py [--stage STAGE]… [--points N] [--kills N] [--seed S]

Of each stage a whole run is made first: it gives the points at which the stage writes something (`fabric.faults`) and
what the stage leaves behind in the end. Then, again and again from the same beginning, the stage is killed at a point,
or after a random time; the run must be sound in that moment, keep every game and promote nobody that did not pass; and
the same stage called again must end, in less than a minute, with what the whole run left, nothing lost or doubled.

With `--disks` each stage also runs on disks (tmpfs; as root) that are full before it has ended; as soon as there is
room again, the same holds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch  # noqa: F401 - loaded once, for all processes
from rich.console import Console
from rich.progress import track

from ringrift.evaluation import GateSettings, MatchSettings
from ringrift.fabric.faults import VARIABLE
from ringrift.pipeline import evaluate, export, gate, ingest, models, selfplay, train
from ringrift.search import GumbelSettings
from ringrift.selfplay import PlaySettings, SelfplaySettings
from ringrift.store import GameStore, ModelStore, RunDirectory
from ringrift.store.check import check
from ringrift.store.samples import ExportSettings, shards
from ringrift.training.settings import TrainSettings

CONFIG = "square8_2p"
GAMES, STEPS, MATCHES = 6, 12, 4
RESUMED_SECONDS = 60.0
PAGE, ROOMY = 4096, 1 << 28  #: bytes
#: Each stage is a fork of a process that has loaded everything: only what the stage itself does takes time, and is hit.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])
HERE = PlaySettings(processes=1)
PLAY = SelfplaySettings(engine="heuristic", play=HERE)
LEARN = TrainSettings(architecture="nano", batch_size=64, warmup_steps=4, threads=1, save_every_s=0.01)
COMPARE = MatchSettings(games=MATCHES, search=GumbelSettings(simulations=2, considered=2, gumbel_scale=0.0), play=HERE)
GATE = GateSettings(gates={}, games=5 * MATCHES, early=(-2000.0, -1900.0))  # whoever wins once passes


# -- the stages, as a process of its own does them ---------------------------------------------------------------------


def _play(run: RunDirectory) -> None:
    selfplay.play_games(run, CONFIG, "drill", GAMES, PLAY, models.choose_player(run, CONFIG, "heuristic"))


def _train(run: RunDirectory) -> None:
    initial = models.initial_model(run, CONFIG, LEARN)
    train.train_model(run, CONFIG, LEARN, steps=STEPS, precision="float32", parent=initial)


def _match(run: RunDirectory) -> None:
    evaluate.play_match(run, CONFIG, _candidate(run), "initial", COMPARE)


def _promote(run: RunDirectory) -> None:
    gate.gate_model(run, CONFIG, _candidate(run), GATE, COMPARE)


def _candidate(run: RunDirectory) -> str:
    return ModelStore(run).ls(CONFIG, "candidate")[-1].id


STAGES: dict[str, Callable[[RunDirectory], object]] = {
    "play": _play,
    "ingest": ingest.ingest_games,
    "export": lambda run: export.export_games(run, CONFIG, ExportSettings()),
    "train": _train,
    "match": _match,
    "promote": _promote,
}


# -- the drill ---------------------------------------------------------------------------------------------------------


@dataclass
class Report:
    """Of one stage."""

    stage: str
    points: list[str]
    """Where it writes, in order."""
    died: Counter[str] = field(default_factory=Counter)
    """How often it died where; `random` for a random moment."""
    survived: int = 0
    """Random kills that came too late."""
    full: int = 0
    """Disks on which it ended for want of room."""
    slowest: float = 0.0
    """Seconds of the slowest resumption."""


class Unsound(AssertionError):
    """A kill lost, doubled or spoilt something."""


def left(run: RunDirectory) -> dict[str, object]:
    """What a run holds, without times and names of processes."""
    games, models = GameStore(run), ModelStore(run)
    played = {game.work_id: hashlib.sha256(game.record).hexdigest()[:12] for game in games.iter_sound()}
    matches = [
        sorted(line for line in path.read_text().splitlines() if '"ringrift_match"' not in line)
        for path in sorted((run.path / "matches").glob("*.jsonl"))
    ]
    promoted = [(entry.model, entry.previous, entry.action) for entry in models.history(CONFIG)]
    kept = {model.id: (model.role, model.parents, "gate" in model.metrics) for model in models.ls()}
    flow = games.flow(CONFIG)
    return {
        "games": played, "flow": (flow.waiting, flow.valid, flow.exported), "models": kept, "promoted": promoted,
        "shards": [shard.blob for shard in shards(run)],
        "matches": [[_untimed(line) for line in one] for one in matches],
    }  # fmt: skip


def _untimed(line: str) -> object:
    said = json.loads(line)
    said["result"].pop("spent", None)
    said.pop("crc32", None)  # of times too
    return said


def drill(stage: str, before: Path, points: int, kills: int, seed: int = 0, disks: int = 0) -> Report:
    """Kills `stage` at up to `points` of its points, evenly spread, and `kills` times at random, and lets it run on
    `disks` disks with room for the first to the last part of what it writes.

    `before` is a run on which all stages before it are done. Raises `Unsound`.
    """
    with tempfile.TemporaryDirectory(prefix="drill-") as place:
        run, notes = Path(place) / "run", Path(place) / "notes"
        _copy(before, run)
        began = time.monotonic()
        if _run(stage, run, f"{notes}:0"):
            raise Unsound(f"{stage} fails without any kill")
        took = time.monotonic() - began
        with RunDirectory.open(run) as whole:
            wanted = left(whole)
        with RunDirectory.open(before) as first:
            had = left(first)
        report = Report(stage, notes.read_text().splitlines())
        chosen = sorted({round(i * (len(report.points) - 1) / max(points - 1, 1)) for i in range(points)})
        rng = random.Random(seed)
        moments = [*chosen, *(-rng.uniform(0.0, took) - 1e-9 for _ in range(kills))]
        for kill in track(moments, stage, console=Console(stderr=True), transient=True):  # the list grows meanwhile
            notes.unlink(missing_ok=True)
            shutil.rmtree(run)
            _copy(before, run)
            name = report.points[int(kill)] if kill >= 0 else "random"
            failed = _run(stage, run, f"{notes}:{int(kill) + 1}") if kill >= 0 else _run(stage, run, "", -kill)
            if failed:
                report.died[name] += 1
            elif kill >= 0:
                raise Unsound(f"{stage}: nobody died {name}")
            else:
                report.survived += 1
                moments.append(-rng.uniform(0.0, took) - 1e-9)
            _look(stage, name, run, had)
            began = time.monotonic()
            if _run(stage, run):
                raise Unsound(f"{stage}, killed {name}, cannot go on")
            report.slowest = max(report.slowest, time.monotonic() - began)
            _compare(stage, name, run, wanted)
        for number in range(disks):
            room = _size(before) + (_size(run) - _size(before)) * number // disks
            with small_disk(Path(place) / "disk", room) as disk:
                _copy(before, disk / "run")
                failed = _run(stage, disk / "run")
                _mount(disk, ROOMY, "remount,")
                report.full += failed
                _look(stage, "by a full disk", disk / "run", had)
                if _run(stage, disk / "run"):
                    raise Unsound(f"{stage} cannot go on when there is room on the disk again")
                _compare(stage, "by a full disk", disk / "run", wanted)
        if report.slowest > RESUMED_SECONDS:
            raise Unsound(f"{stage} took {report.slowest:.0f} s to go on")
        return report


def _compare(stage: str, name: str, run: Path, wanted: dict[str, object]) -> None:
    with RunDirectory.open(run) as again:
        if (found := left(again)) != wanted:
            wrong = [f"{key}: {found[key]} in place of {wanted[key]}" for key in found if found[key] != wanted[key]]
            raise Unsound(f"{stage}, killed {name}, then ended with other {'; '.join(wrong)}")


def _size(run: Path) -> int:
    """Bytes of a disk that hold a run, in whole pages."""
    return sum(-(-path.stat().st_size // PAGE) * PAGE for path in run.rglob("*") if path.is_file())


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[Path]:
    """A file system of its own with so many bytes. Raises `PermissionError` for all but root."""
    place.mkdir(exist_ok=True)
    _mount(place, size)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def _mount(place: Path, size: int, option: str = "") -> None:
    command = ["mount", "-t", "tmpfs", "-o", f"{option}size={size}", "tmpfs", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        raise PermissionError("a file system can be mounted by root alone")


def _copy(before: Path, run: Path) -> None:
    shutil.copytree(before, run)


def _run(stage: str, run: Path, fault: str = "", kill_after: float = 0.0) -> bool:
    """Does a stage in a process of its own; whether it failed, or was killed after so many seconds."""
    process = PROCESSES.Process(target=_do, args=(stage, run, fault))
    process.start()
    assert process.pid is not None
    process.join(kill_after or 300.0)
    if process.is_alive():
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:  # it leads no group yet
            process.kill()
    process.join()
    return process.exitcode != 0


def _do(stage: str, run: Path, fault: str) -> None:
    """What that process does."""
    os.setsid()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.environ.pop(VARIABLE, None)
    if fault:
        os.environ[VARIABLE] = fault
    with RunDirectory.open(run) as opened:
        STAGES[stage](opened)


def _look(stage: str, name: str, run: Path, had: dict[str, object]) -> None:
    with RunDirectory.open(run) as killed:
        if problems := check(killed):
            raise Unsound(f"{stage}, killed {name}, left {problems[0].what}: {problems[0].reason}")
        now = left(killed)
        before, after = had["games"], now["games"]
        assert isinstance(before, dict)
        assert isinstance(after, dict)
        if any(after.get(work) != content for work, content in before.items()):
            raise Unsound(f"{stage}, killed {name}, lost a game")
        if stage != "promote" and now["promoted"] != had["promoted"]:
            raise Unsound(f"{stage}, killed {name}, changed what is promoted")
        for entry in ModelStore(killed).history(CONFIG):
            if not entry.evidence.get("passes"):
                raise Unsound(f"{entry.model} is promoted and did not pass")


def prepared(wanted: list[str], place: Path) -> Iterator[tuple[str, Path]]:
    """Each wanted stage, with a run on which the stages before it are done."""
    before = place / "before"
    RunDirectory.create(before).close()
    for stage in STAGES:
        if stage in wanted:
            yield stage, before
        if _run(stage, before):
            raise Unsound(f"{stage} fails without any kill")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", action="append", choices=list(STAGES), help="only this one; may be repeated")
    parser.add_argument("--points", type=int, default=1000, help="points at which each stage is killed, at most")
    parser.add_argument("--kills", type=int, default=200, help="random kills of each stage")
    parser.add_argument("--disks", type=int, default=0, help="disks that are full before the stage has ended; as root")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print("| stage | points | killed at | random kills | too late | full disks | slowest resumption s |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="drill-") as place:
        for stage, before in prepared(given.stage or list(STAGES), Path(place)):
            report = drill(stage, before, given.points, given.kills, given.seed, given.disks)
            at = sum(report.died.values()) - report.died["random"]
            print(
                f"| {stage} | {len(report.points)} | {at} | {report.died['random']} | {report.survived} |"
                f" {report.full} | {report.slowest:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
