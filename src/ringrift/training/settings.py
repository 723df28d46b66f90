"""What can be set about training."""

from dataclasses import dataclass, fields, replace
from typing import Self

from ringrift.errors import check_fields

CHOICES = {
    "optimiser": ("adamw", "sgd"),
    "schedule": ("constant", "cosine", "one-cycle", "plateau", "feedback"),
    "precision": ("auto", "float32", "bfloat16", "float16"),
    "device": ("auto", "cpu", "cuda"),
}
#: Up to so many samples in the window: the batch size and the passes that suit them (`TrainSettings.sized`).
SIZES = ((20_000, 64, 1.0), (100_000, 128, 1.5), (2_000_000, 256, 1.5), (1 << 62, 512, 2.0))


@dataclass(frozen=True)
class TrainSettings:
    """How a network learns from a window of samples."""

    architecture: str = "tiny"
    """Row of `nets.ARCHITECTURES` for initial weights; a trained parent keeps its own."""
    batch_size: int = 256
    """Samples per optimiser step, over all devices; 0: by the samples in the window (up to 20,000: 64, 100,000: 128,
    2 million: 256, above: 512)."""
    parts: int = 1
    """A batch is worked through in so many parts, whose gradients add up to one step; 0: as few as half of the free
    memory holds. Where memory runs out all the same, in twice as many. Batch normalisation sees a part at a time."""
    passes: float = 2.0
    """How often a sample is seen on average over its life: steps = passes × new samples / batch_size; 0: by the samples
    in the window (up to 20,000: 1, 2 million: 1.5, above: 2). The outcome of a game is one number for all its samples:
    more than 2 passes learn the games by heart (held-out value loss)."""
    first_passes: float = 4.0
    """As `passes`, for a training that starts from untrained weights; 0: as `passes`."""
    optimiser: str = "adamw"
    """`adamw`, or `sgd` (Nesterov momentum; takes a learning rate about 20 times as high)."""
    momentum: float = 0.9
    """Momentum of the optimiser `sgd`."""
    learning_rate: float = 2e-3
    """The highest of the schedule, after the warm-up."""
    schedule: str = "constant"
    """Of the learning rate: `constant`; `cosine` falls to `last_rate`; `one-cycle` first rises for 0.3 of the steps;
    `plateau` falls by `drop` after `plateau` checks without a better held-out loss; `feedback` by `drop` for each
    candidate in a row that the gate has rejected."""
    last_rate: float = 0.1
    """The lowest of the schedule, as a share of `learning_rate`."""
    drop: float = 0.5
    """What `plateau` and `feedback` multiply the rate with."""
    plateau: int = 2
    """Checks in a row without a better held-out loss that are a plateau."""
    warmup_steps: int = 50
    """Steps over which the learning rate rises from zero, counted from the initial weights or from a transfer."""
    weight_decay: float = 1e-4
    """Its pull per step is learning_rate × weight_decay."""
    clip: float = 5.0
    """Largest norm of the gradient; 0 for no limit."""
    average: float = 0.99
    """Decay per step of the averaged weights, which are the ones that play; 0 for none."""
    swa_from: float = 0.0
    """After this share of the steps, the plain mean of the weights of all further steps takes the place of `average`
    (stochastic weight averaging, arXiv 1803.05407); 0 for never."""
    hard_examples: float = 0.0
    """A sample's weight in its batch is multiplied by (its loss / mean loss) to this power, at most 4; 0 for none."""
    held_out: float = 0.0
    """Share of the games that are not trained on; the loss on them is shown. The same games in every training."""
    check_every: int = 100
    """Steps between two looks at the held-out loss."""
    patience: int = 0
    """Checks in a row without a better held-out loss after which training ends, with its best weights; 0: no end."""
    value_weight: float = 1.0
    """Weight of the value loss; that of the policy is 1."""
    rank_weight: float = 0.1
    """Weight of the loss of each seat's final rank; 0 for none."""
    ownership_weight: float = 0.5
    """Of the loss of each cell's owner at the end, a mean over the board; 0 for none. With this and the next two, the
    held-out value loss is 0.001 (hex8_2p) to 0.007 (square8_2p) lower and the policy's unchanged (docs/networks.md)."""
    shares_weight: float = 0.1
    """Of the loss of each seat's territory and eliminated rings at the end, as shares of what wins; 0 for none."""
    plies_left_weight: float = 0.05
    """Weight of the loss of ln(1 + plies left); 0 for none."""
    soft_policy_weight: float = 0.0
    """Of the loss of a second policy head, which learns the policy target to the power 1 / soft_policy_temperature and
    is not used in play (8 in KataGoMethods.md); 0 for none."""
    soft_policy_temperature: float = 4.0
    """Temperature of the soft policy's target."""
    short_term_weight: float = 0.0
    """Of the loss of winning probabilities over about the next 6 and 20 decisions, not used in play; 0 for none."""
    root_value_share: float = 0.5
    """Share of the search's root value in the value target; the rest is the game's outcome."""
    precision: str = "auto"
    """`float32`, `bfloat16`, `float16` (with a scaled loss), or `auto`: bfloat16 where the processor multiplies
    matrices of it (AMX) or on a GPU."""
    device: str = "auto"
    """`cpu`, `cuda`, or `auto`: a GPU where there is one."""
    threads: int = 1
    """CPU threads; 0 for one per core. Small networks train fastest on one (`tiny`: 3,000 samples/s; on two, 1,500)."""
    save_every_s: float = 30.0
    """Seconds between saves of the state that a killed run goes on from."""

    def __post_init__(self) -> None:
        check_fields(
            self, lambda value: value > 0, "more than 0",
            "learning_rate", "warmup_steps", "plateau", "check_every", "soft_policy_temperature",
        )  # fmt: skip
        weights = [f.name for f in fields(self) if f.name.endswith("_weight")]
        check_fields(
            self, lambda value: value >= 0, "0 or more", *weights, "batch_size", "parts", "passes", "first_passes",
            "weight_decay", "clip", "hard_examples", "patience", "threads", "save_every_s",
        )  # fmt: skip
        shares = ("average", "momentum", "swa_from", "held_out")
        check_fields(self, lambda value: 0 <= value < 1, "0 to below 1", *shares)
        check_fields(self, lambda value: 0 <= value <= 1, "0 to 1", "root_value_share", "last_rate", "drop")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; one of {', '.join(known)} is right")
        if not self.held_out and (self.patience or self.schedule == "plateau"):
            raise ValueError("held_out is 0; patience and the schedule plateau need a share of the games held out")

    def sized(self, samples: int) -> Self:
        """These settings for a window of so many samples: what is to follow from their number is set."""
        size, passes = next((size, passes) for most, size, passes in SIZES if samples <= most)
        return replace(self, batch_size=self.batch_size or size, passes=self.passes or passes)

    def steps(self, new_samples: int, untrained: bool = False) -> int:
        """Optimiser steps that so many new samples are worth, at least 1, also to untrained weights; of settings that
        are `sized`."""
        passes = (untrained and self.first_passes) or self.passes
        return max(1, round(passes * new_samples / self.batch_size))
