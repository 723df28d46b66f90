"""Several devices, a process for each: `torchrun --nproc-per-node 2 -m -- ringrift train …`.

Every process computes its share of each batch; what it knows of the others goes through here. Alone, all of it is a
no-op.
"""

import os
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ringrift.errors import SettingsError
from ringrift.nets import Network

T = TypeVar("T")


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join() -> None:
    """Meets the other processes, if that has not been done."""
    if world() > 1 and not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group()  # gloo for what is on the CPU, nccl for GPUs


def shared(network: Network) -> nn.Module:
    """The network, whose gradients are the means of those of all processes after `backward`."""
    return nn.parallel.DistributedDataParallel(network) if world() > 1 else network


def share_of(size: int) -> int:
    """This process's samples of a batch. Raises: SettingsError where they cannot be shared out evenly."""
    if size % world():
        raise SettingsError(f"training.batch_size is {size}; a multiple of the {world()} processes is right")
    return size // world()


def mean(values: Tensor) -> Tensor:
    """Over all processes."""
    if world() > 1:
        dist.all_reduce(values)
        values /= world()
    return values


def once(do: Callable[[], T]) -> T:
    """What `do` gives, called in the first process alone."""
    if world() == 1:
        return do()
    join()
    given: list[T | None] = [do() if rank() == 0 else None]
    dist.broadcast_object_list(given, 0)
    return given[0]  # type: ignore[return-value]  # the first process has put it there
