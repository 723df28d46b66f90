"""Games and moves as the game server writes them: read, written, and read again."""

import copy
import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_play import games, random_game
from recorded import FILES, recorded

from ringrift.errors import IllegalMove, InvalidNotation
from ringrift.parity import lines_of
from ringrift.rules import CONFIGS, Game, Options
from ringrift.wire import WireError, is_ended, read_config, read_move, read_state, write_moves, write_state
from ringrift.wire import state as wire

EXAMPLES = Path(os.environ.get("RINGRIFT_VECTORS", Path(__file__).parents[3] / "shared" / "rules" / "vectors"))
EXAMPLES = EXAMPLES.parents[1] / "http" / "examples.jsonl.gz"


def examples() -> list[dict[str, Any]]:
    if not EXAMPLES.is_file():
        return []
    with gzip.open(EXAMPLES, "rt") as file:
        return [one for one in map(json.loads, file) if one["kind"] == "state"]


def sent(given: dict[str, Any]) -> dict[str, Any]:
    """What arrives of it."""
    arrived: dict[str, Any] = json.loads(json.dumps(given))
    return arrived


@pytest.mark.skipif(not EXAMPLES.is_file(), reason=f"no recorded requests: {EXAMPLES} is not there")
def test_every_recorded_state_is_read_as_it_was_and_written_so_that_it_is_read_the_same() -> None:
    for one in examples():
        state = one["state"]
        game = read_state(state)
        assert game.canonical() == one["canonical"], one["src"]
        assert game.legal_text() == "|".join(one["legal"]), one["src"]
        by_text = {move.text: move for move in game.legal_moves}
        written = write_moves(game, [by_text[text] for text in one["legal"]])
        assert written == one["legal_json"], one["src"]
        for text, move in list(zip(one["legal"], one["legal_json"], strict=True))[:: 1 + len(one["legal"]) // 4]:
            assert read_move(game, move, state["board"]["stacks"]).text.partition("@")[0] == text
        again = write_state(game, state["moveHistory"])
        assert read_state(sent(again)).text() == game.text()
        for name in ("stacks", "markers", "collapsedSpaces"):
            assert again["board"][name] == state["board"][name], one["src"]


@pytest.mark.skipif(not EXAMPLES.is_file(), reason=f"no recorded requests: {EXAMPLES} is not there")
def test_the_cells_of_every_recorded_region_stand_in_the_order_of_the_game_server() -> None:
    boards, seen = {config.partition("_")[0]: wire._Board(Game(config)) for config in CONFIGS}, 0
    for one in examples():
        for move in one["legal_json"] + one["state"]["moveHistory"]:
            for region in move.get("disconnectedRegions", ()):
                cells = sorted((cell["x"], cell["y"]) for cell in region["spaces"])
                board, seen = boards[one["state"]["board"]["type"]], seen + (len(cells) > 1)
                assert wire._region(board, [f"{x},{y}" for x, y in cells])["spaces"] == region["spaces"], one["src"]
    assert seen > 40


@pytest.mark.parametrize("config", CONFIGS)
def test_the_round_of_the_last_player_standing_is_rebuilt_from_the_moves(config: str) -> None:
    game, history = Game(config), list[dict[str, Any]]()
    for move in random_game(config, 60, 5).moves:
        history += write_moves(game, [move])
        game.push(move)
        state = sent(write_state(game, history))
        del state["ringrift"]
        if not game.is_over:
            assert read_state(state).lps == game.lps


def turn_without_tracker(game: Game) -> str:
    """Position text without what the game server does not send: the tracker's mask, the order of those who lost."""
    if game.is_over:
        return game.canonical()
    head, _, turn = game.text().rpartition(";")
    return head + ";" + " ".join(part for part in turn.split() if not part.startswith(("-", "lps=", "out=", "end=")))


def checked(game: Game, history: list[dict[str, Any]]) -> None:
    state = sent(write_state(game, history))
    assert read_state(state).text() == game.text()
    del state["ringrift"]
    assert turn_without_tracker(read_state(state)) == turn_without_tracker(game)


def replayed(path: Path, every: int) -> Iterator[tuple[Game, list[dict[str, Any]]]]:
    """Positions of the recorded games of a file with the moves before them, of every so manieth game."""
    for number, line in enumerate(lines_of(path)):
        one = json.loads(line)
        if number % every or one.get("clean") is False:
            continue
        game = Game.from_canonical(f"{one['board']}_{one['players']}p", one["init"], Options.from_dict(one["opts"]))
        history: list[dict[str, Any]] = []
        for ply in one["plies"]:
            yield game, history
            if ply["i"] < 0:
                break
            move = game.parse_move(f"{ply['m']}@{ply['x']}" if "x" in ply else ply["m"])
            history += write_moves(game, [move])
            game.push(move)
            if not one["opts"].get("swapRuleEnabled"):
                history = history[-60:]
        yield game, history


@recorded
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.split(".")[0])
@pytest.mark.parametrize(
    ("every", "plies"),
    [(50, 29), pytest.param(3, 31, marks=pytest.mark.slow), pytest.param(1, 1, marks=pytest.mark.long)],
    ids=["some", "many", "all"],
)
def test_recorded_states_come_back_unchanged(path: Path, every: int, plies: int) -> None:
    for number, (game, history) in enumerate(replayed(path, every)):
        if number % plies == 0:
            checked(game, history)


