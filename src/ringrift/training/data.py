"""Shards in memory (planes stay packed), and batches from them in an order that depends on the seed alone."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ringrift.errors import DataError
from ringrift.store.samples import Samples, read_shard
from ringrift.store.window import ReplayWindow


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
    """The samples of a window in an order that depends on `seed` alone; of `world` processes, each has its own share.

    Raises: CorruptBlob, FormatTooNew, EncodingMismatch; DataError where there is no sample or another config's.
    """

    def __init__(self, window: ReplayWindow, config: str, seed: int, *, rank: int = 0, world: int = 1) -> None:
        shards = [read_shard(part.path) for part in window.parts]
        kept = [np.isin(s.game_id, s.games[p.game_weight > 0]) for s, p in zip(shards, window.parts, strict=True)]
        self._seed, self._rank, self._world = seed, rank, world
        if other := {shard.config for shard in shards} - {config}:
            raise DataError(f"the shards hold samples of {', '.join(sorted(other))}; {config} is being trained")
        if not shards:
            raise DataError(f"there is no sample of {config} to train on; play games and export them first")
        self.samples = merged(shards)
        self._rows = np.flatnonzero(np.concatenate(kept))
        if not len(self._rows):
            raise DataError(f"there is no sample of {config} to train on; play games and export them first")

    def __len__(self) -> int:
        return len(self._rows)

    def fixed(self, count: int) -> Batch:
        """Evenly spaced samples, always the same."""
        return self.batch(self._rows[np.linspace(0, len(self) - 1, min(count, len(self)), dtype=np.int64)])

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """The samples at `rows`, in that order."""
        s = self.samples
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
            index=tensor(rows),
        )

    def batches(self, size: int, start: int, stop: int) -> Iterator[Batch]:
        """Batches `start` to `stop` - 1 of an endless sequence: one random permutation of the window after another."""

        @lru_cache(2)
        def permutation(turn: int) -> NDArray[np.int64]:
            return self._rows[np.random.default_rng((self._seed, turn)).permutation(len(self))]

        for number in range(start, stop):
            places = np.arange(number * size, (number + 1) * size) * self._world + self._rank
            turns = places // len(self)
            yield self.batch(
                np.concatenate([permutation(int(t))[places[turns == t] % len(self)] for t in np.unique(turns)])
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
