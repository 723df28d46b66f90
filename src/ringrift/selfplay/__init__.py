"""Playing many games: batched, on several processes, each finished game handed over at once."""

from ringrift.selfplay.openings import derive_seed, held_for_matches, random_opening, regretted
from ringrift.selfplay.play import Finished, Spent, Task, Void, contest, play
from ringrift.selfplay.selfplay import drawn_seats, selfplay_tasks
from ringrift.selfplay.settings import PlaySettings, SelfplaySettings

__all__ = [
    "Finished",
    "PlaySettings",
    "SelfplaySettings",
    "Spent",
    "Task",
    "Void",
    "contest",
    "derive_seed",
    "drawn_seats",
    "held_for_matches",
    "play",
    "random_opening",
    "regretted",
    "selfplay_tasks",
]
