"""Learning from games that people won against the service: a candidate beside the promoted model, which takes its place
only through the gate, as any other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ringrift.errors import DataError
from ringrift.fabric import Lease, kept_alive
from ringrift.fabric.files import make_directory
from ringrift.kernel.kind import Show, quiet
from ringrift.pipeline import export, gate, train
from ringrift.pipeline.settings import Recipe
from ringrift.rules import Options
from ringrift.store import GameStore, ModelInfo, ModelStore, RunDirectory
from ringrift.store.retold import Recorded, Refused, judge
from ringrift.store.run import ONLINE, TAKEN
from ringrift.texts import read_json

LAST_RATE = 0.1  #: of the learning rate, at the end
LEASE = 60.0  #: seconds for which one that was killed keeps others out


@dataclass(frozen=True)
class OnlineProfile:
    """How much is learned from people's games."""

    games: int
    """New ones that it takes for a training."""
    weight: float
    """How much more often one of them is drawn than another game."""
    rate: float
    """Learning rate to begin with, as a share of `training.learning_rate`; it falls to a tenth of that."""
    steps: int
    """Optimiser steps of a training."""
    strict: bool = False
    """The candidate has to pass the tests of a mature run, `gate.mature`, however few promotions there were."""


PROFILES = {
    "default": OnlineProfile(games=50, weight=4.0, rate=0.2, steps=200),
    "conservative": OnlineProfile(games=200, weight=2.0, rate=0.1, steps=200),
    "aggressive": OnlineProfile(games=10, weight=8.0, rate=0.5, steps=400),
    "tournament": OnlineProfile(games=50, weight=4.0, rate=0.1, steps=100, strict=True),
}


@dataclass(frozen=True)
class OnlineResult:
    """What came of it."""

    taken: int
    """Games of people that are new in the run, and valid."""
    refused: int
    """New ones that do not replay: most, as the game server sends them."""
    waiting: int
    """Valid ones that no candidate has learned from yet."""
    candidate: str = ""
    promoted: bool = False
    reason: str = ""
    """Why it was promoted or not, or why nothing was learned."""


def learn_stage(
    run: RunDirectory,
    config: str,
    profile: OnlineProfile,
    recipe: Recipe,
    *,
    seed: int = 0,
    show: Show = quiet,
) -> OnlineResult:
    """Takes in the games of people that wait, and if they are enough, trains a candidate from the promoted model on the
    window in which they weigh more, and lets it run its gauntlet. Called again after a kill, it goes on.

    Raises: DataError where nothing is promoted yet; JobError while another process does this.
    """
    with kept_alive(run.fabric.leases.acquire(f"online/{config}", LEASE)) as lease:
        return _learn(run, config, profile, recipe, lease, seed, show)


def _learn(
    run: RunDirectory, config: str, profile: OnlineProfile, recipe: Recipe, lease: Lease, seed: int, show: Show
) -> OnlineResult:
    store = ModelStore(run)
    if (champion := store.promoted(config)) is None:
        raise DataError(f"{run.path} has no promoted model of {config} to go on from: ringrift loop --config {config}")
    taken, refused = take_in(run, config)
    people, candidate = _people(run, config), _newest(store, config)
    waiting = max(0, people - (_learned(candidate) if candidate else 0))
    if candidate is None or "gate" in candidate.metrics:
        if waiting < profile.games:
            reason = f"{waiting} games of people that nothing has learned from; the profile asks for {profile.games}"
            return OnlineResult(taken, refused, waiting, reason=reason)
        export.export_games(run, config, recipe.export, show=show)
        settings = replace(
            recipe.training, learning_rate=profile.rate * recipe.training.learning_rate, schedule="cosine",
            last_rate=LAST_RATE,
        )  # fmt: skip
        sources = (f"import:{ONLINE}*={profile.weight:g}", *recipe.window.sources)
        candidate = train.train_model(
            run, config, settings, window=replace(recipe.window, sources=sources), steps=profile.steps,
            parent=store.show(champion), precision=recipe.loop.precision, seed=seed, show=show,
        )  # fmt: skip
        store.annotate(candidate.id, people=people)
    asked = replace(recipe.gate, mature_after=0) if profile.strict else recipe.gate
    verdict = gate.gate_model(run, config, candidate.id, asked, recipe.match, seed=seed, lease=lease, show=show)
    return OnlineResult(taken, refused, 0, candidate.id, verdict.passes, verdict.reason)


def take_in(run: RunDirectory, config: str) -> tuple[int, int]:
    """Imports the games of people that wait, and sets their files aside; (new and valid ones, those that are not)."""
    folder, taken, refused = run.online(config), 0, 0
    files = sorted(folder.glob(f"{ONLINE}*.jsonl"))
    make_directory(folder / TAKEN)
    for file in files:
        judged = judge(_told(file, config), file.name)
        new = judged.row is not None and GameStore(run).add_judged([judged.row])[0]
        taken += new and judged.problem is None
        refused += judged.row is None or (new and judged.problem is not None)
        file.replace(folder / TAKEN / file.name)
    return taken, refused


def _told(file: Path, config: str) -> Recorded | Refused:
    """The game of people in a file, as `web.learning` wrote it."""
    try:
        game = read_json(file.read_bytes())
        seats = sorted(game.get("players", ()), key=lambda seat: seat["playerNumber"])
        return Recorded(
            f"{file}, line 1", config, Options(), [(move.get("player"), move) for move in game["moves"]], finished=True,
            winner=game["winner"], players=tuple(seat["playerType"] for seat in seats),
            about={"source": game.get("source", ONLINE)},
        )  # fmt: skip
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return Refused(str(file), f"{file} is no game of people, or a damaged one: {error}")


def _people(run: RunDirectory, config: str) -> int:
    """Valid games of people in the run."""
    query = "SELECT count(*) FROM games WHERE config = ? AND state = 'valid' AND retraction IS NULL AND worker LIKE ?"
    return int(run.database.rows(query, [config, f"import:{ONLINE}%"])[0][0])


def _newest(store: ModelStore, config: str) -> ModelInfo | None:
    """The newest candidate that has learned from people."""
    found = [model for model in store.ls(config, "candidate") if _learned(model)]
    return found[-1] if found else None


def _learned(model: ModelInfo) -> int:
    """From how many games of people."""
    return int(str(model.metrics.get("people", 0)))
