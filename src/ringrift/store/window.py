"""The replay window: which samples are trained on, and how often each is drawn.

How far back it reaches grows with the run as KataGo's does (a power law). A game's weight is the product of its
quality, its freshness and its source; caps keep one machine or one generation from having most of the say.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ringrift.errors import DataError, check_fields
from ringrift.rules.record import EARLY
from ringrift.store.run import RunDirectory
from ringrift.store.samples import ShardInfo, made_under, read_shard, shards

CAPPED = 50  #: times that the caps are applied in turn, at most
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class WindowSettings:
    """Which samples are trained on, and how often each is drawn."""

    least: int = 250_000
    """So many of the newest samples are always in the window. The window grows with those beyond, by `expand` for each
    to begin with, then ever less: with N of them, by expand × scale × ((N / scale + 1) ^ exponent - 1) / exponent."""
    expand: float = 0.4
    """See `least`; 0 for a window of a fixed size."""
    exponent: float = 0.65
    """See `least`; 1 for no tapering."""
    scale: int = 50_000
    """See `least`."""
    quality_least: float = 0.3
    """Games of a lower quality are left out; a game that nobody has scored counts as 1."""
    quality_power: float = 1.0
    """A game's weight has the factor quality ^ this; 0: all the same."""
    half_life_hours: float = 0.0
    """Time in which a game's weight halves, counted from the newest game; 0: never."""
    half_life_games: int = 0
    """Newer games of the config for which a game's weight halves; 0: never."""
    freshness_least: float = 0.1
    """The two half-lives together take no more than all but this."""
    sources: tuple[str, ...] = ()
    """Weights by source, `PATTERN=FACTOR`: of a game, the first whose pattern (with * and ?) fits its model, its worker
    or the beginning of its work id; 0 leaves such games out. What its engines are worth is in its quality."""
    worker_share: float = 1.0
    """Largest share of the samples drawn that the games of one machine have, as far as there are others."""
    generation_share: float = 1.0
    """Largest share that the games of one generation have, as far as there are others."""
    surprise: float = 0.0
    """Share of the draws that goes to samples in proportion to their policy surprise; the rest goes to all equally."""
    correction: float = 0.0
    """How far the loss takes back that surprising samples are drawn more often: weight 1 / frequency ^ this."""
    stale_hours: float = 0.0
    """No training where the newest game is older than so many hours; 0: train on old ones."""
    new_samples: int = 0
    """No training with fewer samples that the last candidate has not had; 0: train on what is there."""
    unvalidated: bool = False
    """Also train on games of other systems that end before our rules end them; said in the model's metrics."""

    def __post_init__(self) -> None:
        check_fields(self, lambda value: value > 0, "more than 0", "least", "scale")
        amounts = ("expand", "quality_power", "half_life_hours", "half_life_games", "stale_hours", "new_samples")
        check_fields(self, lambda value: 0 <= value < math.inf, "0 or more, and finite,", *amounts)
        parts = ("quality_least", "freshness_least", "surprise", "correction")
        check_fields(self, lambda value: 0 <= value <= 1, "0 to 1", *parts)
        shares = ("exponent", "worker_share", "generation_share")
        check_fields(self, lambda value: 0 < value <= 1, "more than 0 and at most 1", *shares)
        for text in self.sources:
            _source(text)

    def size(self, total: int) -> int:
        """Samples in the window of a run that has so many."""
        if total <= self.least:
            return total
        x = (total - self.least) / self.scale + 1
        return self.least + round(self.expand * self.scale * (float(x**self.exponent) - 1) / self.exponent)


def _source(text: str) -> tuple[str, float]:
    """A pattern and its factor. Raises: ValueError."""
    pattern, equals, factor = text.rpartition("=")
    try:
        if pattern and equals and (value := float(factor)) >= 0:
            return pattern, value
    except ValueError:
        pass
    raise ValueError(f"{text!r} is no weight of a source; PATTERN=FACTOR is right, as in import*=0.5")


