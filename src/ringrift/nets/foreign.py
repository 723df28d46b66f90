"""Networks from files of elsewhere. PyTorch's own format goes through the loader that runs no code, and nothing else.

The networks of the earlier service see other planes and answer on other addresses, so its `.pth` files are read, named
and refused; a file in that format with the tensors of one of our architectures is taken.
"""

from pathlib import Path

from torch import Tensor

from ringrift.errors import CorruptBlob, EncodingMismatch
from ringrift.nets.architectures import ARCHITECTURES
from ringrift.nets.checkpoint import load_checkpoint, save_checkpoint
from ringrift.nets.network import LATER_HEADS, Network, initial_network
from ringrift.nets.pickled import read_weights_only

#: Where trainers put the weights in what they save.
WRAPPERS = ("model_state_dict", "state_dict", "model", "weights")
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


def _fits(network: Network, tensors: dict[str, Tensor]) -> bool:
    wanted = {name: t.shape for name, t in network.state_dict().items()}
    needed = {name for name in wanted if name.partition(".")[0] not in LATER_HEADS}
    return needed <= tensors.keys() and all(wanted.get(name) == tensor.shape for name, tensor in tensors.items())
