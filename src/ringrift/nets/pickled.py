"""What PyTorch saved, read by the loader that runs no code."""

import pickle
import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from ringrift.errors import CorruptBlob, DataError

#: What the two readers of such a file raise besides their own errors, where its pickle or its directory is nonsense.
BROKEN = (
    RuntimeError, ValueError, LookupError, AttributeError, TypeError, EOFError, NotImplementedError, OSError,
    ArithmeticError, AssertionError, MemoryError, zlib.error, struct.error, zipfile.BadZipFile, pickle.UnpicklingError,
)  # fmt: skip


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
