"""Sample shards: what training reads, made from valid games, readable by numpy alone.

A shard is an uncompressed `.npz` without object arrays, at most `SHARD_SAMPLES` samples, a blob of the fabric. Letters
of the shapes: N samples, P seats, C,H,W planes, G globals, A the sum of the lengths of the policies. *Mover first*:
index 0 is the seat to move, index 1 the seat after it, and so on round the table.
"""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import os
import struct
import time
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringrift import _core
from ringrift.encoding import ENCODING_HASH, PLANES
from ringrift.errors import CorruptBlob, DataError, EncodingMismatch, FormatTooNew, JobError
from ringrift.fabric import Blobs
from ringrift.rules import Record, config_info
from ringrift.rules.record import EARLY
from ringrift.store.games import GameStore, StoredGame
from ringrift.store.run import RunDirectory
from ringrift.store.schema import forget_shard

FORMAT = 3
SHARD_SAMPLES = 8192
#: What the readers of a shard raise where it is nonsense.
BROKEN = (
    OSError, ValueError, LookupError, TypeError, ArithmeticError, EOFError, NotImplementedError, RecursionError,
    MemoryError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, struct.error, zlib.error,
)  # fmt: skip
SHARD_BYTES = 1 << 26  #: of its planes, unpacked
SUFFIX = ".npz"
#: Arrays of 16-bit floats, which the core knows as 16-bit integers.
HALVES = ("policy_target", "root_value", "short_term_value", "surprise", "territory_share", "eliminated_share")


@dataclass(frozen=True)
class ExportSettings:
    """How games become samples."""

    symmetries: bool = True
    """Show each position under a random one of the symmetries that map its playable moves, and what its target moves
    lead to, exactly."""
    seed: int = 0
    """Seed of the choice of symmetries."""
    threads: int = 1
    """CPU threads; 0 for one per core. Any number gives the same shards."""

    def __post_init__(self) -> None:
        if not 0 <= self.threads <= 256:
            raise ValueError(f"threads is {self.threads}; 1 to 256 is right, or 0 for one per core")


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

    def take(self, rows: NDArray[np.int64]) -> Samples:
        """Some samples, copied; `games` stays as it is."""
        offsets, address, target = self.policy(rows)
        chosen = {name: getattr(self, name)[rows] for name in PER_SAMPLE}
        policies = {"policy_offsets": offsets.astype(np.int32), "policy_address": address, "policy_target": target}
        return replace(self, **chosen | policies)

    def to_bytes(self) -> bytes:
        """The shard as a file; the same samples give the same bytes."""
        file = io.BytesIO()
        np.savez(file, format=np.int32(FORMAT), **{field.name: getattr(self, field.name) for field in fields(self)})
        return file.getvalue()

    @cached_property
    def _layout(self) -> list[tuple[int, int, int]]:
        places = [(channel, shift) for channel, bits in enumerate(self.plane_bits.tolist()) for shift in range(bits)]
        return [(channel, shift, bit) for bit, (channel, shift) in enumerate(places)]


_ALONE = {"config", "encoding_hash", "games", "box", "plane_bits", "policy_offsets", "policy_address", "policy_target"}
PER_SAMPLE = tuple(field.name for field in fields(Samples) if field.name not in _ALONE)


def read_shard(path: Path) -> Samples:
    """A shard's content, its arrays read from the disk as they are looked at.

    Raises `CorruptBlob`, `FormatTooNew` or `EncodingMismatch` naming the file.
    """
    return map_shard(path)[1]


