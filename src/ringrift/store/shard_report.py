"""`data validate`: whether a shard holds what a shard should, and what it is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringrift.encoding import GLOBALS, PLANES, policy_length
from ringrift.errors import RingRiftError
from ringrift.rules import config_info
from ringrift.rules.game import Phase
from ringrift.store.games import StoredGame
from ringrift.store.samples import PER_SAMPLE, ExportSettings, Samples, make_samples, read_game, read_shard

PHASES = len(Phase) - 1  #: the first globals, one-hot
ENTRIES = 4096  #: samples whose planes are looked at together

#: Largest and smallest value of arrays of a shard, where they have any.
RANGES: dict[str, tuple[float, float]] = {
    "policy_target": (0, 1), "policy_weight": (0, 1), "value_target": (0, 1), "root_value": (0, 1),
    "short_term_value": (0, 1), "surprise": (0, 128), "territory_share": (0, 1), "eliminated_share": (0, 1),
    "weight": (0, np.inf),
}  # fmt: skip


@dataclass(frozen=True)
class ShardReport:
    """What a shard holds."""

    path: str
    config: str
    encoding_hash: str
    samples: int
    games: int
    bytes: int
    problems: tuple[str, ...]
    """Everything that is not as it should be; none for a sound shard."""
    arrays: tuple[dict[str, Any], ...] = ()
    """Name, type, shape, least and largest value of each."""
    distributions: dict[str, dict[str, float]] | None = None
    """Shares of the samples by winner, phase, symmetry, search and rank; percentiles of plies, moves and others."""
    remade: int = 0
    """Games that were made into samples again and compared."""


def validate_shard(
    path: Path,
    *,
    detailed: bool = False,
    game: Callable[[int], StoredGame] | None = None,
    settings: ExportSettings = ExportSettings(),
    remake: int = 4,
) -> ShardReport:
    """Looks at every number of a shard; `detailed` also says how they are distributed. With `game`, which finds a game
    of the run by its id, `remake` of its games are made into samples again and compared.

    Raises: CorruptBlob, FormatTooNew, EncodingMismatch for a file that cannot be read at all.
    """
    samples = read_shard(path)
    problems = list(_problems(samples))
    remade = 0
    if game is not None and not problems and len(samples):
        chosen = samples.games[np.unique(np.linspace(0, len(samples.games) - 1, remake, dtype=np.int64))]
        for id_ in chosen.tolist():
            if reason := _differs(samples, id_, game, settings):
                problems.append(f"game {id_}: {reason}")
            remade += 1
    return ShardReport(
        str(path), samples.config, samples.encoding_hash, len(samples), len(samples.games), path.stat().st_size,
        tuple(problems), tuple(_array(samples, field.name) for field in fields(Samples)) if detailed else (),
        _distributions(samples) if detailed else None, remade,
    )  # fmt: skip


def _problems(s: Samples) -> list[str]:
    info, n = config_info(s.config), len(s)
    found: list[str] = []

    def expect(holds: NDArray[np.bool_] | np.bool_ | bool, what: str) -> None:
        if not np.all(holds):
            rows = np.flatnonzero(~np.atleast_1d(holds)) if np.ndim(holds) else np.zeros(0, np.int64)
            found.append(what + (f" ({len(rows)}, the first in row {rows[0]})" if len(rows) else ""))

    seats, side = info.players, (info.height, info.width)
    shapes: dict[str, tuple[int, ...]] = {
        "globals": (GLOBALS,), "value_target": (seats,), "root_value": (seats,), "rank_target": (seats,),
        "short_term_value": (2, seats), "ownership": side, "territory_share": (seats,), "eliminated_share": (seats,),
        "planes_packed": (int(s.plane_bits.sum()), (info.height * info.width + 7) // 8),
    }  # fmt: skip
    for name in PER_SAMPLE:
        shape, right = getattr(s, name).shape, (n, *shapes.get(name, ()))
        expect(shape == right, f"{name} has the shape {shape}, where {right} is right")
    if s.box.tolist() != [PLANES, *side] or len(s.plane_bits) != PLANES:
        found.append(f"box is {s.box.tolist()} with {len(s.plane_bits)} planes, where {[PLANES, *side]} is right")
    if found or not n:
        return found
    for name, (least, most) in RANGES.items():
        values = np.asarray(getattr(s, name), np.float32)
        inside = np.isfinite(values) & (values >= least) & (values <= most)
        expect(inside.reshape(len(values), -1).all(axis=1), f"{name} has values outside {least:g} to {most:g}")
    expect(np.isfinite(s.globals).all(axis=1), "globals are not finite")
    lengths = np.diff(s.policy_offsets)
    expect(lengths >= 2, "policies over fewer than two moves")
    if (lengths >= 1).all() and s.policy_offsets[0] == 0:
        starts = s.policy_offsets[:-1]
        sums = np.add.reduceat(s.policy_target.astype(np.float64), starts)
        expect(np.abs(sums - 1) < 0.01, "policy targets that do not sum to 1")
        first, second = s.policy_address.T
        most = policy_length(s.config)
        inside = (first >= 0) & (first < most) & (second >= -1) & (second < most)
        expect(inside, "policy addresses outside the encoding")
        row = np.repeat(np.arange(n, dtype=np.int64), lengths)
        pairs = (row * (most + 1) + first) * (most + 1) + second + 1
        expect(len(np.unique(pairs)) == len(pairs), "two moves of one sample with the same address")
    else:
        found.append("policy offsets do not rise from 0")
    expect(s.value_target.sum(axis=1) == 1, "value targets that do not sum to 1")
    for name in ("root_value", "short_term_value"):
        sums = getattr(s, name).astype(np.float64).sum(axis=-1).reshape(n, -1)
        expect((np.abs(sums - 1) < 0.01).all(axis=1), f"{name}s that do not sum to 1")
    expect(((s.rank_target >= 1) & (s.rank_target <= seats)).all(axis=1), "ranks outside 1 to the number of seats")
    winner_first = s.rank_target[np.arange(n), s.value_target.argmax(axis=1)] == 1
    expect(winner_first, "winners who are not ranked first")
    expect((s.ownership <= seats).reshape(n, -1).all(axis=1), "owners who do not play")
    expect(s.symmetry < (12 if info.is_hex else 8), "symmetries that the board does not have")
    expect(s.plies_left >= 1, "samples after the end of a game")
    expect(np.diff(s.games) > 0, "ids of games that do not rise")
    expect(np.isin(s.game_id, s.games), "samples of games that the shard does not name")
    expect(np.all(s.globals[:, :PHASES].sum(axis=1) == 1), "positions in no phase or in several")
    places = s.game_id.astype(np.int64) << 16 | s.ply
    expect(len(np.unique(places)) == n, f"{n - len(np.unique(places))} samples of the same ply of the same game")
    on_board = s.planes(slice(0, 1))[0, 0] == 1
    for start in range(0, n, ENTRIES):
        planes = s.planes(slice(start, start + ENTRIES))
        board = (planes[:, 0] == on_board).reshape(len(planes), -1).all(axis=1)
        expect(board, f"planes of another board from row {start} on")
        expect(not planes.transpose(0, 2, 3, 1)[:, ~on_board].any(), f"planes set beside the board from row {start} on")
    return found


def _differs(s: Samples, id_: int, game: Callable[[int], StoredGame], settings: ExportSettings) -> str | None:
    """How a game's samples differ from those that it gives now; None where they do not."""
    try:
        again, _ = make_samples(s.config, [read_game(game(id_))], settings)
    except RingRiftError as error:
        return str(error)
    rows = np.flatnonzero(s.game_id == id_)
    held = s.take(rows)
    if len(held) != len(again):
        return f"it has {len(held)} samples, and gives {len(again)}"
    for name in (*PER_SAMPLE, "policy_offsets", "policy_address", "policy_target"):
        if name != "planes_packed" and not np.array_equal(getattr(held, name), getattr(again, name), equal_nan=True):
            return f"{name} is not what the game gives"
    return None if np.array_equal(held.planes(), again.planes()) else "planes are not what the game gives"


