"""What can be set about the loop, and the settings of all its stages together."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ringrift.errors import unknown
from ringrift.evaluation import GateSettings, MatchSettings
from ringrift.search import GumbelSettings
from ringrift.selfplay import PlaySettings, SelfplaySettings
from ringrift.selfplay.settings import ENGINES
from ringrift.store.samples import ExportSettings
from ringrift.training.settings import TrainSettings


@dataclass(frozen=True)
class LoopSettings:
    """How long the loop runs, and what a round is."""

    rounds: int = 0
    """Rounds that the run is to have in the end; 0 for no limit."""
    minutes: float = 10.0
    """No round is begun that would probably end later than this after the first game; 0 for no limit."""
    games: int = 800
    """Training games per round."""
    first_engine: str = "heuristic"
    """Engine of the first round's games: what the untrained network would play teaches little; empty for
    `selfplay.engine`."""
    first_games: int = 3000
    """Games of the first round, where `first_engine` plays them; the heuristic plays about 100 a second."""
    steps: int = 0
    """Optimiser steps per round; 0 for as many as the new samples are worth (training.passes)."""
    opponents: tuple[str, ...] = ("random", "initial", "heuristic")
    """Whom every candidate plays besides the promoted model."""
    promote: bool = True
    """Promote a candidate that passes the gate; false: only say so."""
    precision: str = "int8"
    """In which the exported networks compute: `int8` or `float32`."""
    seed: int = 0
    """Of everything random: weights, games, order of samples, openings of matches."""

    def __post_init__(self) -> None:
        if self.rounds < 0 or self.minutes < 0 or self.steps < 0:
            raise ValueError("rounds, minutes and steps are 0 (no limit, as needed) or more")
        if self.games < 1 or self.first_games < 1:
            raise ValueError(f"games is {self.games} and first_games {self.first_games}; 1 or more is right")
        if self.first_engine.partition(":")[0] not in ("", *ENGINES):
            raise ValueError(unknown("engine", self.first_engine, ENGINES))
        if self.precision not in ("int8", "float32"):
            raise ValueError(f"precision is {self.precision!r}; int8 or float32 is right")


@dataclass(frozen=True)
class Recipe:
    """The settings of all stages."""

    selfplay: SelfplaySettings = field(default_factory=SelfplaySettings)
    export: ExportSettings = field(default_factory=ExportSettings)
    training: TrainSettings = field(default_factory=TrainSettings)
    match: MatchSettings = field(default_factory=MatchSettings)
    gate: GateSettings = field(default_factory=GateSettings)
    loop: LoopSettings = field(default_factory=LoopSettings)


SMOKE_GAMES = 4
SMOKE_STEPS = 40


def smoke(recipe: Recipe) -> Recipe:
    """A round that is only to show that everything works: few games, few simulations, the smallest network."""
    few = PlaySettings(processes=recipe.selfplay.play.processes, concurrent=SMOKE_GAMES)
    return replace(
        recipe,
        selfplay=replace(recipe.selfplay, search=GumbelSettings(simulations=2, considered=2), play=few),
        training=replace(recipe.training, architecture="nano", batch_size=64, warmup_steps=4, average=0.9),
        match=replace(recipe.match, search=GumbelSettings(simulations=2, considered=2, gumbel_scale=0.0), play=few),
        gate=replace(recipe.gate, games=SMOKE_GAMES),
        loop=replace(
            recipe.loop,
            rounds=0,
            minutes=0,
            games=SMOKE_GAMES,
            first_engine="",
            steps=SMOKE_STEPS,
            opponents=(),
            promote=False,
            precision="float32",
        ),
    )
