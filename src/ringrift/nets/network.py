"""The network: planes and globals in, a policy and forecasts of the end of the game out, for every config.

Nothing in it depends on the board's size or on the number of seats, so weights move between configs. Cells off the
board (hexagonal boards lie in square boxes) are set to zero by the on-board mask, plane 0, after each block.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ringrift.encoding import GLOBALS, PLANE_SCALES, PLANES, POLICY_GLOBALS, POLICY_PLANES
from ringrift.nets.architectures import Architecture, architecture
from ringrift.rules import config_info

MAX_SEATS = 4
#: Heads that are there to learn from alone (`Network.training_heads`).
TRAINING_HEADS = ("soft_policy", "soft_policy_pooled", "short_term")
#: Heads that the first checkpoints lack; they are read with these at zero.
LATER_HEADS = ("ownership", "ownership_pooled", "shares", "plies_left", *TRAINING_HEADS)


class Outputs(NamedTuple):
    """Logits. Seats are rotated: index 0 is the seat to move. In a config of P seats the first P mean something."""

    policy: Tensor  # [B, L]: the policy planes flattened as [plane, x, y], then the global logits
    value: Tensor  # [B, 4]: which seat wins
    rank: Tensor  # [B, 4, 4]: which rank (second index) each seat (first index) takes
    ownership: Tensor  # [B, 5, H, W]: who owns the cell as territory when the game ends: nobody, or which seat
    shares: Tensor  # [B, 2, 4]: of a seat's territory and eliminated rings at the end (`store.samples`)
    plies_left: Tensor  # [B]: no logit but ln(1 + plies to the end)
    soft_policy: Tensor | None = None  # [B, L]: as policy, of the softened target; with `Network.training_heads`
    short_term: Tensor | None = None  # [B, 2, 4]: who wins, as it looks some decisions later; likewise


def pooled(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean and maximum over the board's cells: [B, 2C]. `x` is not negative, and zero off the board."""
    mean = x.mean((2, 3)) if mask is None else x.sum((2, 3)) / mask.sum((2, 3))
    return torch.cat([mean, x.amax((2, 3))], 1)


class Block(nn.Module):
    """Two 3×3 convolutions, optionally squeeze-and-excitation (arXiv 1709.01507), and the way around them."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.squeeze = nn.Linear(2 * channels, squeeze) if squeeze else None
        self.excite = nn.Linear(squeeze, channels) if squeeze else None

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        if self.squeeze is not None and self.excite is not None:
            gate = torch.sigmoid(self.excite(F.relu(self.squeeze(pooled(x, mask)))))
            y = y * gate[:, :, None, None]
        y = F.relu(x + y)
        return y if mask is None else y * mask


BLOCKS: dict[str, Callable[[int, int], nn.Module]] = {"residual": Block}
"""By family, what makes a block of so many channels and so much squeeze. It is called with the trunk [B, C, H, W] and
the mask [B, 1, H, W] of the board's cells, or none where all are."""


