"""What can be set about the loop, and the settings of all its stages together."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cache

from pydantic import TypeAdapter

from ringrift.errors import DataError, check_fields, check_games, unknown
from ringrift.evaluation import GateSettings, MatchSettings, ProgressSettings, RegressionSettings
from ringrift.fabric import Lease, Registry
from ringrift.kernel.settings import Supervision, WorkerSettings
from ringrift.search import GumbelSettings
from ringrift.selfplay import PlaySettings, SelfplaySettings
from ringrift.selfplay.settings import ENGINES
from ringrift.store.audit import AuditSettings
from ringrift.store.samples import ExportSettings
from ringrift.store.window import WindowSettings
from ringrift.training.settings import TrainSettings


@dataclass(frozen=True)
class LoopSettings:
    """How long the loop runs, and when it trains."""

    rounds: int = 0
    """Candidates of each config that the run is to have trained and judged in the end; 0 for no limit."""
    minutes: float = 10.0
    """The loop ends after so long, if by then it has judged a candidate of each config; 0 for no limit."""
    games: int = 3000
    """New games for which a candidate is trained."""
    first_engine: str = "paranoid"
    """Engine of the games before the first candidate: what the untrained network would play teaches little; empty for
    `selfplay.engine`."""
    first_games: int = 4000
    """Games for the first candidate, where `first_engine` plays them."""
    batch_seconds: float = 20.0
    """About how long one job of self-play takes."""
    skip_selfplay: bool = False
    """Train on the games that are there."""
    steps: int = 0
    """Optimiser steps of a training; 0 for as many as the new samples are worth (training.passes)."""
    epochs: float = 0.0
    """Passes over the replay window, where `steps` is 0; 0 for as many steps as the new samples are worth."""
    promote: bool = True
    """Promote a candidate that passes the gate; false: only say so."""
    precision: str = "int8"
    """Numbers in which the exported networks compute: `int8` or `float32`."""
    seed: int = 0
    """Of everything random: weights, games, order of samples, openings of matches."""

    def __post_init__(self) -> None:
        check_fields(self, lambda value: value >= 0, "0 or more", "rounds", "minutes", "steps", "epochs")
        check_games(self, "games", "first_games")
        check_fields(self, lambda value: value > 0, "more than 0", "batch_seconds")
        if self.first_engine.partition(":")[0] not in ("", *ENGINES):
            raise ValueError(unknown("engine", self.first_engine, ENGINES))
        if self.precision not in ("int8", "float32"):
            raise ValueError(f"precision is {self.precision!r}; int8 or float32 is right")


@dataclass(frozen=True)
class SupervisionSettings(Supervision):
    """The process that runs the services: its port, its patience, its limits."""

    webhook: str = ""
    """URL to which alerts and promotions are posted as JSON; empty for none."""
    full_games: float = 10.0
    """Games that wait for training, at which the gauge is full: so many times what a candidate is trained for."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, lambda value: value > 0, "more than 0", "full_games")
        if self.webhook and not self.webhook.startswith(("http://", "https://")):
            raise ValueError(f"webhook is {self.webhook!r}; an http:// or https:// address is right")


@dataclass(frozen=True)
class KeepingSettings:
    """What is kept, for how long, and where copies of it go."""

    backup_to: str = ""
    """Where the run is copied to: a path, or a URL such as `s3://bucket/prefix`; empty: nowhere."""
    backup_minutes: float = 60.0
    """Between two copies."""
    backups: int = 24
    """How many copies are kept there."""
    days: float = 7.0
    """How long finished jobs, events and damaged states of trainings are kept."""
    models: int = 20
    """How many of the newest models keep their files, besides initial and promoted ones, when the disk fills up."""

    def __post_init__(self) -> None:
        check_fields(self, lambda value: value > 0, "more than 0", "backup_minutes", "days")
        check_fields(self, lambda value: value >= 1, "1 or more", "backups", "models")


@dataclass(frozen=True)
class Recipe:
    """The settings of all stages."""

    selfplay: SelfplaySettings = field(default_factory=SelfplaySettings)
    export: ExportSettings = field(default_factory=ExportSettings)
    window: WindowSettings = field(default_factory=WindowSettings)
    training: TrainSettings = field(default_factory=TrainSettings)
    match: MatchSettings = field(default_factory=MatchSettings)
    gate: GateSettings = field(default_factory=GateSettings)
    regression: RegressionSettings = field(default_factory=RegressionSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    progress: ProgressSettings = field(default_factory=ProgressSettings)
    loop: LoopSettings = field(default_factory=LoopSettings)
    keeping: KeepingSettings = field(default_factory=KeepingSettings)
    services: SupervisionSettings = field(default_factory=SupervisionSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)

    def __post_init__(self) -> None:
        if self.match.alone:
            raise ValueError("match.alone is for `ringrift match --alone`; the loop's matches give both as many seats")


SMOKE_GAMES = 4
SMOKE_STEPS = 40


def smoke(recipe: Recipe, rounds: int = 1) -> Recipe:
    """A round that is only to show that everything works: few games, few simulations, the smallest network."""
    few = PlaySettings(processes=recipe.selfplay.play.processes, concurrent=SMOKE_GAMES)
    return replace(
        recipe,
        selfplay=replace(recipe.selfplay, search=GumbelSettings(simulations=2, considered=2), play=few),
        training=replace(recipe.training, architecture="nano", batch_size=64, warmup_steps=4, average=0.9),
        match=replace(recipe.match, search=GumbelSettings(simulations=2, considered=2, gumbel_scale=0.0), play=few),
        gate=replace(recipe.gate, gates={}, games=SMOKE_GAMES),
        regression=replace(recipe.regression, checks=0),
        loop=replace(
            recipe.loop,
            rounds=rounds,
            minutes=0,
            games=SMOKE_GAMES,
            first_engine="",
            steps=SMOKE_STEPS,
            promote=False,
            precision="float32",
        ),
        services=replace(recipe.services, port=0),
    )


# -- the settings of a loop, for whoever does its jobs -----------------------------------------------------------------


@cache
def _recipes() -> TypeAdapter[Recipe]:
    return TypeAdapter(Recipe)


def keep_recipe(registry: Registry, config: str, recipe: Recipe, lease: Lease | None = None) -> str:
    """Stores the settings of a config for its jobs; their hash."""
    value = _recipes().dump_python(recipe, mode="json")
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
    registry.set(f"settings/{config}", {"recipe": value, "hash": digest}, lease=lease)
    return digest


def recipe_of(registry: Registry, config: str) -> tuple[Recipe, str]:
    """The settings in force for a config, and their hash. Raises `DataError` where no loop has stored any."""
    if (entry := registry.get(f"settings/{config}")) is None:
        raise DataError(f"the run has no settings for {config}: `ringrift loop --config {config}` stores them")
    return _recipes().validate_python(entry.value["recipe"]), str(entry.value["hash"])
