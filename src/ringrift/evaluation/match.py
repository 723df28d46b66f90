"""`match`: two players, the same openings for both, every seat in turn.

What counts is an opening with every game of its group played. One with a void game, or with a game whose moves are
those of an earlier game, is left out whole and replaced by the next, so that seats stay balanced. Openings count in
their order, not in the order in which games end, so neither short games nor a resumed match weigh differently.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Self

import numpy as np

from ringrift.errors import SettingsError
from ringrift.evaluation.kept import FORMAT, GameResult, Header, MatchFile, as_json, match_file
from ringrift.evaluation.settings import MatchSettings
from ringrift.evaluation.sprt import Sprt
from ringrift.evaluation.statistics import elo, expected_score, score_interval
from ringrift.players import Limit, PlayerChoice
from ringrift.rules import Options, Record, config_info
from ringrift.selfplay import Finished, Spent, Task, Void, contest, derive_seed, random_opening
from ringrift.selfplay.benchmark import settings_here

#: Who sits where, A is 0: neighbours in a row mirror each other, so an even number of games is fair whatever the seats
#: are worth, and equal players score 0.5 with two, three and four seats. A row is one opening's group of games.
SEATINGS = {
    2: ((0, 1), (1, 0)),
    3: ((0, 1, 1), (1, 0, 0), (1, 0, 1), (0, 1, 0), (1, 1, 0), (0, 0, 1)),
    4: ((0, 1, 0, 1), (1, 0, 1, 0), (0, 0, 1, 1), (1, 1, 0, 0), (0, 1, 1, 0), (1, 0, 0, 1)),
}


def seatings(config: str, *, alone: bool = False) -> tuple[tuple[int, ...], ...]:
    """The games of an opening: who sits where. With `alone`, A has one seat in each."""
    players = config_info(config).players
    if not alone:
        return SEATINGS[players]
    return tuple(tuple(int(seat != own) for seat in range(players)) for own in range(players))


#: A match gives up replacing openings after so many times its number.
REPEATS = 20  #: draws for each opening that is known, without a new one, after which there are no more
PATIENCE = 3


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
    """That count."""
    score: float
    """Share of the games that A's seats won; 0.5 for equal players, 1 / seats where A sat alone."""
    interval: tuple[float, float]
    """The interval that holds the score; see `score_interval`."""
    elo: float
    """A's difference per seat, of (wins + ½) / (games + 1); see `statistics.elo`."""
    elo_interval: tuple[float, float]
    openings: int
    """That count."""
    duplicates: int
    """Games that repeated an earlier one of the match; their openings were replaced and do not count."""
    plies: float
    """Mean length of the games."""
    simulations: dict[str, int]
    """Budget of each player that searches, unless it is time."""
    seed: int
    confidence: float
    pentanomial: tuple[int, ...] = ()
    """Openings by the points that A took. Two seats: 0, ½, 1, 1½, 2 (the halves stay empty without draws); more seats:
    0, 1, … 6."""
    voids: tuple[int, int, int] = (0, 0, 0)
    """Games that A and B made void, and those whose process died; their openings were replaced and do not count."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Why games were void, and how many."""
    openings_sha256: str = ""
    """SHA-256 of the openings that were planned, in their order."""
    test: dict[str, Any] | None = None
    """The sequential test: its hypotheses in Elo, errors, bounds, ratio and verdict (H0, H1 or undecided)."""
    spent: tuple[Mapping[str, float], ...] = field(default=(), compare=False)
    """Of A and of B, in the games that count: decisions, mean_seconds and max_seconds of one, nodes of all."""

    @property
    def counts(self) -> tuple[int, ...]:
        """Openings by how many of their games A won."""
        return self.pentanomial[::2] if len(self.pentanomial) == 5 else self.pentanomial

    def to_dict(self) -> dict[str, object]:
        """The result as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Self:
        """What `to_dict` gave, perhaps by way of JSON."""
        given: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in kept.items()}
        return cls(**given)


def openings(config: str, seed: int, settings: MatchSettings, options: Options | None) -> Iterator[tuple[int, ...]]:
    """Random openings, no two alike; the same for every match of this seed, and none where training starts.

    Raises `SettingsError` once there are no more: so many draws in a row then give none that is new.
    """
    seen: set[tuple[int, ...]] = set()
    repeats = 0
    for index in count():
        one = derive_seed(seed, "opening", config, index)
        plies = np.random.default_rng(one).integers(settings.opening_plies_min, settings.opening_plies_max + 1)
        moves = random_opening(config, int(plies), one, options, of_match=True)
        repeats += 1
        if moves not in seen:
            seen.add(moves)
            repeats = 0
            yield moves
        elif repeats > REPEATS * (len(seen) + 50):
            low, high = settings.opening_plies_min, settings.opening_plies_max
            raise SettingsError(
                f"{config} has {len(seen):,} different openings of {low} to {high} random plies for matches, and one"
                " more is wanted: ask for fewer games, or set more opening plies (match.opening_plies_max)"
            )


def player_label(choice: PlayerChoice) -> str:
    """The player with its budget, as ratings name it: `gumbel@32`, `m-0123@0.1s`, `heuristic`."""
    if choice.search and choice.limit and choice.limit.seconds:
        return f"{choice.name}@{choice.limit.seconds:g}s"
    return f"{choice.name}@{choice.simulations}" if choice.simulations else choice.name


def openings_needed(config: str, settings: MatchSettings) -> int:
    """How many openings a match has, or at most so many of a test: `settings.games`, rounded up to whole openings."""
    return math.ceil(settings.games / len(seatings(config, alone=settings.alone)))


def planned_games(config: str, settings: MatchSettings) -> int:
    """The games of a match, or at most so many of a test."""
    return openings_needed(config, settings) * len(seatings(config, alone=settings.alone))


def openings_hash(openings: Iterable[Iterable[int]]) -> str:
    """SHA-256 of openings, in their order."""
    text = "\n".join(" ".join(map(str, opening)) for opening in openings)
    return hashlib.sha256(text.encode()).hexdigest()


class Plan:
    """What a match is going to play and by which rule it ends: all of it known before the first game."""

    def __init__(
        self, a: PlayerChoice, b: PlayerChoice, settings: MatchSettings, seed: int, options: Options | None
    ) -> None:
        limit = Limit(seconds=settings.seconds) if settings.seconds else None
        self.players = tuple(replace(choice, limit=limit or choice.limit) for choice in (a, b))
        self.config, self.settings, self.seed, self.options = a.config, settings, seed, options
        self.rows = seatings(a.config, alone=settings.alone)
        self.wanted = openings_needed(a.config, settings)
        self.test: Sprt | None = None
        if settings.sprt:
            s0, s1 = (expected_score(difference, self.rows) for difference in settings.sprt)
            self.test = Sprt(*settings.sprt, s0, s1, settings.alpha, settings.beta)
        self._source = openings(a.config, seed, settings, options)
        self._openings: list[tuple[int, ...]] = []
        self.opening(self.wanted - 1)
        self.openings_sha256 = openings_hash(self._openings)

    def opening(self, index: int) -> tuple[int, ...]:
        """The packed moves of one opening."""
        while index >= len(self._openings):
            self._openings.append(next(self._source))
        return self._openings[index]

    def tasks(self, indices: Iterable[int], done: Mapping[str, GameResult]) -> Iterator[Task]:
        """The games of some openings that are not `done`; a work id is `opening/seating`."""
        for index in indices:
            for row, seating in enumerate(self.rows):
                if (work := f"{index}/{row}") not in done:
                    game_seed = derive_seed(self.seed, "game", self.config, index, row)
                    yield Task(work, game_seed, seating, self.opening(index))

    def header(self) -> Header:
        """What the match is, for the file that keeps it: two matches with the same header play the same games."""
        networks = [
            choice.network and hashlib.sha256(choice.network.read_bytes()).hexdigest() for choice in self.players
        ]
        settings = asdict(self.settings)
        del settings["play"]
        said = {
            "ringrift_match": FORMAT,
            "config": self.config,
            "players": [player_label(choice) for choice in self.players],
            "networks": networks,
            "seed": self.seed,
            "options": self.options and self.options.to_dict(),
            "openings": self.wanted,
            "openings_sha256": self.openings_sha256,
            "llr_bounds": self.test and self.test.bounds,
            "settings": settings,
        }
        header: Header = as_json(said)
        return header

    def sentence(self) -> str:
        """The plan in words, to be said before the first game."""
        a, b = (player_label(choice) for choice in self.players)
        games, test = self.wanted * len(self.rows), self.test
        text = (
            f"{a} – {b} on {self.config}: {'at most ' if test else ''}{games} games from {self.wanted} openings"
            f" (sha256 {self.openings_sha256[:12]}), a decision over {self.settings.timeout:g} s makes a game void"
        )
        if test:
            low, high = test.bounds
            text += (
                f"; SPRT of {test.lo:g} against {test.hi:g} Elo, alpha {test.alpha:g}, beta {test.beta:g}: ends when"
                f" the log-likelihood ratio leaves {low:.2f} to {high:.2f}"
            )
        return text


class Tally:
    """What has been counted of a match so far."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.position = 0
        """The first opening that is not looked at: all before it have all their games."""
        self.groups: list[list[GameResult]] = []
        self.counts = [0] * (len(plan.rows) + 1)
        """Openings by how many of their games A won."""
        self.duplicates = 0
        self.voids: Counter[tuple[int | None, str]] = Counter()
        self._moves: set[str] = set()

    @property
    def games(self) -> int:
        """Games that count."""
        return len(self.groups) * len(self.plan.rows)

    @property
    def wins(self) -> int:
        """How many of the games A won."""
        return sum(wins * openings for wins, openings in enumerate(self.counts))

    def voids_of(self, by: int | None) -> int:
        """Void games for which that player is to blame; None: those whose process died."""
        return sum(many for (who, _), many in self.voids.items() if who == by)

    @property
    def verdict(self) -> str:
        """What the test has found so far; undecided where there is none."""
        return self.plan.test.verdict(self.counts) if self.plan.test and self.groups else "undecided"

    def done(self) -> bool:
        """Whether nothing more counts."""
        return len(self.groups) >= self.plan.wanted or self.verdict != "undecided"

    def advance(self, played: Mapping[str, GameResult]) -> None:
        """Looks at the next openings, as far as all their games are played."""
        rows = range(len(self.plan.rows))
        while not self.done():
            games = [played.get(f"{self.position}/{row}") for row in rows]
            group = [game for game in games if game]
            if len(group) < len(games):
                return
            self.position += 1
            fine, voids = [game for game in group if not game.void], [game for game in group if game.void]
            self.voids.update((game.by, game.void) for game in voids)
            repeated = len(fine) - len({game.moves for game in fine} - self._moves)
            self.duplicates += repeated
            self._moves.update(game.moves for game in fine)
            if not voids and not repeated:
                self.groups.append(group)
                self.counts[int(sum(game.point for game in group))] += 1

    def remark(self) -> str:
        """How it stands, in a few words."""
        text = f"{self.wins} of {self.games} won"
        if self.plan.test and self.groups:
            low, high = self.plan.test.bounds
            text += f", LLR {self.plan.test.llr(self.counts):+.2f} ({low:.2f}, {high:.2f})"
        return text + (f", {self.voids.total()} void" if self.voids else "")


