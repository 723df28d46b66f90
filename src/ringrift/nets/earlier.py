"""Networks from files of elsewhere. PyTorch's own format goes through the loader that runs no code, and nothing else.

The networks of the earlier service see other planes and answer on other addresses, so its `.pth` files are read, named
and refused; a file in that format with the tensors of one of our architectures is taken.
"""

import pickle
import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ringrift.errors import CorruptBlob, DataError, EncodingMismatch
from ringrift.nets.architectures import ARCHITECTURES
from ringrift.nets.checkpoint import load_checkpoint, save_checkpoint
from ringrift.nets.network import LATER_HEADS, Network, initial_network

#: Where trainers put the weights in what they save.
WRAPPERS = ("model_state_dict", "state_dict", "model", "weights")
#: What the two readers of such a file raise besides their own errors, where its pickle or its directory is nonsense.
BROKEN = (
    RuntimeError, ValueError, LookupError, AttributeError, TypeError, EOFError, NotImplementedError, OSError,
    ArithmeticError, AssertionError, MemoryError, zlib.error, struct.error, zipfile.BadZipFile, pickle.UnpicklingError,
)  # fmt: skip
SHOWN = 4  #: tensors that a refusal names


def foreign_checkpoint(path: Path, config: str) -> bytes:
    """The network of a file as a checkpoint of `config`.

    Raises: CorruptBlob for what is no file of weights or wants to run code, EncodingMismatch for a network that is not
    one of ours, FormatTooNew.
    """
    if path.suffix == ".safetensors":
        network, metadata = load_checkpoint(path, config)
        return save_checkpoint(network, settings=metadata.settings, parents=metadata.parents, steps=metadata.steps,
                               samples=metadata.samples, seed=metadata.seed)  # fmt: skip
    tensors = read_pth(path)
    for name in ARCHITECTURES:
        network = initial_network(name, config)
        if _fits(network, tensors):
            network.load_state_dict(network.state_dict() | tensors)
            return save_checkpoint(network)
    numbers = sum(tensor.numel() for tensor in tensors.values())
    shown = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in list(tensors.items())[:SHOWN])
    raise EncodingMismatch(
        f"{path} holds {len(tensors)} tensors with {numbers:,} numbers ({shown}, …), which is none of the architectures"
        f" {', '.join(ARCHITECTURES)}: networks of the earlier service see other planes and cannot be taken over;"
        " import its games and train on them"
    )


def read_pth(path: Path) -> dict[str, Tensor]:
    """The tensors of a PyTorch file, by name. Raises: CorruptBlob, DataError where there is no such file."""
    found = read_weights_only(path)
    for wrapper in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    tensors = found if isinstance(found, dict) else {}
    tensors = {str(name).removeprefix("module."): t for name, t in tensors.items() if isinstance(t, Tensor)}
    if not tensors:
        raise CorruptBlob(f"{path} holds no tensors")
    return tensors


def read_weights_only(path: Path) -> Any:
    """What PyTorch saved in a file, by the loader that runs no code, if it is what was written (the checksums in it,
    which that loader does not look at). Raises: CorruptBlob, DataError where there is no such file."""
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    try:
        with zipfile.ZipFile(path) as file:  # not a bare pickle, as before PyTorch 1.6
            if sum(one.file_size for one in file.infolist()) > path.stat().st_size:
                raise zipfile.BadZipFile("it unpacks to more than its size; PyTorch does not pack")
            if damaged := file.testzip():
                raise zipfile.BadZipFile(f"{damaged} in it is not what was written")
        with warnings.catch_warnings(action="ignore"):  # of old protocols: what cannot be read is refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except BROKEN as error:
        lines = [
            line for line in str(error).splitlines() if line and "weights_only" not in line
        ]  # the advice to run it
        reason = lines[0] if lines else type(error).__name__
        raise CorruptBlob(f"{path} is not a file of weights alone, and nothing of it was run: {reason}") from error


def _fits(network: Network, tensors: dict[str, Tensor]) -> bool:
    wanted = {name: t.shape for name, t in network.state_dict().items()}
    needed = {name for name in wanted if name.partition(".")[0] not in LATER_HEADS}
    return needed <= tensors.keys() and all(wanted.get(name) == tensor.shape for name, tensor in tensors.items())
