"""What each ingredient of training is worth on square8_2p: `ablation.py DIR [--seconds S] [--seeds N] [--arms A,B] …`.

One fixed set of games: heuristic ones, and ones of a first network trained on those (the arm `restarts` has another
second half of these). Every arm learns from it for the
same CPU time, in a number of steps that is fixed beforehand from what a step costs; judged are the losses on held-out
games and a match against the network of the base arm with the same seed. Everything is kept in DIR, and what is there
is not done again: called with more arms, seeds or games, it does the missing part. The table goes to standard output.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ringrift.evaluation import MatchResult, MatchSettings, score_interval
from ringrift.nets import initial_checkpoint, load_checkpoint
from ringrift.nets.architectures import ARCHITECTURES
from ringrift.pipeline import evaluate, export, ingest, models, selfplay, train
from ringrift.search import GumbelSettings
from ringrift.selfplay import PlaySettings, SelfplaySettings
from ringrift.store import GameStore, RunDirectory
from ringrift.store.samples import ExportSettings
from ringrift.store.window import ReplayWindow, WindowSettings, replay_window
from ringrift.training import TrainSettings, fit
from ringrift.training.data import Batch, SampleStream
from ringrift.training.loss import losses
from ringrift.training.mixture import hold_out

CONFIG = "square8_2p"
SIMULATIONS = 16
HELD_OUT = 0.1
STRETCHES = 9
EVERYTHING = WindowSettings(least=10_000_000)
HERE = PlaySettings(processes=1)
BASE = TrainSettings(architecture="tiny", threads=1, held_out=HELD_OUT, check_every=1 << 30)
#: Two-sided 95 % points of Student's t by degrees of freedom.
T_95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36}


@dataclass(frozen=True)
class Arm:
    """One way to train."""

    what: str
    change: dict[str, Any] = field(default_factory=dict)
    """Against BASE."""
    symmetries: bool = True
    surprise: float = 0.0
    """`window.surprise`."""
    restart_share: float = 0.0
    """`selfplay.restart_share` of the second half of the network's games."""

    @property
    def run(self) -> str:
        """Where its samples are."""
        return "restarts" if self.restart_share else "run" if self.symmetries else "plain"

    @property
    def data(self) -> tuple[str, float]:
        """What it learns from."""
        return self.run, self.surprise


