"""Ratings of a pool of players by maximum likelihood, with anchors that never move.

A seat of strength s wins with probability s over the sum of all strengths at the table (Bradley-Terry for two seats,
Plackett-Luce for more); Elo is 400 log10 of the strength, per seat. A game tells who won; with `ranks`, also who came
second among the others, and so on (seats of equal rank end the order). The log-likelihood is concave and solved by
Newton's method.

A weak prior keeps players finite that won or lost everything: every Elo has a normal distribution of standard
deviation `PRIOR` around the mean of the anchors, which weighs as much as a fifth of one game between equals. Where no
chain of games joins a player to an anchor, only the prior would rate it: that is an error.

Intervals are those of the profile likelihood (where the best likelihood with that Elo given falls by z² / 2), widened
by the design effect of openings: games from one opening of a match are not independent, and the sandwich variance by
opening (Huber 1967) over the inverse information says how much that matters, where it does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from ringrift.errors import DataError
from ringrift.evaluation.kept import read_matches
from ringrift.evaluation.match import seatings
from ringrift.fabric.files import written_atomically
from ringrift.texts import read_text, read_toml

#: Standard deviation of the prior, in Elo.
PRIOR = 800.0
#: Elo per unit of the logarithm of strength.
SCALE = 400 / math.log(10)


@dataclass(frozen=True)
class Played:
    """A game between rated players."""

    players: tuple[str, ...]  # [P]
    """Who sat on each seat; one player may have several."""
    ranks: tuple[int, ...]  # [P]
    """1 for the winner."""
    opening: str = ""
    """Games with the same one are not independent; empty: of its own."""


@dataclass(frozen=True)
class Rating:
    """What is known of a player."""

    player: str
    elo: float
    low: float
    """The interval of its Elo; an anchor's is its Elo."""
    high: float
    games: int
    """How many games it took part in."""
    score: float
    """Share of them that its seats won."""
    anchor: bool = False


@dataclass(frozen=True)
class Cell:
    """Two players of the pool, in the games that one of them won and both took part in."""

    a: str
    b: str
    games: int
    wins: int
    """How many of them A won."""
    expected: float
    """Wins of A by the ratings."""
    sigmas: float
    """Observed minus expected wins, in standard deviations; beyond 3 the ratings do not describe these two."""
    edge: float
    """Observed wins minus those between equals, in standard deviations: beyond ±1.96 one of them is better here."""


@dataclass(frozen=True)
class Pool:
    """A rated pool."""

    config: str
    ratings: tuple[Rating, ...]
    """Best first."""
    cells: tuple[Cell, ...]
    """The win matrix."""
    flagged: tuple[Cell, ...]
    """Cells that the ratings do not describe."""
    cycles: tuple[tuple[str, str, str], ...]
    """A clearly beats B, B beats C, and C beats A."""
    confidence: float

    def to_dict(self) -> dict[str, object]:
        """The ratings as JSON can hold them."""
        return asdict(self)


def read_pool(paths: Iterable[Path]) -> tuple[str, list[Played]]:
    """The config and the games of matches that `match` kept; only openings that counted there.

    Raises `DataError` where there are no games, or games of several configs.
    """
    configs, games = set(), []
    for number, (header, results) in enumerate(read_matches(paths)):
        configs.add(str(header["config"]))
        groups: dict[int, list[Played]] = {}
        moves: set[str] = set()
        for result in sorted(results.values(), key=lambda result: result.opening):
            if not result.void and result.moves not in moves:
                moves.add(result.moves)
                names = tuple(str(header["players"][player]) for player in result.seats)
                game = Played(names, result.ranks, f"{number}/{result.opening}")
                groups.setdefault(result.opening, []).append(game)
        size = len(seatings(header["config"], alone=header["settings"].get("alone", False)))
        whole = (group for group in groups.values() if len(group) == size)
        games += [game for group in whole for game in group]
    if len(configs) != 1 or not games:
        raise DataError(f"the files hold {len(games)} games of {', '.join(sorted(configs)) or 'no config'}: name files"
                        " with games of one config, such as `ringrift match --save FILE` keeps")  # fmt: skip
    return configs.pop(), games


