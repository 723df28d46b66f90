"""Training games: which ones, and how each of them starts."""

from __future__ import annotations

from collections.abc import Container, Iterator

import numpy as np

from ringrift.rules import Options, config_info
from ringrift.selfplay.openings import derive_seed, random_opening
from ringrift.selfplay.play import Task
from ringrift.selfplay.settings import SelfplaySettings


def work_id(name: str, index: int) -> str:
    """Names one game of a batch of self-play for ever."""
    return f"{name}/{index:06d}"


def selfplay_tasks(
    config: str,
    name: str,
    games: int,
    settings: SelfplaySettings,
    seed: int = 0,
    options: Options | None = None,
    done: Container[str] = (),
) -> Iterator[Task]:
    """The games 0 … `games` - 1 of the batch `name` whose work ids are not in `done`.

    Everything random in a game comes from (`seed`, config, `name`, index): asked again, the missing ones come out as
    they would have been.
    """
    seats = (0,) * config_info(config).players
    for index in range(games):
        if (work := work_id(name, index)) not in done:
            game_seed = derive_seed(seed, "selfplay", config, name, index)
            plies = int(np.random.default_rng(game_seed).integers(settings.opening_plies + 1))
            opening = random_opening(config, plies, derive_seed(game_seed, "opening"), options)
            yield Task(work, game_seed, seats, opening)
