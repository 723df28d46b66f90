"""The networks as a table: one shape of network, all boards, all seat counts; a new size is a new row."""

from dataclasses import dataclass

from ringrift.errors import RulesError, unknown


@dataclass(frozen=True)
class Architecture:
    """A residual network, fully convolutional, globally pooled (`network.Network`)."""

    name: str
    channels: int
    """Width of the trunk; multiples of 16 suit the CPU kernels."""
    blocks: int
    """How many blocks the trunk has."""
    squeeze: int = 0
    """Hidden width of the squeeze-and-excitation in each block; 0 for none."""
    value_hidden: int = 64
    """Hidden width of the value head."""
    pooling: bool = True
    """Heads that answer by cell see the globally pooled trunk too (KataGo, arXiv 1902.10565 §3.3)."""
    family: str = "residual"
    """What the blocks are: a row of `network.BLOCKS`."""


ARCHITECTURES = {
    row.name: row
    for row in (
        Architecture("nano", channels=16, blocks=1, value_hidden=32),
        Architecture("tiny", channels=32, blocks=2),
        Architecture("small", channels=48, blocks=3, squeeze=16),
        Architecture("medium", channels=64, blocks=5, squeeze=16, value_hidden=96),
        Architecture("reference", channels=96, blocks=6, squeeze=24, value_hidden=128),
        Architecture("large", channels=128, blocks=10, squeeze=32, value_hidden=128),
    )
}


def architecture(name: str) -> Architecture:
    """The row of that name. Raises: RulesError."""
    if name not in ARCHITECTURES:
        raise RulesError(unknown("architecture", name, ARCHITECTURES))
    return ARCHITECTURES[name]
