"""Moves of the game server as JSON objects, read as our text."""

import gzip
import json
import re

import pytest
from earlier_games import random_game, wire_moves
from recorded import VECTORS

from ringrift.errors import IllegalMove, InvalidNotation
from ringrift.rules import CONFIGS, Game
from ringrift.wire.moves import LONGEST, cell, plain_keys, wire_meanings

EXAMPLES = VECTORS.parents[1] / "http" / "examples.jsonl.gz"


def test_cells_and_moves_in_other_spellings() -> None:
    assert [cell(one) for one in ({"x": 1, "y": -2, "z": 1}, [1, -2], (1, -2, 1), "1,-2,1")] == ["1,-2"] * 4
    for wrong in (None, {}, "x", [1], 3):
        with pytest.raises(InvalidNotation):
            cell(wrong)
    playable = ["L[0,0 0,1 0,2 0,3]", "L[2,0 2,1 2,2 2,3]", "NL"]
    assert wire_meanings({"move_type": "MoveType.PROCESS_LINE", "to": "2,1"}, playable) == [playable[1]]
    assert wire_meanings({"type": "process_line", "formedLines": 1, "to": "2,1"}, playable) == [playable[1]]
    with pytest.raises(InvalidNotation, match="'x' is not a cell"):
        wire_meanings({"type": "process_line", "formedLines": "x", "to": "2,1"}, playable)


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
    for wire, text in zip(wire_moves(game), game.played_texts(), strict=True):
        assert wire_meanings(wire, again.move_texts(True)) == [text]
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


#: Fields of each type that a recording may leave out; the legal list has them.
OPEN = ("from", "to", "captureTarget", "formedLines", "collapsedMarkers", "disconnectedRegions", "eliminationContext",
        "placementCount", "recoveryMode", "recoveryOption", "collapsePositions", "type")  # fmt: skip
COUNTED = ("formedLines", "disconnectedRegions")  #: of which a recording may tell only how many there are


@pytest.mark.parametrize("config", ["square8_2p", "hex8_3p", "square8_4p"])
def test_what_a_move_leaves_out_is_filled_in_or_named(config: str) -> None:
    said: list[str] = []
    filled = refused = 0
    for seed in range(3):
        game = random_game(config, seed)
        again = Game(config)
        for wire, text in zip(wire_moves(game), game.played_texts(), strict=True):
            playable = again.move_texts(True)
            fields = [field for field in OPEN if wire[field] is not None]
            for field, bent in [(field, wire | {field: value}) for field in fields for value in (None, 1)]:
                if (bent[field] == 1 and field not in COUNTED) or (field == "type" and len(text) == 2):
                    continue
                try:
                    found = wire_meanings(bent, playable)
                except IllegalMove as error:
                    refused += 1
                    said.append(str(error))
                else:
                    filled += 1
                    assert text in found or field in ("placementCount", "collapsedMarkers"), "these have a default"
            again.push(text)
    assert filled > 300 and refused > 100
    assert all(re.fullmatch(r".* can mean .*: .* would tell them apart", one) for one in said)


@pytest.mark.parametrize(
    ("move", "meant"),
    [
        ({"type": "overtaking_capture", "from": [0, 0], "to": [4, 0]}, "C0,0x2,0>4,0"),
        ({"type": "chain_capture", "from": [0, 0], "captureTarget": [1, 1]}, "K0,0x1,1>2,2"),
        ({"from": [0, 0], "to": [3, 0]}, "M0,0>3,0"),
        ({"type": "place_ring", "to": "3,3", "placementCount": "2"}, "P3,3*2"),
        ({"type": "place_ring", "to": "3,3", "placementCount": 2.0}, "P3,3*2"),
        ({"type": "process_line", "formedLines": []}, "L[5,0 5,1 5,2]"),
        ({"type": "process_line", "formed_lines": {"positions": [[5, 0], [5, 1], [5, 2]]}}, "L[5,0 5,1 5,2]"),
        ({"type": "process_line", "formed_lines": "5,0 5,1 5,2"}, "L[5,0 5,1 5,2]"),
        ({"type": "choose_line_option", "formedLines": 1, "to": "0,5", "collapsedMarkers": 3},
         "O[0,5 1,5 2,5 3,5]:[0,5 1,5 2,5]"),
        ({"type": "choose_territory_option", "disconnectedRegions": [["7,7", "7,6"]]}, "T[7,6 7,7]"),
        ({"type": "choose_territory_option", "disconnectedRegions": 1, "to": {"x": 7, "y": 7}}, "T[7,6 7,7]"),
        ({"type": "eliminate_rings_from_stack"}, "E6,6:t"),
        ({"type": "recovery_slide", "to": [1, 0], "extractionStacks": 1}, "R1,1>1,0:L1@2,2"),
    ],
)  # fmt: skip
def test_moves_in_other_shapes(move: dict[str, object], meant: str) -> None:
    playable = ["C0,0x2,0>4,0", "C0,0x2,0>5,0", "K0,0x1,1>2,2", "M0,0>3,0", "P3,3*1", "P3,3*2", "L[5,0 5,1 5,2]",
                "O[0,5 1,5 2,5 3,5]:[0,5 1,5 2,5]", "T[7,6 7,7]", "E6,6:t", "R1,1>1,0:L1@2,2"]  # fmt: skip
    assert wire_meanings(move, playable) == [meant]


@pytest.mark.parametrize(
    ("move", "said"),
    [
        ({"type": "overtaking_capture", "from": [0, 0]},
         "overtaking_capture from 0,0 can mean C0,0x2,0>4,0 or C0,0x3,0>4,0: captureTarget would tell them apart"),
        ({"from": {"x": 0, "y": 0}}, "C0,0x3,0>4,0 or M0,0>4,0: type or captureTarget would tell them apart"),
        ({"type": "move_stack", "from": {"x": "a"}}, "move_stack from an object cannot be read: an object is not a"),
        ({"type": "move_stack", "from": {"x": 10**5000, "y": 1}}, "an object is not a cell: it has an x and a y"),
        ({"type": None, "to": None}, "a move without a type can mean"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_said_in_words(move: dict[str, object], said: str) -> None:
    with pytest.raises((IllegalMove, InvalidNotation), match=re.escape(said)):
        wire_meanings(move, ["C0,0x2,0>4,0", "C0,0x3,0>4,0", "M0,0>4,0"])
