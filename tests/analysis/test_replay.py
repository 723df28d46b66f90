"""Recorded searches, run again: the same move, policy and value to the last bit."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from trees import HashEvaluator

from ringrift.analysis import position_at, recorded_settings, rerun
from ringrift.errors import DataError, RulesError
from ringrift.players import PlayerChoice, TreePlayer, choose
from ringrift.rules import Record
from ringrift.search import GumbelSettings, PuctSettings, SearchEconomy, TreeMemory, TreeSettings, decision_seed
from ringrift.selfplay import PlaySettings, Task, play, random_opening
from ringrift.selfplay.play import Rules, _play_in_core

DRAWN = 2  #: decisions by temperature
SETTINGS = GumbelSettings(simulations=9, considered=5, c_scale=0.5)


def recorded(config: str, seed: int, settings: TreeSettings = SETTINGS, **rules: Any) -> Record:
    player = TreePlayer(HashEvaluator(config), settings)
    opening = random_opening(config, 4, seed)
    task = Task("w", seed, (0,) * player.evaluator.num_seats, opening)
    (finished,) = _play_in_core(Rules(config, None, (1.0,) * DRAWN, True, **rules), player, ["x"], [task], 1)
    return Record.from_bytes(finished.record)


@pytest.mark.parametrize(("config", "seed"), [("square8_2p", 3), ("hex8_3p", (1 << 62) + 5)])
def test_a_recorded_search_comes_out_again(config: str, seed: int) -> None:
    record = recorded(config, seed)
    assert record.search is not None
    assert recorded_settings(record) == SETTINGS
    evaluator = HashEvaluator(config)
    plies = record.search.ply.tolist()
    for ply in (plies[0], plies[1], plies[len(plies) // 2], plies[-1]):
        again = rerun(record, ply, evaluator)
        assert again.same
        assert (again.same_policy, again.same_value) == (True, True)
        assert again.drawn == (ply in plies[:DRAWN])
        assert again.same_move or again.drawn
        assert again.policy_difference < 1e-3
        assert again.simulations == 9
    changed = dataclasses.replace(record, seed=seed + 1)
    assert not all(rerun(changed, ply, evaluator).same_policy for ply in plies[:5])
    assert len({decision_seed(seed, i) for i in range(100)} | {decision_seed(seed + 1, i) for i in range(100)}) == 200


@pytest.mark.parametrize(
    "rules",
    [
        {"memory": TreeMemory(reuse=True)},
        {"economy": SearchEconomy(full_share=0.3, cheap_simulations=3)},
        {"economy": SearchEconomy(decided_value=0.55, decided_after=2, decided_simulations=2)},
    ],
)
@pytest.mark.parametrize("settings", [SETTINGS, PuctSettings(9, leaves=2, dirichlet_alpha=10.0)])
def test_searches_that_rest_on_others_come_out_again(settings: TreeSettings, rules: dict[str, Any]) -> None:
    record, plain = recorded("square8_2p", 7, settings, **rules), recorded("square8_2p", 7, settings)
    assert record.search is not None
    assert record.moves.tobytes() != plain.moves.tobytes()
    full = record.search.full
    assert full.all() if "memory" in rules else 0 < full.sum() < len(full)
    evaluator = HashEvaluator("square8_2p")
    for ply in record.search.ply[[0, 3, -1]].tolist():
        assert rerun(record, ply, evaluator).same
    with pytest.raises(DataError, match="came out differently"):
        rerun(dataclasses.replace(record, seed=8), int(record.search.ply[-1]), evaluator)


def test_positions_of_a_record() -> None:
    record = recorded("square8_2p", 1)
    plies = len(record.moves)
    assert position_at(record, 0).ply == 0
    assert position_at(record, plies).is_over
    middle = position_at(record, 20)
    middle.push(middle.move(int(record.moves[20])))
    assert middle == position_at(record, 21)
    with pytest.raises(RulesError, match="ply is 0 to"):
        position_at(record, plies + 1)


def test_what_cannot_be_run_again() -> None:
    choice: PlayerChoice = choose("heuristic", "square8_2p")
    (finished,) = play([choice], [Task("w", 1, (0, 0))], PlaySettings(processes=1), keep_search=True)
    with pytest.raises(DataError, match="does not say with which settings"):
        rerun(Record.from_bytes(finished.record), 0, HashEvaluator("square8_2p"))
    record = recorded("square8_2p", 1)
    assert record.search is not None
    forced = next(ply for ply in range(4, len(record.moves)) if ply not in record.search.ply)
    with pytest.raises(DataError, match="no search at ply"):
        rerun(record, forced, HashEvaluator("square8_2p"))
