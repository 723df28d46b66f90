"""The loop for an hour, unattended, watched from outside: `soak.py [HOURS [CONFIG,CONFIG… [REPORT]]]`.

Starts `ringrift loop` in a new run directory, notes every half a minute what its processes take, and afterwards looks
for what should not be there: growing memory, dead letters, dead jobs, unsound data. Then the last promoted model of
each config plays the first one. The report is Markdown; `docs/results/` keeps the last one.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from ringrift.evaluation import MatchSettings
from ringrift.fabric import JobState
from ringrift.kernel.effects import dead_letters
from ringrift.pipeline import evaluate
from ringrift.store import GameStore, ModelStore, RunDirectory
from ringrift.store.check import check

EVERY_SECONDS = 30.0
ROW_SECONDS = 300.0
GAMES = 200


@dataclass(frozen=True)
class Look:
    """What the loop took at one moment."""

    minute: float
    coordinator_mb: float
    children: int
    children_mb: float
    threads: int
    files: int


def look(loop: psutil.Process, began: float) -> Look:
    children = []
    for child in loop.children(recursive=True):
        try:
            children.append(child.memory_info().rss)
        except psutil.NoSuchProcess:
            continue
    with loop.oneshot():
        own, threads, files = loop.memory_info().rss, loop.num_threads(), loop.num_fds()
    return Look((time.monotonic() - began) / 60, own / 1e6, len(children), sum(children) / 1e6, threads, files)


def watch(command: list[str], log: Path) -> tuple[list[Look], int]:
    """Runs the loop to its end; what was seen of it, and its status."""
    looks: list[Look] = []
    began = time.monotonic()
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as process:
        loop = psutil.Process(process.pid)
        while process.poll() is None:
            looks.append(look(loop, began))
            try:
                process.wait(EVERY_SECONDS)
            except subprocess.TimeoutExpired:
                continue
    return looks, process.returncode


def report(run: RunDirectory, configs: list[str], looks: list[Look], status: int, command: list[str]) -> str:
    """The report; plays the matches that it tells of."""
    jobs, letters = run.fabric.jobs.counts(), dead_letters(run.fabric.registry)
    dead = {key: count for key, count in jobs.items() if key[2] is JobState.DEAD}
    unsound = check(run)
    rows = looks[:: int(ROW_SECONDS / EVERY_SECONDS)]
    lines = [
        "# The loop for an hour",
        "",
        f"`{' '.join(command)}`, by `python benchmarks/soak.py`; {looks[-1].minute:.0f} minutes, status {status}.",
        "",
        "| minute | coordinator MB | its threads | its open files | child processes | their MB |",
        "|---|---|---|---|---|---|",
        *(
            f"| {x.minute:.0f} | {x.coordinator_mb:.0f} | {x.threads} | {x.files} | {x.children}"
            f" | {x.children_mb:.0f} |"
            for x in rows
        ),
        "",
        f"Largest: coordinator {max(x.coordinator_mb for x in looks):.0f} MB, with children"
        f" {max(x.coordinator_mb + x.children_mb for x in looks):.0f} MB.",
        "",
        f"Dead letters {len(letters)}; dead jobs {sum(dead.values())}; unsound data {len(unsound)};"
        f" events {run.fabric.log.last()}; jobs done {sum(n for (_, _, s), n in jobs.items() if s is JobState.DONE)}.",
        "",
        "| config | games | samples | candidates | promoted | last – first promoted | share | Elo |",
        "|---|---|---|---|---|---|---|---|",
    ]
    counts = {row.config: row for row in GameStore(run).counts()}
    for config in configs:
        store = ModelStore(run)
        promoted = [entry.model for entry in store.history(config)]
        row = [counts[config].games, counts[config].samples, len(store.ls(config, "candidate")), len(promoted)]
        result = "only one | |" if len(set(promoted)) < 2 else ""
        if not result:
            match = evaluate.play_match(run, config, promoted[-1], promoted[0], MatchSettings(games=GAMES), seed=2**31)
            low, high = match.interval
            result = f"{match.wins}–{match.losses} of {match.games} | {match.score:.3f} ({low:.3f}–{high:.3f}) |"
            result += f" {match.elo:+.0f} ({match.elo_interval[0]:+.0f} to {match.elo_interval[1]:+.0f})"
        lines.append(f"| {config} | {' | '.join(map(str, row))} | {result} |")
    return "\n".join(lines) + "\n"


def main(hours: str = "1", configs: str = "square8_2p,hex8_2p", to: str = "") -> None:
    directory = Path(tempfile.mkdtemp(prefix="ringrift-soak-"))
    command = ["ringrift", "loop", "--configs", configs, "--until", f"hours={hours}", "--minutes", "0"]
    program = [str(Path(sys.executable).parent / command[0]), *command[1:], "--run", str(directory / "run")]
    looks, status = watch(program, directory / "log.txt")
    with RunDirectory.open(directory / "run") as run:
        text = report(run, configs.split(","), looks, status, command)
    print(text, f"\nrun and log: {directory}", sep="", file=sys.stderr)
    if to:
        Path(to).write_text(text, encoding="utf-8")
    else:
        print(text, end="")


if __name__ == "__main__":  # the playing processes import this file
    main(*sys.argv[1:])