ARMS = {
    "base": Arm("the defaults of `TrainSettings`"),
    "no-forecasts": Arm("without ownership and shares", {"ownership_weight": 0.0, "shares_weight": 0.0}),
    "no-pooling": Arm("policy and ownership without the pooled trunk", {"architecture": "tiny-local"}),
    "surprise": Arm("half of the draws by policy surprise", surprise=0.5),
    "soft-policy": Arm("soft policy head, T 4, weight 8", {"soft_policy_weight": 8.0}),
    "soft-policy-1": Arm("soft policy head, T 4, weight 1", {"soft_policy_weight": 1.0}),
    "short-term": Arm("short-term value heads, weight 0.5", {"short_term_weight": 0.5}),
    "swa": Arm("mean of the weights of the last half, not the moving average", {"swa_from": 0.5}),
    "no-average": Arm("the last weights, not the moving average", {"average": 0.0}),
    "no-symmetries": Arm("every position as it was played", symmetries=False),
    "restarts": Arm("half of the later games start where a search was wrong", restart_share=0.5),
    "hard": Arm("hard examples, power 0.5", {"hard_examples": 0.5}),
    "cosine": Arm("cosine schedule", {"schedule": "cosine"}),
    "sgd": Arm("SGD, rate 0.04", {"optimiser": "sgd", "learning_rate": 0.04}),
    "squeeze": Arm("squeeze-and-excitation in the blocks", {"architecture": "tiny-se"}),
}
ROWS: dict[str, dict[str, Any]] = {"tiny-local": {"pooling": False}, "tiny-se": {"squeeze": 16}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--seconds", type=float, default=30.0, help="CPU seconds of each training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--games", type=int, default=3000, help="of the heuristic, and again of the first network")
    parser.add_argument("--pairs", type=int, default=50, help="openings of a match, each played from both sides")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--only", choices=("data", "report"), help="stop after the data; or only print the table")
    given = parser.parse_args()
    arms = [name for name in given.arms.split(",") if name != "base"]
    torch.set_num_threads(1)
    for name, change in ROWS.items():
        ARCHITECTURES[name] = replace(ARCHITECTURES["tiny"], name=name, **change)
    with ExitStack() as stack:
        names = {"run", *(ARMS[name].run for name in arms)}
        runs = {name: stack.enter_context(RunDirectory.open_or_create(given.dir / name)) for name in sorted(names)}
        kept = Kept(given.dir / "results.json")
        if given.only != "report":
            make_data(runs, given.games, kept)
            if given.only != "data":
                measure(runs, ["base", *arms], given, kept)
        if given.only != "data":
            print("\n".join(table(kept, arms, given)))


class Kept:
    """Results that are there already."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def __call__(self, key: str, make: Callable[..., Any], *arguments: Any) -> Any:
        """The result of that name, made where it is missing; with the CPU seconds that it took."""
        if key not in self.results:
            began = time.process_time()
            self.results[key] = {"value": make(*arguments), "cpu_s": round(time.process_time() - began, 2)}
            self._path.write_text(json.dumps(self.results, indent=1))
        return self.results[key]["value"]


# -- data --------------------------------------------------------------------------------------------------------------


def make_data(runs: dict[str, RunDirectory], games: int, kept: Kept) -> None:
    """The games and their samples, in every run."""
    run = runs["run"]
    play = SelfplaySettings(search=GumbelSettings(simulations=SIMULATIONS), play=HERE)

    def played(where: RunDirectory, name: str, player: str, games: int, settings: SelfplaySettings) -> int:
        chosen = models.choose_player(run, CONFIG, player, settings.search)
        selfplay.play_games(where, CONFIG, name, games, settings, chosen, seed=1)
        return ingest.ingest_games(where).valid

    def copied(where: RunDirectory, without: str) -> int:
        """The same games under the same ids, but those of one job."""
        found = ((game.record, game.work_id) for game in GameStore(run).iter_valid(CONFIG))
        GameStore(where).add_many((record, work) for record, work in found if f"/{without}/" not in f"/{work}")
        return ingest.ingest_games(where).valid

    def exported(where: RunDirectory, symmetries: bool = True) -> int:
        return export.export_games(where, CONFIG, ExportSettings(symmetries=symmetries)).samples

    heuristic = replace(play, engine="heuristic")
    kept("games of the heuristic", lambda: played(run, "heuristic", "heuristic", games, heuristic))
    kept("samples of the heuristic", lambda: exported(run))
    first = kept("first network", lambda: train.train_model(run, CONFIG, replace(BASE, held_out=0.0), steps=600).id)
    kept("games of the first network", lambda: played(run, "network", first, games // 2, play))
    kept("its later games", lambda: played(run, "later", first, games // 2, play))
    kept("samples of the first network", lambda: exported(run))
    if plain := runs.get("plain"):
        kept("games without symmetries", copied, plain, "none")
        kept("samples without symmetries", exported, plain, False)
    if restarts := runs.get("restarts"):
        kept("games before the restarts", copied, restarts, "later")
        again = replace(play, restart_share=ARMS["restarts"].restart_share)
        kept("games with restarts", lambda: played(restarts, "later", first, games // 2, again))
        kept("samples with restarts", exported, restarts)


# -- measuring ---------------------------------------------------------------------------------------------------------


def measure(runs: dict[str, RunDirectory], arms: list[str], given: argparse.Namespace, kept: Kept) -> None:
    """Trains and judges every arm, seed by seed, so that an interrupted run has something of each."""
    run = runs["run"]
    windows = {
        (where, surprise): replay_window(runs[where], CONFIG, replace(EVERYTHING, surprise=surprise))
        for where, surprise in {ARMS[name].data for name in arms}
    }
    held = SampleStream(hold_out(windows[ARMS["base"].data], HELD_OUT)[1], CONFIG, 0).fixed(8192)
    for name in arms:
        base = kept.results["step of base"]["value"] if name != "base" else 0.0
        kept(f"step of {name}", step_cost, name, windows, base)
    for seed in range(given.seeds):
        for name in arms:
            arm, steps = ARMS[name], max(1, round(given.seconds / kept.results[f"step of {name}"]["value"]))
            key = f"{name}/{given.seconds:g}s/{seed}"
            model = kept(key, trained, run, arm, windows[arm.data], steps, seed, held)["model"]
            if name != "base":
                base = kept.results[f"base/{given.seconds:g}s/{seed}"]["value"]["model"]
                kept(f"{key}/match", contest, run, model, base, given.pairs, seed)
        base = kept.results[f"base/{given.seconds:g}s/{seed}"]["value"]["model"]
        for control, player in (("untrained", "initial"), ("search-free", f"policy:{base}")):
            kept(f"{control}/{given.seconds:g}s/{seed}/match", contest, run, player, base, given.pairs, seed)


def step_cost(name: str, windows: dict[tuple[str, float], ReplayWindow], base: float) -> float:
    """CPU seconds of a step: that of the base arm, times the median ratio of neighbouring stretches of both, since
    what else the machine does changes the cost of everything. Of the base arm itself, the least of its stretches."""
    stretches = {one: stretch(one, windows[ARMS[one].data]) for one in ("base", name)}
    spent = [{one: next(stretches[one]) for one in stretches} for _ in range(STRETCHES)]
    return base * statistics.median(s[name] / s["base"] for s in spent) if base else min(s["base"] for s in spent)


def stretch(name: str, window: ReplayWindow) -> Iterator[float]:
    """CPU seconds per step of one stretch of ten after another."""
    settings = replace(BASE, **ARMS[name].change)
    learner = fit.Learner(initial_checkpoint(settings.architecture, CONFIG), CONFIG, settings)
    batches = SampleStream(window, CONFIG, 0).batches(settings.batch_size, 0, 10 * STRETCHES + 5)
    for _ in range(5):
        learner.learn(CONFIG, next(batches), 1e-3, 100)
    while True:
        began = time.process_time()
        for _ in range(10):
            learner.learn(CONFIG, next(batches), 1e-3, 100)
        yield (time.process_time() - began) / 10


def trained(run: RunDirectory, arm: Arm, window: ReplayWindow, steps: int, seed: int, held: Batch) -> dict[str, Any]:
    """Trains one network and registers it."""
    settings = replace(BASE, **arm.change)
    result = fit.train({CONFIG: window}, settings, steps=steps, seed=seed)
    network, _ = load_checkpoint(result.checkpoint)
    with torch.no_grad():
        found = losses(network(held.planes, held.globals), held, replace(settings, root_value_share=0.0))
    positions = models.window_positions([part.path for part in window.parts])
    made = models.make_model(
        run.fabric.blobs, CONFIG, result.checkpoint, positions, "int8", role="ablation", settings=asdict(settings)
    )
    (model,) = models.register(run, [made])
    return {"model": model, "steps": steps, "policy": found.policy.item(), "value": found.value.item()}


def contest(run: RunDirectory, a: str, b: str, pairs: int, seed: int) -> dict[str, Any]:
    """A match at equal simulations."""
    search = GumbelSettings(simulations=SIMULATIONS, gumbel_scale=0.0)
    settings = MatchSettings(games=2 * pairs, search=search, play=HERE)
    return evaluate.play_match(run, CONFIG, a, b, settings, seed=100 + seed).to_dict()


# -- the table ---------------------------------------------------------------------------------------------------------


def table(kept: Kept, arms: list[str], given: argparse.Namespace) -> Iterator[str]:
    """Markdown."""

    def of(name: str, seed: int) -> Any:
        return kept.results.get(f"{name}/{given.seconds:g}s/{seed}", {}).get("value")

    yield "| arm | steps | held-out policy | − base | held-out value | − base | match against base | games | effect |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name in ["base", *arms, "untrained", "search-free"]:
        seeds = [seed for seed in range(given.seeds) if of(name, seed)]
        cells = [f"{name}: {ARMS[name].what}" if name in ARMS else name]
        clear = []
        if seeds:
            cells.append(str(of(name, seeds[0])["steps"]))
            for loss in ("policy", "value"):
                own = [of(name, seed)[loss] for seed in seeds]
                mean, half = spread([x - of("base", seed)[loss] for x, seed in zip(own, seeds, strict=True)])
                cells += [f"{statistics.mean(own):.4f}", "" if name == "base" else f"{mean:+.4f} ± {half:.4f}"]
                clear.append(abs(mean) > half)
        else:
            cells += [""] * 5
        found = [kept.results.get(f"{name}/{given.seconds:g}s/{seed}/match") for seed in range(given.seeds)]
        results = [MatchResult.from_dict(one["value"]) for one in found if one]
        if results:
            games, score, (low, high) = pooled(results)
            cells += [f"{score:.3f} ({low:.3f} to {high:.3f})", str(games)]
            strength = "" if low <= 0.5 <= high else "stronger" if low > 0.5 else "weaker"
            cells.append(strength or ("losses alone" if any(clear) else "no measurable effect"))
        else:
            cells += ["", "", ""]
        yield "| " + " | ".join(cells) + " |"


def spread(differences: list[float]) -> tuple[float, float]:
    """Mean, and half of its 95 % interval by Student's t."""
    n = len(differences)
    if n < 2:
        return differences[0], float("inf")
    return statistics.mean(differences), T_95[n - 1] * statistics.stdev(differences) / n**0.5


def pooled(results: list[MatchResult]) -> tuple[int, float, tuple[float, float]]:
    """Games, score and its interval over several matches, their openings as groups."""
    groups = [[i / 4, i / 4] for one in results for i, n in enumerate(one.pentanomial) for _ in range(n)]
    games = sum(one.games for one in results)
    return games, sum(one.score * one.games for one in results) / games, score_interval(groups)


if __name__ == "__main__":
    main()
