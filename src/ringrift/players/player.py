"""What a player answers and what a decision may cost; the players themselves, each a search over an evaluator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ringrift.encoding import encode, policy_addresses
from ringrift.errors import RulesError
from ringrift.evaluators import Evaluator
from ringrift.rules import Game, Move
from ringrift.search import (
    MinimaxSettings,
    Searcher,
    Stop,
    TreeMemory,
    TreeSettings,
    greedy,
    minimax,
)

#: One generator for all games, or one per game; with the latter a game's play does not depend on the games beside it.
Rng = Generator | Sequence[Generator]
#: Room of a searching player for evaluations; it changes no decision.
CACHE_MIB = 16


@dataclass(frozen=True)
class Decision:
    """What a player does in one position."""

    move: Move
    policy: NDArray[np.float32] | None = None  # [A]
    """What it would have a network learn: probabilities over `game.playable_moves()`; none where it has no opinion."""
    value_by_seat: NDArray[np.float32] | None = None  # [P]
    """Each seat's probability of winning, as it sees it."""
    nodes: int = 0
    """Positions that it evaluated, where it counts them."""


@dataclass(frozen=True)
class Limit:
    """What a decision may cost; None: the player's own budget. With both, whatever is used up first."""

    simulations: int | None = None
    """new positions and visits of ends of the game"""
    seconds: float | None = None
    """wall time; games that are decided together have it each, one after the other"""
    stop: Stop | None = None
    """a search in which this is set answers at once, with its best move so far; never sent to another process"""

    def __post_init__(self) -> None:
        if self.simulations is not None and self.simulations < 1:
            raise RulesError(f"a limit of {self.simulations} simulations leaves nothing to do; 1 or more is right")
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise RulesError(f"a limit of {self.seconds} seconds is no time; more than 0 is right")

    @property
    def is_budget(self) -> bool:
        """Whether it takes the place of the player's own."""
        return self.simulations is not None or self.seconds is not None


class Player(ABC):
    """Anything that can be asked for moves. One that thinks as long as it likes needs `decide` alone."""

    @abstractmethod
    def decide(self, games: Sequence[Game], rng: Rng) -> list[Decision]:
        """One decision per game, in order; no game is over. Pure given `rng`; never changes `games`."""

    def limited(self, limit: Limit) -> Player:
        """This player within `limit`: itself where it has no budget to change. Under a time limit, it is not pure."""
        return self

    def play(self, game: Game, limit: Limit | None = None, rng: Generator | None = None) -> Decision:
        """The decision in one position, within `limit`; without `rng`, a new one of the system's entropy.

        Raises `RulesError` for a game that is over.
        """
        if game.is_over:
            raise RulesError("the game is over: there is nothing to decide")
        return self.limited(limit or Limit()).decide([game], rng or np.random.default_rng())[0]


def draw_seeds(rng: Rng, games: int) -> list[int]:
    """A seed per game."""
    if isinstance(rng, Generator):
        return [int(seed) for seed in rng.integers(1 << 63, size=games)]
    return [int(one.integers(1 << 63)) for one in rng]


class RandomPlayer(Player):
    """Every playable move alike."""

    def decide(self, games: Sequence[Game], rng: Rng) -> list[Decision]:
        decisions = []
        for game, seed in zip(games, draw_seeds(rng, len(games)), strict=True):
            moves = game.playable_moves()
            decisions.append(Decision(moves[seed % len(moves)]))
        return decisions


class HeuristicPlayer(Player):
    """The move after which the hand-written evaluation likes its own seat best; ties are drawn."""

    def decide(self, games: Sequence[Game], rng: Rng) -> list[Decision]:
        decisions = []
        for game, move in zip(games, greedy(games, draw_seeds(rng, len(games))), strict=True):
            playable = game.playable_moves()
            policy = np.zeros(len(playable), np.float32)
            policy[playable.index(move)] = 1
            decisions.append(Decision(move, policy))
        return decisions


# -- the network's policy alone ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PolicySettings:
    """How a move is taken from the network's policy without a search."""

    temperature: float = 0.0
    """The move is drawn from probabilities to the power of 1 / temperature; 0: always a likeliest one."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature is {self.temperature}; 0 or more is right")


def judged(games: Sequence[Game], evaluator: Evaluator) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """The evaluator's own opinion of each game: policy [A] and value_by_seat [P], unsearched."""
    if not games:
        return []
    if wrong := {game.config for game in games} - {evaluator.config}:
        raise RulesError(f"a game of {wrong.pop()} was given to an evaluator of {evaluator.config}")
    opinions = []
    for game, logits, rotated in zip(games, *evaluator.evaluate(*encode(games)), strict=True):
        first, second = policy_addresses(game).T
        chosen = logits[first] + np.where(second < 0, 0, logits[second])
        policy = np.exp(chosen - chosen.max())
        opinions.append((policy / policy.sum(), np.roll(rotated, game.to_move - 1)))
    return opinions


class PolicyPlayer(Player):
    """The network's policy, without a search; equally likely moves are drawn."""

    def __init__(self, evaluator: Evaluator, settings: PolicySettings) -> None:
        self.evaluator, self.settings = evaluator, settings

    def decide(self, games: Sequence[Game], rng: Rng) -> list[Decision]:
        decisions, seeds, temperature = [], draw_seeds(rng, len(games)), self.settings.temperature
        for game, seed, (policy, value) in zip(games, seeds, judged(games, self.evaluator), strict=True):
            top = policy / policy.max()
            chances = np.cumsum(top == 1 if temperature == 0 else top ** (1 / temperature), dtype=np.float64)
            chosen = int(np.searchsorted(chances, np.random.default_rng(seed).random() * chances[-1], side="right"))
            decisions.append(Decision(game.playable_moves()[chosen], policy, value))
        return decisions


