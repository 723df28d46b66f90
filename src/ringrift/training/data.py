"""Batches of samples, read from the shards of a window in an order that depends on the seed alone."""

import mmap
import resource
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ringrift.errors import DataError
from ringrift.store.samples import Samples, map_shard
from ringrift.store.window import ReplayWindow

BLOCK = 8192  #: samples that are read from the disk together


class Batch(NamedTuple):
    """Samples as the loss reads them; seats are rotated, index 0 is the seat to move."""

    planes: Tensor  # uint8 [B, C, H, W]
    globals: Tensor  # float32 [B, G]
    row: Tensor  # int64 [A]: the sample that a playable move belongs to
    address: Tensor  # int64 [A, 2]: its logits add up; -1 for none
    policy: Tensor  # float32 [A]: sums to 1 within a sample
    policy_weight: Tensor  # float32 [B]
    value: Tensor  # float32 [B, P]: 1 for the winner
    root_value: Tensor  # float32 [B, P]: winning probabilities by the search
    rank: Tensor  # int64 [B, P]: from 0, the best
    ownership: Tensor  # int64 [B, H, W]: 0 nobody, else 1 + the seat that owns the cell at the end
    shares: Tensor  # float32 [B, 2, P]: of territory and of eliminated rings at the end
    plies_left: Tensor  # float32 [B]: to the end of the game
    weight: Tensor  # float32 [B]
    short_term: Tensor  # float32 [B, 2, P]: winning probabilities over about the next 6 and the next 20 decisions
    index: Tensor  # type: ignore[assignment]  # int64 [B]: the sample's place in the window

    def to(self, device: str) -> Self:
        return type(self)(*(tensor.to(device) for tensor in self))