@dataclass(frozen=True)
class WindowPart:
    """A shard in the window."""

    path: Path
    shard: int
    """Id; 0 outside a run."""
    game_weight: NDArray[np.float32]
    """Weight of each of the shard's `games`; 0 leaves it out."""
    games: NDArray[np.int64]
    counts: NDArray[np.int64]
    """Samples of each game."""


@dataclass(frozen=True)
class ReplayWindow:
    """What is trained on."""

    parts: tuple[WindowPart, ...]
    total_samples: int
    """That the run has of the config."""
    notes: tuple[str, ...] = ()
    """What was left out, and why."""
    surprise: float = 0.0
    correction: float = 0.0
    unvalidated: bool = False

    @property
    def samples(self) -> int:
        """That can be drawn."""
        return sum(int(part.counts[part.game_weight > 0].sum()) for part in self.parts)

    @property
    def games(self) -> NDArray[np.int64]:
        """Ids of the games that can be drawn."""
        return np.concatenate([part.games[part.game_weight > 0] for part in self.parts] or [np.zeros(0, np.int64)])

    @property
    def digest(self) -> str:
        """A hash of all that decides the batches."""
        digest = hashlib.sha256(f"{self.surprise}/{self.correction}".encode())
        for part in self.parts:
            digest.update(part.path.name.encode() + part.game_weight.tobytes())
        return digest.hexdigest()

    def metrics(self) -> dict[str, object]:
        """What is kept of the window with the model that learned from it."""
        told: dict[str, object] = {"window": self.samples}
        if self.unvalidated:
            told["unvalidated"] = True
        return told | ({"left_out": list(self.notes)} if self.notes else {})


def _part(path: Path, shard: int) -> WindowPart:
    samples = read_shard(path)
    games = np.array(samples.games)
    counts = np.bincount(np.searchsorted(games, samples.game_id), minlength=len(games))
    return WindowPart(path, shard, np.ones(len(games), np.float32), games, counts)


@dataclass(frozen=True)
class Played:
    """What the window asks about a game."""

    id: int
    created: float
    """Unix time at which it was played, as far as that is known; never later than it was stored."""
    worker: str
    generation: int
    quality: float | None
    names: tuple[str, ...]
    """What `sources` may fit."""
    early: bool = False
    """It ended before our rules end it."""
    retracted: bool = False


@dataclass(frozen=True)
class WindowFacts:
    """What the store knows of a window, for whoever has no database."""

    config: str
    total_samples: int
    """That the run has of the config."""
    total_games: int
    """Games in its shards."""
    shards: tuple[tuple[int, str], ...]
    """Ids and blobs of the shards in the window, oldest first."""
    games: Mapping[int, tuple[Played, ...]]
    """Games of each shard."""
    at: float
    """Unix time at which this was so."""
    last: Seen | None = None
    """What the last candidate has seen, if there is one."""


@dataclass(frozen=True)
class Seen:
    """What the run had when a model was trained."""

    samples: int
    games: int
    last_game: int
    """The newest game that it learned from; 0 where that is not known."""

    @classmethod
    def by(cls, metrics: Mapping[str, Any], window: Sequence[Sequence[int]]) -> Self:
        """What a model says of itself."""
        samples, games = (int(str(metrics.get(name, 0))) for name in ("samples_total", "games_total"))
        return cls(samples, games, max((last for _, last in window), default=0))


