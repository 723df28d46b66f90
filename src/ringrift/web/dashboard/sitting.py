"""A game at the page: who sits where, what was played, and what the networks think of it. Knows nothing of browsers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ringrift.analysis import Analysis, AnalysisSettings, analyse
from ringrift.analysis.analysis import owned
from ringrift.errors import DataError, RulesError
from ringrift.evaluators import Evaluator, HeuristicEvaluator, make_evaluator
from ringrift.evaluators.shipped import shipped_network
from ringrift.players import Decision, Player, judged
from ringrift.players.ladder import LEVELS, LadderChoice, choose_level
from ringrift.players.player import Limit
from ringrift.rules import Game, Move
from ringrift.rules.config import config_info
from ringrift.rules.render import Point, cells_of
from ringrift.search import GumbelSettings, Stop
from ringrift.search.heuristic import heuristic_values
from ringrift.store import RunDirectory
from ringrift.web.dashboard.choices import EMPTY
from ringrift.web.networks import of_run

PERSON = 0  #: in place of a level
HINTS = AnalysisSettings(GumbelSettings(simulations=200, gumbel_scale=0.0), top=4)


def parse_seats(text: str, seats: int) -> tuple[int, ...]:
    """Who sits at each seat: `p,5` is a person and level 5; missing ones are level 3, and the first of none a person.

    Raises `RulesError` for anything else.
    """
    names = [name for name in text.split(",") if name]
    names += ["p" if not names and not seat else "3" for seat in range(seats - len(names))]
    if len(names) != seats or not {*names} <= {"p", *map(str, LEVELS)}:
        raise RulesError(
            f"seats are {text!r}; for {seats} seats as in {','.join(['p', *'345'][:seats])}: p or a level 1 to 10"
        )
    return tuple(PERSON if name == "p" else int(name) for name in names)


@dataclass
class Networks:
    """Where levels and hints find their networks: a run, then those that come with the package."""

    run: RunDirectory | None = None

    def promoted(self, config: str) -> tuple[str, Path]:
        """Id and file of the run's promoted network. Raises `DataError` where there is none."""
        if self.run is None:
            raise DataError(f"no run is given that could have a network of {config}")
        return of_run(self.run, config, "best")[:2]

    def level(self, config: str, level: int) -> LadderChoice:
        """Who plays a level."""
        return choose_level(config, level, lambda name: self.promoted(config))

    def evaluator(self, config: str) -> tuple[str, Evaluator]:
        """Name and evaluator for hints: the first network of the config that can be read, or else the hand-written
        evaluation."""
        for find in (self.promoted, shipped_network):
            try:
                name, path = find(config)
                return name, _evaluator(config, path)
            except DataError:
                continue
        return "", HeuristicEvaluator(config)

    def values(self, game: Game) -> NDArray[np.float32]:  # [P]
        """Each seat's probability of winning at a glance; of a finished game, the result."""
        name, evaluator = self.evaluator(game.config)
        return judged([game], evaluator)[0][1] if name and not game.is_over else heuristic_values(game)

    def hints(self, game: Game) -> Analysis:
        """The best moves by a search of 200 simulations. Raises `RulesError` for a game that is over."""
        return analyse([game], self.evaluator(game.config)[1], HINTS)[0]

    def owners(self, game: Game) -> dict[Point, tuple[int, float]] | None:
        """For each cell the seat whose territory it most probably will be; None where no network says so."""
        (owners,) = owned([game], self.evaluator(game.config)[1])
        if owners is None:
            return None
        info = config_info(game.config)
        r = info.width // 2 if info.is_hex else 0
        found = {}
        for x, y in cells_of(info):
            shares = owners[1:, x + r, y + r]
            found[x, y] = (int(shares.argmax()) + 1, float(shares.max()))
        return found


@lru_cache(8)
def _evaluator(config: str, path: Path) -> Evaluator:
    return make_evaluator(config, path)


@dataclass
class Sitting:
    """A game and those who play it."""

    game: Game
    seats: tuple[int, ...]  # [P]
    """Level of each seat, `PERSON` for a person."""
    networks: Networks
    seed: int
    played: list[tuple[int, Move]] = field(default_factory=list)
    """Seat and move of each ply since the game was set up here."""
    version: int = 0
    """Grows with every change, so that a late answer is known to be one."""
    _stop: Stop = field(default_factory=Stop)

    def __post_init__(self) -> None:
        self._skip()

    @cached_property
    def levels(self) -> dict[int, LadderChoice]:
        """Who plays each level that takes part."""
        return {level: self.networks.level(self.game.config, level) for level in sorted({*self.seats} - {PERSON})}

    @cached_property
    def _players(self) -> list[Player | None]:  # [P]
        return [self._player(level) if level != PERSON else None for level in self.seats]

    def _player(self, level: int) -> Player:
        choice = self.levels[level].choice
        return replace(choice, limit=replace(choice.limit or Limit(), stop=self._stop)).make()

    @property
    def names(self) -> list[str]:  # [P]
        """Who sits at each seat, in words; of a level also who plays it."""
        return [f"level {seat}: {self.levels[seat].choice.name}" if seat != PERSON else "person" for seat in self.seats]

    @property
    def waits_for_person(self) -> bool:
        """Whether a person is to move."""
        return not self.game.is_over and self.seats[self.game.to_move - 1] == PERSON

    def push(self, move: Move) -> None:
        """Plays a move, and the plies after it that say that there is nothing to do. Raises `IllegalMove`."""
        seat = self.game.to_move
        self.game.push(move)
        self.played.append((seat, move))
        self._skip()

    def _skip(self) -> None:
        while not self.game.is_over and len(moves := self.game.playable_moves()) == 1 and moves[0].text in EMPTY:
            self.played.append((self.game.to_move, moves[0]))
            self.game.push(moves[0])
        self.version += 1

    def decide(self, game: Game) -> Decision:
        """What the engine whose turn it is would play in `game`: a copy of this one, which may go on meanwhile."""
        player = self._players[game.to_move - 1]
        assert player is not None
        return player.play(game, rng=np.random.default_rng([self.seed, game.ply]))

    def leave(self) -> None:
        """Nobody looks any more: a search that goes on ends at once."""
        self._stop.set()

    def take_back(self) -> bool:
        """Back to the last decision of a person; false, and nothing changed, where there was none."""
        for back in range(len(self.played) - 1, -1, -1):
            seat, move = self.played[back]
            if self.seats[seat - 1] == PERSON and move.text not in EMPTY:
                while len(self.played) > back:
                    self.game.pop()
                    self.played.pop()
                self.version += 1
                return True
        return False

    @property
    def last(self) -> Sequence[Move]:
        """The plies of the last turn, or of the turn so far, that did something."""
        found: list[tuple[int, Move]] = []
        for seat, move in reversed(self.played):
            if found and seat != found[0][0]:
                break
            if move.text not in EMPTY:
                found.append((seat, move))
        return [move for _, move in reversed(found)]
