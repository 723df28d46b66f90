"""What can be set about searches."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from ringrift.errors import check_fields


@dataclass(frozen=True)
class GumbelSettings:
    """Gumbel AlphaZero search (Danihelka et al., ICLR 2022), for n seats by max^n."""

    simulations: int = 32
    """Budget of a decision: new positions evaluated and visits of ends of the game, without the root's evaluation."""
    considered: int = 16
    """Moves of the root that are tried at all; sequential halving shares the budget among them."""
    c_visit: float = 50.0
    """Action values weigh (c_visit + most visits of a move) * c_scale against logits."""
    c_scale: float = 1.0
    """See c_visit; action values are probabilities of winning, 0 to 1. 0.1 is common for board games; decision 0006."""
    gumbel_scale: float = 1.0
    """Scale of the noise by which the root's moves are drawn; 0 always tries the likeliest moves."""

    def __post_init__(self) -> None:
        check_counts(self, "simulations", "considered")
        check_amounts(self, "c_visit", "c_scale", "gumbel_scale")


@dataclass(frozen=True)
class PuctSettings:
    """PUCT search (Silver et al., Science 2018), for n seats by max^n."""

    simulations: int = 32
    """Budget of a decision, counted as in GumbelSettings."""
    c_puct: float = 1.0
    """Weight of prior and lack of visits against action values, which are probabilities of winning, 0 to 1."""
    c_base: float = 19652.0
    """That weight grows by ln((visits + c_base + 1) / c_base)."""
    fpu_reduction: float = 0.1
    """An unvisited move is worth its node's mean value less this times the root of the visited moves' prior."""
    dirichlet_alpha: float = 0.0
    """Concentration of the noise on the root's priors, shared by all moves (KataGo: 10.83); 0: no noise."""
    dirichlet_share: float = 0.25
    """Share of the noise in the root's priors."""
    leaves: int = 1
    """Positions handed out at a time; until its answer comes, a visit counts as lost (virtual loss)."""

    def __post_init__(self) -> None:
        check_counts(self, "simulations", "leaves")
        check_amounts(self, "c_puct", "c_base", "fpu_reduction", "dirichlet_alpha")
        if not 0.0 <= self.dirichlet_share <= 1.0 or self.c_base <= 0:
            raise ValueError("dirichlet_share is a share, 0 to 1, and c_base above 0: 0.25 and 19652, for instance")


TreeSettings = GumbelSettings | PuctSettings


@dataclass(frozen=True)
class TreeMemory:
    """What a searcher keeps from one search to the next."""

    reuse: bool = False
    """Begin with what the game's last search found below the position; the budget comes on top."""
    cache_mib: int = 64
    """Room for evaluations of positions met before; they save evaluations and change no result. 0: none."""

    def __post_init__(self) -> None:
        if not 0 <= self.cache_mib <= 1 << 20:
            raise ValueError(f"cache_mib is {self.cache_mib}; 0 to 1048576 is right")


@dataclass(frozen=True)
class SearchEconomy:
    """Where games of self-play spend less than the full budget: without noise, and giving no policy target."""

    full_share: float = 1.0
    """Share of the decisions, drawn by lot, with the full budget (playout-cap randomisation; Wu 2019: 0.25)."""
    cheap_simulations: int = 8
    """Budget of the others."""
    decided_value: float = 0.98
    """A game counts as decided once one seat's root value has been above this …"""
    decided_after: int = 5
    """… for so many decisions in a row."""
    decided_simulations: int = 0
    """Budget in decided games; 0: as before."""

    def __post_init__(self) -> None:
        if not 0.0 < self.full_share <= 1.0 or self.cheap_simulations < 1 or self.decided_simulations < 0:
            raise ValueError(
                "full_share is above 0 and at most 1, cheap_simulations 1 or more, decided_simulations 0 or more"
            )
        if not 0.5 <= self.decided_value <= 1.0 or self.decided_after < 1:
            raise ValueError("decided_value is from 0.5 to 1, decided_after 1 or more")


def check_counts(settings: object, *names: str) -> None:
    """Raises ValueError for a field that does not count something."""
    check_fields(settings, lambda value: 1 <= value <= 1_000_000, "1 to 1000000", *names)


def check_amounts(settings: object, *names: str) -> None:
    """Raises ValueError for a field that is no amount."""
    check_fields(settings, lambda value: 0 <= value < inf, "0 or more", *names)


#: Rules by which a depth-first search values the other seats' moves.
MINIMAX_RULES = ("alpha-beta", "paranoid", "maxn", "best-reply")


@dataclass(frozen=True)
class MinimaxSettings:
    """Depth-first search with iterative deepening over the linear evaluation. Depth counts decisions: a seat may make
    several in a row, and plies without a choice are none."""

    rule: str = "alpha-beta"
    """`alpha-beta` (two seats), `paranoid` (all others against the searching seat), `maxn` (each for itself) or
    `best-reply` (BRS+: of the others only one at a time chooses, the rest play their likeliest move)."""
    nodes: int = 20_000
    """Budget of a decision: positions evaluated, the root's own included, and ends of the game visited."""
    depth: int = 32
    """Most decisions to look ahead."""
    quiescence: int = 4
    """At the depth limit the turn is brought to its end: the moves of a stack just placed and the captures of one that
    captured are searched so many decisions further, the rest is played by simple rules. 0 evaluates at once."""
    table: int = 16_384
    """Entries of the transposition table, a power of two; 0 for none. It saves work and changes no value."""

    def __post_init__(self) -> None:
        if self.rule not in MINIMAX_RULES:
            raise ValueError(f"rule is {self.rule!r}; one of {', '.join(MINIMAX_RULES)} is right")
        check_fields(self, lambda value: 1 <= value <= 1 << 62, "1 to 2^62", "nodes")
        check_fields(self, lambda value: 1 <= value <= 64, "1 to 64", "depth")
        check_fields(self, lambda value: 0 <= value <= 64, "0 to 64", "quiescence")
        check_fields(self, lambda value: 0 <= value <= 1 << 24, "0 to 2^24", "table")
        if self.table & self.table - 1:
            raise ValueError(f"table is {self.table}; a power of two or 0 is right")
