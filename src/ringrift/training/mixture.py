"""Batches of several configs in turn, and the games that are held out."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from ringrift.store.window import ReplayWindow
from ringrift.training.data import Batch, SampleStream


class Mixture:
    """The streams of some configs, each with its share of the batches: that of its samples."""

    def __init__(self, streams: Mapping[str, SampleStream], samples: Mapping[str, int]) -> None:
        self.streams = streams
        self._share = {config: count / sum(samples.values()) for config, count in samples.items()}

    def batches(self, size: int, start: int, stop: int) -> Iterator[tuple[str, Batch]]:
        """Batches `start` to `stop` - 1, each of one config: always that which is furthest behind its share."""
        taken = dict.fromkeys(self.streams, 0)
        open_: dict[str, Iterator[Batch]] = {}
        for number in range(stop):
            config = max(self._share, key=lambda name: self._share[name] * (number + 1) - taken[name])
            if number >= start:
                if config not in open_:
                    open_[config] = self.streams[config].batches(size, taken[config], stop)
                yield config, next(open_[config])
            taken[config] += 1


def hold_out(window: ReplayWindow, share: float) -> tuple[ReplayWindow, ReplayWindow]:
    """The window without, and with nothing but, a share of its games: the same ones in every window."""
    trained, held = [], []
    for part in window.parts:
        out = drawn(part.games, share)
        trained.append(replace(part, game_weight=np.where(out, 0, part.game_weight).astype(np.float32)))
        held.append(replace(part, game_weight=np.where(out, part.game_weight, 0).astype(np.float32)))
    return replace(window, parts=tuple(trained)), replace(window, parts=tuple(held))


def drawn(games: np.ndarray, share: float) -> np.ndarray:
    """Which games are held out, by a hash of their ids (the finaliser of SplitMix64)."""
    x = games.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ x >> np.uint64(shift)) * np.uint64(factor)
    return (x ^ x >> np.uint64(31)).astype(np.float64) / 2.0**64 < share
