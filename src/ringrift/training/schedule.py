"""How fast to learn at each step, and when to stop."""

import math
from dataclasses import dataclass

from ringrift.training.settings import TrainSettings

RISE = 0.3  #: share of the steps in which `one-cycle` rises


def learning_rate(settings: TrainSettings, step: int, steps: int, age: int, drops: int = 0) -> float:
    """Of optimiser step `step` of `steps`, counted from 1.

    `age`: the steps since the weights were untrained. `drops`: plateaus met, or candidates rejected in a row.
    """
    last, done = settings.last_rate, step / steps
    if settings.schedule == "cosine":
        share = last + (1 - last) * (1 + math.cos(math.pi * done)) / 2
    elif settings.schedule == "one-cycle":
        phase = done / RISE if done < RISE else (1 - done) / (1 - RISE)
        share = last + (1 - last) * (1 - math.cos(math.pi * phase)) / 2
    elif settings.schedule in ("plateau", "feedback"):
        share = max(settings.drop**drops, last)
    else:
        share = 1.0
    return settings.learning_rate * share * min(1.0, age / settings.warmup_steps)


@dataclass
class Watch:
    """What the held-out losses have said so far."""

    best: float = math.inf
    since: int = 0
    """Checks since the best one."""
    drops: int = 0
    """Plateaus met."""

    def see(self, loss: float, settings: TrainSettings) -> bool:
        """Takes a held-out loss; whether it is the best."""
        if loss < self.best:
            self.best, self.since = loss, 0
            return True
        self.since += 1
        if settings.schedule == "plateau" and self.since % settings.plateau == 0:
            self.drops += 1
        return False

    def has_enough(self, settings: TrainSettings) -> bool:
        """Whether training should end."""
        return 0 < settings.patience <= self.since
