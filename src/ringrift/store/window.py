"""The replay window: which samples are trained on, and with what weight."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ringrift.store.run import RunDirectory
from ringrift.store.samples import read_shard, window


@dataclass(frozen=True)
class WindowPart:
    """A shard in the window."""

    path: Path
    shard: int
    game_weight: NDArray[np.float32]
    """Of each of the shard's `games`; 0 leaves it out."""


@dataclass(frozen=True)
class ReplayWindow:
    """What is trained on."""

    parts: tuple[WindowPart, ...]

    @property
    def digest(self) -> str:
        """A hash of all that decides the batches."""
        digest = hashlib.sha256()
        for part in self.parts:
            digest.update(part.path.name.encode() + part.game_weight.tobytes())
        return digest.hexdigest()


def window_of(paths: Sequence[Path]) -> ReplayWindow:
    """All of the given shards."""
    return ReplayWindow(tuple(WindowPart(path, 0, np.ones(len(read_shard(path).games), np.float32)) for path in paths))


def replay_window(run: RunDirectory, config: str, samples: int, up_to: int | None = None) -> ReplayWindow:
    """The newest shards of a run, as many as hold `samples` samples."""
    return window_of(window(run, config, samples, up_to))