# -- searches ----------------------------------------------------------------------------------------------------------


class TreePlayer(Player):
    """Gumbel or PUCT search over an evaluator. Within a limit of time it keeps its trees from decision to decision."""

    def __init__(
        self, evaluator: Evaluator, settings: TreeSettings, seconds: float | None = None, stop: Stop | None = None
    ) -> None:
        """`seconds`: of wall time for each game of a decision; the settings' simulations stay the most there can be."""
        self.evaluator, self.settings, self.seconds, self.stop = evaluator, settings, seconds, stop
        self._endless = False
        self._searcher: Searcher | None = None

    def decide(self, games: Sequence[Game], rng: Rng) -> list[Decision]:
        if not games:
            return []
        if self._searcher is None:
            memory = TreeMemory(reuse=self.seconds is not None, cache_mib=CACHE_MIB)
            self._searcher = Searcher(self.evaluator, self.settings, memory)
        seconds = None if self.seconds is None else self.seconds * len(games)
        budget, seeds = None if self._endless else self.settings.simulations, draw_seeds(rng, len(games))
        results = self._searcher.search(games, seeds, simulations=budget, seconds=seconds, stop=self.stop)
        return [Decision(result.move, result.policy, result.root_value, result.nodes) for result in results]

    def limited(self, limit: Limit) -> Player:
        if limit == Limit():
            return self
        settings = replace(self.settings, simulations=limit.simulations or self.settings.simulations)
        player = TreePlayer(self.evaluator, settings, limit.seconds, limit.stop)
        player._endless = limit.simulations is None and limit.is_budget
        return player


class MinimaxPlayer(Player):
    """Depth-first search over the hand-written evaluation. A simulation is a node."""

    ENDLESS = 1 << 60

    def __init__(self, settings: MinimaxSettings, seconds: float | None = None, stop: Stop | None = None) -> None:
        self.settings, self.seconds, self.stop = settings, seconds, stop

    def decide(self, games: Sequence[Game], rng: Rng) -> list[Decision]:
        decisions, seeds = [], draw_seeds(rng, len(games))
        results = minimax(games, self.settings, seeds, seconds=self.seconds, stop=self.stop)
        for game, result in zip(games, results, strict=True):
            playable = game.playable_moves()
            policy = np.zeros(len(playable), np.float32)
            policy[playable.index(result.move)] = 1
            decisions.append(Decision(result.move, policy, result.value_by_seat, result.nodes))
        return decisions

    def limited(self, limit: Limit) -> Player:
        if limit == Limit():
            return self
        nodes = limit.simulations or (self.ENDLESS if limit.is_budget else self.settings.nodes)
        return MinimaxPlayer(replace(self.settings, nodes=nodes), limit.seconds, limit.stop)


# -- players made of players -------------------------------------------------------------------------------------------


class RandomisedPlayer(Player):
    """Another player that plays a share of its decisions at random."""

    def __init__(self, player: Player, share: float) -> None:
        self.player, self.share = player, share

    def decide(self, games: Sequence[Game], rng: Rng) -> list[Decision]:
        rngs = [np.random.default_rng(seed) for seed in draw_seeds(rng, len(games))]
        lost = [one.random() < self.share for one in rngs]
        return apart(games, rngs, [RandomPlayer() if one else self.player for one in lost])

    def limited(self, limit: Limit) -> Player:
        return RandomisedPlayer(self.player.limited(limit), self.share)


class MixedPlayer(Player):
    """For each seat of a game another of several players, drawn by the seed of the game's generator.

    The draw stays for the whole game, as long as the game keeps its generator.
    """

    def __init__(self, players: Sequence[Player]) -> None:
        self.players = list(players)

    def decide(self, games: Sequence[Game], rng: Rng) -> list[Decision]:
        rngs = [rng] * len(games) if isinstance(rng, Generator) else list(rng)
        seats = zip(games, rngs, strict=True)
        drawn = [self.players[drawn_player(seed_of(one), game.to_move, len(self.players))] for game, one in seats]
        return apart(games, rngs, drawn)

    def limited(self, limit: Limit) -> Player:
        return MixedPlayer([player.limited(limit) for player in self.players])


def drawn_player(seed: int, seat: int, players: int) -> int:
    """Which of so many players takes `seat` in the game of that seed."""
    return int(np.random.default_rng([seed, seat]).integers(players))


def seed_of(rng: Generator) -> int:
    """What a generator was seeded with."""
    entropy = getattr(rng.bit_generator.seed_seq, "entropy", None)
    if not isinstance(entropy, int):
        raise RulesError("a mixed player draws by the seed of the generator: make it with default_rng(SEED)")
    return entropy


def apart(games: Sequence[Game], rngs: Sequence[Generator], players: Sequence[Player]) -> list[Decision]:
    """The decision of each game's own player; games of the same player are decided together."""
    decisions: dict[int, Decision] = {}
    for player in {id(player): player for player in players}.values():
        theirs = [i for i, one in enumerate(players) if one is player]
        answers = player.decide([games[i] for i in theirs], [rngs[i] for i in theirs])
        decisions |= dict(zip(theirs, answers, strict=True))
    return [decisions[i] for i in range(len(games))]