def map_shard(path: Path) -> tuple[mmap.mmap, Samples]:
    """`read_shard` with the mapping of the file, which can give back the memory of what was looked at."""
    try:
        mapping, members = _members(path)
        if (found := int(members["format"])) > FORMAT:
            raise FormatTooNew(f"{path} has format {found}; this release reads up to {FORMAT}")
        if found < FORMAT:
            raise EncodingMismatch(
                f"{path} has format {found}, this release reads {FORMAT}: `ringrift export` makes the shards again"
            )
        arrays: dict[str, Any] = {field.name: members[field.name] for field in fields(Samples)}
        arrays |= {name: np.array(arrays[name]) for name in ("games", "box", "plane_bits")}  # looked at all the time
        samples = Samples(**arrays | {name: str(arrays[name]) for name in ("config", "encoding_hash")})
        if {len(arrays[name]) for name in PER_SAMPLE} | {len(samples.policy_offsets) - 1} != {len(samples)}:
            raise ValueError("its arrays have different lengths")
        ends = len(samples.policy_target), len(samples.policy_address)
        if ends != (samples.policy_offsets[-1],) * 2:
            raise ValueError("its policies do not end where they should")
    except BROKEN as error:
        said = str(error).partition("\n")[0][:200]
        raise CorruptBlob(f"{path} is corrupt ({said}): `ringrift data check --repair` has it made again") from error
    if samples.encoding_hash != ENCODING_HASH:
        raise EncodingMismatch(
            f"{path} was encoded under {samples.encoding_hash}, this release encodes under {ENCODING_HASH}:"
            " `ringrift export` makes the shards again from the games"
        )
    mapping.madvise(mmap.MADV_DONTNEED)
    return mapping, samples


def _members(path: Path) -> tuple[mmap.mmap, dict[str, NDArray[Any]]]:
    """The arrays of an uncompressed NPZ file where they lie in it; their checksums are compared."""
    members = {}
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        for info in archive.infolist():
            name_length, extra = struct.unpack_from("<HH", mapping, info.header_offset + 26)
            start = info.header_offset + 30 + name_length + extra
            content = memoryview(mapping)[start : start + info.file_size]
            if info.compress_type != zipfile.ZIP_STORED or zlib.crc32(content) != info.CRC:
                raise zipfile.BadZipFile(f"{info.filename} is not what was written")
            file.seek(start)
            version = np.lib.format.read_magic(file)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            shape, by_column, kind = read_header(file)
            if kind.hasobject:
                raise ValueError(f"{info.filename} holds objects")
            members[info.filename.removesuffix(".npy")] = np.ndarray(
                shape, kind, mapping, file.tell(), order="F" if by_column else "C"
            )
            del content
    return mapping, members


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
    symmetric: int
    """Samples that keep every symmetry of the board."""


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


def drop_shard(run: RunDirectory, shard: int) -> None:
    """Forgets a shard: the next export makes it again from its games."""
    with run.database.transaction() as connection:
        forget_shard(connection, shard)


@dataclass(frozen=True)
class ReadGame:
    """A game about to be exported."""

    id: int
    record: Record
    count: int
    """samples that it gives"""


@dataclass(frozen=True)
class MadeShard:
    """A stored shard that the run does not know yet."""

    config: str
    blob: str
    games: list[int]
    """Ids of its games."""
    samples: int
    symmetric: int
    """Samples that keep every symmetry of the board."""


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
    drop_earlier(run, config)
    made, done, symmetric = [], 0, 0
    games = GameStore(run).iter_valid(config, unexported=True)
    for one in make_shards(run.fabric.blobs, config, games, settings):
        if (shard := register(run, one)) is None:
            raise JobError(
                f"another process is exporting {config} games of {run.path}, or takes some back: let it finish"
            )
        made.append(shard)
        symmetric += one.symmetric
        done += len(one.games)
        progress(done)
    return Exported(tuple(made), done, sum(shard.samples for shard in made), symmetric)


def drop_earlier(run: RunDirectory, config: str) -> None:
    """Forgets the shards of an earlier encoding or format: they are made again from their games."""
    for shard in shards(run, config):
        if shard.encoding_hash != made_under():
            drop_shard(run, shard.id)


def make_shards(
    blobs: Blobs, config: str, games: Iterable[StoredGame], settings: ExportSettings
) -> Iterator[MadeShard]:
    """The shards of games, stored as blobs, in order."""
    for some in shardfuls(config, map(read_game, games)):
        samples, symmetric = make_samples(config, some, settings)
        blob = blobs.put(samples.to_bytes(), SUFFIX)
        yield MadeShard(config, blob, [game.id for game in some], sum(game.count for game in some), symmetric)


