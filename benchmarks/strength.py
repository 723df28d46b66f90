"""How strong a run's networks are, and what they cost: `strength.py [--config C] [--minutes M] [--run DIR]`.

Runs the loop for M minutes in a new run directory, or goes on with DIR (0: looks at it as it is), noting the processor
time it takes; with `--finish ARCHITECTURE`, a new network of that architecture then learns from all samples, with a
falling learning rate, and goes through the gate. The promoted model plays the heuristic: so many games at so many
simulations, as many with equal time for every move; with 3 and 4 seats alone against heuristic seats. Openings have 4
random plies and are none of training's. Every candidate plays fewer of them: the curve of Elo against processor time,
with the untrained network and the promoted one without a search beside it. The report, its data and its picture go to
`--out` (Markdown, JSON, SVG).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from ringrift.evaluation import MatchResult, MatchSettings
from ringrift.pipeline import evaluate
from ringrift.rules import config_info
from ringrift.search import GumbelSettings
from ringrift.store import GameStore, ModelStore, RunDirectory

OPENING_PLIES = 4
LOOK_SECONDS = 5.0
#: What is asked of the promoted model: share at equal simulations, share at equal time; with more seats, fair shares.
ASKED = {2: (0.95, 0.80), 3: (2.0, None), 4: (2.4, None)}


@dataclass(frozen=True)
class Clock:
    """Processor seconds that the loop had taken at Unix times."""

    looks: tuple[tuple[float, float], ...]

    def at(self, when: float) -> float:
        """Processor seconds by then."""
        before = [cpu for at, cpu in self.looks if at <= when]
        return before[-1] if before else 0.0


def processor_seconds(process: psutil.Process) -> float:
    """Of a process and all that it started, also of those that have ended."""
    times = process.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in process.children(recursive=True):
        try:
            own = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += own.user + own.system + own.children_user + own.children_system
    return float(total)


def clock_of(directory: Path) -> Clock:
    """What was noted so far."""
    noted = directory / "cpu.json"
    return Clock(tuple(map(tuple, json.loads(noted.read_text()))) if noted.exists() else ((time.time(), 0.0),))


def timed(directory: Path, *command: str, fine: tuple[int, ...] = (0,)) -> None:
    """Carries out a `ringrift` command on the run, and notes its processor time behind what was noted before."""
    looks = list(clock_of(directory).looks)
    before = looks[-1][1]
    looks.append((time.time(), before))
    with subprocess.Popen(
        [sys.executable, "-m", "ringrift", *command, "--run", str(directory)], stdout=subprocess.DEVNULL
    ) as process:
        root = psutil.Process(process.pid)
        while process.poll() is None:
            time.sleep(LOOK_SECONDS)
            try:
                looks.append((time.time(), max(looks[-1][1], before + processor_seconds(root))))
            except psutil.Error:
                break
    if process.returncode not in fine:
        raise SystemExit(f"ringrift {' '.join(command)} ended with status {process.returncode}")
    (directory / "cpu.json").write_text(json.dumps(looks))


def make(given: argparse.Namespace, directory: Path) -> None:
    """The run, or more of it."""
    config = ("--config", given.config)
    assign = [part for text in given.set or [] for part in ("--set", text)]
    if given.minutes:
        timed(directory, "loop", *config, "--minutes", f"{given.minutes:g}", "--set", "services.port=0", *assign)
    if given.finish:
        learn = ("training.schedule=cosine", "training.last_rate=0.02", "window.least=100000000")
        falling = [part for text in learn for part in ("--set", text)]
        timed(directory, "train", *config, "--from", given.finish, "--epochs", f"{given.epochs:g}", *assign, *falling)
        timed(directory, "gate", *config, *assign, fine=(0, 1))


class Rivals:
    """Matches of a run's models against the heuristic."""

    def __init__(self, run: RunDirectory, config: str, simulations: int) -> None:
        self.run, self.config = run, config
        self.alone = config_info(config).players > 2
        self.settings = MatchSettings(
            alone=self.alone, opening_plies_min=OPENING_PLIES, opening_plies_max=OPENING_PLIES,
            search=GumbelSettings(simulations=simulations, gumbel_scale=0.0),
        )  # fmt: skip

    def meet(self, name: str, games: int, seconds: float = 0.0, seed: int = 0) -> MatchResult:
        """A model, or `policy:MODEL`, against the heuristic."""
        settings = replace(self.settings, games=games, seconds=seconds)
        return evaluate.play_match(self.run, self.config, name, "heuristic", settings, seed=seed)


def told(what: str, cpu: float | None, match: MatchResult) -> dict[str, Any]:
    """One row of the report."""
    fair = config_info(match.config).players
    return {
        "what": what, "cpu_s": None if cpu is None else round(cpu), "wins": match.wins, "losses": match.losses,
        "games": match.games, "share": match.score, "interval": match.interval,
        "fair_shares": round(match.score * fair, 2) if fair > 2 else None, "elo": match.elo,
        "elo_interval": match.elo_interval, "plies": match.plies,
    }  # fmt: skip


