"""What can be set about matches and promotion."""

from __future__ import annotations

from dataclasses import dataclass, field

from ringrift.search import GumbelSettings
from ringrift.selfplay import PlaySettings


@dataclass(frozen=True)
class MatchSettings:
    """How two players are compared."""

    games: int = 100
    """Games of a match, at most so many of a test; rounded up to whole openings: 2 games each, 6 with 3 or 4 seats."""
    seconds: float = 0.0
    """Seconds that every decision of a player with a search may take, in place of its simulations; 0: as many
    simulations as `search` says."""
    timeout: float = 60.0
    """A game in which a decision takes longer than so many seconds is void."""
    sprt: tuple[float, float] | None = None
    """The Elo differences of the two hypotheses of a sequential test; none: all games are played."""
    alpha: float = 0.05
    """Chance that the test finds the greater difference where the smaller one is true."""
    beta: float = 0.05
    """Chance that the test finds the smaller difference where the greater one is true."""
    search: GumbelSettings = field(default_factory=lambda: GumbelSettings(simulations=32, gumbel_scale=0.0))
    """The search of every player that has one: the same for both sides, and without noise."""
    opening_plies_min: int = 4
    """Fewest random plies at the start of a game."""
    opening_plies_max: int = 8
    """Most random plies at the start of a game."""
    confidence: float = 0.95
    """Of the interval of the score."""
    play: PlaySettings = field(default_factory=PlaySettings)
    """How many at a time."""

    def __post_init__(self) -> None:
        if self.games < 1:
            raise ValueError(f"games is {self.games}; 1 or more is right")
        if not 0 <= self.seconds < self.timeout:
            raise ValueError(
                f"seconds is {self.seconds}; 0 or more and less than the timeout, {self.timeout:g}, is right"
            )
        if self.sprt and not self.sprt[0] < self.sprt[1]:
            raise ValueError(f"sprt is {self.sprt}; two differences in Elo are right, the smaller one first: 0 and 20")
        if not (0 < self.alpha < 0.5 and 0 < self.beta < 0.5):
            raise ValueError(
                f"alpha is {self.alpha} and beta {self.beta}; above 0 and below 0.5 is right, such as 0.05"
            )
        if not 1 <= self.opening_plies_min <= self.opening_plies_max:
            raise ValueError("opening_plies_min and opening_plies_max are a range from 1 up: 4 and 8, for instance")
        if not 0.5 <= self.confidence < 1:
            raise ValueError(f"confidence is {self.confidence}; 0.5 or more and below 1 is right")


@dataclass(frozen=True)
class GateSettings:
    """When a candidate becomes the promoted model."""

    games: int = 100
    """Games of the match against the promoted model, or against the initial weights while there is none."""
    score: float = 0.55
    """Smallest share of the games that the candidate must win."""
    above: float = 0.5
    """The lower end of the interval of the score must lie above this; 0 for no such condition."""

    def __post_init__(self) -> None:
        if self.games < 1 or not 0 <= self.score <= 1 or not 0 <= self.above <= 1:
            raise ValueError("games is 1 or more, score and above are shares from 0 to 1")
