"""Windows of shards that are in no run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ringrift.store.window import ReplayWindow, _part


def window_of(paths: Sequence[Path]) -> ReplayWindow:
    """All samples of the given shards, each drawn as often as the others."""
    parts = tuple(_part(path, 0) for path in paths)
    return ReplayWindow(parts, sum(int(part.counts.sum()) for part in parts))