def match(
    a: PlayerChoice,
    b: PlayerChoice,
    settings: MatchSettings = MatchSettings(),
    *,
    seed: int = 0,
    options: Options | None = None,
    save: Path | None = None,
    planned: Callable[[Plan], None] = lambda plan: None,
    progress: Callable[[int, Tally], None] = lambda played, tally: None,
) -> MatchResult:
    """Plays A against B.

    With `save`, every game is kept there as it ends, and a match that was killed goes on. `planned` is called before
    the first game, `progress` with the number of games played after each. Raises `DataError` where the file holds
    another match, `JobError` when processes die again and again.
    """
    plan = Plan(a, b, settings, seed, options)
    tally = Tally(plan)
    with match_file(save, plan.header()) as kept:
        planned(plan)
        tally.advance(kept.games)
        progress(len(kept.games), tally)
        for _ in playing(plan, tally, kept):
            progress(len(kept.games), tally)
    return summary(plan, tally)


def playing(plan: Plan, tally: Tally, kept: MatchFile) -> Iterator[str]:
    """Plays what is missing until the match is decided; the work id of each game as soon as it is kept and counted."""
    size, settings = len(plan.rows), plan.settings
    while not tally.done() and tally.position < PATIENCE * plan.wanted:
        indices = range(tally.position, tally.position + plan.wanted - len(tally.groups))
        here = settings_here(settings.play, plan.players)
        share = math.ceil(len(indices) * size / here.process_count(len(indices) * size))
        few = replace(here, concurrent=1 if settings.seconds else min(here.concurrent, share))
        tasks = plan.tasks(indices, kept.games)
        games = contest(plan.players, tasks, few, timeout=settings.timeout, options=plan.options)
        with closing(games):
            for game in games:
                kept.add(game.work_id, _result(plan, game))
                tally.advance(kept.games)
                yield game.work_id
                if tally.done():
                    break


