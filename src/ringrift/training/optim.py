"""The optimiser, and averages of the weights that it passes through."""

from typing import Any

import torch
from torch import Tensor, nn

from ringrift.nets import Network
from ringrift.training.settings import TrainSettings

#: The heads that each weight of the loss is for.
HEADS = {
    "rank_weight": ("rank",),
    "ownership_weight": ("ownership", "ownership_pooled"),
    "shares_weight": ("shares",),
    "plies_left_weight": ("plies_left",),
    "soft_policy_weight": ("soft_policy", "soft_policy_pooled"),
    "short_term_weight": ("short_term",),
}


def make_optimiser(network: Network, settings: TrainSettings, *, fused: bool = True) -> torch.optim.Optimizer:
    """The optimiser of a network; heads whose loss has weight 0 are frozen."""
    for name, heads in HEADS.items():
        for head in heads:
            getattr(network, head).requires_grad_(getattr(settings, name) > 0)
    network.training_heads = settings.soft_policy_weight > 0 or settings.short_term_weight > 0
    decay = settings.weight_decay
    if settings.optimiser == "sgd":
        nesterov = settings.momentum > 0
        return torch.optim.SGD(
            network.parameters(), momentum=settings.momentum, nesterov=nesterov, weight_decay=decay, fused=fused
        )
    return torch.optim.AdamW(network.parameters(), weight_decay=decay, fused=fused)


class Average:
    """The moving average of the weights (`average`), and from `swa_from` on their plain mean in its place."""

    def __init__(self, network: nn.Module, settings: TrainSettings) -> None:
        self._settings = settings
        self.weights = _copied(network)
        self.counted = 0
        """Steps in the plain mean."""

    def take(self, network: nn.Module, step: int, steps: int, age: int) -> None:
        """The weights after `step` of `steps`; `age` as in `schedule`."""
        if self._settings.swa_from and step > self._settings.swa_from * steps:
            self.counted += 1
            share = 1 / self.counted
        else:
            share = 1 - min(self._settings.average, age / (age + 10))
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                self.weights[name].lerp_(tensor, share)
            else:
                self.weights[name].copy_(tensor)  # counters

    def state(self) -> dict[str, Any]:
        return {"weights": self.weights, "counted": self.counted}

    def restore(self, state: dict[str, Any], device: str) -> None:
        self.weights = {name: tensor.to(device) for name, tensor in state["weights"].items()}
        self.counted = state["counted"]


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
