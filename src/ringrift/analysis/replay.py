"""A recorded game looked at again: its position at a ply, and the search that was made there, run once more."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringrift.errors import DataError, RulesError
from ringrift.evaluators import Evaluator
from ringrift.rules import Game, Move, Record
from ringrift.search import (
    GumbelSettings,
    PuctSettings,
    SearchEconomy,
    SelfplayPool,
    TreeMemory,
    TreeSettings,
    decision_seed,
    search,
)


@dataclass(frozen=True)
class Rerun:
    """A search that was run again, beside what the record has of it."""

    move: Move
    """what it chooses, or in a game that was searched again whole, what was played"""
    policy: NDArray[np.float32]  # [A]
    root_value: NDArray[np.float32]  # [P]
    simulations: int
    drawn: bool
    """The move was drawn by temperature: it need not be the search's choice."""
    same_move: bool
    """The search chooses the move that was played."""
    same_policy: bool
    same_value: bool
    policy_difference: float
    """Largest difference of a probability."""
    value_difference: float

    @property
    def same(self) -> bool:
        """Everything that had to come out again did."""
        return self.same_policy and self.same_value and (self.same_move or self.drawn)


def position_at(record: Record, ply: int) -> Game:
    """The game before its ply `ply`, counted from 0; with as many plies as there are, its end."""
    game = record.replay()
    if not 0 <= ply <= game.ply:
        raise RulesError(f"the game has {game.ply} plies: ply is 0 to {game.ply}, not {ply}")
    while game.ply > ply:
        game.pop()
    return game


def decision_at(record: Record, ply: int) -> int | None:
    """The number of the recorded search at a ply; None where there was none."""
    if record.search is None:
        return None
    found = np.flatnonzero(record.search.ply == ply)
    return int(found[0]) if len(found) else None


def recorded_settings(record: Record) -> TreeSettings:
    """The search that the game was played with. Raises `DataError` where the record does not say."""
    try:
        given: dict[str, Any] = json.loads(str(record.meta["search"]))
        kind: type[TreeSettings] = PuctSettings if given.pop("rule") == "puct" else GumbelSettings
        return kind(**given)
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(
            "the record does not say with which settings its searches were made: only games that one searching"
            f" player played against itself can be searched again ({error!r})"
        ) from error


def rerun(record: Record, ply: int, evaluator: Evaluator) -> Rerun:
    """Runs the recorded search at `ply` once more, from its seed, over the evaluator of the recorded model.

    Raises `DataError` where there was no search or the record does not say which, `RulesError` for a ply outside.
    """
    game, settings, decision = position_at(record, ply), recorded_settings(record), decision_at(record, ply)
    if decision is None or record.search is None:
        raise DataError(f"there was no search at ply {ply}: nothing to choose there, or no record of it")
    kept = record.search
    if "selfplay" in record.meta:
        move, ours, value = _from_the_start(record, ply, decision, evaluator, settings)
    else:
        (result,) = search([game], evaluator, settings, [decision_seed(record.seed, decision)])
        move, ours, value = result.move, result.policy, result.root_value
    policy = kept.policy[kept.offsets[decision] : kept.offsets[decision + 1]]
    return Rerun(
        move,
        ours,
        value,
        settings.simulations,
        drawn=decision < int(record.meta.get("drawn_decisions", 0)),
        same_move=int(move) == int(record.moves[ply]),
        same_policy=bool((ours.astype(np.float16) == policy).all()),
        same_value=bool((value.astype(np.float16) == kept.root_value[decision]).all()),
        policy_difference=float(np.abs(ours - policy.astype(np.float32)).max()),
        value_difference=float(np.abs(value - kept.root_value[decision].astype(np.float32)).max()),
    )


