"""Sample shards: what training reads, made from valid games, readable by numpy alone.

A shard is an uncompressed `.npz` without object arrays, at most `SHARD_SAMPLES` samples, a blob of the fabric. Letters
of the shapes: N samples, P seats, C,H,W planes, G globals, A the sum of the lengths of the policies. *Mover first*:
index 0 is the seat to move, index 1 the seat after it, and so on round the table.
"""

from __future__ import annotations

import hashlib
import io
import math
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ringrift.encoding import (
    ENCODING_HASH,
    GLOBAL_TABLE,
    GLOBALS,
    PLANE_TABLE,
    PLANES,
    encode,
    feature_slice,
    policy_addresses,
)
from ringrift.errors import CorruptBlob, DataError, EncodingMismatch, FormatTooNew, JobError
from ringrift.rules import Game, Record, config_info
from ringrift.store.games import GameStore
from ringrift.store.run import RunDirectory

FORMAT = 3
SHARD_SAMPLES = 8192
SHARD_BYTES = 1 << 26  #: of its planes, unpacked
SUFFIX = ".npz"
HORIZONS = (6, 20)  #: decisions over which `short_term_value` reaches, on average
PROBED = 32  #: every so many samples, all symmetries are tried, for the report
Number = TypeVar("Number", bound=np.generic)
_TERRITORY = feature_slice(PLANE_TABLE, "territory")
_SHARES = [feature_slice(GLOBAL_TABLE, name) for name in ("territory", "eliminated")]


@dataclass(frozen=True)
class ExportSettings:
    """How games become samples."""

    symmetries: bool = True
    """Show each position under a random one of the symmetries that map its playable moves and their ends exactly."""
    seed: int = 0
    """Of the choice of symmetries."""


@dataclass(frozen=True)
class Samples:
    """The content of a shard; the file also holds `format`. See docs/formats.md."""

    config: str
    encoding_hash: str
    games: NDArray[np.int64]
    """ids of all source games, those without a sample included"""
    box: NDArray[np.int32]  # C, H, W
    plane_bits: NDArray[np.uint8]  # [C]
    """how many bits a cell of each plane takes; 0: the plane is zero in the whole shard"""
    planes_packed: NDArray[np.uint8]  # [N, sum(plane_bits), ceil(H*W/8)]
    """`np.packbits` of each bit of each plane, low bit first"""
    globals: NDArray[np.float32]  # [N, G]
    policy_offsets: NDArray[np.int32]  # [N+1]
    """sample i owns rows offsets[i] : offsets[i+1] of the next two"""
    policy_address: NDArray[np.int32]  # [A, 2]
    """addresses whose logits add up to the move's; -1: none"""
    policy_target: NDArray[np.float16]  # [A]
    """sums to 1 within a sample"""
    policy_weight: NDArray[np.float32]  # [N]
    """1 where the target comes from a full search, or is a played move to imitate; else 0"""
    value_target: NDArray[np.float32]  # [N, P]
    """1 for the winner; mover first"""
    root_value: NDArray[np.float16]  # [N, P]
    """the search's winning probabilities, without a search the value target; mover first"""
    short_term_value: NDArray[np.float16]  # [N, 2, P]
    """winning probabilities over about the next 6 and the next 20 decisions: the root values after this one, each with
    1 - 1/6 (1 - 1/20) of the weight of the one before, ending in the outcome; mover first"""
    surprise: NDArray[np.float16]  # [N]
    """KL divergence in nats of the policy target from the prior of the network that played; 0 where unknown"""
    rank_target: NDArray[np.uint8]  # [N, P]
    """final ranks, 1 is best; mover first"""
    ownership: NDArray[np.uint8]  # [N, H, W]
    """who owns the cell as territory when the game ends: 0 nobody, else 1 + the seat, mover first"""
    territory_share: NDArray[np.float16]  # [N, P]
    """territory at the end as a share of the minimum that wins, at most 1; mover first"""
    eliminated_share: NDArray[np.float16]  # [N, P]
    """eliminated rings at the end as a share of the threshold that wins, at most 1; mover first"""
    plies_left: NDArray[np.uint16]  # [N]
    """to the end of the game, forced ones included"""
    weight: NDArray[np.float32]  # [N]
    """of the sample in the loss"""
    ply: NDArray[np.uint16]  # [N]
    game_id: NDArray[np.int64]  # [N]
    symmetry: NDArray[np.uint8]  # [N]
    """that the position is shown under"""

    def __len__(self) -> int:
        return len(self.weight)

    def planes(self, rows: NDArray[np.integer] | slice = slice(None)) -> NDArray[np.uint8]:
        """The planes of some samples, uint8 [B, C, H, W]."""
        channels, height, width = (int(size) for size in self.box)
        packed = self.planes_packed[rows]
        bits = np.unpackbits(packed, axis=-1, count=height * width)  # [B, K, H*W]
        planes = np.zeros((len(packed), channels, height * width), np.uint8)
        for channel, shift, bit in self._layout:
            planes[:, channel] |= bits[:, bit] << shift
        return planes.reshape(len(packed), channels, height, width)

    def policy(self, rows: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float16]]:
        """The policies of some samples: offsets [B+1], addresses [A, 2], targets [A]."""
        starts = self.policy_offsets[rows].astype(np.int64)
        lengths = self.policy_offsets[rows + 1] - starts
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        chosen = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return offsets, self.policy_address[chosen], self.policy_target[chosen]

    @cached_property
    def _layout(self) -> list[tuple[int, int, int]]:
        places = [(channel, shift) for channel, bits in enumerate(self.plane_bits.tolist()) for shift in range(bits)]
        return [(channel, shift, bit) for bit, (channel, shift) in enumerate(places)]


