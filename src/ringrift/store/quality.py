"""How much a game is worth for training, from 0 to 1; and whether games still differ from each other.

The score is `length` times the weighted sum of the other parts, each of them from 0 to 1:

| part | weight | what it is |
|---|---|---|
| `engine` | 0.3 | mean over the seats: 1 a tree search with a network, or a human; 1/2 other searches and bare policies; 1/3 heuristic, random and unknown players (the source weights 3, 1.5 and 1 of the earlier system) |
| `full` | 0.2 | share of its searches that were full ones; 0 without searches |
| `focus` | 0.15 | how far the policies of full searches are from equal shares: 1 minus their mean entropy, of the most it can be |
| `end` | 0.35 | 1 won by rings or territory, 0.8 as the last player; of that 0.9 where it ended within a turn |
| `length` | factor | decisions (without searches: plies) as a share of 8 for each seat, at most 1: very short games are anomalies |

A whole game has 0.35 at the least, whoever played it; below 0.3, where the window leaves games out, are only short ones.
It is kept with each game when it is judged. Freshness is the window's business.
"""  # noqa: E501 - a table

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ringrift.errors import CorruptBlob
from ringrift.rules import Record
from ringrift.rules.record import EARLY
from ringrift.store.run import RunDirectory

WEIGHTS = {"engine": 0.3, "full": 0.2, "focus": 0.15, "end": 0.35}
STRONG = ("gumbel", "mcts", "puct", "human", "nn_descent", "m-")
MEDIUM = ("descent", "policy", "minimax", "maxn", "brs", "paranoid", "nnue")
ENDS = {"ring_elimination": 1.0, "territory_control": 1.0}
OTHER_END, EARLY_END = 0.8, 0.9
ENOUGH = 8  #: decisions of each seat
BINS = 10  #: of the histogram
SAMPLED = 2000  #: newest games whose parts are reported
RECENT = 400  #: newest games that are looked at for twins, and the halves of them for openings
OPENING = 8  #: plies
TWIN = "the same game as "  #: what the problem of a double begins with


def engine_worth(player: str) -> float:
    """How much a game by this player is worth, by the player's name."""
    row = player.lower().partition(":")[0]
    if row.startswith(STRONG):
        return 1.0
    return 0.5 if row.startswith(MEDIUM) else 1 / 3


def parts(record: Record) -> dict[str, float]:
    """The parts of a finished game's score."""
    search, needed = record.search, ENOUGH * len(record.players)
    found = {"engine": float(np.mean([engine_worth(player) for player in record.players])), "full": 0.0, "focus": 0.0}
    if search is not None and len(search.ply):
        found["full"] = float((search.full > 0).mean())
        found["focus"] = _focus(record)
    end = ENDS.get(record.reason.removeprefix(EARLY), OTHER_END) * (EARLY_END if record.reason.startswith(EARLY) else 1)
    decisions = len(record.moves) if search is None else len(search.ply)
    return found | {"end": end, "length": min(1.0, decisions / needed)}


def _focus(record: Record) -> float:
    search = record.search
    assert search is not None
    lengths = np.diff(search.offsets)
    shares = search.policy.astype(np.float64)
    terms = np.concatenate([[0.0], np.cumsum(-shares * np.log(np.maximum(shares, 1e-9)))])
    entropy = (terms[search.offsets[1:]] - terms[search.offsets[:-1]])[(search.full > 0) & (lengths > 1)]
    most = np.log(lengths[(search.full > 0) & (lengths > 1)])
    return float(np.clip(1 - entropy / most, 0, 1).mean()) if len(most) else 0.0


def combined(found: Mapping[str, float]) -> float:
    """The score of these parts."""
    return found["length"] * sum(weight * found[name] for name, weight in WEIGHTS.items())


def score(record: Record) -> float:
    """The score of a finished game."""
    return round(min(1.0, max(0.0, combined(parts(record)))), 4)


@dataclass(frozen=True)
class QualityReport:
    """Quality of the games of one config."""

    config: str
    games: int
    """valid and scored"""
    unscored: int
    """valid, of before scores were kept: the next judge of games gives them theirs"""
    mean: float
    histogram: tuple[int, ...]
    """games by tenths of the score"""
    generations: tuple[dict[str, float], ...]
    """of the newest games: generation, games, mean score and mean parts"""
    twins: float
    openings: tuple[float, float]
    """as in `Variety`"""