def window_facts(
    run: RunDirectory, config: str, settings: WindowSettings, up_to: int | None = None, now: float | None = None
) -> WindowFacts:
    """What the window of a run is made from, of shards with ids up to `up_to`."""
    known = [shard for shard in shards(run, config, up_to) if shard.encoding_hash == made_under()]
    total = sum(shard.samples for shard in known)
    chosen: list[ShardInfo] = []
    wanted = settings.size(total)
    for shard in reversed(known):
        if wanted <= 0:
            break
        chosen.insert(0, shard)
        wanted -= shard.samples
    rows = run.database.rows(
        "SELECT metrics, window FROM models WHERE config = ? AND role = 'candidate' ORDER BY added DESC LIMIT 1",
        [config],
    )
    last = Seen.by(json.loads(rows[0]["metrics"]), json.loads(rows[0]["window"])) if rows else None
    return WindowFacts(
        config, total, sum(shard.games for shard in shards(run, config, up_to)),
        tuple((shard.id, shard.blob) for shard in chosen), {shard.id: _played(run, shard.id) for shard in chosen},
        now or time.time(), last,
    )  # fmt: skip


def replay_window(
    run: RunDirectory, config: str, settings: WindowSettings, up_to: int | None = None, now: float | None = None
) -> ReplayWindow:
    """The window of a run, of shards with ids up to `up_to`; its oldest shard is in it whole.

    Raises: DataError where the gate of `stale_hours` or `new_samples` is closed, with the figures and what opens it.
    """
    return window_of(window_facts(run, config, settings, up_to, now), settings, run.fabric.blobs.path)


def window_of(facts: WindowFacts, settings: WindowSettings, path: Callable[[str], Path]) -> ReplayWindow:
    """The window that the store knows these facts of; `path` gives the file of a blob. Raises as `replay_window`."""
    parts = [_part(path(blob), shard) for shard, blob in facts.shards]
    played = [game for part in parts for game in _listed(part, facts.games[part.shard])]
    counts = np.concatenate([part.counts for part in parts]) if parts else np.zeros(0, np.int64)
    if played:
        _check_fresh(facts, settings, played, counts)
    weights, notes = weigh(played, counts, settings)
    ends = np.cumsum([len(part.games) for part in parts])[:-1]
    weighted = (
        tuple(
            WindowPart(part.path, part.shard, weight.astype(np.float32), part.games, part.counts)
            for part, weight in zip(parts, np.split(weights, ends), strict=True)
        )
        if parts
        else ()
    )
    return ReplayWindow(
        weighted, facts.total_samples, notes, settings.surprise, settings.correction, settings.unvalidated
    )


def _played(run: RunDirectory, shard: int) -> tuple[Played, ...]:
    query = (
        "SELECT id, min(created, added) AS created, machine, worker, generation, quality, model, work_id, reason,"
        " retraction FROM games WHERE shard = ?"
    )
    return tuple(
        Played(
            row["id"], row["created"], row["machine"] or row["worker"], row["generation"], row["quality"],
            (row["model"], row["worker"], row["work_id"]), row["reason"].startswith(EARLY),
            row["retraction"] is not None,
        )
        for row in run.database.rows(query, [shard])
    )  # fmt: skip


def _listed(part: WindowPart, played: Sequence[Played]) -> list[Played]:
    """The games of a part in its order."""
    by_id = {game.id: game for game in played}
    if missing := [id_ for id_ in part.games.tolist() if id_ not in by_id]:
        raise DataError(
            f"{part.path} holds game {missing[0]}, which the run has elsewhere by now: try again, or"
            " `ringrift data check --repair`"
        )
    return [by_id[id_] for id_ in part.games.tolist()]


def _check_fresh(
    facts: WindowFacts, settings: WindowSettings, played: Sequence[Played], counts: NDArray[np.int64]
) -> None:
    config, hours = facts.config, max(0.0, facts.at - max(game.created for game in played)) / 3600
    if 0 < settings.stale_hours < hours:
        raise DataError(
            f"the newest game of {config} that can be trained on is {hours:.1f} hours old, and window.stale_hours ="
            f" {settings.stale_hours:g} asks for a newer one: play, or give --set window.stale_hours=0"
        )
    new = facts.total_samples
    if last := facts.last:  # where some were taken back since, the run may have fewer, and those of newer games are new
        newer = sum(counts[[game.id > last.last_game for game in played]].tolist()) if last.last_game else 0
        new = max(0, newer, new - last.samples)
    if new < settings.new_samples:
        raise DataError(
            f"{config} has {new} samples that the last candidate has not had, and window.new_samples ="
            f" {settings.new_samples} asks for more: play and export, or give --set window.new_samples=0"
        )


