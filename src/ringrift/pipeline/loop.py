"""The loop as a whole: when it has reached what was asked of it, and its rounds, read from what the run stores.

A round is a candidate: the games it was the first to be trained on, its matches, and the verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path

from ringrift.errors import DataError, SettingsError, unknown
from ringrift.evaluation import (
    MatchResult,
    ProgressSettings,
    Rating,
    Strength,
    Velocity,
    rate,
    read_anchors,
    read_pool,
    velocity,
)
from ringrift.pipeline.evaluate import noted_matches
from ringrift.pipeline.events import MatchFinished
from ringrift.pipeline.models import games_seen
from ringrift.pipeline.settings import Recipe
from ringrift.store import GameStore, ModelInfo, ModelStore, RunDirectory


@dataclass(frozen=True)
class Round:
    """What is known of one candidate."""

    config: str
    round: int
    candidate: str = ""
    parent: str = ""
    """From whose weights its training started."""
    games: int = 0
    """Games in its samples that its parent had not seen."""
    samples: int = 0
    """Samples that its parent had not seen."""
    steps: float = 0.0
    """Optimiser steps."""
    loss_before: float = 0.0
    """On a fixed part of the window, with the parent's weights …"""
    loss_after: float = 0.0
    """… and with the candidate's."""
    matches: dict[str, MatchResult] = field(default_factory=dict)
    """Its matches, by name of the hurdle."""
    verdict: str = ""
    finished: bool = False
    """It was judged …"""
    promoted: bool = False
    """… and promoted, whatever came later."""


@dataclass(frozen=True)
class LoopResult:
    """What a loop has done."""

    rounds: tuple[Round, ...]
    """Every finished round of its configs, also of earlier calls."""
    new: int
    """How many of them this call finished."""
    promoted: dict[str, str | None]
    """The model of each config that is promoted in the end."""
    reason: str
    """Why it ended."""


def rounds(run: RunDirectory, config: str) -> list[Round]:
    """The rounds of a config, in order; the last one may be unfinished."""
    store = ModelStore(run)
    models = {model.id: model for model in store.ls(config)}
    promoted = {entry.model for entry in store.history(config)}
    candidates = [model for model in models.values() if model.role == "candidate"]
    return [
        _round(number, model, models.get(model.parents[0]) if model.parents else None, model.id in promoted)
        for number, model in enumerate(candidates, 1)
    ]


def _round(number: int, model: ModelInfo, parent: ModelInfo | None, promoted: bool) -> Round:
    figures = model.metrics
    before = parent.metrics if parent else {}

    def new(name: str) -> int:
        return int(_number(figures, name) - _number(before, name))

    gate = figures.get("gate")
    return Round(
        config=model.config, round=number, candidate=model.id, parent=parent.id if parent else "",
        games=new("games_total"), samples=new("samples_total"), steps=_number(figures, "steps"),
        loss_before=_number(figures, "loss_before"), loss_after=_number(figures, "loss_after"),
        matches=noted_matches(model, "match/"),
        verdict=str(gate.get("reason", "")) if isinstance(gate, dict) else "", finished=gate is not None,
        promoted=promoted,
    )  # fmt: skip


def _number(figures: Mapping[str, object], name: str) -> float:
    return float(str(figures.get(name, 0)))


def judged(run: RunDirectory, config: str) -> int:
    """How many candidates have been judged."""
    count, newest = ModelStore(run).newest(config, "candidate")
    return count - (newest is not None and "gate" not in newest.metrics)


def missing_games(run: RunDirectory, recipes: Mapping[str, Recipe]) -> str:
    """What is missing where a loop that plays no games has none to train on; empty where nothing is."""
    for config, recipe in recipes.items():
        flow = GameStore(run).flow(config)
        if recipe.loop.skip_selfplay and not flow.waiting + flow.valid + flow.exported:
            return (
                f"{run.path} has no game of {config} to train on, and loop.skip_selfplay lets none be played:"
                " `ringrift data import` or `ringrift selfplay` adds some; or leave out --skip-selfplay"
            )
    return ""


