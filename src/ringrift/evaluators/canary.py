"""What a network answers to a few known positions, kept with it when it is made.

Whoever is to play with it asks first whether it still says so: a damaged file, a broken runtime or a faulty processor
shows here, before any game is played.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringrift.encoding import encode, policy_addresses
from ringrift.errors import DataError
from ringrift.evaluators.protocol import Evaluator
from ringrift.rules import Game

PLIES = (0, 6, 14, 26)  #: of random play before each position
MOVES = 8  #: logits kept of each position
#: Largest difference of a winning probability, and of a logit as a share of the logits' range. 8-bit arithmetic differs
#: from processor to processor by about a tenth of this.
TOLERANCES = 0.05, 0.1


def canary(evaluator: Evaluator, config: str) -> dict[str, Any]:
    """Positions and what `evaluator` says of them, as JSON can hold it."""
    rng, positions = np.random.default_rng(0), []
    for plies in PLIES:
        game = Game(config)
        while game.ply < plies and not game.is_over:
            moves = game.playable_moves()
            game.push(moves[rng.integers(len(moves))])
        positions.append(game.text())
    logits, value = _answers(evaluator, positions)
    return {"positions": positions, "logits": logits.round(4).tolist(), "value": value.round(4).tolist()}


def check_canary(evaluator: Evaluator, kept: Mapping[str, Any], name: str) -> None:
    """Raises `DataError` where `evaluator`, called `name`, does not answer as was kept."""
    logits, value = _answers(evaluator, kept["positions"])
    wanted = np.array(kept["logits"], np.float32)
    errors = np.abs(value - kept["value"]).max(), np.abs(logits - wanted).max() / max(float(np.ptp(wanted)), 1.0)
    if not all(error <= most for error, most in zip(errors, TOLERANCES, strict=True)):  # a NaN fails too
        raise DataError(
            f"{name} does not answer known positions as it did when it was made: winning probabilities differ by up to"
            f" {errors[0]:.3f} ({TOLERANCES[0]} is allowed), logits by {errors[1]:.3f} of their range"
            f" ({TOLERANCES[1]}): its file, the runtime or this processor is at fault"
        )


def _answers(evaluator: Evaluator, positions: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits [B, MOVES] of the first playable moves (a row is filled up with its last), and values [B, P]."""
    games = [Game.parse(position) for position in positions]
    logits, value = evaluator.evaluate(*encode(games))
    rows = [policy_addresses(game)[:MOVES, 0] for game in games]
    return np.stack([logits[b, np.pad(row, (0, MOVES - len(row)), "edge")] for b, row in enumerate(rows)]), value
