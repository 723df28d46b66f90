"""What can be set about a search."""

from dataclasses import dataclass


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
    """See c_visit; action values are probabilities of winning, 0 to 1. 0.1 is a common choice for board games."""
    gumbel_scale: float = 1.0
    """Scale of the noise by which the root's moves are drawn; 0 always tries the likeliest moves."""

    def __post_init__(self) -> None:
        for name in ("simulations", "considered"):
            if not 1 <= getattr(self, name) <= 1_000_000:
                raise ValueError(f"{name} is {getattr(self, name)}; 1 to 1000000 is right")
        for name in ("c_visit", "c_scale", "gumbel_scale"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; 0 or more is right")
