"""The networks that come with the package: for some configs one, `networks/<config>.onnx`, beside its checkpoint."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

from ringrift.errors import DataError

NETWORKS = Path(__file__).parent / "networks"


def shipped_configs() -> list[str]:
    """The configs that have one."""
    return sorted(path.stem for path in NETWORKS.glob("*.onnx"))


def shipped_network(config: str) -> tuple[str, Path]:
    """Id and ONNX file of the network for a config.

    Raises `DataError` where none comes with the package, or onnxruntime is not installed.
    """
    path = NETWORKS / f"{config}.onnx"
    if find_spec("onnxruntime") is None:
        raise DataError("networks need onnxruntime: pip install onnxruntime")
    if not path.is_file():
        known = ", ".join(shipped_configs()) or "no config"
        raise DataError(f"no network of {config} comes with the package, which has those of {known}: train one")
    checkpoint = path.with_suffix(".safetensors").read_bytes()
    return f"m-{hashlib.sha256(checkpoint).hexdigest()[:12]}", path
