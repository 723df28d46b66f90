"""The loop: all stages, round after round, in a run directory.

What a round has done is kept in the registry (`round/<config>/<number>`) after each stage, and what a stage has done is
in the store: killed at any moment, the same call goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ringrift.clock import SYSTEM_CLOCK, Clock
from ringrift.evaluation import MatchResult
from ringrift.fabric import Lease
from ringrift.pipeline import stages
from ringrift.pipeline.settings import Recipe
from ringrift.pipeline.stages import Show, quiet
from ringrift.selfplay import derive_seed
from ringrift.store import GameStore, ModelStore, RunDirectory


@dataclass
class Round:
    """What is known of one round; grows with each stage, and is stored as it grows."""

    round: int
    parent: str = ""
    """The model that played the round's games, and from which its training starts."""
    games: int = 0
    """Games of the round."""
    quarantined: int = 0
    """Games that did not replay."""
    samples: int = 0
    """Samples that the parent has not seen."""
    candidate: str = ""
    steps: float = 0
    """Optimiser steps."""
    loss_before: float = 0
    """On a fixed part of the window, with the parent's weights …"""
    loss_after: float = 0
    """… and with the candidate's."""
    matches: dict[str, MatchResult] = field(default_factory=dict)
    """The candidate's matches by opponent: `random`, `initial`, `heuristic`, `best` (of that time)."""
    gate: str = ""
    """The opponent that decides."""
    verdict: str = ""
    promoted: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    """Time per stage."""
    done: list[str] = field(default_factory=list)
    """Stages that are finished."""

    @property
    def finished(self) -> bool:
        return "gate" in self.done


@dataclass(frozen=True)
class LoopResult:
    """What a loop has done."""

    rounds: tuple[Round, ...]
    """Every finished round of the run, also of earlier calls."""
    new: int
    """How many of them this call finished."""
    promoted: str | None
    """The model that is promoted in the end."""


def rounds(run: RunDirectory, config: str) -> list[Round]:
    """The rounds of a run, in order; the last one may be unfinished."""
    found = [Round(**entry.value) for entry in run.fabric.registry.ls(f"round/{config}/")]  # type: ignore[arg-type]
    for one in found:
        one.matches = {name: MatchResult.from_dict(kept) for name, kept in one.matches.items()}  # type: ignore[arg-type]
    return found


def run_loop(
    directory: Path,
    config: str,
    recipe: Recipe = Recipe(),
    *,
    skip_selfplay: bool = False,
    epochs: float = 0.0,
    at_most: int = 0,
    show: Show = quiet,
    after_round: Callable[[list[Round]], None] = lambda rounds: None,
    clock: Clock = SYSTEM_CLOCK,
) -> LoopResult:
    """Runs rounds until the run has `rounds` of them, or until another would take longer than `minutes`.

    `at_most` limits the rounds of this call (0: not). `after_round` gets all finished rounds after each one. Raises
    `JobError` while another loop has the directory, and what the stages raise.
    """
    settings, new = recipe.loop, 0
    with RunDirectory.open_or_create(directory) as run, run.loop_lease() as lease:
        began = clock.monotonic()
        while True:
            past = rounds(run, config)
            now = past.pop() if past and not past[-1].finished else Round(len(past) + 1)
            started = clock.monotonic()
            if (settings.rounds and now.round > settings.rounds) or (at_most and new == at_most):
                break
            if settings.minutes and past and started - began + _duration(past[-1]) > 60 * settings.minutes:
                break
            play_round(Context(run, config, recipe, lease, show, skip_selfplay, epochs), now, clock)
            new += 1
            after_round([*past, now])
        finished = tuple(one for one in rounds(run, config) if one.finished)
        return LoopResult(finished, new, ModelStore(run).promoted(config))


def _duration(one: Round) -> float:
    return sum(one.seconds.values())


@dataclass(frozen=True)
class Context:
    """One call of the loop."""

    run: RunDirectory
    config: str
    recipe: Recipe
    lease: Lease
    show: Show
    skip_selfplay: bool
    epochs: float


def _selfplay(at: Context, now: Round) -> None:
    parent = stages.newest_model(at.run, at.config, at.recipe.training, at.recipe.loop.seed)
    now.parent = parent.id
    _keep(at, now)  # a training killed in its last moment must not take its own result for the parent
    if at.skip_selfplay:
        return
    settings, games = at.recipe.selfplay, at.recipe.loop.games
    if now.round == 1 and at.recipe.loop.first_engine:
        settings, games = replace(settings, engine=at.recipe.loop.first_engine), at.recipe.loop.first_games
    name = stages.engine_name(settings.engine, parent.id)
    player = stages.choose_player(at.run, at.config, name, settings.search)
    played = stages.selfplay_stage(
        at.run, at.config, f"round-{now.round:06d}", games, settings, player,
        seed=at.recipe.loop.seed, show=at.show,
    )  # fmt: skip
    now.games = played.games


def _ingest(at: Context, now: Round) -> None:
    now.quarantined = stages.ingest_stage(at.run, show=at.show).quarantined


def _export(at: Context, now: Round) -> None:
    stages.export_stage(at.run, at.config, at.recipe.export, show=at.show)
    total = sum(row.samples for row in GameStore(at.run).counts(at.config))
    now.samples = total - stages.samples_seen(ModelStore(at.run).show(now.parent))


def _train(at: Context, now: Round) -> None:
    settings = at.recipe.loop
    trained = stages.train_stage(
        at.run, at.config, at.recipe.training, steps=settings.steps, epochs=at.epochs,
        parent=ModelStore(at.run).show(now.parent), precision=settings.precision, seed=settings.seed, show=at.show,
    )  # fmt: skip
    now.candidate = trained.id
    now.steps, now.loss_before, now.loss_after = (trained.metrics[x] for x in ("steps", "loss_before", "loss_after"))  # type: ignore[assignment]


def _match(at: Context, now: Round) -> None:
    recipe = at.recipe
    now.gate = stages.gate_opponent(at.run, at.config)
    seed = derive_seed(recipe.loop.seed, "match", now.round)  # other openings in each round
    for opponent in dict.fromkeys((*recipe.loop.opponents, now.gate)):
        if opponent not in now.matches:
            games = recipe.gate.games if opponent == now.gate else recipe.match.games
            settings = replace(recipe.match, games=games)
            now.matches[opponent] = stages.match_stage(
                at.run, at.config, now.candidate, opponent, settings, seed=seed, show=at.show
            )
            _keep(at, now)


def _gate(at: Context, now: Round) -> None:
    promote = at.recipe.loop.promote
    result = now.matches[now.gate]
    verdict = stages.gate_stage(
        at.run, at.config, now.candidate, at.recipe.gate, result, promote=promote, lease=at.lease
    )
    now.verdict, now.promoted = verdict.reason, verdict.passes and promote


STAGES: dict[str, Callable[[Context, Round], None]] = {
    "selfplay": _selfplay,
    "ingest": _ingest,
    "export": _export,
    "train": _train,
    "match": _match,
    "gate": _gate,
}


def play_round(at: Context, now: Round, clock: Clock = SYSTEM_CLOCK) -> None:
    """What is missing of a round."""
    for name, stage in STAGES.items():
        if name not in now.done:
            began = clock.monotonic()
            stage(at, now)
            now.done.append(name)
            now.seconds[name] = round(clock.monotonic() - began, 1)
            _keep(at, now)


def _keep(at: Context, now: Round) -> None:
    at.run.fabric.registry.set(_key(at.config, now.round), asdict(now), lease=at.lease)


def _key(config: str, number: int) -> str:
    return f"round/{config}/{number:06d}"
