"""How much of a batch is worked through at a time."""

import math
import os
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.parameter import Parameter

from ringrift.nets import Network
from ringrift.training.data import Batch
from ringrift.training.loss import losses
from ringrift.training.settings import TrainSettings

PROBED = 8  #: samples


def pieces(batch: Batch, parts: int) -> Iterator[Batch]:
    """The batch in `parts` parts, of nearly the same size."""
    size = len(batch.weight)
    edges = [size * i // parts for i in range(parts + 1)]
    places = torch.searchsorted(batch.row, torch.tensor(edges, device=batch.row.device)).tolist()
    for i, (start, stop) in enumerate(pairwise(edges)):
        moves = slice(places[i], places[i + 1])
        of_moves = {"row": batch.row[moves] - start, "address": batch.address[moves], "policy": batch.policy[moves]}
        others = {name: getattr(batch, name)[start:stop] for name in Batch._fields if name not in of_moves}
        yield Batch(**others, **of_moves)


def bytes_per_sample(network: Network, batch: Batch, settings: TrainSettings) -> int:
    """What a sample takes until its gradient is known: everything that the backward pass keeps, once more for the
    gradients of it."""
    probe, kept = next(pieces(batch, max(1, len(batch.weight) // PROBED))), dict[int, int]()

    def note(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    before = {name: tensor.clone() for name, tensor in network.named_buffers()}
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = losses(network(probe.planes, probe.globals), probe, settings)
        assert loss.total.requires_grad
    for name, tensor in network.named_buffers():
        tensor.copy_(before[name])  # the running statistics have not seen the probe
    return 2 * sum(kept.values()) // len(probe.weight)


def free_memory(device: str) -> int:
    """Bytes."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def fitting_parts(each: int, size: int, free: int) -> int:
    """Parts of which a batch of `size` samples of `each` bytes must consist for half of the free memory."""
    return min(size, max(1, math.ceil(2 * each * size / max(free, 1))))