class SampleStream:
    """The samples of a window, shuffled over all of it, in an order that depends on `seed` alone; of `world` processes,
    each has its own share. Planes and targets stay on the disk: a sample in memory takes some 20 bytes.

    Raises: CorruptBlob, FormatTooNew, EncodingMismatch; DataError where there is no sample or another config's.
    """

    def __init__(self, window: ReplayWindow, config: str, seed: int, *, rank: int = 0, world: int = 1) -> None:
        self._seed, self._rank, self._world, self._correction = seed, rank, world, window.correction
        _allow_open_files(len(window.parts))
        self._shards = [map_shard(part.path) for part in window.parts]
        if other := {shard.config for _, shard in self._shards} - {config}:
            raise DataError(f"the shards hold samples of {', '.join(sorted(other))}; {config} is being trained")
        self._ends = np.cumsum([len(shard) for _, shard in self._shards], dtype=np.int64)
        weight = np.concatenate(
            [part.game_weight[np.searchsorted(part.games, shard.game_id)]
             for part, (_, shard) in zip(window.parts, self._shards, strict=True)] or [np.zeros(0, np.float32)]
        )  # fmt: skip
        self._rows = np.flatnonzero(weight > 0).astype(np.uint32)
        if not len(self._rows):
            raise DataError(f"there is no sample of {config} to train on; play games and export them first")
        self._often = weight[self._rows].astype(np.float64)
        self._surprising: NDArray[np.float32] | None = None
        if window.surprise:
            surprise = np.concatenate([shard.surprise for _, shard in self._shards]).astype(np.float32)[self._rows]
            if surprise.any():
                factor = 1 - window.surprise + window.surprise * surprise / surprise.mean()
                self._often, self._surprising = self._often * factor, factor
        self._often /= self._often.mean()
        for mapping, _ in self._shards:
            mapping.madvise(mmap.MADV_DONTNEED)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def game_id(self) -> NDArray[np.int64]:
        """The game of every sample of the window, also of those that are left out: `Batch.index` counts over these."""
        return np.concatenate([shard.game_id for _, shard in self._shards])

    def fixed(self, count: int) -> Batch:
        """Evenly spaced samples, always the same."""
        return self.batch(self._rows[np.linspace(0, len(self) - 1, min(count, len(self)), dtype=np.int64)])

    def batch(self, rows: NDArray[np.integer]) -> Batch:
        """The samples at these places of the window, in that order; nothing is corrected, for none was drawn."""
        return next(self._read(rows, len(rows), 0.0))

    def batches(self, size: int, start: int, stop: int) -> Iterator[Batch]:
        """Batches `start` to `stop` - 1 of an endless sequence of turns: in each, every sample comes as often as its
        weight says, once where all are equal."""

        @lru_cache(2)
        def order(turn: int) -> NDArray[np.uint32]:
            return self._order(turn)

        several = max(1, BLOCK // size)  # read together, so that each shard is visited once for all of them
        for first in range(start, stop, several):
            places = np.arange(first * size, min(stop, first + several) * size) * self._world + self._rank
            turns = places // len(self)
            drawn = [order(int(turn))[places[turns == turn] % len(self)] for turn in np.unique(turns)]
            yield from self._read(np.concatenate(drawn), size, self._correction)

    def _order(self, turn: int) -> NDArray[np.uint32]:
        """The samples of a turn, as many as there are. Sample i is drawn where the sum of the weights up to it passes a
        whole number, counted from a random fraction."""
        rng = np.random.default_rng((self._seed, turn))
        passed = np.floor(np.cumsum(self._often) + rng.random())
        passed[-1] = len(self)
        times = np.diff(passed, prepend=0).astype(np.int64)
        rows = np.repeat(self._rows, times)
        rng.shuffle(rows)
        return rows

    def _read(self, rows: NDArray[np.integer], size: int, correction: float) -> Iterator[Batch]:
        """Batches of so many of the samples at `rows`."""
        wanted, back = np.unique(rows, return_inverse=True)
        shard = np.searchsorted(self._ends, wanted, side="right")
        parts = []
        for number in np.unique(shard):
            mapping, samples = self._shards[number]
            first = self._ends[number] - len(samples)
            parts.append(samples.take(wanted[shard == number].astype(np.int64) - first))
            mapping.madvise(mmap.MADV_DONTNEED)
        read = merged(parts)
        factor = None if self._surprising is None else self._surprising[np.searchsorted(self._rows, wanted)]
        for first in range(0, len(rows), size):
            places = back[first : first + size]
            batch = to_batch(read, places, rows[first : first + size].astype(np.int64))
            if factor is not None and correction:
                batch = batch._replace(weight=batch.weight * torch.from_numpy(factor[places] ** -correction))
            yield batch


def _allow_open_files(count: int) -> None:
    """Each shard of a window is an open file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < (wanted := count + 256) and hard >= wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def to_batch(s: Samples, rows: NDArray[np.int64], index: NDArray[np.int64]) -> Batch:
    """Samples as tensors."""
    offsets, address, target = s.policy(rows)
    tensor = torch.from_numpy
    return Batch(
        planes=tensor(s.planes(rows)),
        globals=tensor(s.globals[rows]),
        row=tensor(np.repeat(np.arange(len(rows)), np.diff(offsets))),
        address=tensor(address.astype(np.int64)),
        policy=tensor(target.astype(np.float32)),
        policy_weight=tensor(s.policy_weight[rows]),
        value=tensor(s.value_target[rows]),
        root_value=tensor(s.root_value[rows].astype(np.float32)),
        rank=tensor(s.rank_target[rows].astype(np.int64) - 1),
        ownership=tensor(s.ownership[rows].astype(np.int64)),
        shares=tensor(np.stack([s.territory_share[rows], s.eliminated_share[rows]], 1).astype(np.float32)),
        plies_left=tensor(s.plies_left[rows].astype(np.float32)),
        weight=tensor(s.weight[rows]),
        short_term=tensor(s.short_term_value[rows].astype(np.float32)),
        index=tensor(index),
    )


def merged(shards: Sequence[Samples]) -> Samples:
    """The samples of all shards as one, in order; its planes are packed in the bits that the widest shard needs."""
    bits = np.max([shard.plane_bits for shard in shards], axis=0).astype(np.int64)
    total, width = sum(map(len, shards)), shards[0].planes_packed.shape[2]
    planes = np.zeros((total, int(bits.sum()), width), np.uint8)
    place = np.cumsum(bits) - bits  # of a plane's lowest bit
    row, offsets = 0, [np.zeros(1, np.int32)]
    for shard in shards:
        own = np.concatenate([start + np.arange(n) for start, n in zip(place, shard.plane_bits, strict=True)])
        planes[row : row + len(shard), own] = shard.planes_packed
        offsets.append(shard.policy_offsets[1:] + offsets[-1][-1])
        row += len(shard)
    alone = {"config", "encoding_hash", "box", "plane_bits", "planes_packed", "policy_offsets"}
    joined: dict[str, Any] = {
        field.name: np.concatenate([getattr(shard, field.name) for shard in shards])
        for field in fields(Samples)
        if field.name not in alone
    }
    return replace(shards[0], plane_bits=bits, planes_packed=planes, policy_offsets=np.concatenate(offsets), **joined)
