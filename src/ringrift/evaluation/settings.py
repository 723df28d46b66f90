"""What can be set about matches and promotion."""

from __future__ import annotations

from dataclasses import dataclass, field

from ringrift.errors import check_fields, check_games
from ringrift.search import GumbelSettings
from ringrift.selfplay import PlaySettings

#: What a chance of error may be.
ERRORS = "more than 0 and below 0.5"
LARGEST_ELO = 2000.0  #: that a hypothesis may name: one point in 100,000


def check_hypotheses(name: str, pair: tuple[float, float]) -> None:
    """Raises ValueError unless the pair can be the two hypotheses of a sequential test."""
    if not -LARGEST_ELO <= pair[0] < pair[1] <= LARGEST_ELO:
        raise ValueError(
            f"{name} is {pair[0]:g},{pair[1]:g}; two differences in Elo from {-LARGEST_ELO:g} to {LARGEST_ELO:g} are"
            " right, the smaller one first: 0,20"
        )


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
    alone: bool = False
    """A sits on one seat, on each in turn, and B on all others, so that equal players win a share of 1 / seats; by
    `ringrift match --alone` only: the loop's matches give both as many seats."""
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
        check_games(self, "games")
        check_fields(self, lambda value: 0 < value < 0.5, ERRORS, "alpha", "beta")
        check_fields(self, lambda value: 0.5 <= value < 1, "0.5 to below 1", "confidence")
        check_fields(self, lambda value: value > 0, "more than 0", "timeout")
        if not 0 <= self.seconds < self.timeout:
            raise ValueError(
                f"seconds is {self.seconds}; 0 or more and less than the timeout, {self.timeout:g}, is right"
            )
        if self.sprt is not None:
            check_hypotheses("sprt", self.sprt)
        if not 1 <= self.opening_plies_min <= self.opening_plies_max:
            raise ValueError("opening_plies_min and opening_plies_max are a range from 1 up: 4 and 8, for instance")


@dataclass(frozen=True)
class GateSettings:
    """When a candidate becomes the promoted model. All differences are Elo per seat; see docs/evaluation.md."""

    gates: dict[str, float] = field(default_factory=lambda: {"random": 0.85, "heuristic": 0.6})
    """Whom a candidate must beat, in this order, and with which share of the games between two; with more seats, with
    the same odds per seat: 85 % of two are 74 % of three and 65 % of four for one seat against all others. Any players,
    also models that serve as anchors."""
    margin: float = 75.0
    """A candidate better or worse than a gate asks by so much is misjudged as rarely as `alpha` and `beta` say."""
    gate_games: int = 100
    """Games against each of them, at most; at the end the share decides."""
    early: tuple[float, float] = (0.0, 50.0)
    """Hypotheses of the sequential test against the promoted model, or the initial weights while there is none …"""
    games: int = 400
    """… and its games, at most; undecided, it is not passed."""
    mature: tuple[float, float] = (0.0, 20.0)
    """The two hypotheses once there were `mature_after` promotions …"""
    mature_games: int = 2000
    """… and its games."""
    mature_after: int = 10
    """Promotions of the config after which a smaller gain is looked for."""
    former: int = 2
    """How many models that were promoted before must not win either …"""
    worse: float = 50.0
    """… in a test, of at most `games`, of being so much worse than they against being as good."""
    alpha: float = 0.05
    """Chance of a test to find the greater difference where the smaller one is true."""
    beta: float = 0.05
    """Chance of a test to find the smaller difference where the greater one is true."""
    voids: float = 0.05
    """Share of the games that a candidate may make void by its own fault."""

    def __post_init__(self) -> None:
        if wrong := {name: share for name, share in self.gates.items() if not 0 < share < 1}:
            raise ValueError(f"gates are {wrong}; shares above 0 and below 1 are right, such as 0.6")
        check_games(self, "games", "gate_games", "mature_games")
        check_fields(self, lambda value: value >= 0, "0 or more", "former", "mature_after")
        check_fields(self, lambda value: value > 0, "more than 0", "margin", "worse")
        check_fields(self, lambda value: 0 <= value <= 1, "0 to 1", "voids")
        check_fields(self, lambda value: 0 < value < 0.5, ERRORS, "alpha", "beta")
        check_hypotheses("early", self.early)
        check_hypotheses("mature", self.mature)


@dataclass(frozen=True)
class RegressionSettings:
    """How the promoted model is watched, and when it is rolled back; see docs/evaluation.md."""

    minutes: float = 30.0
    """Between two checks; while a regression is suspected they follow each other at once."""
    games: int = 40
    """Games of a check."""
    checks: int = 20
    """After so many a model is no longer watched; 0: no model is."""
    alpha: float = 0.001
    """Chance that a regression against an opponent is ever established where there is none."""
    drops: tuple[float, float, float, float] = (20.0, 35.0, 50.0, 75.0)
    """Elo per seat from which a regression is minor, moderate, severe, critical."""
    escalate: int = 2
    """So many checks in a row that find one raise its grade …"""
    force: int = 3
    """… and so many make it severe."""
    voids: float = 0.05
    """Share of void games by the model's own fault, above which that is a moderate regression …"""
    voids_least: int = 5
    """… if they are so many at least."""
    rollback: bool = True
    """Go back to the model before, when a regression is severe or critical."""
    cooldown_minutes: float = 60.0
    """Between two rollbacks."""
    rollbacks_a_day: int = 3
    """At most."""

    def __post_init__(self) -> None:
        often = ("checks", "minutes", "cooldown_minutes", "rollbacks_a_day")
        check_games(self, "games")
        check_fields(self, lambda value: value >= 0, "0 or more", *often)
        check_fields(self, lambda value: 0 < value < 0.5, ERRORS, "alpha")
        check_fields(self, lambda value: 0 <= value <= 1, "0 to 1", "voids")
        if sorted(set(self.drops)) != list(self.drops) or self.drops[0] <= 0:
            raise ValueError(f"drops are {self.drops}; four rising differences above 0 are right")
        if not 1 < self.escalate <= self.force:
            raise ValueError("escalate is 2 or more, and at most force")


@dataclass(frozen=True)
class ProgressSettings:
    """What is said of the gain of Elo."""

    models: int = 12
    """The last candidates over which the gain is taken."""
    plateau: float = 10.0
    """Elo per 1,000 games; a gain that is surely less is a plateau."""
    confidence: float = 0.95
    """Of the interval of the gain."""
    tier: float = 200.0
    """Elo of a tier; each that a promoted model surely reaches is recorded."""
    mastered_games: int = 20
    """Games that it takes, at least, to say that an opponent is mastered."""

    def __post_init__(self) -> None:
        check_fields(self, lambda value: value >= 3, "3 or more", "models")
        check_fields(self, lambda value: 0.5 <= value < 1, "0.5 to below 1", "confidence")
        check_fields(self, lambda value: value > 0, "more than 0", "plateau", "tier")