def _array(s: Samples, name: str) -> dict[str, Any]:
    values = np.asarray(getattr(s, name))
    told: dict[str, Any] = {"name": name, "type": str(values.dtype), "shape": list(values.shape)}
    if values.size and values.dtype.kind != "U":
        told |= {"least": float(values.min()), "largest": float(values.max())}
    return told


def _distributions(s: Samples) -> dict[str, dict[str, float]]:
    if not len(s):
        return {}

    def shares(values: NDArray[Any], names: Callable[[int], str] = str) -> dict[str, float]:
        kinds, counts = np.unique(values, return_counts=True)
        return {
            names(int(kind)): round(float(count) / len(values), 4) for kind, count in zip(kinds, counts, strict=True)
        }

    def tenths(values: NDArray[Any]) -> dict[str, float]:
        return {f"{p}%": float(np.percentile(values, p)) for p in (0, 10, 25, 50, 75, 90, 100)}

    ranges = np.bincount(np.searchsorted(s.games, s.game_id), minlength=len(s.games))
    hits = s.value_target.argmax(axis=1)
    return {
        "winner, mover first": shares(hits),
        "phase": shares(s.globals[:, :PHASES].argmax(axis=1), lambda phase: Phase(phase).name),
        "symmetry": shares(s.symmetry),
        "full search": shares(s.policy_weight > 0, lambda full: "yes" if full else "no"),
        "rank of the mover": shares(s.rank_target[:, 0]),
        "ply": tenths(s.ply),
        "plies left": tenths(s.plies_left),
        "moves": tenths(np.diff(s.policy_offsets)),
        "samples a game": tenths(ranges),
        "surprise": tenths(s.surprise.astype(np.float32)),
    }
