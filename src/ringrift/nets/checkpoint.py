"""Checkpoints: weights as safetensors with their metadata, named by content hash. No pickle anywhere."""

import hashlib
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ringrift import __version__
from ringrift.encoding import ENCODING_HASH
from ringrift.errors import CorruptBlob
from ringrift.evaluators.metadata import KEY, ModelMetadata, read_metadata
from ringrift.nets.network import LATER_HEADS, Network, initial_network


def save_checkpoint(
    network: Network,
    *,
    weights: dict[str, Tensor] | None = None,
    settings: dict[str, object] | None = None,
    parents: tuple[str, ...] = (),
    steps: int = 0,
    samples: int = 0,
    seed: int = 0,
) -> bytes:
    """The network's weights (or `weights` in their place) as a checkpoint; the same input gives the same bytes."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in (weights or network.state_dict()).items()}
    metadata = ModelMetadata(
        config=network.config,
        architecture=network.architecture.name,
        encoding_hash=ENCODING_HASH,
        settings=settings or {},
        parents=parents,
        steps=steps,
        samples=samples,
        seed=seed,
        code_version=__version__,
    )
    bare = save(tensors)
    digest = hashlib.sha256(bare[8 + int.from_bytes(bare[:8], "little") :]).hexdigest()
    return save(tensors, {KEY: replace(metadata, tensors=digest).to_json()})


def load_checkpoint(source: Path | bytes, config: str | None = None) -> tuple[Network, ModelMetadata]:
    """The network in evaluation mode, for `config` or the config it was trained on, and its metadata.

    Heads that older checkpoints lack (`network.LATER_HEADS`) stay at zero; nothing else may be missing.

    Raises: CorruptBlob, EncodingMismatch, FormatTooNew; RulesError for an unknown config or architecture.
    """
    data = source.read_bytes() if isinstance(source, Path) else source
    metadata = read_metadata(source if isinstance(source, Path) else data)
    network = initial_network(metadata.architecture, config or metadata.config)
    later = {name: t for name, t in network.state_dict().items() if name.partition(".")[0] in LATER_HEADS}
    try:
        network.load_state_dict(later | load(data))
    except (SafetensorError, RuntimeError, ValueError, LookupError, TypeError, OverflowError, MemoryError) as error:
        raise CorruptBlob(f"the tensors do not fit architecture {metadata.architecture!r} ({error})") from error
    return network.eval(), metadata


def initial_checkpoint(architecture: str, config: str, seed: int = 0) -> bytes:
    """Untrained weights as a checkpoint."""
    return save_checkpoint(initial_network(architecture, config, seed), seed=seed)