def weigh(
    played: Sequence[Played], counts: NDArray[np.int64], settings: WindowSettings
) -> tuple[Floats, tuple[str, ...]]:
    """The weight of each game, a mean of 1 over the samples that are in, and what was left out and why."""
    weight, notes = np.ones(len(played)), []

    def leave_out(which: Callable[[Played], bool], why: str) -> None:
        out = np.array([bool(w) and which(game) for game, w in zip(played, weight, strict=True)], bool)
        if out.any():
            notes.append(f"{out.sum()} games with {counts[out].sum()} samples left out: {why}")
            weight[out] = 0

    leave_out(lambda game: game.retracted, "retracted")
    if not settings.unvalidated:
        leave_out(lambda game: game.early, "they end before our rules end them; window.unvalidated=true lets them in")
    least = settings.quality_least
    leave_out(lambda game: game.quality is not None and game.quality < least, f"quality below {least:g}")
    factors = {game: _factor(game, settings.sources) for game in played}
    leave_out(lambda game: factors[game] == 0, "their source has the weight 0")
    if weight.any():
        quality = np.array([1.0 if game.quality is None else game.quality for game in played])
        source = np.array([factors[game] for game in played])
        weight *= np.maximum(quality, 1e-9) ** settings.quality_power * source * _freshness(played, settings)
        for _ in range(CAPPED):  # each cap may push a group of the other above its share
            before = weight
            weight = _capped(weight, counts, [game.generation for game in played], settings.generation_share)
            weight = _capped(weight, counts, [game.worker for game in played], settings.worker_share)
            if np.allclose(weight, before):
                break
        weight *= counts[weight > 0].sum() / max((weight * counts).sum(), 1e-9)
    return weight, tuple(notes)


def _factor(game: Played, sources: Sequence[str]) -> float:
    for pattern, factor in map(_source, sources):
        if any(fnmatchcase(name, pattern) for name in game.names) or fnmatchcase(game.names[-1], f"{pattern}/*"):
            return factor
    return 1.0


def _freshness(played: Sequence[Played], settings: WindowSettings) -> Floats:
    created = np.array([game.created for game in played])
    lives = np.zeros(len(played))
    if settings.half_life_hours:
        lives += (created.max() - created) / 3600 / settings.half_life_hours
    if settings.half_life_games:
        lives += np.argsort(np.argsort(-created, kind="stable"), kind="stable") / settings.half_life_games
    shares: Floats = np.maximum(np.exp2(-lives), settings.freshness_least)
    return shares


def _capped(weight: Floats, counts: NDArray[np.int64], group: Sequence[Hashable], share: float) -> Floats:
    """The weights with those of large groups made smaller until none has more than its share of all draws. Where there
    are too few groups for that, all get the same."""
    names = {name: place for place, name in enumerate(dict.fromkeys(group))}
    of = np.array([names[name] for name in group])
    mass = np.bincount(of, weight * counts)
    wanted, large = mass.copy(), np.zeros(len(mass), bool)
    present = np.count_nonzero(mass)
    if share * present <= 1:
        wanted[mass > 0] = mass.sum() / present if share < 1 else mass[mass > 0]
    else:
        while (over := wanted > share * wanted.sum() * (1 + 1e-12)).any():
            large |= over
            wanted[large] = share * mass[~large].sum() / (1 - share * large.sum())
    factor = np.divide(wanted, mass, out=np.ones_like(mass), where=mass > 0)
    return np.asarray(weight * factor[of], np.float64)
