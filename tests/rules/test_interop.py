"""Moves of the game server as JSON objects, read as our text."""

import gzip
import json

import pytest
from earlier_games import random_game, wire_moves
from recorded import VECTORS

from ringrift.errors import IllegalMove, InvalidNotation
from ringrift.rules import CONFIGS, Game
from ringrift.rules.interop import LONGEST, cell, plain_keys, wire_meanings

EXAMPLES = VECTORS.parents[1] / "http" / "examples.jsonl.gz"


def test_cells_and_moves_in_other_spellings() -> None:
    assert [cell(one) for one in ({"x": 1, "y": -2, "z": 1}, [1, -2], (1, -2, 1), "1,-2,1")] == ["1,-2"] * 4
    for wrong in (None, {}, "x", [1], 3):
        with pytest.raises(InvalidNotation):
            cell(wrong)
    playable = ["L[0,0 0,1 0,2 0,3]", "L[2,0 2,1 2,2 2,3]", "NL"]
    assert wire_meanings({"move_type": "MoveType.PROCESS_LINE", "to": "2,1"}, playable) == [playable[1]]
    with pytest.raises(InvalidNotation):
        wire_meanings({"type": "process_line", "formedLines": 5, "to": "2,1"}, playable)


def test_an_open_payer_gives_all_stacks_and_anything_else_open_is_refused() -> None:
    playable = ["R3,3>4,3:F@0,5", "R3,3>4,3:F@1,5", "T[0,0 0,1]", "T[0,1 0,2]", "E1,1:l"]
    slide = {"type": "recovery_slide", "from": {"x": 3, "y": 3}, "to": {"x": 4, "y": 3}, "recoveryMode": "fallback"}
    assert wire_meanings(slide, playable) == playable[:2]
    assert wire_meanings(slide | {"extractionStacks": ["1,5"]}, playable) == playable[1:2]
    assert wire_meanings({"type": "eliminate_rings_from_stack", "to": [1, 1]}, playable) == ["E1,1:l"]
    with pytest.raises(IllegalMove, match="can mean T"):
        wire_meanings({"type": "choose_territory_option", "to": [0, 1]}, playable)
    with pytest.raises(IllegalMove, match="is not legal there"):
        wire_meanings(slide | {"recoveryMode": "stack_strike"}, playable)


@pytest.mark.parametrize("config", CONFIGS)
def test_every_move_of_random_games_is_read_back(config: str) -> None:
    game = random_game(config, 3)
    again = Game(config)
    for wire, text in zip(wire_moves(game), game._played_texts(), strict=True):
        assert wire_meanings(wire, again._texts(True)) == [text]
        again.push(text)


@pytest.mark.skipif(not EXAMPLES.is_file(), reason="the recorded traffic is not there")
def test_every_legal_move_of_recorded_traffic_is_read() -> None:
    read = 0
    with gzip.open(EXAMPLES, "rt", encoding="utf-8") as lines:
        for case in map(json.loads, lines):
            for move, text in zip(case.get("legal_json", ()), case.get("legal", ()), strict=True):
                assert wire_meanings(move, case["legal"]) == [text]
                read += 1
    assert read > 4000


def test_long_names_are_not_remembered() -> None:
    assert plain_keys({"moveType": 1, "x" * 100_000: 2, "no": None}) == {"movetype": 1, "x" * LONGEST: 2}
