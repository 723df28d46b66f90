"""`match`: two players, the same openings for both, every seat in turn."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import count, islice
from typing import Any, Self

import numpy as np

from ringrift.evaluation.settings import MatchSettings
from ringrift.evaluation.statistics import elo, score_interval
from ringrift.players import PlayerChoice
from ringrift.rules import Options, Record, config_info
from ringrift.selfplay import Task, derive_seed, play, random_opening

#: Who sits where, A is 0: neighbours in a row mirror each other, so an even number of games is fair whatever the seats
#: are worth, and equal players score 0.5 with two, three and four seats. A row is one opening's group of games.
SEATINGS = {
    2: ((0, 1), (1, 0)),
    3: ((0, 1, 1), (1, 0, 0), (1, 0, 1), (0, 1, 0), (1, 1, 0), (0, 0, 1)),
    4: ((0, 1, 0, 1), (1, 0, 1, 0), (0, 0, 1, 1), (1, 1, 0, 0), (0, 1, 1, 0), (1, 0, 0, 1)),
}
#: A match gives up replacing duplicates after so many times its number of games.
PATIENCE = 3


@dataclass(frozen=True)
class GameResult:
    """One game of a match."""

    opening: int
    """Number of the opening; games with the same one form a group."""
    seating: int
    """Row of SEATINGS."""
    point: float
    """1 where a seat of A won, 0 where one of B did."""
    plies: int
    moves: str
    """Hash of all moves: no two games of a match have the same."""


@dataclass(frozen=True)
class MatchResult:
    """The result of a match from A's side."""

    config: str
    a: str
    b: str
    wins: int
    losses: int
    draws: int
    """Always 0: RingRift has no draws (rules section 16)."""
    games: int
    score: float
    """Share of the games that A's seats won; 0.5 for equal players."""
    interval: tuple[float, float]
    """Of the score; see `score_interval`."""
    elo: float
    """A's difference per seat, of (wins + ½) / (games + 1); see `statistics.elo`."""
    elo_interval: tuple[float, float]
    openings: int
    duplicates: int
    """Games that repeated an earlier one of the match; they were replaced and do not count."""
    plies: float
    """Mean length of the games."""
    simulations: dict[str, int]
    """Of each player that searches."""
    seed: int
    confidence: float

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Self:
        """What `to_dict` gave, perhaps by way of JSON."""
        return cls(**{**kept, "interval": tuple(kept["interval"]), "elo_interval": tuple(kept["elo_interval"])})


def openings(config: str, seed: int, settings: MatchSettings, options: Options | None) -> Iterator[tuple[int, ...]]:
    """Random openings, endless, no two alike; the same for every match of this seed."""
    seen: set[tuple[int, ...]] = set()
    for index in count():
        one = derive_seed(seed, "opening", config, index)
        plies = np.random.default_rng(one).integers(settings.opening_plies_min, settings.opening_plies_max + 1)
        moves = random_opening(config, int(plies), one, options)
        if moves not in seen:
            seen.add(moves)
            yield moves


def schedule(config: str, seed: int, settings: MatchSettings, options: Options | None) -> Iterator[Task]:
    """All games that a match may play, in order; a work id is `opening/seating`."""
    rows = SEATINGS[config_info(config).players]
    for index, opening in enumerate(openings(config, seed, settings, options)):
        for row, seating in enumerate(rows):
            yield Task(f"{index}/{row}", derive_seed(seed, "game", config, index, row), seating, opening)


def match(
    a: PlayerChoice,
    b: PlayerChoice,
    settings: MatchSettings = MatchSettings(),
    *,
    seed: int = 0,
    options: Options | None = None,
    known: Mapping[str, GameResult] | None = None,
    finished: Callable[[str, GameResult], None] = lambda work_id, result: None,
) -> MatchResult:
    """Plays A against B. `finished` gets every game as it ends; with `known`, earlier ones of the same match are not
    played again."""
    tasks = schedule(a.config, seed, settings, options)
    played: dict[str, GameResult] = dict(known or {})
    results: dict[str, GameResult] = {}
    hashes: set[str] = set()
    tried = 0
    while (missing := settings.games - len(results)) > 0 and tried < PATIENCE * settings.games:
        batch = {task.work_id: task for task in islice(tasks, missing)}
        tried += missing
        for game in play((a, b), [batch[w] for w in batch if w not in played], settings.play, options=options):
            played[game.work_id] = _result(batch[game.work_id], Record.from_bytes(game.record))
            finished(game.work_id, played[game.work_id])
        for work in batch:
            if played[work].moves not in hashes:
                hashes.add(played[work].moves)
                results[work] = played[work]
    return _summary(a, b, settings, seed, results, tried - len(results))


def _result(task: Task, record: Record) -> GameResult:
    opening, seating = map(int, task.work_id.split("/"))
    point = 1.0 - task.seats[record.winner - 1]
    moves = hashlib.sha256(record.moves.astype("<u4").tobytes()).hexdigest()[:16]
    return GameResult(opening, seating, point, len(record.moves), moves)


def _summary(
    a: PlayerChoice, b: PlayerChoice, settings: MatchSettings, seed: int, results: Mapping[str, GameResult], twice: int
) -> MatchResult:
    rows = SEATINGS[config_info(a.config).players]
    groups: dict[int, list[float]] = {}
    for game in results.values():
        groups.setdefault(game.opening, []).append(game.point)
    games, wins = len(results), int(sum(game.point for game in results.values()))
    seatings = [rows[game.seating] for game in results.values()]
    low, high = score_interval(list(groups.values()), settings.confidence)
    searching = {choice.name: choice.simulations for choice in (a, b) if choice.simulations}
    return MatchResult(
        config=a.config,
        a=a.name,
        b=b.name,
        wins=wins,
        losses=games - wins,
        draws=0,
        games=games,
        score=round(wins / games, 4),
        interval=(round(low, 4), round(high, 4)),
        elo=elo((wins + 0.5) / (games + 1), seatings),
        elo_interval=(elo(low, seatings), elo(high, seatings)),
        openings=len(groups),
        duplicates=twice,
        plies=round(sum(game.plies for game in results.values()) / games, 1),
        simulations=searching,
        seed=seed,
        confidence=settings.confidence,
    )
