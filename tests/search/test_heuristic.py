"""The linear evaluation and the player that looks one turn ahead with it."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ringrift import _core
from ringrift.errors import RulesError
from ringrift.rules import CONFIGS, Game, Phase
from ringrift.search import HEURISTIC_TABLE, greedy, heuristic_values

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "heuristic.json").read_text())


def match_random(config: str, games: int, seed: int = 0) -> float:
    """Share of games that greedy wins as one of the seats, the others moving at random."""
    rng = np.random.default_rng(seed)
    wins = 0
    for number in range(games):
        game, hero = Game(config), number % int(config[-2]) + 1
        while not game.is_over:
            moves = game.playable_packed()
            if len(moves) > 1 and game.to_move == hero:
                game.push(greedy([game], [int(rng.integers(1 << 62))])[0])
            else:
                game.push_packed(int(moves[rng.integers(len(moves))]))
        outcome = game.outcome()
        wins += outcome is not None and outcome.winner == hero
    return wins / games


@pytest.mark.parametrize("config", CONFIGS)
def test_values_are_probabilities_by_seat(config: str) -> None:
    rng, game = np.random.default_rng(3), Game(config)
    while not game.is_over:
        values = heuristic_values(game)
        assert values.shape == (game.num_seats,)
        assert values.sum() == pytest.approx(1, abs=1e-5)
        assert (values >= 0).all()
        moves = game.playable_packed()
        game.push_packed(int(moves[rng.integers(len(moves))]))
    outcome = game.outcome()
    assert outcome is not None
    assert heuristic_values(game).tolist() == [float(s + 1 == outcome.winner) for s in range(game.num_seats)]


def test_scores_are_weights_times_features() -> None:
    rng, game = np.random.default_rng(4), Game("square8_3p")
    for _ in range(60):
        moves = game.playable_packed()
        game.push_packed(int(moves[rng.integers(len(moves))]))
    features = _core.heuristic_features(game)
    assert features.shape == (3, len(HEURISTIC_TABLE))
    scores = features @ np.array([row.weights[1] for row in HEURISTIC_TABLE], np.float32)
    expected = np.exp(scores - scores.max())
    np.testing.assert_allclose(heuristic_values(game), expected / expected.sum(), rtol=1e-4)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden["position"][:20])
def test_golden_values(golden: dict[str, Any]) -> None:
    np.testing.assert_allclose(heuristic_values(Game.parse(golden["position"])), golden["values"], atol=2e-5)


def table(position: str, turn: str = "-") -> list[dict[str, float]]:
    """Features by name of every seat of a square8_2p position at the start of a turn of seat 1."""
    game = Game.parse(f"square8_2p;-;active;ring_placement;1;-;-;0;{position};{turn}")
    names = [row.name for row in HEURISTIC_TABLE]
    return [dict(zip(names, row, strict=True)) for row in _core.heuristic_features(game).tolist()]


def test_lines_that_one_marker_completes() -> None:
    seat, _ = table("17,0,0/18,0,0;0,3:1;0,0:1 0,1:1 0,2:1 3,0:1 3,1:1 3,3:1;")
    assert (seat["line_ready"], seat["line_gap"]) == (8 / 64, 8 / 64)  # 0,3 under the stack; 3,2


def test_neighbours_of_stacks() -> None:
    seat, other = table("16,0,0/18,0,0;4,4:1 4,5:1;;")
    assert (seat["beside"], seat["frontier"]) == (8 * 2 / 64, 4 * 10 / 64)
    assert (other["beside"], other["frontier"]) == (0, 0)


def test_captures() -> None:
    seat, other = table("16,0,0/16,0,0;0,0:11 0,2:2 2,0:2;;")
    assert (seat["chains"], seat["overtake_now"], seat["fragile"]) == (8 / 64, 8 * 2 / 64, 0)
    assert (other["chains"], other["overtake_now"], other["fragile"]) == (0, 0, 8 * 2 / 64)


def test_seats_that_cannot_act() -> None:
    seat, other = table("0,17,0/18,0,3;0,0:1;;0,1:2 1,0:2 1,1:2", "lps=7,1,2,2,1-2+")
    assert (seat["stuck"], seat["alone"], seat["rounds"], seat["tempo"]) == (1, 0, 0, 1)
    assert (other["stuck"], other["alone"], other["tempo"]) == (0, 1, 0)
    assert other["rounds"] == pytest.approx(2 / 3)
    assert seat["road"] == pytest.approx((17 / 18) ** 3)
    assert other["road"] == pytest.approx((3 / 33) ** 3)


def test_recovery() -> None:
    assert [seat["recovery"] for seat in table("17,0,0/17,0,0;5,5:12;2,2:1;")] == [1, 0]


def test_rivals_count_from_three_seats_on() -> None:
    game = Game.parse("square8_3p;-;active;ring_placement;1;-;-;0;18,0,0/12,6,0/18,0,0;;;;-")
    rival = [row.name for row in HEURISTIC_TABLE].index("rival")
    assert _core.heuristic_features(game)[:, rival].tolist() == [0.25, 0, 0.25]


@pytest.mark.parametrize(("hands", "swaps"), [("0,17,0/18,0,0", True), ("17,0,0/1,17,0", False)])
def test_greedy_swaps_to_the_better_side(hands: str, swaps: bool) -> None:
    game = Game.parse(f"square8_2p;swap=1;active;ring_placement;2;-;-;0;{hands};0,0:1;;;swap=open")
    assert (str(greedy([game], [1])[0]) == "SW") == swaps


@pytest.mark.parametrize("config", CONFIGS)
def test_features_know_no_side_of_the_board_and_no_seat(config: str) -> None:
    rng, game, seats = np.random.default_rng(6), Game(config), int(config[-2])
    for ply in range(60):
        if game.is_over:
            break
        if ply > 20 and game.phase is Phase.RING_PLACEMENT:
            features = _core.heuristic_features(game)
            for symmetry in range(1, 8 if config.startswith("square") else 12):
                np.testing.assert_array_equal(_core.heuristic_features(game.transform(symmetry)), features)
            text = game.text().split(";")
            text[12] = "-"  # the tracker
            plain = _core.heuristic_features(Game.parse(";".join(text)))
            text[4] = str(int(text[4]) % seats + 1)
            hands = text[8].split("/")
            text[8] = "/".join(hands[-1:] + hands[:-1])
            for field in (9, 10, 11):
                turn = lambda found: ":" + "".join(str(int(seat) % seats + 1) for seat in found[1])  # noqa: E731
                text[field] = re.sub(r":(\d+)", turn, text[field])
            rotated = _core.heuristic_features(Game.parse(";".join(text)))
            np.testing.assert_array_equal(rotated, np.roll(plain, 1, axis=0))
        moves = game.playable_packed()
        game.push_packed(int(moves[rng.integers(len(moves))]))


def test_greedy_is_pure_and_seeded() -> None:
    game = Game("square8_2p")
    text = game.text()
    assert greedy([game, game], [1, 1])[0] == greedy([game], [1])[0]
    assert game.text() == text
    assert len({str(move) for move in greedy([game] * 20, range(20))}) > 1
    while not game.is_over:
        game.push_packed(int(game.playable_packed()[0]))
    with pytest.raises(RulesError, match="over"):
        greedy([game], [1])


@pytest.mark.parametrize("config", ["square8_2p", "hex8_3p"])
def test_it_beats_random_play(config: str) -> None:
    assert match_random(config, 40) >= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
def test_it_beats_random_play_everywhere(config: str) -> None:
    small = config.startswith(("square8", "hex8"))
    assert match_random(config, 200 if small else 8) >= (0.97 if small else 0.8)
