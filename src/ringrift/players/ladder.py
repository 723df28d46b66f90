"""The difficulty ladder: for each config ten levels, each a player, a budget and a share of random decisions.

A level whose network is missing is played with the one that comes with the package, or by its fallback, and the answer
says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ringrift.errors import DataError, RulesError
from ringrift.players.player import Limit
from ringrift.players.table import SHIPPED, PlayerChoice, choose
from ringrift.rules import Game, config_info
from ringrift.search import GumbelSettings

LEVELS = range(1, 11)
#: What a decision of the levels up to 8 may take on one core, in seconds, and what they plan for.
CEILING, PLANNED = 0.120, 0.080


@dataclass(frozen=True)
class LadderLevel:
    """One row of a ladder."""

    level: int
    player: str
    """Name, as for `choose`; `best` is the promoted network."""
    limit: Limit = field(default_factory=Limit)
    randomness: float = 0.0
    """Share of the decisions that are made at random."""
    fallback: str | None = None
    """Who plays, at the same randomness, where there is no network."""
    fallback_limit: Limit = field(default_factory=Limit)


def _rows(searcher: str, *simulations: int) -> tuple[LadderLevel, ...]:
    """The ladder whose levels 5 to 10 search so many simulations; without a network `searcher` looks at positions."""
    rows = [
        LadderLevel(1, "random"),
        LadderLevel(2, "heuristic", randomness=0.3),
        LadderLevel(3, "policy:best", randomness=0.15, fallback="heuristic"),
        LadderLevel(4, "policy:best", randomness=0.08, fallback="heuristic"),
    ]
    share = {5: 0.05, 6: 0.02}
    for level, budget, nodes in zip(range(5, 11), simulations, NODES, strict=True):
        seconds = PLANNED if level <= 8 else None
        limits = Limit(budget, seconds), Limit(nodes, seconds)
        rows.append(LadderLevel(level, "best", limits[0], share.get(level, 0.0), searcher, limits[1]))
    return tuple(rows)


#: Positions that levels 5 to 10 look at without a network.
NODES = (250, 1_000, 4_000, 16_000, 100_000, 400_000)
#: Ladders by number of cells below 100 or not, and of seats above two or not.
LADDERS = {
    (small, many): _rows("paranoid" if many else "alpha-beta", *budgets)
    for small, budgets in ((True, (4, 16, 32, 64, 150, 800)), (False, (4, 8, 16, 32, 64, 400)))
    for many in (False, True)
}
#: A level's search has no noise: what is random about it stands in the table.
SEARCH = GumbelSettings(gumbel_scale=0.0)


def ladder(config: str) -> tuple[LadderLevel, ...]:
    """The ten levels of a config. Raises `RulesError` for an unknown one."""
    info = config_info(config)
    return LADDERS[info.cells < 100, info.players > 2]


@dataclass(frozen=True)
class LadderChoice:
    """Who plays a level."""

    level: int
    choice: PlayerChoice
    fallback: str | None
    """Why somebody else plays than the table says, in words; None where nobody else does."""


def choose_level(config: str, level: int, models: Callable[[str], tuple[str, Path]] | None = None) -> LadderChoice:
    """The player of a level; `models` finds the promoted network by the name `best`, and may raise `DataError`: then
    the network that comes with the package takes its place, or the level's fallback.

    Raises `RulesError` for an unknown config or level.
    """
    rows = ladder(config)
    if level not in LEVELS:
        raise RulesError(f"there is no level {level}; 1 to 10 is right")
    row, why = rows[level - 1], None
    if row.fallback is None:
        choice = choose(row.player, config, SEARCH, limit=row.limit)
    else:
        try:
            if models is None:
                raise DataError(f"no run is given that could have a network of {config}")
            choice = choose(row.player, config, SEARCH, models, row.limit)
        except DataError as error:
            try:
                choice = choose(row.player.replace("best", SHIPPED), config, SEARCH, limit=row.limit)
                instead = f"{choice.name}, which comes with the package,"
            except DataError:
                choice, instead = choose(row.fallback, config, limit=row.fallback_limit), row.fallback
            why = f"{instead} plays level {level} instead of {row.player}: {error}"
    return LadderChoice(level, replace(choice, randomness=row.randomness), why)


def cost(choice: PlayerChoice, games: Sequence[Game], seed: int = 0) -> tuple[float, float]:
    """Median and 95th percentile of the CPU seconds that one decision takes, over the positions of `games`.

    Random decisions are left out: they cost nothing.
    """
    player, spent = replace(choice, randomness=0.0).make(), []
    for index, game in enumerate([games[0], *games]):  # the first twice: sessions and pages are loaded then
        start = time.process_time()
        player.play(game, rng=np.random.default_rng([seed, index]))
        spent.append(time.process_time() - start)
    return float(np.median(spent[1:])), float(np.percentile(spent[1:], 95))