@pytest.mark.parametrize("config", CONFIGS)
def test_every_playable_move_means_itself_and_a_played_game_comes_back(config: str) -> None:
    played, game = random_game(config, 120, 3, Options(swap_rule=True)), Game(config, Options(swap_rule=True))
    history: list[dict[str, Any]] = []
    for ply, move in enumerate(played.moves):
        if ply % 9 == 0:
            checked(game, history)
            moves = game.playable_moves()
            moves = moves[:: 1 + len(moves) // 6]
            for one, written in zip(moves, write_moves(game, moves), strict=True):
                assert read_move(game, sent(written)) == one
        history += write_moves(game, [move])
        game.push(move)


def test_the_turn_after_sides_were_swapped() -> None:
    game, history = Game("square8_2p", Options(swap_rule=True)), list[dict[str, Any]]()
    for text in ("P2,2*1", "M2,2>2,3", "NL", "NT", "SW"):
        history += write_moves(game, [game.parse_move(text)])
        game.push(text)
        checked(game, history)


@settings(max_examples=40)
@given(games())
def test_a_position_without_its_moves_comes_back(game: Game) -> None:
    assert read_state(sent(write_state(game))).text() == Game.parse(game.text()).text()


def start(**fields: Any) -> dict[str, Any]:
    """A state after two turns, with fields changed: `board__stacks` is `stacks` of `board`."""
    game = Game("square8_2p")
    for text in ("P2,2*3", "M2,2>2,5", "NL", "NT"):
        game.push(text)
    state = sent(write_state(game))
    del state["ringrift"]
    for name, value in fields.items():
        *way, last = name.split("__")
        place = state
        for step in way:
            place = place[int(step) if step.isdigit() else step]  # type: ignore[index]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return state


def test_what_may_be_missing_has_its_default() -> None:
    optional = ("moveHistory", "history", "rulesOptions", "lpsRoundsRequired", "lpsTracking", "victoryThreshold")
    state = start(**dict.fromkeys(optional), board__type=None, board__size=None, board__markers=None)
    state |= {"unknown": [1, {"a": None}], "mustMoveFromStackKey": None, "gameStatus": None}
    game = read_state(state)
    assert game.options == Options() and game.to_move == 2 and game.scores()[0].markers == 0


HUGE = 10**30
UNREADABLE: list[tuple[dict[str, Any], tuple[str | int, ...]]] = [
    ({"board": None}, ("board",)),
    ({"board": []}, ("board",)),
    ({"boardType": "square9"}, ("boardType",)),
    ({"boardType": ["square8"]}, ("boardType",)),
    ({"boardType": "hex8"}, ("board", "type")),
    ({"board__size": 19}, ("board", "size")),
    ({"board__stacks": None}, ("board", "stacks")),
    ({"board__stacks": {"2,5,1": {"rings": [1]}}}, ("board", "stacks", "2,5,1")),
    ({"board__stacks": {"2,8": {"rings": [1]}}}, ("board", "stacks", "2,8")),
    ({"board__markers": {"-1,0": {"player": 1}}}, ("board", "markers", "-1,0")),
    ({"board__stacks": {"2,5": {"rings": [3]}}}, ("board", "stacks", "2,5")),
    ({"board__stacks": {"2,5": {"rings": []}}}, ("board", "stacks", "2,5")),
    ({"board__stacks": {"2,5": {"rings": [True]}}}, ("board", "stacks", "2,5")),
    ({"board__stacks": {"2,5": {"rings": [1] * 500}}}, ("board",)),
    ({"board__stacks": {"2,5": []}}, ("board", "stacks", "2,5")),
    ({"board__markers": {"2,5": {"player": 1}}}, ("board",)),
    ({"board__markers": {"3,3": {"player": HUGE}}}, ("board", "markers", "3,3", "player")),
    ({"board__collapsedSpaces": {"3,3": 0}}, ("board", "collapsedSpaces", "3,3")),
    ({"board__collapsedSpaces": {"03,3": 1, "3,3": 1}, "players__0__territorySpaces": 2}, ("board",)),
    ({"board__collapsedSpaces": {"3,3": 1}}, ("players", 0, "territorySpaces")),
    ({"players": None}, ("players",)),
    ({"players": []}, ("players",)),
    ({"players": [1, 2]}, ("players", 0)),
    ({"players__0__playerNumber": 2}, ("players", 0, "playerNumber")),
    ({"players__1__ringsInHand": None}, ("players", 1, "ringsInHand")),
    ({"players__1__ringsInHand": float("nan")}, ("players", 1, "ringsInHand")),
    ({"players__1__ringsInHand": -1}, ("players", 1, "ringsInHand")),
    ({"players__1__eliminatedRings": HUGE}, ("players", 1, "eliminatedRings")),
    ({"currentPlayer": 3}, ("currentPlayer",)),
    ({"currentPlayer": "2"}, ("currentPlayer",)),
    ({"currentPhase": "opening"}, ("currentPhase",)),
    ({"currentPhase": {}}, ("currentPhase",)),
    ({"gameStatus": "over"}, ("gameStatus",)),
    ({"gameStatus": {}}, ("gameStatus",)),
    ({"gameStatus": "completed"}, ("winner",)),
    ({"currentPhase": "capture"}, ("moveHistory",)),
    ({"currentPhase": "chain_capture"}, ("chainCapturePosition",)),
    ({"currentPhase": "chain_capture", "chainCapturePosition": {"x": 2, "y": HUGE}}, ("chainCapturePosition",)),
    ({"currentPhase": "chain_capture", "chainCapturePosition": {"x": 2, "y": 5}}, ("chainCapturePosition",)),
    ({"currentPhase": "chain_capture", "chainCapturePosition": "2;5"}, ("chainCapturePosition",)),
    ({"currentPhase": "movement", "mustMoveFromStackKey": "2,5"}, ("mustMoveFromStackKey",)),
    ({"currentPhase": "movement", "mustMoveFromStackKey": "2,5;x"}, ("mustMoveFromStackKey", "2,5;x")),
    ({"currentPhase": "line_processing", "pendingLineRewardElimination": 1}, ("pendingLineRewardElimination",)),
    ({"moveHistory": [1]}, ("moveHistory", 0)),
    ({"moveHistory": [{"type": "place_ring", "player": 2}], "currentPhase": "movement"}, ("moveHistory", 0, "to")),
    ({"rulesOptions": {"ringsPerPlayer": HUGE}}, ("rulesOptions",)),
    ({"rulesOptions": {"swapRuleEnabled": "yes"}}, ("rulesOptions",)),
    ({"lpsTracking": {"roundIndex": -1}}, ("lpsTracking", "roundIndex")),
    ({"ringrift": {"moves": 0, "turn": "real=1;x"}}, ("ringrift", "turn")),
    ({"ringrift": {"moves": 0, "turn": "real=9"}}, ("board",)),
]


@pytest.mark.parametrize(("changed", "loc"), UNREADABLE, ids=lambda case: str(case)[:50])
def test_what_cannot_be_understood_is_refused_where_it_stands(
    changed: dict[str, Any], loc: tuple[str | int, ...]
) -> None:
    with pytest.raises(WireError) as refused:
        read_state(start(**changed))
    assert refused.value.loc == loc
    assert 5 < len(str(refused.value)) < 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(["1,2", "capture"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
STATE = start(currentPhase="ring_placement")


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to all that is in a value."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*way, key)
        yield from places(inner, (*way, key))


@settings(max_examples=60)
@given(st.sampled_from(sorted(places(STATE), key=str)), JSON)
def test_anything_anywhere_is_read_or_refused(way: tuple[Any, ...], value: Any) -> None:
    state = copy.deepcopy(STATE)
    place: Any = state
    for step in way[:-1]:
        place = place[step]
    place[way[-1]] = value
    try:
        game = read_state(state)
    except WireError:
        return
    game.check_invariants()
    assert game.is_over or len(game.legal_moves) > 0


def test_a_game_that_is_over_is_told_without_reading_it() -> None:
    state = start(gameStatus="abandoned")
    assert is_ended(state) and read_config(state) == "square8_2p"
    assert not is_ended(start())


def test_a_move_that_cannot_be_says_why() -> None:
    game = Game("hex8_3p")
    for move, error, said in (
        ({"type": "place_ring"}, InvalidNotation, "has a player"),
        ({"type": "place_ring", "player": 2}, IllegalMove, "not to move"),
        ({"type": "castle", "player": 1}, InvalidNotation, "unknown type"),
        ({"type": "place_ring", "player": 1}, IllegalMove, "to or placementCount would tell them apart"),
        ({"type": "place_ring", "player": 1, "to": 7}, InvalidNotation, "not a cell"),
        ({"type": "place_ring", "player": 1, "to": {"x": 9, "y": 9}}, IllegalMove, "not legal"),
        (
            {"type": "place_ring", "player": 1, "to": {"x": 0, "y": 0}, "placementCount": {"a": 1}},
            InvalidNotation,
            "a whole number is right",
        ),
    ):
        with pytest.raises(error, match=said):
            read_move(game, move)


def test_a_slide_that_names_no_payer_is_paid_as_the_game_server_does() -> None:
    text = "square8_3p;-;active;movement;1;-;-;0;0,9,0/0,0,0/0,0,0;5,5:12 6,6:13;3,3:1;;-"
    game = Game.parse(text)
    slide = next(move for move in game.legal_moves if game.extractions(move))
    (written,) = write_moves(game, [slide])
    assert written["extractionStacks"] == []
    assert read_move(game, written, ["6,6", "5,5"]).text.endswith("@6,6")
    assert read_move(game, written, ["5,5", "6,6"]).text.endswith("@5,5")
    assert read_move(game, written | {"extractionStacks": ["6,6"]}, ["5,5"]).text.endswith("@6,6")
