"""Samples made one by one in plain Python, from the rules alone: what the core's exporter is compared with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

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
from ringrift.rules import Game, Options, Record, SearchStats, config_info
from ringrift.store.samples import ExportSettings, Samples

HORIZONS = (6, 20)
MASK = (1 << 64) - 1
_TERRITORY = feature_slice(PLANE_TABLE, "territory")
_SHARES = [feature_slice(GLOBAL_TABLE, name) for name in ("territory", "eliminated")]


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
    symmetric: bool
    surprise: float


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
        playable = game.playable_packed()
        if len(playable) > 1:
            yield game, playable, int(np.flatnonzero(playable == move)[0])
        game.push_packed(move)


def game_samples(id_: int, record: Record, settings: ExportSettings) -> Iterator[Sample]:
    """The samples of a game: the decisions that were searched, or all of them where none was."""
    search = record.search
    searched = {int(ply): row for row, ply in enumerate(search.ply)} if search is not None else {}
    seed = hashlib.sha256(f"{settings.seed}/{id_}/{record.final_hash}".encode()).digest()
    ranks = np.array(record.ranks, np.uint8)
    won = np.eye(len(ranks), dtype=np.float32)[record.winner - 1]
    ending = Ending(record)
    ahead = short_terms(search.root_value.astype(np.float64), won) if search is not None else won[None, None]
    for game, playable, played in decisions(record):
        root_value, policy_weight, short_term, surprise = won, 1.0, np.stack([won, won]), 0.0
        if search is None:
            target = np.eye(len(playable), dtype=np.float32)[played]
        elif (row := searched.get(game.ply)) is not None:
            target = search.policy[search.offsets[row] : search.offsets[row + 1]].astype(np.float32)
            root_value, policy_weight = search.root_value[row].astype(np.float32), float(search.full[row])
            short_term = ahead[row]
            surprise = 0.0 if search.surprise is None else float(search.surprise[row])
        else:
            continue
        target /= max(float(target.sum(dtype=np.float64)), 1e-9)
        wanted = playable[target > 0]
        order = range(12 if config_info(record.config).is_hex else 8)
        symmetric = all(game.symmetry_holds(g, wanted) for g in order)
        symmetry = 0
        if settings.symmetries:
            drawn = shuffled(len(order), mixed(int.from_bytes(seed[:8], "little") + game.ply))
            symmetry = next(g for g in drawn if g == 0 or game.symmetry_holds(g, wanted))
        shown = game.transform(symmetry) if symmetry else game
        if symmetry:
            target = _reordered(
                target,
                np.array([game._transform_move(int(m), symmetry) for m in game.playable_packed()], np.uint32),
                shown.playable_packed(),
            )
        planes, values = encode([shown])
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
            symmetric=symmetric,
            surprise=surprise,
        )


def _reordered(
    values: NDArray[np.float32], names: NDArray[np.uint32], wanted: NDArray[np.uint32]
) -> NDArray[np.float32]:
    """The values, given in the order of `names`, in the order of `wanted`."""
    by_name = np.argsort(names)
    return values[by_name[np.searchsorted(names, wanted, sorter=by_name)]]


def mixed(number: int) -> int:
    """The core's finaliser of 64-bit numbers."""
    number &= MASK
    for _ in range(2):
        number = (number ^ number >> 32) * 0xD6E8FEB86659FD93 & MASK
    return number ^ number >> 32


def shuffled(count: int, state: int) -> list[int]:
    """0 … count - 1 in an order drawn by the core's splitmix64."""
    order = list(range(count))
    for place in range(count):
        state = state + 0x9E3779B97F4A7C15 & MASK
        v = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
        v = (v ^ v >> 27) * 0x94D049BB133111EB & MASK
        other = place + ((v ^ v >> 31) >> 32) * (count - place) // (1 << 32)
        order[place], order[other] = order[other], order[place]
    return order


