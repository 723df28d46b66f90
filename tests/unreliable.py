"""A player that fails, and how. Its choice can be sent to another process, which finds this module."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ringrift.players import Decision, Player, PlayerChoice, Rng
from ringrift.players.player import RandomPlayer
from ringrift.rules import Game, Move


@dataclass(frozen=True)
class Unreliable(PlayerChoice):
    """Plays at random, but fails in one game in `one_in`, known by its first move, from ply 20 on."""

    fault: str = "raises"
    one_in: int = 4

    def make(self) -> Player:
        return UnreliablePlayer(self.fault, self.one_in)


class UnreliablePlayer(RandomPlayer):
    def __init__(self, fault: str, one_in: int) -> None:
        self.fault, self.one_in = fault, one_in

    def decide(self, games: Sequence[Game], rng: Rng) -> list[Decision]:
        decisions = super().decide(games, rng)
        for i, game in enumerate(games):
            if game.ply >= 20 and sum(move.bits for move in game.moves[:8]) // 8 % self.one_in == 0:
                match self.fault:
                    case "raises":
                        raise ZeroDivisionError("division by zero")
                    case "illegal":
                        decisions[i] = Decision(Move("P1,1*1", 7))
                    case "silent":
                        return []
                    case "slow":
                        time.sleep(0.21 * len(games))
                    case "hangs":
                        time.sleep(600)
                    case "dies":
                        os.kill(os.getpid(), signal.SIGKILL)
        return decisions