def measured(run: RunDirectory, config: str, clock: Clock, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The rows: controls, every candidate, then the promoted model by simulations and by time."""
    store, rivals = ModelStore(run), Rivals(run, config, given.simulations)
    yield told("untrained", 0.0, rivals.meet("initial", given.curve))
    promoted = store.promoted(config)
    for model in store.ls(config, "candidate"):
        if not model.pruned:
            name = f"{model.id}{' (promoted last)' if model.id == promoted else ''}"
            yield told(name, clock.at(model.added), rivals.meet(model.id, given.curve, seed=1))
    if promoted is None:
        return
    yield told("promoted, no search", None, rivals.meet(f"policy:{promoted}", given.curve))
    yield told(f"promoted, {given.simulations} simulations", None, rivals.meet(promoted, given.games, seed=2))
    same = f"promoted, {1000 * given.seconds:g} ms a move for both"
    yield told(same, None, rivals.meet(promoted, given.games, given.seconds, seed=3))


def report(config: str, rows: list[dict[str, Any]], about: str) -> str:
    """Markdown."""
    seats = config_info(config).players
    enough, by_time = ASKED[seats]
    asked = f"{enough:g} of the games, {by_time:g} at equal time" if by_time else f"{enough:g} fair shares"
    lines = [f"# Strength on {config}", "", about, "", f"Asked of the promoted model: {asked}.", ""]
    more = " fair shares |" if seats > 2 else ""
    lines += [
        f"| who, against the heuristic | CPU s | won – lost | share |{more} Elo |",
        f"|---|---|---|---|{'---|' if more else ''}---|",
    ]
    for row in rows:
        low, high = row["interval"]
        bottom, top = row["elo_interval"]
        fair = f" {row['fair_shares']:.2f} |" if more else ""
        share = f"{row['share']:.3f} ({low:.3f}–{high:.3f})"
        spent = "" if row["cpu_s"] is None else f"{row['cpu_s']:,}"
        lines.append(
            f"| {row['what']} | {spent} | {row['wins']}–{row['losses']} | {share} |{fair}"
            f" {row['elo']:+.0f} ({bottom:+.0f} to {top:+.0f}) |"
        )
    return "\n".join(lines) + "\n"


def draw(config: str, rows: list[dict[str, Any]], path: Path) -> None:
    """The curve of Elo against processor time."""
    from matplotlib.figure import Figure

    curve = [row for row in rows if row["cpu_s"] is not None]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    elos = [row["elo"] for row in curve]
    spread = [
        [row["elo"] - row["elo_interval"][0] for row in curve],
        [row["elo_interval"][1] - row["elo"] for row in curve],
    ]
    axes.errorbar([row["cpu_s"] for row in curve], elos, yerr=spread, marker="o", capsize=3, label="candidates")
    for row in rows:
        if row["what"] == "promoted, no search":
            axes.axhline(row["elo"], linestyle=":", color="grey", label="promoted, no search")
    axes.axhline(0, color="black", linewidth=0.8, label="heuristic")
    axes.set(xlabel="processor time of the whole loop, s", ylabel="Elo per seat against the heuristic", title=config)
    axes.legend()
    figure.savefig(path)


@contextmanager
def opened(given: argparse.Namespace) -> Iterator[tuple[RunDirectory, Clock]]:
    with tempfile.TemporaryDirectory(prefix="strength-") as place:
        directory = given.run or Path(place) / "run"
        make(given, directory)
        with RunDirectory.open(directory) as run:
            yield run, clock_of(directory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="square8_2p")
    parser.add_argument("--run", type=Path, help="this run directory; made, and kept, where there is none yet")
    parser.add_argument("--minutes", type=float, default=30.0, help="of the loop; 0 for none")
    parser.add_argument("--finish", metavar="ARCHITECTURE", help="train a new network of it from all samples")
    parser.add_argument("--epochs", type=float, default=1.0, help="its passes over all samples")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="a setting of the loop")
    parser.add_argument("--games", type=int, default=200, help="of the promoted model")
    parser.add_argument("--curve", type=int, default=60, help="games of every candidate")
    parser.add_argument("--simulations", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=0.02, help="of a move at equal time")
    parser.add_argument("--out", type=Path, help="where the report goes; default: docs/results/strength-CONFIG.md")
    given = parser.parse_args()
    out = given.out or Path(__file__).parents[1] / "docs" / "results" / f"strength-{given.config}.md"
    with opened(given) as (run, clock):
        rows = []
        for row in measured(run, given.config, clock, given):
            rows.append(row)
            print(json.dumps(row), flush=True)
        held = next(iter(GameStore(run).counts(given.config)))
        cpu = clock.looks[-1][1] if clock.looks else 0.0
    command = f"python benchmarks/strength.py {' '.join(sys.argv[1:])}"
    about = (
        f"`{command}`: {cpu / 60:.0f} minutes of processor time in all, {held.games:,} games, {held.samples:,}"
        f" samples. {given.simulations} simulations where nothing else is said."
    )
    out.write_text(report(given.config, rows, about))
    kept = {"config": given.config, "about": about, "rows": rows}
    out.with_suffix(".json").write_text(json.dumps(kept, indent=1) + "\n")
    draw(given.config, rows, out.with_suffix(".svg"))
    print(f"written: {out}, its data and its picture")


if __name__ == "__main__":
    main()
