"""Perft tables and readable playthroughs, made when parity with the recorded games held."""

import json
from pathlib import Path

import golden
import pytest

from ringrift.rules import CONFIGS, Game

ROOT = Path(__file__).parents[2]
CASES = json.loads((ROOT / "tests/golden/perft.json").read_text())


@pytest.mark.parametrize("config", CONFIGS)
def test_perft(config):
    cases = [case for case in CASES if case["position"].startswith(config)]
    assert len(cases) >= 3
    for case in cases:
        game, nodes = Game.parse(case["position"]), case["nodes"]
        assert [game.perft(depth) for depth in range(1, len(nodes) + 1)] == nodes, case["position"]


def test_divide_sums_to_perft():
    game = Game.parse(CASES[1]["position"])
    rows = game.divide(2)
    assert set(rows) == {move.text for move in game.playable_moves()}
    assert sum(rows.values()) == game.perft(2)
    assert game.perft(0) == 1


@pytest.mark.parametrize("case", golden.PLAYTHROUGHS, ids=lambda case: case[0])
def test_playthrough(case):
    assert golden.playthrough(*case) == (golden.GOLDEN / f"playthrough_{case[0]}.txt").read_text()
