"""Training games: which ones, and how each of them starts."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import replace

import numpy as np

from ringrift.players import PlayerChoice, drawn_player
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
    restarts: Sequence[tuple[int, ...]] = (),
) -> Iterator[Task]:
    """The games 0 … `games` - 1 of the batch `name` whose work ids are not in `done`.

    Everything random in a game comes from (`seed`, config, `name`, index): asked again, the missing ones come out as
    they would have been, if `restarts`, the openings that `restart_share` of the games draw from, are the same.
    """
    seats = (0,) * config_info(config).players
    for index in range(games):
        if (work := work_id(name, index)) not in done:
            game_seed = derive_seed(seed, "selfplay", config, name, index)
            rng = np.random.default_rng(game_seed)
            plies = int(rng.integers(settings.opening_plies + 1))
            if restarts and rng.random() < settings.restart_share:
                opening = restarts[int(rng.integers(len(restarts)))]
            else:
                opening = random_opening(config, plies, derive_seed(game_seed, "opening"), options)
            yield Task(work, game_seed, seats, opening)


def drawn_seats(player: PlayerChoice, tasks: Sequence[Task]) -> tuple[list[PlayerChoice], list[Task]]:
    """The players of self-play by `player`, and the tasks with their seats: for a mixed one, each game's own draw.

    So the record of a game names who sat on each of its seats.
    """
    if not player.parts:
        return [player], list(tasks)
    count = len(player.parts)
    seated = [
        replace(task, seats=tuple(drawn_player(task.seed, seat, count) for seat in range(1, len(task.seats) + 1)))
        for task in tasks
    ]
    return list(player.parts), seated