def read_game(stored: StoredGame) -> ReadGame:
    """A stored game with the number of its samples: the decisions that were searched, or all of them where none was."""
    record = stored.read()
    count = len(record.search.ply if record.search else _core.decisions(record._first(), record.moves)[0])
    return ReadGame(stored.id, record, count)


def shardfuls(config: str, games: Iterable[ReadGame]) -> Iterator[list[ReadGame]]:
    """The games in order, as many at a time as a shard takes."""
    info = config_info(config)
    most = min(SHARD_SAMPLES, SHARD_BYTES // (PLANES * info.height * info.width))
    batch: list[ReadGame] = []
    held = 0
    for game in games:
        if game.count > SHARD_SAMPLES:
            raise DataError(f"game {game.id} has {game.count} decisions; a shard holds {SHARD_SAMPLES}")
        if batch and held + game.count > most:
            yield batch
            batch, held = [], 0
        batch.append(game)
        held += game.count
    if batch:
        yield batch


def make_samples(config: str, games: Sequence[ReadGame], settings: ExportSettings) -> tuple[Samples, int]:
    """The samples of games, and how many of them keep every symmetry of the board. Raises: CorruptBlob."""
    rows = []
    for game in games:
        record, search = game.record, None
        seed = hashlib.sha256(f"{settings.seed}/{game.id}/{record.final_hash}".encode()).digest()
        if (s := record.search) is not None:
            known = s.surprise if s.surprise is not None else np.zeros(0, np.float16)
            policy, value, surprise = (half.reshape(-1).view(np.uint16) for half in (s.policy, s.root_value, known))
            search = (s.ply, s.offsets, policy, value, s.full, surprise)
        start = int.from_bytes(seed[:8], "little"), record._first(), record.moves
        rows.append((game.id, *start, record.winner, record.ranks, record.reason.startswith(EARLY), search))
    try:
        arrays = _core.samples(config, rows, settings.symmetries, settings.threads or os.cpu_count() or 1)
    except ValueError as error:
        raise CorruptBlob(f"{error}: `ringrift data check --repair` quarantines what does not replay") from error
    symmetric = arrays.pop("symmetric")
    for name in HALVES:
        arrays[name] = arrays[name].view(np.float16)
    info = config_info(config)
    samples = Samples(
        config=config,
        encoding_hash=ENCODING_HASH,
        games=np.array([game.id for game in games], np.int64),
        box=np.array((PLANES, info.height, info.width), np.int32),
        weight=np.ones(len(arrays["ply"]), np.float32),
        **arrays,
    )
    return samples, symmetric


def register(run: RunDirectory, made: MadeShard) -> ShardInfo | None:
    """Makes a stored shard known, once, however often it is registered: its games are exported from then on.

    None where its games are not all to be exported any more: others have them, or some were taken back.
    """
    with run.database.transaction() as connection:
        ids = json.dumps(made.games)
        known = connection.execute(
            "SELECT * FROM shards WHERE blob = ? AND config = ?", (made.blob, made.config)
        ).fetchone()
        place = "shard = ?" if known else "place = 'unexported' AND ? = 0"
        query = f"SELECT count(*) FROM games WHERE id IN (SELECT value FROM json_each(?)) AND {place}"
        if connection.execute(query, (ids, known["id"] if known else 0)).fetchone()[0] != len(made.games):
            return None
        if known:
            return ShardInfo(**dict(known))
        shard = connection.execute(
            "INSERT INTO shards (config, blob, samples, games, encoding_hash, added) VALUES (?, ?, ?, ?, ?, ?)"
            " RETURNING *",
            (made.config, made.blob, made.samples, len(made.games), made_under(), time.time()),
        ).fetchone()
        connection.executemany(f"UPDATE games SET shard = {shard['id']} WHERE id = ?", [(game,) for game in made.games])
    return ShardInfo(**dict(shard))
