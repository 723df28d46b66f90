"""What a model file says about itself, read without torch.

A checkpoint is a safetensors file: 8 bytes header length (little endian), a JSON header, the tensors. Our metadata is
one JSON text under the header key `__metadata__.ringrift`; an exported ONNX file carries the same text as a model
property.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_origin

from ringrift.encoding import ENCODING_HASH
from ringrift.errors import CorruptBlob, EncodingMismatch, FormatTooNew
from ringrift.texts import read_json, shown, why

FORMAT = 1
KEY = "ringrift"


@dataclass(frozen=True)
class ModelMetadata:
    """Where a network comes from and what it needs to run."""

    config: str
    """The config it was trained on; the weights fit every config."""
    architecture: str
    """Its row in `nets.ARCHITECTURES`."""
    encoding_hash: str
    """`encoding.ENCODING_HASH` of the code that made it."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The training settings, empty for initial weights."""
    parents: tuple[str, ...] = ()
    """Content hashes of the checkpoints it was trained from."""
    steps: int = 0
    """Optimiser steps of all ancestors and of its own."""
    samples: int = 0
    """Samples seen in those steps."""
    seed: int = 0
    """Seed of the initial weights or of the training run."""
    code_version: str = ""
    """`ringrift.__version__` of the code that made it."""
    tensors: str = ""
    """SHA-256 of the tensor bytes."""
    precision: str = "float32"
    """Arithmetic of an exported network: `float32` or `int8`."""
    checkpoint: str = ""
    """Content hash of the checkpoint that an exported network was made from."""
    format: int = FORMAT

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | None, source: str) -> "ModelMetadata":
        """Raises: CorruptBlob, FormatTooNew, and EncodingMismatch when made under another encoding than this code's."""
        if text is None:
            raise CorruptBlob(f"{source} carries no ringrift metadata; give a file that ringrift wrote")
        try:
            data = read_json(text)
            number = int(data["format"])
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise CorruptBlob(f"the ringrift metadata of {source} cannot be read ({why(error)})") from error
        if number > FORMAT:
            raise FormatTooNew(f"{source} has format {number}; this code reads up to {FORMAT}: update ringrift")
        known = {f.name for f in fields(cls)}
        if missing := {"config", "architecture", "encoding_hash"} - data.keys():
            raise CorruptBlob(f"the ringrift metadata of {source} lacks {', '.join(sorted(missing))}")
        for one in fields(cls):
            if one.name in data and not isinstance(data[one.name], _type(one.type)):
                raise CorruptBlob(f"the ringrift metadata of {source}: {one.name} is {shown(data[one.name])}")
        if not all(isinstance(parent, str) for parent in data.get("parents", ())):
            raise CorruptBlob(f"the ringrift metadata of {source}: its parents are no names")
        found = cls(**{key: value for key, value in data.items() if key in known})
        if found.encoding_hash != ENCODING_HASH:
            raise EncodingMismatch(
                f"{source} was made under encoding {found.encoding_hash}, this code's is {ENCODING_HASH}:"
                " train a new model"
            )
        object.__setattr__(found, "parents", tuple(found.parents))
        return found


def _type(annotated: Any) -> Any:
    """What a field is in JSON."""
    found = get_origin(annotated) or annotated
    return (list, tuple) if found is tuple else found


def read_metadata(source: Path | bytes) -> ModelMetadata:
    """The metadata of a checkpoint, whose bytes are checked against it.

    Raises: CorruptBlob where it is truncated or changed, FormatTooNew, EncodingMismatch.
    """
    name = str(source) if isinstance(source, Path) else "the checkpoint"
    data = source.read_bytes() if isinstance(source, Path) else source
    end = 8 + int.from_bytes(data[:8], "little")
    if len(data) < 8 or end > len(data):
        raise CorruptBlob(f"{name} is not a whole safetensors file ({len(data)} bytes)")
    try:
        header = read_json(data[8:end])
        text = header.get("__metadata__", {}).get(KEY)
    except (ValueError, AttributeError) as error:
        raise CorruptBlob(f"{name} is not a safetensors file ({why(error)})") from error
    metadata = ModelMetadata.from_json(text if isinstance(text, str) else None, name)
    if hashlib.sha256(data[end:]).hexdigest() != metadata.tensors:
        raise CorruptBlob(f"the tensors of {name} are not those that were written; restore it or train again")
    return metadata
