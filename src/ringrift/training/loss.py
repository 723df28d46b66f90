"""The loss: policy over the playable moves, the winner, and forecasts of how the game ends."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ringrift.nets.network import Outputs
from ringrift.training.data import Batch
from ringrift.training.settings import TrainSettings


class Losses(NamedTuple):
    """Means over the batch, in nats where nothing else is said."""

    total: Tensor
    policy: Tensor  # KL divergence from the target
    value: Tensor  # cross-entropy with the winner
    rank: Tensor  # cross-entropy with the final rank, mean over seats
    ownership: Tensor  # cross-entropy with the owner at the end, mean over the cells of the board
    shares: Tensor  # cross-entropy with the final shares as probabilities, mean over seats and both shares
    plies_left: Tensor  # Huber loss of ln(1 + plies left)


def losses(out: Outputs, batch: Batch, settings: TrainSettings) -> Losses:
    """The losses of a network's outputs on a batch; all arithmetic in float32."""
    seats = batch.value.shape[1]
    policy = policy_divergence(out.policy.float(), batch)
    target = torch.lerp(batch.value, batch.root_value, settings.root_value_share)
    value = -(target * F.log_softmax(out.value[:, :seats].float(), 1)).sum(1)
    rank_logits = out.rank[:, :seats, :seats].float().flatten(0, 1)
    rank = F.cross_entropy(rank_logits, batch.rank.flatten(), reduction="none").view(-1, seats).mean(1)

    board = batch.planes[:, 0].float()
    owner_logits = out.ownership[:, : 1 + seats].float()
    owners = F.cross_entropy(owner_logits, batch.ownership, reduction="none")
    ownership = (owners * board).sum((1, 2)) / board.sum((1, 2))
    share_logits = out.shares[:, :, :seats].float()
    shares = F.binary_cross_entropy_with_logits(share_logits, batch.shares, reduction="none").mean((1, 2))
    plies_left = F.smooth_l1_loss(out.plies_left.float(), batch.plies_left.log1p(), reduction="none")

    weight = batch.weight
    policy_weight = weight * batch.policy_weight
    p = (policy * policy_weight).sum() / policy_weight.sum().clamp_min(1)
    v, r, o, s, n = (
        (loss * weight).sum() / weight.sum().clamp_min(1) for loss in (value, rank, ownership, shares, plies_left)
    )
    aside = settings.rank_weight * r + settings.ownership_weight * o + settings.shares_weight * s
    total = p + settings.value_weight * v + aside + settings.plies_left_weight * n
    return Losses(total, p, v, r, o, s, n)


def policy_divergence(logits: Tensor, batch: Batch) -> Tensor:
    """KL(target ‖ policy) per sample [B]: a softmax over each sample's own moves, whose number differs."""
    size, width = logits.shape
    flat, base = logits.flatten(), batch.row * width
    first, second = batch.address.unbind(1)
    chosen = flat.index_select(0, base + first)
    chosen = chosen + torch.where(second >= 0, flat.index_select(0, base + second.clamp_min(0)), 0.0)
    highest = torch.full((size,), -torch.inf, device=flat.device).scatter_reduce(0, batch.row, chosen.detach(), "amax")
    shifted = chosen - highest.index_select(0, batch.row)
    norm = torch.zeros(size, device=flat.device).index_add(0, batch.row, shifted.exp()).log()
    log_policy = shifted - norm.index_select(0, batch.row)
    log_target = torch.where(batch.policy > 0, batch.policy, 1.0).log()
    return torch.zeros(size, device=flat.device).index_add(0, batch.row, batch.policy * (log_target - log_policy))
