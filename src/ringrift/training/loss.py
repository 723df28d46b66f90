"""The loss: policy over the playable moves, the winner, and forecasts of how the game goes on and ends."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ringrift.nets.network import Outputs
from ringrift.training.data import Batch
from ringrift.training.settings import TrainSettings

HARDEST = 4.0  #: largest factor of a hard example's weight


class Losses(NamedTuple):
    """Weighted means over the batch, in nats where nothing else is said."""

    total: Tensor
    policy: Tensor  # KL divergence from the target
    value: Tensor  # cross-entropy with the winner
    rank: Tensor  # cross-entropy with the final rank, mean over seats
    ownership: Tensor  # cross-entropy with the owner at the end, mean over the cells of the board
    shares: Tensor  # cross-entropy with the final shares as probabilities, mean over seats and both shares
    plies_left: Tensor  # Huber loss of ln(1 + plies left)
    soft_policy: Tensor  # KL divergence from the softened target; 0 without the training heads, as the next
    short_term: Tensor  # cross-entropy with the winning probabilities some decisions later, mean over both spans
    sample: Tensor  # [B]: the weighted sum of all parts, of each sample


def losses(out: Outputs, batch: Batch, settings: TrainSettings, norm: Tensor | None = None) -> Losses:
    """The losses of a network's outputs on a batch; all arithmetic in float32.

    `norm` [2] takes the place of `weights(batch)`, where the batch is a part of a larger one.
    """
    seats = batch.value.shape[1]
    target = torch.lerp(batch.value, batch.root_value, settings.root_value_share)
    rank_logits = out.rank[:, :seats, :seats].float().flatten(0, 1)
    board = batch.planes[:, 0].float()
    owners = F.cross_entropy(out.ownership[:, : 1 + seats].float(), batch.ownership, reduction="none")
    share_logits = out.shares[:, :, :seats].float()
    none = torch.zeros_like(batch.weight)
    by_policy = [policy_divergence(out.policy.float(), batch, batch.policy), none]
    by_weight = [
        -(target * F.log_softmax(out.value[:, :seats].float(), 1)).sum(1),
        F.cross_entropy(rank_logits, batch.rank.flatten(), reduction="none").view(-1, seats).mean(1),
        (owners * board).sum((1, 2)) / board.sum((1, 2)),
        F.binary_cross_entropy_with_logits(share_logits, batch.shares, reduction="none").mean((1, 2)),
        F.smooth_l1_loss(out.plies_left.float(), batch.plies_left.log1p(), reduction="none"),
        none,
    ]
    if out.soft_policy is not None and out.short_term is not None:
        soft = softened(batch, settings.soft_policy_temperature)
        by_policy[1] = policy_divergence(out.soft_policy.float(), batch, soft)
        short_term = F.log_softmax(out.short_term[:, :, :seats].float(), 2)
        by_weight[5] = -(batch.short_term * short_term).sum(2).mean(1)

    # A part of weight 0 is left out of the sum, not only multiplied by 0: its gradient need not be computed.
    policy = sum((f * x for f, x in zip((1.0, settings.soft_policy_weight), by_policy, strict=True) if f), none)
    shares = (settings.value_weight, settings.rank_weight, settings.ownership_weight, settings.shares_weight,
              settings.plies_left_weight, settings.short_term_weight)  # fmt: skip
    aside = sum((f * x for f, x in zip(shares, by_weight, strict=True) if f), none)
    sample = batch.policy_weight * policy.detach() + aside.detach()
    weight = batch.weight * hardness(sample, batch.weight, settings.hard_examples)
    p_norm, norm_ = (weights(batch) if norm is None else norm).clamp_min(1).unbind()

    def mean(each: Tensor) -> Tensor:
        return (each * weight).sum().div(norm_)

    def policy_mean(each: Tensor) -> Tensor:
        return (each * weight * batch.policy_weight).sum().div(p_norm)

    p, soft_p = map(policy_mean, by_policy)
    v, r, o, s, n, short = map(mean, by_weight)
    return Losses(policy_mean(policy) + mean(aside), p, v, r, o, s, n, soft_p, short, sample)


def weights(batch: Batch) -> Tensor:
    """[2]: what the policy losses and the other ones of a batch are divided by."""
    return torch.stack([(batch.weight * batch.policy_weight).sum(), batch.weight.sum()])


def hardness(loss: Tensor, weight: Tensor, power: float) -> Tensor:
    """[B]: factors that raise with the loss and leave the sum of the weights as it is."""
    if not power:
        return torch.ones_like(loss)
    factor = (loss / loss.mean().clamp_min(1e-6)).clamp_min(0).pow(power).clamp_max(HARDEST)
    return factor * weight.sum() / (factor * weight).sum().clamp_min(1e-6)


def softened(batch: Batch, temperature: float) -> Tensor:
    """The policy targets [A] to the power 1 / temperature, summing to 1 within a sample again."""
    target = batch.policy.pow(1 / temperature)
    norm = torch.zeros_like(batch.weight).index_add(0, batch.row, target)
    return target / norm.index_select(0, batch.row)


def policy_divergence(logits: Tensor, batch: Batch, target: Tensor) -> Tensor:
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
    log_target = torch.where(target > 0, target, 1.0).log()
    return torch.zeros(size, device=flat.device).index_add(0, batch.row, target * (log_target - log_policy))