def _result(plan: Plan, game: Finished | Void) -> GameResult:
    opening, row = map(int, game.work_id.split("/"))
    if isinstance(game, Void):
        return GameResult(opening, plan.rows[row], void=game.reason, by=game.player)
    record = Record.from_bytes(game.record)
    moves = hashlib.sha256(record.moves.astype("<u4").tobytes()).hexdigest()[:16]
    spent = tuple(asdict(one) for one in game.spent)
    return GameResult(opening, plan.rows[row], record.ranks, game.plies, moves, spent)


def summary(plan: Plan, tally: Tally) -> MatchResult:
    """What came of a match."""
    settings, games, wins = plan.settings, tally.games, tally.wins
    played = [game for group in tally.groups for game in group]
    low, high = score_interval([[game.point for game in group] for group in tally.groups], settings.confidence)
    spent = (Spent(), Spent())
    for game in played:
        for total, one in zip(spent, game.spent, strict=True):
            total.add(Spent(**one))  # type: ignore[arg-type]
    counts = tally.counts
    test: dict[str, Any] | None = None
    if plan.test:
        llr = round(plan.test.llr(counts), 4) if tally.groups else 0.0
        test = {**asdict(plan.test), "bounds": plan.test.bounds, "llr": llr, "verdict": tally.verdict}
    reasons = Counter[str]()
    for (_, reason), many in tally.voids.items():
        reasons[reason] += many
    budgets = {choice.name: budget for choice in plan.players if (budget := choice.simulations)}
    return MatchResult(
        config=plan.config,
        a=plan.players[0].name,
        b=plan.players[1].name,
        wins=wins,
        losses=games - wins,
        draws=0,
        games=games,
        score=round(wins / games, 4) if games else 0.5,
        interval=(round(low, 4), round(high, 4)),
        elo=elo((wins + 0.5) / (games + 1), plan.rows),
        elo_interval=(elo(low, plan.rows), elo(high, plan.rows)),
        openings=len(tally.groups),
        duplicates=tally.duplicates,
        plies=round(sum(game.plies for game in played) / games, 1) if games else 0.0,
        simulations=budgets,
        seed=plan.seed,
        confidence=settings.confidence,
        pentanomial=(counts[0], 0, counts[1], 0, counts[2]) if len(plan.rows) == 2 else tuple(counts),
        voids=(tally.voids_of(0), tally.voids_of(1), tally.voids_of(None)),
        reasons=dict(reasons.most_common()),
        openings_sha256=plan.openings_sha256,
        test=test,
        spent=tuple(
            {
                "decisions": one.decisions,
                "mean_seconds": one.seconds / max(one.decisions, 1),
                "max_seconds": one.longest,
                "nodes": one.nodes,
            }
            for one in spent
        ),
    )