def disputed(record: Record, evaluator: Evaluator, tolerance: float = 0.0) -> str | None:
    """Searches a whole game again, over the evaluator of the recorded model: how it came out differently; none if the
    same.

    Differences of probabilities up to `tolerance` are another processor's rounding; from there on, a game whose
    searches depend on each other cannot be compared. Raises `DataError` where the record does not say how it was
    searched.
    """
    settings, kept = recorded_settings(record), record.search
    if kept is None:
        raise DataError("the record has no searches")
    again = _again(record, evaluator, settings) if "selfplay" in record.meta else None
    common = len(kept.ply) if again is None else min(len(again.ply), len(kept.ply))
    opening = int(record.meta.get("opening_plies", 0))
    drawn = int(record.meta.get("drawn_decisions", 0))
    for decision in range(common):
        ply = int(kept.ply[decision])
        if again is None:
            found = rerun(record, ply, evaluator)
            played, policy, value = int(found.move), found.policy, found.root_value
        elif int(again.ply[decision]) + opening != ply:
            return f"ply {ply}: a search is recorded, and made again at ply {int(again.ply[decision]) + opening}"
        else:
            played = int(again.moves[ply - opening])
            policy = again.policy[again.offsets[decision] : again.offsets[decision + 1]].astype(np.float32)
            value = again.root_value[decision].astype(np.float32)
        theirs = kept.policy[kept.offsets[decision] : kept.offsets[decision + 1]]
        if len(theirs) != len(policy):
            return f"ply {ply}: its policy is over {len(theirs)} moves, and {len(policy)} are playable"
        gaps = (
            np.abs(policy - theirs.astype(np.float32)).max(initial=0.0),
            np.abs(value - kept.root_value[decision].astype(np.float32)).max(),
        )
        same_move = played == int(record.moves[ply]) or (again is None and decision < drawn)
        rounded = policy.astype(np.float16).tolist() == theirs.tolist()
        rounded = rounded and value.astype(np.float16).tolist() == kept.root_value[decision].tolist()
        if not rounded and max(gaps) <= tolerance:
            if again is not None:
                return None
        elif not rounded or not same_move:
            game = position_at(record, ply)
            texts = [game.move(move).text for move in (int(record.moves[ply]), played)]
            values = [" ".join(f"{share:.3f}" for share in one) for one in (kept.root_value[decision], value)]
            return (
                f"ply {ply}: recorded {texts[0]} with values {values[0]}, searched again {texts[1]} with values"
                f" {values[1]}; policies differ by up to {gaps[0]:.3f}"
            )
    if again is not None and common < max(len(again.ply), len(kept.ply)):
        return f"{len(kept.ply)} searches are recorded, and {len(again.ply)} were made again"
    return None


def _again(record: Record, evaluator: Evaluator, settings: TreeSettings) -> Any:
    """Plays the whole game again, since its searches went on from each other's trees or economised by what they
    found."""
    given = json.loads(str(record.meta["selfplay"]))
    economy, memory = SearchEconomy(**given["economy"]), TreeMemory(reuse=given["reuse"])
    pool = SelfplayPool(evaluator, settings, 1, given["temperatures"], memory=memory, economy=economy)
    pool.add(position_at(record, int(record.meta["opening_plies"])), record.seed)
    (again,) = pool.play()
    return again


def _from_the_start(
    record: Record, ply: int, decision: int, evaluator: Evaluator, settings: TreeSettings
) -> tuple[Move, NDArray[np.float32], NDArray[np.float32]]:
    """Move, policy [A] and root value [P] of a decision of the game played again whole.

    Raises `DataError` where another game came out before it.
    """
    again, opening = _again(record, evaluator, settings), int(record.meta["opening_plies"])
    if again.moves[: ply - opening].tolist() != record.moves[opening:ply].tolist():
        raise DataError(f"the game came out differently before ply {ply}: another network, machine or release made it")
    policy = again.policy[again.offsets[decision] : again.offsets[decision + 1]]
    move = position_at(record, ply).move(int(again.moves[ply - opening]))
    return move, policy.astype(np.float32), again.root_value[decision].astype(np.float32)