class Network(nn.Module):
    """One row of ARCHITECTURES, for one config's board (the weights are the same for all).

    Its last layers start at zero: initial weights give every move the same logit and every seat the same chance.
    """

    plane_scale: Tensor

    def __init__(self, row: Architecture, config: str) -> None:
        super().__init__()
        self.architecture = row
        self.turn_to(config)
        self.register_buffer("plane_scale", torch.tensor(PLANE_SCALES, dtype=torch.float32), persistent=False)
        self.stem = nn.Conv2d(PLANES, row.channels, 3, padding=1, bias=False)
        self.stem_globals = nn.Linear(GLOBALS, row.channels)
        self.blocks = nn.ModuleList(BLOCKS[row.family](row.channels, row.squeeze) for _ in range(row.blocks))
        self.policy = nn.Conv2d(row.channels, POLICY_PLANES, 1)
        self.policy_pooled = nn.Linear(2 * row.channels, POLICY_PLANES + POLICY_GLOBALS)
        self.hidden = nn.Linear(2 * row.channels + GLOBALS, row.value_hidden)
        self.value = nn.Linear(row.value_hidden, MAX_SEATS)
        self.rank = nn.Linear(row.value_hidden, MAX_SEATS * MAX_SEATS)
        self.ownership = nn.Conv2d(row.channels, 1 + MAX_SEATS, 1)
        self.ownership_pooled = nn.Linear(2 * row.channels, 1 + MAX_SEATS, bias=False)
        self.shares = nn.Linear(row.value_hidden, 2 * MAX_SEATS)
        self.plies_left = nn.Linear(row.value_hidden, 1)
        self.soft_policy = nn.Conv2d(row.channels, POLICY_PLANES, 1)
        self.soft_policy_pooled = nn.Linear(2 * row.channels, POLICY_PLANES + POLICY_GLOBALS)
        self.short_term = nn.Linear(row.value_hidden, 2 * MAX_SEATS)
        self.training_heads = False
        for last in (self.policy, self.policy_pooled, self.value, self.rank, *(getattr(self, n) for n in LATER_HEADS)):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)

    def turn_to(self, config: str) -> None:
        """From now on, the positions are of `config`."""
        info = config_info(config)
        self.config, self.seats = config, info.players
        self.masked = info.cells != info.height * info.width

    def forward(self, planes: Tensor, globals_: Tensor) -> Outputs:
        """`planes` uint8 [B, C, H, W] and `globals_` float32 [B, G], as `encoding.encode` gives them."""
        mask = planes[:, :1].float() if self.masked else None
        # The planes' scales go into the weights: counts stay whole numbers, which an int8 runtime holds exactly.
        x = F.conv2d(planes.float(), self.stem.weight * self.plane_scale[None, :, None, None], padding=1)
        x = F.relu(x + self.stem_globals(globals_)[:, :, None, None])
        if mask is not None:
            x = x * mask
        for block in self.blocks:
            x = block(x, mask)
        pool = pooled(x, mask)
        hidden = F.relu(self.hidden(torch.cat([pool, globals_], 1)))
        soft_policy = short_term = None
        if self.training_heads:
            soft_policy = self._policy(self.soft_policy(x), self.soft_policy_pooled(pool))
            short_term = self.short_term(hidden).unflatten(1, (2, MAX_SEATS))
        return Outputs(
            policy=self._policy(self.policy(x), self.policy_pooled(pool)),
            value=self.value(hidden),
            rank=self.rank(hidden).unflatten(1, (MAX_SEATS, MAX_SEATS)),
            ownership=self._with(self.ownership(x), self.ownership_pooled(pool)),
            shares=self.shares(hidden).unflatten(1, (2, MAX_SEATS)),
            plies_left=self.plies_left(hidden).squeeze(1),
            soft_policy=soft_policy,
            short_term=short_term,
        )

    def _policy(self, planes: Tensor, pool: Tensor) -> Tensor:
        everywhere, alone = pool[:, :POLICY_PLANES], pool[:, POLICY_PLANES:]
        return torch.cat([self._with(planes, everywhere).flatten(1), alone], 1)

    def _with(self, planes: Tensor, everywhere: Tensor) -> Tensor:
        return planes + everywhere[:, :, None, None] if self.architecture.pooling else planes


class Inference(nn.Module):
    """What a network says in an Evaluator's terms: the fields of `EvaluationDetail`, in their order."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, planes: Tensor, globals_: Tensor) -> tuple[Tensor, ...]:
        out, seats = self.network(planes, globals_), self.network.seats
        territory, eliminated = torch.sigmoid(out.shares[:, :, :seats]).unbind(1)
        return (
            out.policy,
            torch.softmax(out.value[:, :seats], 1),
            torch.softmax(out.rank[:, :seats, :seats], 2),
            torch.softmax(out.ownership[:, : 1 + seats], 1) * planes[:, :1].float(),
            territory,
            eliminated,
            out.plies_left.exp() - 1,
        )


def initial_network(name: str, config: str, seed: int = 0) -> Network:
    """Untrained weights of the architecture `name`, from `seed`. Raises: RulesError for an unknown name or config."""
    row = architecture(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(row, config)


def cost(name: str, config: str) -> tuple[int, int]:
    """Parameters without those of the training heads, and floating-point operations per position (a multiply-add
    counts two), on the config's board."""
    network = initial_network(name, config).eval()
    info = config_info(config)
    operations = 0

    def count(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal operations
        weight = layer.weight
        assert isinstance(weight, Tensor)
        operations += 2 * weight.numel() * (output[0, 0].numel() if output.dim() == 4 else 1)

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer is not network.stem:
            layer.register_forward_hook(count)
    with torch.no_grad():
        network(torch.ones(1, PLANES, info.height, info.width, dtype=torch.uint8), torch.zeros(1, GLOBALS))
    stem = 2 * network.stem.weight.numel() * info.height * info.width
    kept = (p for name, p in network.named_parameters() if name.partition(".")[0] not in TRAINING_HEADS)
    return sum(p.numel() for p in kept), operations + stem