def elos(run: RunDirectory, config: str) -> dict[str, Rating]:
    """Elo of each player of the stored matches, by name; empty where nobody has met an anchor such as `random`."""
    finished = run.fabric.log.tail(1, types=[MatchFinished.__name__], key=config)
    return _elos(run.path / "matches", config, finished[0].sequence if finished else 0)


def elo_of(run: RunDirectory, config: str, model: str) -> float:
    """Elo of a model; 0 where it has none."""
    rating = elos(run, config).get(model)
    return rating.elo if rating else 0.0


@lru_cache(maxsize=32)
def _elos(folder: Path, config: str, _finished: int) -> dict[str, Rating]:
    """Rated anew after each match."""
    try:
        _, games = read_pool(sorted(folder.glob(f"{config}-*.jsonl")))
        pool = rate(games, read_anchors().get(config, {}), config=config)
    except DataError:  # no games yet, or none that lead to an anchor
        return {}
    return {rating.player.partition("@")[0]: rating for rating in pool.ratings}


def gain(run: RunDirectory, config: str, settings: ProgressSettings = ProgressSettings()) -> Velocity | None:
    """Elo that the last candidates have gained; None while too few have an Elo."""
    rated = elos(run, config)
    past = [
        Strength(rated[model.id].elo, rated[model.id].low, rated[model.id].high, games_seen(model), model.added)
        for model in ModelStore(run).ls(config, "candidate")
        if model.id in rated
    ]
    return velocity(past, settings)


@dataclass(frozen=True)
class Until:
    """What ends a loop; the first that is reached. 0 for what does not."""

    elo: float = 0.0
    """Elo that the promoted model of every config is to have."""
    hours: float = 0.0
    """Since this call began."""
    models: float = 0.0
    """Candidates of every config."""
    promoted: float = 0.0
    """Promotions of every config."""

    @classmethod
    def parse(cls, text: str) -> Until:
        """`elo=1500,hours=8`. Raises `SettingsError`."""
        given = {}
        for part in filter(None, text.split(",")):
            name, _, value = part.partition("=")
            known = [field.name for field in fields(cls)]
            if name not in known:
                raise SettingsError(f"--until {part}: {unknown('limit', name, known)}")
            try:
                given[name] = float(value)
            except ValueError as error:
                raise SettingsError(f"--until {part}: a number is right, as in {name}=2") from error
            if given[name] <= 0:
                raise SettingsError(f"--until {part}: a number above 0 is right")
        return cls(**given)

    def reached(self, run: RunDirectory, recipes: Mapping[str, Recipe], elapsed: float) -> str:
        """Which end is reached, as a phrase; empty while none is. `elapsed`: seconds since this call began."""
        done = {config: judged(run, config) for config in recipes}
        loops = {config: recipe.loop for config, recipe in recipes.items()}
        if all(0 < loops[config].rounds <= done[config] for config in recipes):
            return f"every config has its {max(loop.rounds for loop in loops.values())} judged candidates"
        minutes = max(loop.minutes for loop in loops.values())
        if minutes and elapsed >= 60 * minutes and all(done.values()):
            return f"{minutes:g} minutes are over"
        if self.hours and elapsed >= 3600 * self.hours:
            return f"{self.hours:g} hours are over"
        if self.models and all(many >= self.models for many in done.values()):
            return f"every config has {self.models:g} judged candidates"
        if self.promoted and all(_promotions(run, config) >= self.promoted for config in recipes):
            return f"every config has had {self.promoted:g} promoted models"
        if self.elo and all(self._strong(run, config) for config in recipes):
            return f"the promoted model of every config has {self.elo:g} Elo"
        return ""

    def _strong(self, run: RunDirectory, config: str) -> bool:
        promoted = ModelStore(run).promoted(config)
        rating = elos(run, config).get(promoted) if promoted else None
        return rating is not None and rating.elo >= self.elo


def _promotions(run: RunDirectory, config: str) -> int:
    return sum(entry.action == "promote" for entry in ModelStore(run).history(config))
