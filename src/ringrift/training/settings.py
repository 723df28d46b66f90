"""What can be set about training."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class TrainSettings:
    """How a network learns from a window of samples."""

    architecture: str = "tiny"
    """Row of `nets.ARCHITECTURES` for initial weights; a trained parent keeps its own."""
    window: int = 250_000
    """Newest samples that are trained on."""
    batch_size: int = 256
    """Samples per optimiser step."""
    passes: float = 1.5
    """How often a sample is seen on average over its life: steps = passes × new samples / batch_size. The outcome of a
    game is one number for all its samples: more than 2 passes learn the games by heart (held-out value loss)."""
    learning_rate: float = 2e-3
    """Of AdamW, after the warm-up."""
    warmup_steps: int = 50
    """Steps over which the learning rate rises from zero, counted from the initial weights."""
    weight_decay: float = 1e-4
    """Of AdamW; its pull per step is learning_rate × weight_decay."""
    clip: float = 5.0
    """Largest norm of the gradient; 0 for no limit."""
    average: float = 0.99
    """Decay per step of the averaged weights, which are the ones that play; 0 for none."""
    value_weight: float = 1.0
    """Of the value loss, beside the policy's 1."""
    rank_weight: float = 0.1
    """Of the loss of each seat's final rank; 0 for none."""
    ownership_weight: float = 0.5
    """Of the loss of each cell's owner at the end, a mean over the board; 0 for none. With this and the next two, the
    held-out value loss is 0.001 (hex8_2p) to 0.007 (square8_2p) lower and the policy's unchanged (docs/networks.md)."""
    shares_weight: float = 0.1
    """Of the loss of each seat's territory and eliminated rings at the end, as shares of what wins; 0 for none."""
    plies_left_weight: float = 0.05
    """Of the loss of ln(1 + plies left); 0 for none."""
    root_value_share: float = 0.5
    """Share of the search's root value in the value target; the rest is the game's outcome."""
    precision: str = "auto"
    """`float32`, `bfloat16`, or `auto`: bfloat16 where the processor multiplies matrices of it (AMX) or on a GPU."""
    device: str = "auto"
    """`cpu`, `cuda`, or `auto`: a GPU where there is one."""
    threads: int = 1
    """CPU threads; 0 for one per core. Small networks train fastest on one (`tiny`: 3,000 samples/s; on two, 1,500)."""
    save_every_s: float = 30.0
    """Seconds between saves of the state that a killed run goes on from."""

    def __post_init__(self) -> None:
        for name in ("window", "batch_size", "passes", "learning_rate", "warmup_steps"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; more than 0 is right")
        weights = [f.name for f in fields(self) if f.name.endswith("_weight")]
        for name in (*weights, "weight_decay", "clip", "threads", "save_every_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; 0 or more is right")
        if not 0 <= self.average < 1 or not 0 <= self.root_value_share <= 1:
            raise ValueError("average must be in [0, 1) and root_value_share in [0, 1]")
        for name, known in (("precision", ("auto", "float32", "bfloat16")), ("device", ("auto", "cpu", "cuda"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; one of {', '.join(known)} is right")

    def steps(self, new_samples: int) -> int:
        """Optimiser steps that so many new samples are worth, at least 1."""
        return max(1, round(self.passes * new_samples / self.batch_size))
