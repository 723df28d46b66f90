"""What can be set about playing games."""

from __future__ import annotations

from dataclasses import dataclass, field

from ringrift.errors import check_fields, unknown
from ringrift.observe.machine import usable_cores
from ringrift.players import PLAYERS
from ringrift.search import GumbelSettings, SearchEconomy, TreeMemory
from ringrift.selfplay.temperature import TemperatureContext, TemperatureSettings, schedule

CONCURRENT = 32  #: games at a time in a process, where nothing was measured
#: Who can play training games.
ENGINES = tuple(PLAYERS)


@dataclass(frozen=True)
class PlaySettings:
    """How many games are played at a time."""

    processes: int = 0
    """Processes that play, each with its own network session; 0: as `ringrift benchmark` measured for the network on
    this machine, else one per usable core."""
    concurrent: int = 0
    """Games at a time in each process; they share the calls of the network. 0: as measured, else 32."""

    def __post_init__(self) -> None:
        check_fields(
            self, lambda value: 0 <= value <= 1024, "1 to 1024, or 0 for what suits,", "processes", "concurrent"
        )

    def process_count(self, games: int) -> int:
        """Processes to use for so many games."""
        return max(1, min(self.processes or usable_cores(), games))


@dataclass(frozen=True)
class SelfplaySettings:
    """How training games are played."""

    engine: str = "gumbel"
    """Who plays: a row of PLAYERS, over the newest network where it needs one; or `mixed:NAME,NAME,…`."""
    search: GumbelSettings = field(default_factory=lambda: GumbelSettings(simulations=32))
    """The search of an engine that searches with a network."""
    nodes: int = 2000
    """Positions that a depth-first engine (`paranoid`, `alpha-beta`, …) looks at for a decision."""
    opening_plies: int = 8
    """A game starts with 0 to so many random plies, so that no two are alike; they are no samples."""
    restart_share: float = 0.0
    """Share of the games that start where an earlier game went another way than its search believed, in place of random
    plies (RGSC, arXiv 2602.20809)."""
    restart_games: int = 2000
    """The newest valid games, in which such positions are looked for."""
    temperature_decisions: int = 0
    """For so many decisions after the opening, the move is drawn from the search's policy; then it is its choice."""
    temperature: TemperatureSettings = field(default_factory=TemperatureSettings)
    """How boldly it is drawn."""
    progressive_simulations: int = 0
    """Budget at the end of progressive simulation, which grows from `search.simulations`; 0: the budget stays."""
    progressive_models: int = 20
    """Trained models over which it grows, by the same factor with each; a curriculum of temperatures ends with them."""
    memory: TreeMemory = field(default_factory=TreeMemory)
    """What a search keeps of the last one of its game."""
    economy: SearchEconomy = field(default_factory=SearchEconomy)
    """Where games spend less than the full budget."""
    play: PlaySettings = field(default_factory=PlaySettings)
    """How many at a time."""

    def __post_init__(self) -> None:
        if self.engine.partition(":")[0] not in ENGINES:
            raise ValueError(unknown("engine", self.engine, ENGINES))
        counts = ("opening_plies", "temperature_decisions", "progressive_simulations")
        check_fields(self, lambda value: value >= 0, "0 or more", *counts)
        check_fields(self, lambda value: value >= 1, "1 or more", "nodes", "restart_games", "progressive_models")
        check_fields(self, lambda value: 0 <= value <= 1, "0 to 1", "restart_share")
        if self.adaptive and (self.memory.reuse or self.economy != SearchEconomy()):
            raise ValueError(
                "temperature.kind adaptive asks position by position: leave memory.reuse and economy as they are"
            )

    @property
    def adaptive(self) -> TemperatureSettings | None:
        """The temperature, where it looks at each position."""
        return self.temperature if self.temperature.kind == "adaptive" and self.temperature_decisions else None

    def temperatures(self, progress: float = 0.0, elo: float = 0.0, seed: int = 0) -> list[float]:
        """A temperature for each decision of a game after its opening; see TemperatureContext."""
        context = TemperatureContext(progress=progress, elo=elo, seed=seed)
        return [float(one) for one in schedule(self.temperature, self.temperature_decisions, context)]

    def simulations(self, models: int) -> int:
        """The budget of a search after so many models were trained (progressive simulation, MiniZero 2024)."""
        first, last = self.search.simulations, self.progressive_simulations or self.search.simulations
        share = min(1.0, models / self.progressive_models)
        return round(float(first * (last / first) ** share))