def report(run: RunDirectory, config: str) -> QualityReport:
    """Scores of all games of a config, and parts of its newest ones."""
    rows = run.database.rows(
        f"SELECT min({BINS - 1}, CAST(quality * {BINS} AS INTEGER)) AS bin, count(*) AS games, sum(quality) AS total"
        " FROM games WHERE config = ? AND state = 'valid' GROUP BY bin",
        [config],
    )
    counted = {row["bin"]: row["games"] for row in rows}
    games, total = sum(n for at, n in counted.items() if at is not None), sum(row["total"] or 0.0 for row in rows)
    grouped: dict[int, list[dict[str, float]]] = {}
    for row in run.database.rows(
        "SELECT generation, record FROM games WHERE +config = ? AND +state = 'valid' ORDER BY id DESC LIMIT ?",
        [config, SAMPLED],
    ):
        found = parts(Record.from_bytes(row["record"]))
        grouped.setdefault(row["generation"], []).append({"quality": combined(found), **found})
    generations = tuple(
        {
            "generation": generation,
            "games": len(of),
            **{name: float(np.mean([one[name] for one in of])) for name in of[0]},
        }
        for generation, of in sorted(grouped.items())
    )
    now = variety(run, config)
    return QualityReport(
        config, games, counted.get(None, 0), total / games if games else 0.0,
        tuple(counted.get(at, 0) for at in range(BINS)), generations, now.twins, now.openings,
    )  # fmt: skip


@dataclass(frozen=True)
class Variety:
    """How much the newest games of a config differ from each other."""

    games: int = 0
    """how many were looked at"""
    twins: float = 0.0
    """share of them that were quarantined for being the same as another"""
    openings: tuple[float, float] = (0.0, 0.0)
    """entropy in nats of the move at each of the first plies, averaged: of the newer half of them, and of the older"""


def variety(run: RunDirectory, config: str) -> Variety:
    """How much the newest games of a config differ."""
    rows = run.database.rows(
        "SELECT record, state, problem FROM games WHERE +config = ? AND (state <> 'quarantined' OR problem LIKE ?)"
        " ORDER BY id DESC LIMIT ?",
        [config, f"{TWIN}%", RECENT],
    )
    if not rows:
        return Variety()
    twins = sum(row["state"] == "quarantined" for row in rows) / len(rows)
    moves = [_opening(row["record"]) for row in rows]
    half = len(moves) // 2
    return Variety(len(rows), twins, (opening_entropy(moves[:half]), opening_entropy(moves[half:])))


def _opening(record: bytes) -> list[int]:
    try:
        return [int(move) for move in Record.from_bytes(record).moves[:OPENING]]
    except CorruptBlob:
        return []  # `data check` and the audit tell of it


def opening_entropy(games: Sequence[Sequence[int]]) -> float:
    """Mean over the first plies of the entropy of the moves played there, in nats."""
    found = []
    for ply in range(OPENING):
        counts = Counter(moves[ply] for moves in games if len(moves) > ply)
        total = sum(counts.values())
        found.append(-sum(n / total * math.log(n / total) for n in counts.values()) if total else 0.0)
    return float(np.mean(found))


def plot(reports: Sequence[QualityReport], path: Path) -> None:
    """Histograms, and parts by generation, as a picture."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(reports), 2, figsize=(11, 3.2 * len(reports)), squeeze=False, layout="tight")
    for (left, right), one in zip(axes, reports, strict=True):
        left.bar(np.arange(BINS) / BINS, one.histogram, width=0.9 / BINS, align="edge")
        left.set(title=f"{one.config}: {one.games} games, mean {one.mean:.2f}", xlabel="quality", ylabel="games")
        for name in ("quality", *WEIGHTS, "length"):
            right.plot([g["generation"] for g in one.generations], [g[name] for g in one.generations], "o-", label=name)
        right.set(xlabel="generation", ylim=(0, 1.05))
        right.legend(fontsize="small")
    figure.savefig(path)
    plt.close(figure)