def pack(planes: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(plane_bits, planes_packed) of uint8 [N, C, H, W]."""
    flat = planes.reshape(*planes.shape[:2], math.prod(planes.shape[2:]))
    highest = flat.max(axis=(0, 2), initial=0)
    plane_bits = np.array([int(value).bit_length() for value in highest], np.uint8)
    kept = [np.packbits(flat[:, c] >> s & 1, axis=-1) for c in range(flat.shape[1]) for s in range(plane_bits[c])]
    width = (flat.shape[2] + 7) // 8
    return plane_bits, np.stack(kept, axis=1) if kept else np.zeros((len(flat), 0, width), np.uint8)


def read_shard(path: Path) -> Samples:
    """A shard's content. Raises `CorruptBlob`, `FormatTooNew` or `EncodingMismatch` naming the file."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            if (found := int(file["format"])) > FORMAT:
                raise FormatTooNew(f"{path} has format {found}; this release reads up to {FORMAT}")
            if found < FORMAT:
                raise EncodingMismatch(
                    f"{path} has format {found}, this release reads {FORMAT}: `ringrift export` makes the shards again"
                )
            arrays = {field.name: file[field.name] for field in fields(Samples)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CorruptBlob(f"{path} is corrupt ({error}): `ringrift data check --repair` has it made again") from error
    samples = Samples(**arrays | {name: str(arrays[name]) for name in ("config", "encoding_hash")})
    alone = {
        "config",
        "encoding_hash",
        "games",
        "box",
        "plane_bits",
        "policy_offsets",
        "policy_address",
        "policy_target",
    }
    per_sample = {field.name for field in fields(Samples)} - alone
    lengths = {len(arrays[name]) for name in per_sample}
    if lengths != {len(samples)} or len(samples.policy_offsets) != len(samples) + 1:
        raise CorruptBlob(f"{path} is corrupt (its arrays have different lengths)")
    if (
        samples.policy_offsets[-1] != len(samples.policy_target)
        or len(samples.policy_address) != samples.policy_offsets[-1]
    ):
        raise CorruptBlob(f"{path} is corrupt (its policies do not end where they should)")
    if samples.encoding_hash != ENCODING_HASH:
        raise EncodingMismatch(
            f"{path} was encoded under {samples.encoding_hash}, this release encodes under {ENCODING_HASH}:"
            " `ringrift export` makes the shards again from the games"
        )
    return samples


@dataclass(frozen=True)
class ShardInfo:
    """A shard as the run knows it."""

    id: int
    config: str
    blob: str
    samples: int
    games: int
    encoding_hash: str
    """`made_under()` of the release that made it"""
    added: float


@dataclass(frozen=True)
class Exported:
    """What one export did."""

    shards: tuple[ShardInfo, ...]
    games: int
    samples: int
    probed: int
    """Samples on which every symmetry was tried …"""
    symmetric: int
    """… and of these, those that keep all of them."""


def made_under() -> str:
    """The encoding and the format of the shards that this release makes and reads."""
    return f"{ENCODING_HASH}/{FORMAT}"


def shards(run: RunDirectory, config: str | None = None, up_to: int | None = None) -> list[ShardInfo]:
    """The shards of a run (with ids up to `up_to`), oldest first."""
    rows = run.database.rows(
        "SELECT * FROM shards WHERE (?1 IS NULL OR config = ?1) AND (?2 IS NULL OR id <= ?2) ORDER BY id",
        [config, up_to],
    )
    return [ShardInfo(**dict(row)) for row in rows]


def window(run: RunDirectory, config: str, samples: int, up_to: int | None = None) -> list[Path]:
    """The replay window: files of the newest shards (with ids up to `up_to`), oldest of them first, that hold at least
    `samples` samples."""
    chosen: list[Path] = []
    for shard in reversed(shards(run, config, up_to)):
        if samples <= 0:
            break
        if shard.encoding_hash == made_under():
            chosen.append(run.fabric.blobs.path(shard.blob))
            samples -= shard.samples
    return chosen[::-1]


def drop_shard(run: RunDirectory, shard: int) -> None:
    """Forgets a shard: the next export makes it again from its games."""
    with run.database.transaction() as connection:
        connection.execute("UPDATE games SET shard = NULL WHERE shard = ?", (shard,))
        connection.execute("DELETE FROM shards WHERE id = ?", (shard,))


def export(
    run: RunDirectory,
    config: str,
    settings: ExportSettings = ExportSettings(),
    progress: Callable[[int], object] = lambda _: None,
) -> Exported:
    """Turns the valid games that are in no shard into shards; each game ends up in exactly one.

    The same games give the same bytes, so that a killed export can simply be run again. Shards of an earlier encoding
    or format are forgotten and made again. `progress` gets the number of games done.
    """
    for shard in shards(run, config):
        if shard.encoding_hash != made_under():
            drop_shard(run, shard.id)
    made, games, probe = [], 0, Probe()
    builder = ShardBuilder(config)
    for stored in GameStore(run).iter_valid(config, unexported=True):
        samples = list(game_samples(stored.id, stored.read(), settings, probe))
        if not builder.takes(samples):
            made.append(builder.register(run))
            builder = ShardBuilder(config)
        builder.add(stored.id, samples)
        games += 1
        progress(games)
    if builder.games:
        made.append(builder.register(run))
    return Exported(tuple(made), games, sum(shard.samples for shard in made), probe.tried, probe.symmetric)


@dataclass
class Probe:
    """Counts how often every symmetry holds."""

    seen: int = 0
    tried: int = 0
    symmetric: int = 0


@dataclass(frozen=True)
class Sample:
    """One decision, as a shard's rows."""

    planes: NDArray[np.uint8]
    globals: NDArray[np.float32]
    addresses: NDArray[np.int32]
    target: NDArray[np.float32]
    policy_weight: float
    value: NDArray[np.float32]
    root_value: NDArray[np.float32]
    short_term: NDArray[np.float32]  # [2, P]
    ranks: NDArray[np.uint8]
    ownership: NDArray[np.uint8]
    shares: NDArray[np.float32]  # [2, P]: of territory, of eliminated rings
    plies_left: int
    ply: int
    game: int
    symmetry: int


class Ending:
    """What a finished game came to."""

    def __init__(self, record: Record) -> None:
        self._final, self._seats = record.replay(), len(record.players)
        _, values = encode([self._final])  # nobody is to move: seat 1 comes first
        self._shares = np.stack([values[0, place][: self._seats] for place in _SHARES]).clip(0, 1)
        self._owners: dict[int, NDArray[np.uint8]] = {}

    def ownership(self, symmetry: int, mover: int) -> NDArray[np.uint8]:  # [H, W]
        """The owner of each cell of the final position under `symmetry`, as in `Samples`."""
        if symmetry not in self._owners:
            planes, _ = encode([self._final.transform(symmetry)])
            numbers = np.arange(1, 5, dtype=np.uint8)[:, None, None]
            self._owners[symmetry] = (planes[0, _TERRITORY] * numbers).sum(0, dtype=np.uint8)
        rotated = np.array([0, *((seat - mover) % self._seats + 1 for seat in range(1, 5))], np.uint8)
        return rotated[self._owners[symmetry]]

    def shares(self, mover: int) -> NDArray[np.float32]:  # [2, P]
        """Shares of territory and of eliminated rings, as in `Samples`."""
        return np.roll(self._shares, 1 - mover, axis=1)


def short_terms(values: NDArray[np.floating], won: NDArray[np.floating]) -> NDArray[np.float32]:  # [D, 2, P]
    """`short_term_value` by absolute seat of decisions with the root values [D, P], in a game with that outcome [P]."""
    out = np.empty((len(values), 2, len(won)), np.float32)
    for place, horizon in enumerate(HORIZONS):
        ahead = np.array(won, np.float64)
        for row in range(len(values) - 1, -1, -1):
            out[row, place] = ahead
            ahead += (values[row] - ahead) / horizon
    return out


def decisions(record: Record) -> Iterator[tuple[Game, NDArray[np.uint32], int]]:
    """Every position of a record in which something was decided: the game (a live one: copy it to keep it), its packed
    playable moves [A], and the index of the played one."""
    game = record._first()
    for move in record.moves.tolist():
        playable = game._playable()
        if len(playable) > 1:
            yield game, playable, int(np.flatnonzero(playable == move)[0])
        game._push(move)


def game_samples(id_: int, record: Record, settings: ExportSettings, probe: Probe) -> Iterator[Sample]:
    """The samples of a game: the decisions that were searched, or all of them where none was."""
    search = record.search
    searched = {int(ply): row for row, ply in enumerate(search.ply)} if search is not None else {}
    seed = hashlib.sha256(f"{settings.seed}/{id_}/{record.final_hash}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(seed[:8], "little"))
    ranks = np.array(record.ranks, np.uint8)
    won = np.eye(len(ranks), dtype=np.float32)[record.winner - 1]
    ending = Ending(record)
    ahead = short_terms(search.root_value.astype(np.float64), won) if search is not None else won[None, None]
    for game, playable, played in decisions(record):
        root_value, policy_weight, short_term = won, 1.0, np.stack([won, won])
        if search is None:
            target = np.eye(len(playable), dtype=np.float32)[played]
        elif (row := searched.get(game.ply)) is not None:
            target = search.policy[search.offsets[row] : search.offsets[row + 1]].astype(np.float32)
            root_value, policy_weight = search.root_value[row].astype(np.float32), float(search.full[row])
            short_term = ahead[row]
        else:
            continue
        symmetry = _choose_symmetry(game, rng, settings, probe)
        shown = game.transform(symmetry) if symmetry else game
        if symmetry:
            target = _reordered(target, game._transformed_playable(symmetry), shown._playable())
        planes, values = encode([shown])
        target /= max(float(target.sum()), 1e-9)
        turn = 1 - game.to_move
        yield Sample(
            planes=planes[0],
            globals=values[0],
            addresses=policy_addresses(shown),
            target=target,
            policy_weight=policy_weight,
            value=np.roll(won, turn),
            root_value=np.roll(root_value, turn),
            short_term=np.roll(short_term, turn, axis=1),
            ranks=np.roll(ranks, turn),
            ownership=ending.ownership(symmetry, game.to_move),
            shares=ending.shares(game.to_move),
            plies_left=len(record.moves) - game.ply,
            ply=game.ply,
            game=id_,
            symmetry=symmetry,
        )


def _reordered(
    values: NDArray[np.float32], names: NDArray[np.uint32], wanted: NDArray[np.uint32]
) -> NDArray[np.float32]:
    """The values, given in the order of `names`, in the order of `wanted`."""
    by_name = np.argsort(names)
    return values[by_name[np.searchsorted(names, wanted, sorter=by_name)]]


def _choose_symmetry(game: Game, rng: np.random.Generator, settings: ExportSettings, probe: Probe) -> int:
    """One of the symmetries that map the playable moves and their successors exactly, each with equal chance."""
    if not settings.symmetries:
        return 0
    order = rng.permutation(12 if config_info(game.config).is_hex else 8).tolist()
    probe.seen += 1
    if probe.seen % PROBED == 1:
        probe.tried += 1
        probe.symmetric += all(map(game.symmetry_holds, order))
    return int(next(g for g in order if g == 0 or game.symmetry_holds(g)))


class ShardBuilder:
    """Collects the samples of whole games, and writes them as one shard."""

    def __init__(self, config: str) -> None:
        self.config = config
        info = config_info(config)
        self._box = (PLANES, info.height, info.width)
        self.games: list[int] = []
        self.samples: list[Sample] = []

    def takes(self, samples: Sequence[Sample]) -> bool:
        """True if a further game fits."""
        count = len(self.samples) + len(samples)
        return not self.games or (count <= SHARD_SAMPLES and count * math.prod(self._box) <= SHARD_BYTES)

    def add(self, game: int, samples: Sequence[Sample]) -> None:
        """Takes a game in."""
        if len(samples) > SHARD_SAMPLES:
            raise DataError(f"game {game} has {len(samples)} decisions; a shard holds {SHARD_SAMPLES}")
        self.games.append(game)
        self.samples += samples

    def content(self) -> bytes:
        """The file; the same samples give the same bytes."""

        def stacked(name: str, dtype: type[Number]) -> NDArray[Number]:
            return np.array([getattr(sample, name) for sample in self.samples], dtype)

        seats = config_info(self.config).players
        shares = stacked("shares", np.float16).reshape(-1, 2, seats)
        plane_bits, planes_packed = pack(stacked("planes", np.uint8).reshape(-1, *self._box))
        addresses = [np.zeros((0, 2), np.int32), *(sample.addresses for sample in self.samples)]
        file = io.BytesIO()
        np.savez(
            file,
            format=np.int32(FORMAT),
            config=np.str_(self.config),
            encoding_hash=np.str_(ENCODING_HASH),
            games=np.array(self.games, np.int64),
            box=np.array(self._box, np.int32),
            plane_bits=plane_bits,
            planes_packed=planes_packed,
            globals=stacked("globals", np.float32).reshape(-1, GLOBALS),
            policy_offsets=np.cumsum([0, *(len(sample.target) for sample in self.samples)], dtype=np.int32),
            policy_address=np.concatenate(addresses),
            policy_target=np.concatenate([[], *(sample.target for sample in self.samples)]).astype(np.float16),
            policy_weight=stacked("policy_weight", np.float32),
            value_target=stacked("value", np.float32).reshape(-1, seats),
            root_value=stacked("root_value", np.float16).reshape(-1, seats),
            short_term_value=stacked("short_term", np.float16).reshape(-1, 2, seats),
            surprise=np.zeros(len(self.samples), np.float16),
            rank_target=stacked("ranks", np.uint8).reshape(-1, seats),
            ownership=stacked("ownership", np.uint8).reshape(-1, *self._box[1:]),
            territory_share=shares[:, 0],
            eliminated_share=shares[:, 1],
            plies_left=stacked("plies_left", np.uint16),
            weight=np.ones(len(self.samples), np.float32),
            ply=stacked("ply", np.uint16),
            game_id=stacked("game", np.int64),
            symmetry=stacked("symmetry", np.uint8),
        )
        return file.getvalue()

    def register(self, run: RunDirectory) -> ShardInfo:
        """Stores the shard; its games are exported from then on."""
        blob = run.fabric.blobs.put(self.content(), SUFFIX)
        with run.database.transaction() as connection:
            marks = [(game,) for game in self.games]
            shard = connection.execute(
                "INSERT INTO shards (config, blob, samples, games, encoding_hash, added) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING RETURNING *",
                (self.config, blob, len(self.samples), len(self.games), made_under(), time.time()),
            ).fetchone()
            taken = shard is None
            if not taken:
                changed = connection.executemany(
                    f"UPDATE games SET shard = {shard['id']} WHERE id = ? AND state = 'valid' AND shard IS NULL", marks
                ).rowcount
                taken = changed != len(marks)
            if taken:
                raise JobError(f"another process is exporting {self.config} games of {run.path}: let it finish")
        return ShardInfo(**dict(shard))