def pack(planes: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(plane_bits, planes_packed) of uint8 [N, C, H, W]."""
    flat = planes.reshape(*planes.shape[:2], planes.shape[2] * planes.shape[3])
    highest = flat.max(axis=(0, 2), initial=0)
    plane_bits = np.array([int(value).bit_length() for value in highest], np.uint8)
    kept = [np.packbits(flat[:, c] >> s & 1, axis=-1) for c in range(flat.shape[1]) for s in range(plane_bits[c])]
    width = (flat.shape[2] + 7) // 8
    return plane_bits, np.stack(kept, axis=1) if kept else np.zeros((len(flat), 0, width), np.uint8)


def expected(config: str, games: Sequence[tuple[int, Record]], settings: ExportSettings) -> tuple[Samples, int]:
    """The samples of some games, and how many keep every symmetry."""
    found = [sample for id_, record in games for sample in game_samples(id_, record, settings)]
    info = config_info(config)
    box, seats = (PLANES, info.height, info.width), info.players

    def column(name: str, kind: type, *shape: int) -> Any:
        return np.array([getattr(sample, name) for sample in found], kind).reshape(-1, *shape)

    shares = column("shares", np.float16, 2, seats)
    plane_bits, planes_packed = pack(column("planes", np.uint8, *box))
    columns = {
        "globals": column("globals", np.float32, GLOBALS),
        "policy_offsets": np.cumsum([0, *(len(sample.target) for sample in found)], dtype=np.int32),
        "policy_address": np.concatenate([np.zeros((0, 2), np.int32), *(sample.addresses for sample in found)]),
        "policy_target": np.concatenate([np.zeros(0), *(sample.target for sample in found)]).astype(np.float16),
        "policy_weight": column("policy_weight", np.float32).ravel(),
        "value_target": column("value", np.float32, seats),
        "root_value": column("root_value", np.float16, seats),
        "short_term_value": column("short_term", np.float16, 2, seats),
        "surprise": column("surprise", np.float16).ravel(),
        "rank_target": column("ranks", np.uint8, seats),
        "ownership": column("ownership", np.uint8, *box[1:]),
        "territory_share": shares[:, 0],
        "eliminated_share": shares[:, 1],
        "plies_left": column("plies_left", np.uint16).ravel(),
        "weight": np.ones(len(found), np.float32),
        "ply": column("ply", np.uint16).ravel(),
        "game_id": column("game", np.int64).ravel(),
        "symmetry": column("symmetry", np.uint8).ravel(),
    }
    ids = np.array([id_ for id_, _ in games], np.int64)
    packed = {"plane_bits": plane_bits, "planes_packed": planes_packed, "box": np.array(box, np.int32), "games": ids}
    samples = Samples(config=config, encoding_hash=ENCODING_HASH, **columns | packed)
    return samples, sum(sample.symmetric for sample in found)


@cache
def finished(seed: int, config: str, rings: int | None = 5, kind: str = "searched") -> Record:
    """A random game, with made-up search results for two of three decisions; some shares of the policies are zero."""
    rng = np.random.default_rng(seed)
    game = Game(config, Options(rings_per_player=rings, swap_rule=seed % 3 == 2 and config.endswith("2p")))
    plies, policies = [], []
    while not game.is_over:
        playable = game.playable_packed()
        if len(playable) > 1 and rng.random() < 0.67:
            plies.append(game.ply)
            share = rng.dirichlet(np.ones(len(playable))).astype(np.float16)
            share[1:][rng.random(len(share) - 1) < 0.3] = 0
            policies.append(share)
        game.push_packed(int(rng.choice(playable)))
    decided = len(plies)
    search = SearchStats(
        ply=np.array(plies, np.int32),
        offsets=np.cumsum([0, *map(len, policies)], dtype=np.int32),
        policy=np.concatenate(policies),
        root_value=rng.dirichlet(np.ones(game.num_seats), decided).astype(np.float16),
        full=rng.integers(0, 2, decided).astype(np.uint8),
        surprise=rng.exponential(size=decided).astype(np.float16) if kind == "surprised" else None,
    )
    players = ("random",) * game.num_seats
    return Record.from_game(game, seed=seed, players=players, search=None if kind == "played" else search)
