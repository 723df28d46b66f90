"""Playing many games: batched, on several processes, each finished game handed over at once."""

from ringrift.selfplay.openings import derive_seed, random_opening
from ringrift.selfplay.play import Finished, Task, play
from ringrift.selfplay.selfplay import drawn_seats, selfplay_tasks
from ringrift.selfplay.settings import PlaySettings, SelfplaySettings

__all__ = [
    "Finished",
    "PlaySettings",
    "SelfplaySettings",
    "Task",
    "derive_seed",
    "drawn_seats",
    "play",
    "random_opening",
    "selfplay_tasks",
]