#: Elo of the anchors of each config; `ringrift rate --anchor` adds one.
ANCHORS = Path(__file__).with_name("anchors.toml")


def read_anchors(path: Path = ANCHORS) -> dict[str, dict[str, float]]:
    """The Elo of anchors, by config and player."""
    try:
        tables = read_toml(read_text(path))
        found = {config: {name: float(elo) for name, elo in table.items()} for config, table in tables.items()}
        if not all(math.isfinite(elo) for table in found.values() for elo in table.values()):
            raise ValueError("an Elo in it is not finite")
        return found
    except (DataError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise DataError(f"{path} is no table of anchors: {error}; right is [square8_2p] and random = 0.0") from error


def add_anchor(path: Path, config: str, player: str, elo: float) -> None:
    """Makes a player an anchor for ever. Raises `DataError` where it is one already."""
    tables = read_anchors(path)
    if player in (table := tables.setdefault(config, {})):
        raise DataError(f"{player} is an anchor of {config} with {table[player]:g} Elo, and anchors never change")
    table[player] = elo
    text = "".join(
        f"\n[{name}]\n" + "".join(f"{json.dumps(one)} = {elo}\n" for one, elo in tables[name].items())
        for name in tables
    )
    head = "# Elo of the anchors of each config, once and for all; added by `ringrift rate --anchor`.\n"
    with written_atomically(path, [(head + text).encode()]) as temporary:
        temporary.replace(path)


class _Likelihood:
    """The games as choices of one seat among those left: how often each kind of choice came, and in which openings."""

    def __init__(self, games: Sequence[Played], names: Sequence[str], ranks: bool) -> None:
        index = {name: i for i, name in enumerate(names)}
        kinds: dict[tuple[tuple[int, ...], int], dict[int, int]] = {}
        openings: dict[str, int] = {}
        for number, game in enumerate(games):
            cluster = openings.setdefault(game.opening or f" {number}", len(openings))
            left = sorted(zip(game.ranks, (index[player] for player in game.players), strict=True))
            while len(left) > 1 and left[0][0] < left[1][0]:
                kind = kinds.setdefault((tuple(sorted(player for _, player in left)), left[0][1]), {})
                kind[cluster] = kind.get(cluster, 0) + 1
                left = left[1:] if ranks else []
        self.seats = np.zeros((len(kinds), len(names)))  # [K, N] seats of each player in each kind of choice
        self.chosen = np.zeros((len(kinds), len(names)))
        for row, (seats, chosen) in enumerate(kinds):
            np.add.at(self.seats[row], list(seats), 1)
            self.chosen[row, chosen] = 1
        self.counts = np.array([sum(kind.values()) for kind in kinds.values()], np.float64)
        self.by_opening = [(row, cluster, n) for row, kind in enumerate(kinds.values()) for cluster, n in kind.items()]
        self.openings = len(openings)

    def shares(self, elo: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of each player in each kind of choice, the chance to be chosen. [K, N]"""
        weights = self.seats * np.exp((elo - elo.max()) / SCALE)
        chances: NDArray[np.float64] = weights / weights.sum(1, keepdims=True)
        return chances

    def value(self, elo: NDArray[np.float64], centre: float, prior: float) -> float:
        """The logarithm of likelihood and prior, up to a constant."""
        chances = np.log((self.shares(elo) / np.maximum(self.seats, 1) * self.chosen).sum(1))
        return float(self.counts @ chances) - float(((elo - centre) ** 2).sum()) / (2 * prior**2)

    def information(self, elo: NDArray[np.float64], prior: float) -> NDArray[np.float64]:
        """The negative second derivatives. [N, N]"""
        chances = self.shares(elo)
        weighted = self.counts[:, None] * chances
        return (np.diag(weighted.sum(0)) - weighted.T @ chances) / SCALE**2 + np.eye(len(elo)) / prior**2

    def fit(
        self, elo: NDArray[np.float64], free: NDArray[np.bool_], centre: float, prior: float
    ) -> NDArray[np.float64]:
        """The likeliest Elo of the players that are `free`, from a first guess."""
        for _ in range(200):
            slope = self.counts @ (self.chosen - self.shares(elo)) / SCALE - (elo - centre) / prior**2
            step = np.zeros(len(elo))
            step[free] = np.linalg.solve(self.information(elo, prior)[np.ix_(free, free)], slope[free])
            step *= min(1.0, SCALE * 2 / max(float(np.abs(step).max()), 1e-12))  # never far: Newton may overshoot
            elo = elo + step
            if float(np.abs(step).max()) < 1e-6:
                break
        return elo

    def design_effects(self, elo: NDArray[np.float64], free: NDArray[np.bool_], prior: float) -> NDArray[np.float64]:
        """By how much the openings widen each variance; at least 1. [N]"""
        residues = (self.chosen - self.shares(elo)) / SCALE
        slopes = np.zeros((self.openings, len(elo)))
        for row, cluster, n in self.by_opening:
            slopes[cluster] += n * residues[row]
        inverse = np.linalg.inv(self.information(elo, prior)[np.ix_(free, free)])
        sandwich = inverse @ (slopes[:, free].T @ slopes[:, free]) @ inverse
        effects = np.ones(len(elo))
        effects[free] = np.maximum(1.0, np.diag(sandwich) / np.diag(inverse))
        return effects


def rate(
    games: Sequence[Played],
    anchors: Mapping[str, float],
    *,
    config: str = "",
    ranks: bool = False,
    confidence: float = 0.95,
    prior: float = PRIOR,
) -> Pool:
    """Rates every player of the games that is no anchor; an anchor keeps its Elo.

    Raises `DataError` where a player is not joined to an anchor by any chain of games.
    """
    names = sorted({player for game in games for player in game.players})
    fixed = {name: elo for name, elo in anchors.items() if name in names}
    _check_joined(games, names, fixed)
    model, centre = _Likelihood(games, names, ranks), sum(fixed.values()) / len(fixed)
    free = np.array([name not in fixed for name in names])
    start = np.array([fixed.get(name, centre) for name in names])
    elo = model.fit(start, free, centre, prior)
    effects = model.design_effects(elo, free, prior) if free.any() else np.ones(len(names))
    best, spread = model.value(elo, centre, prior), np.zeros(len(names))
    if free.any():
        spread[free] = np.sqrt(np.diag(np.linalg.inv(model.information(elo, prior)[np.ix_(free, free)])))
    z = NormalDist().inv_cdf((1 + confidence) / 2)

    def end(player: int, side: int) -> float:
        """Where the profile has fallen far enough: the root of the deviance is nearly linear, so secants find it."""
        others, wanted = free.copy(), z * math.sqrt(effects[player])
        others[player] = False
        near, far = (0.0, 0.0), (0.0, wanted * spread[player])
        for _ in range(30):
            guess = elo.copy()
            guess[player] += side * far[1]
            fallen = best - model.value(model.fit(guess, others, centre, prior), centre, prior)
            root = math.sqrt(max(0.0, 2 * fallen))
            if abs(root - wanted) < 1e-3 * wanted:
                break
            slope = max((root - near[0]) / (far[1] - near[1]), 1e-9)
            near, far = (root, far[1]), (0.0, max(far[1] + (wanted - root) / slope, far[1] / 2))
        return float(elo[player] + side * far[1])

    rated = []
    for i, name in enumerate(names):
        part = [game for game in games if name in game.players]
        won = sum(game.players[game.ranks.index(1)] == name for game in part)
        low, high = (end(i, -1), end(i, 1)) if free[i] else (float(elo[i]), float(elo[i]))
        value = round(float(elo[i]), 1)
        rating = Rating(name, value, round(low, 1), round(high, 1), len(part), round(won / len(part), 4), not free[i])
        rated.append(rating)
    cells = win_matrix(games, dict(zip(names, elo.tolist(), strict=True)))
    return Pool(
        config=config,
        ratings=tuple(sorted(rated, key=lambda rating: -rating.elo)),
        cells=cells,
        flagged=tuple(cell for cell in cells if abs(cell.sigmas) > 3),
        cycles=cycles(cells),
        confidence=confidence,
    )


def _check_joined(games: Iterable[Played], names: Sequence[str], anchors: Mapping[str, float]) -> None:
    joined, tables = set(anchors), {frozenset(game.players) for game in games}
    while more := {player for table in tables if table & joined for player in table} - joined:
        joined |= more
    if lost := set(names) - joined:
        said = f"anchors here: {', '.join(sorted(anchors)) or 'none'}"
        raise DataError(f"no games join {', '.join(sorted(lost))} to an anchor ({said}): let them play one")


def win_matrix(games: Iterable[Played], elo: Mapping[str, float]) -> tuple[Cell, ...]:
    """A cell for every two players that met. Given that A or B won, it was A with chance seats times strength of A
    over the same of both, whoever else sat there (Luce's axiom)."""
    found: dict[tuple[str, str], list[float]] = {}
    for game in games:
        winner = game.players[game.ranks.index(1)]
        for a, b in combinations(sorted(set(game.players)), 2):
            cell = found.setdefault((a, b), [0, 0, 0, 0, 0, 0])
            if winner in (a, b):
                seats = game.players.count(a), game.players.count(b)
                even = seats[0] / sum(seats)
                chance = 1 / (1 + seats[1] / seats[0] * 10 ** ((elo[b] - elo[a]) / 400))
                add = (1, winner == a, chance, chance * (1 - chance), even, even * (1 - even))
                found[a, b] = [old + new for old, new in zip(cell, add, strict=True)]
    cells = []
    for (a, b), (n, wins, expected, variance, even, even_variance) in found.items():
        if n:
            sigmas, edge = (wins - expected) / math.sqrt(variance), (wins - even) / math.sqrt(even_variance)
            cells.append(Cell(a, b, int(n), int(wins), round(expected, 2), round(sigmas, 2), round(edge, 2)))
    return tuple(cells)


def cycles(cells: Iterable[Cell], clearly: float = 1.96) -> tuple[tuple[str, str, str], ...]:
    """Three players each of whom clearly beats the next."""
    beats = {(cell.a, cell.b) if cell.edge > 0 else (cell.b, cell.a) for cell in cells if abs(cell.edge) > clearly}
    names = sorted({name for pair in beats for name in pair})
    rings = [(a, b, c) for a, *two in combinations(names, 3) for b, c in (two, two[::-1])]
    return tuple(ring for ring in rings if all((ring[i], ring[i - 2]) in beats for i in range(3)))


def next_pairs(pool: Pool, count: int) -> list[tuple[str, str]]:
    """Who should play next, by the rule of KataGo's training: a third each for the player of the widest interval, for
    the one that may be the best (highest upper end), for the one with the fewest games, each against the opponent of
    the most information: near in Elo, and least met. Anchors are opponents only."""
    met = {frozenset((cell.a, cell.b)): cell.games for cell in pool.cells}
    played = {rating.player: float(rating.games) for rating in pool.ratings}
    extra, chosen = dict.fromkeys(played, 0), list[tuple[str, str]]()

    def spread(one: Rating) -> float:
        return (one.high - one.low) / math.sqrt(1 + extra[one.player])

    rules: tuple[Callable[[Rating], float], ...] = (
        lambda one: -spread(one),
        lambda one: -one.elo - spread(one) / 2,
        lambda one: played[one.player],
    )
    candidates = [rating for rating in pool.ratings if not rating.anchor]
    for turn in range(count if candidates else 0):
        player = min(candidates, key=rules[turn % 3])

        def information(other: Rating, player: Rating = player) -> float:
            chance = 1 / (1 + 10 ** ((other.elo - player.elo) / 400))
            return chance * (1 - chance) / (20 + met.get(frozenset((player.player, other.player)), 0))

        other = max((one for one in pool.ratings if one.player != player.player), key=information)
        chosen.append((player.player, other.player))
        met[frozenset(chosen[-1])] = met.get(frozenset(chosen[-1]), 0) + 20
        for name in chosen[-1]:
            extra[name] += 1
            played[name] += 20
    return chosen
