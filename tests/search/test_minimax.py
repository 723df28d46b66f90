"""Depth-first searches: exact against plain ones, exact budgets, deadlines, determinism, golden lines."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ringrift.errors import RulesError
from ringrift.rules import CONFIGS, Game, Phase
from ringrift.search import MINIMAX_RULES, MinimaxResult, MinimaxSettings, Stop, heuristic_values, minimax

GOLDEN = json.loads((Path(__file__).parent / "golden_lines.json").read_text())
ENDLESS = 1 << 40
Values = tuple[float, ...]


def position(config: str, plies: int, seed: int, most: int = 60, accept: Callable[[Game], bool] | None = None) -> Game:
    """A position with a choice of at most `most` moves after at least so many random plies."""
    rng = np.random.default_rng(seed)
    game = Game(config)
    while game.ply < plies or not 1 < len(game.playable_packed()) <= most or not (accept is None or accept(game)):
        moves = game.playable_packed()
        game.push_packed(int(moves[rng.integers(len(moves))]))
        if game.is_over:
            game = Game(config)
    return game


# -- plain searches, without pruning, ordering, table or deepening -----------------------------------------------------


def settle(game: Game, leaf: bool) -> None:
    """Plays what leaves no choice; at a leaf, no further than to the end of the turn."""
    while len(moves := game.playable_packed()) == 1 and not (leaf and game.phase is Phase.RING_PLACEMENT):
        game.push_packed(int(moves[0]))


def plain(game: Game, depth: int, root: int, rule: str) -> Values:
    """The values by seat of a settled position; `root` is the searching seat, from 0."""
    if depth == 0 or game.is_over:
        return tuple(heuristic_values(game).tolist())
    seat = game.to_move - 1

    def merit(v: Values) -> tuple[Any, ...]:
        if rule == "maxn":
            return (v[seat], -v[root], v)
        return (v[root],) if seat == root else (-v[root],)

    return max((value for _, value in children(game, depth, root, rule)), key=merit)


def children(game: Game, depth: int, root: int, rule: str) -> list[tuple[str, Values]]:
    found = []
    for move in game.playable_moves():
        after = game.copy()
        after.push(move)
        settle(after, depth == 1)
        found.append((str(move), plain(after, depth - 1, root, rule)))
    return found


def mid_turn(game: Game) -> bool:
    return game.phase in (Phase.CAPTURE, Phase.CHAIN_CAPTURE, Phase.LINE_PROCESSING, Phase.TERRITORY_PROCESSING)


CASES = [
    *(("square8_2p", rule, plies, 2, 60) for rule in ("alpha-beta", "maxn") for plies in (20, 40, 70)),
    *(("hex8_2p", rule, plies, 2, 60) for rule in ("alpha-beta", "best-reply") for plies in (20, 60, 100)),
    *(("square8_2p", rule, 60, 3, 12) for rule in ("alpha-beta", "paranoid")),
    *((config, rule, 50, 2, 40) for rule in ("maxn", "paranoid") for config in ("square8_3p", "square8_4p", "hex8_4p")),
    *((config, rule, 60, 3, 12) for rule in ("maxn", "paranoid") for config in ("square8_3p", "hex8_3p", "square8_4p")),
]


@pytest.mark.parametrize("middle", [False, True], ids=["any", "mid-turn"])
@pytest.mark.parametrize(("config", "rule", "plies", "depth", "most"), CASES)
def test_it_is_the_plain_search(config: str, rule: str, plies: int, depth: int, most: int, middle: bool) -> None:
    game = position(config, plies, 7 * plies + depth, most, mid_turn if middle else None)
    root = game.to_move - 1
    expected = dict(children(game, depth, root, rule))
    best = max(value[root] for value in expected.values())
    for table in (0, 1 << 12):
        settings = MinimaxSettings(rule, nodes=ENDLESS, depth=depth, quiescence=0, table=table)
        (result,) = minimax([game], settings, [plies])
        if 0 < best < 1:  # otherwise it may have stopped before
            assert result.depth == depth
        assert result.value_by_seat[root] == best
        if best > 0:
            assert expected[str(result.move)][root] == best
        if rule == "maxn" and result.depth == depth:
            assert tuple(result.value_by_seat.tolist()) == expected[str(result.move)]


# -- budgets, time, determinism ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS)
def test_every_rule_on_every_config_within_its_nodes(config: str) -> None:
    games = [position(config, plies, plies, 10_000) for plies in (0, 15, 40)]
    for rule in MINIMAX_RULES:
        if rule == "alpha-beta" and not config.endswith("2p"):
            continue
        for nodes in (1, 2, 97, 1500):
            before = [game.text() for game in games]
            results = minimax(games, MinimaxSettings(rule, nodes=nodes), range(3))
            assert [game.text() for game in games] == before
            for game, result in zip(games, results, strict=True):
                assert result.nodes == nodes or (result.decided and result.nodes < nodes)
                assert result.move in game.playable_moves()
                assert result.best_line[0] == result.move
                assert result.value_by_seat.shape == (game.num_seats,)
                assert result.value_by_seat.sum() == pytest.approx(1, abs=1e-4)
                for move in result.best_line:
                    game.push(move)
                for _ in result.best_line:
                    game.pop()


@pytest.mark.parametrize(("config", "rule"), [("square8_2p", "alpha-beta"), ("hex8_3p", "best-reply")])
def test_a_search_depends_on_its_seed_alone(config: str, rule: str) -> None:
    games = [position(config, 4 * seed, seed, 10_000) for seed in range(9)]
    settings = MinimaxSettings(rule, nodes=1200)
    together = minimax(games, settings, range(9))
    threads = minimax(games, settings, range(9), threads=2)
    alone = [minimax([game], settings, [seed])[0] for seed, game in enumerate(games)]
    for a, b, c in zip(together, threads, alone, strict=True):
        for other in (b, c):
            assert (a.move, a.depth, a.nodes, a.best_line) == (other.move, other.depth, other.nodes, other.best_line)
            assert a.value_by_seat.tobytes() == other.value_by_seat.tobytes()
    # The empty board is full of equal moves.
    start = minimax([Game(config)] * 12, MinimaxSettings(rule, depth=1, nodes=ENDLESS, quiescence=0), range(12))
    assert len({str(result.move) for result in start}) > 1
    assert len({float(result.value_by_seat[0]) for result in start}) == 1


@pytest.mark.parametrize("rule", ["paranoid", "maxn", "best-reply"])
def test_a_search_that_is_told_to_stop_answers_with_what_it_has(rule: str) -> None:
    game, stop = position("hexagonal_3p", 12, 1, 10_000), Stop()
    settings, found = MinimaxSettings(rule, nodes=ENDLESS, depth=64), list[MinimaxResult]()
    endless = threading.Thread(target=lambda: found.extend(minimax([game] * 3, settings, [1, 2, 3], stop=stop)))
    endless.start()
    endless.join(0.1)
    assert endless.is_alive() and not stop.is_set
    stop.set()
    endless.join(10)
    assert not endless.is_alive() and stop.is_set
    assert all(result.move in game.playable_moves() for result in found) and found[1].nodes == found[2].nodes == 8
    for few in (5, 200):
        exact = minimax([game], MinimaxSettings(rule, nodes=few), [1], stop=Stop())[0]
        assert str(exact) == str(minimax([game], MinimaxSettings(rule, nodes=few), [1])[0])


@pytest.mark.parametrize("config", ["square8_2p", "hexagonal_4p"])
@pytest.mark.parametrize("rule", ["paranoid", "maxn", "best-reply"])
def test_the_deadline_is_kept(config: str, rule: str) -> None:
    games = [position(config, 12 * seed, seed, 10_000) for seed in range(4)]
    overrun = []
    for game in games:
        start = time.perf_counter()
        (result,) = minimax([game], MinimaxSettings(rule, nodes=ENDLESS, depth=64), [0], seconds=0.03)
        overrun.append(time.perf_counter() - start - 0.03)
        assert result.decided or result.nodes > 50
    # On a machine that does something else, one of them may have been put off.
    assert sorted(overrun)[1] < 0.02


def test_without_a_choice_there_is_no_search() -> None:
    rng, game = np.random.default_rng(0), Game("square8_2p")
    while len(moves := game.playable_packed()) > 1:
        game.push_packed(int(moves[rng.integers(len(moves))]))
    (result,) = minimax([game], MinimaxSettings(), [0])
    assert (result.move, result.depth, result.nodes) == (game.playable_moves()[0], 0, 1)
    assert result.value_by_seat.tolist() == heuristic_values(game).tolist()


# -- ends of the game --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", ["square8_2p", "hex8_2p", "square8_3p", "hex8_4p"])
def test_it_wins_within_a_turn(config: str) -> None:
    """Wherever a line of the seat's own decisions wins, it is found, and playing it wins."""
    rng, several = np.random.default_rng(8), 0
    for _ in range(4):
        game = Game(config)
        while not game.is_over:
            moves = game.playable_packed()
            if game.ply > 40 and game.ply % 3 == 0 and 1 < len(moves) < 40:
                for rule in ("paranoid", "maxn", "best-reply"):
                    (result,) = minimax([game], MinimaxSettings(rule, nodes=500), [game.ply])
                    after, decisions, seat = game.copy(), 0, game.to_move
                    for move in result.best_line:
                        if after.to_move != seat:
                            break
                        decisions += len(after.playable_packed()) > 1
                        after.push(move)
                    if outcome := after.outcome():
                        assert result.decided == (outcome.winner == seat)
                        several += decisions > 1
            game.push_packed(int(moves[rng.integers(len(moves))]))
    assert several > 0


def test_a_decided_position_ends_the_deepening() -> None:
    def wins(game: Game) -> bool:
        for bits in game.playable_packed():
            after = game.copy()
            after.push_packed(int(bits))
            after.advance_forced()
            if (outcome := after.outcome()) and outcome.winner == game.to_move:
                return True
        return False

    game = position("square8_2p", 30, 5, 60, wins)
    for rule in MINIMAX_RULES:
        (result,) = minimax([game], MinimaxSettings(rule, nodes=ENDLESS), [1])
        assert result.decided
        assert result.depth == 1
        assert result.nodes <= 4 * len(game.playable_packed()) + 1
        assert result.value_by_seat.tolist() == [float(game.to_move == seat) for seat in (1, 2)]


# -- errors ------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_searched() -> None:
    game, settings = Game("square8_2p"), MinimaxSettings(nodes=10)
    assert minimax([], settings, []) == []
    with pytest.raises(RulesError, match="1 games need as many seeds, not 2"):
        minimax([game], settings, [1, 2])
    with pytest.raises(RulesError, match="alpha-beta is for 2 seats, not 3"):
        minimax([Game("square8_3p")], settings, [1])
    with pytest.raises(RulesError, match="one config"):
        minimax([game, Game("hex8_2p")], settings, [1, 2])
    for threads, seconds in ((0, None), (1, 0.0), (1, float("nan"))):
        with pytest.raises(RulesError, match="must be above 0"):
            minimax([game], settings, [1], threads=threads, seconds=seconds)
    rng = np.random.default_rng(0)
    while not game.is_over:
        moves = game.playable_packed()
        game.push_packed(int(moves[rng.integers(len(moves))]))
    with pytest.raises(RulesError, match="the game is over"):
        minimax([game], settings, [1])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rule": "negamax"}, "one of alpha-beta, paranoid"),
        ({"nodes": 0}, "nodes is 0; 1 to"),
        ({"depth": 65}, "depth is 65; 1 to 64"),
        ({"quiescence": -1}, "quiescence is -1; 0 to 64"),
        ({"table": 1000}, "power of two"),
    ],
)
def test_settings_are_checked(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MinimaxSettings(**changed)


# -- golden lines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_lines(name: str) -> None:
    golden = GOLDEN[name]
    game = Game.parse(golden["position"])
    settings = MinimaxSettings(golden["rule"], nodes=golden["budget"])
    (result,) = minimax([game], settings, [2024])
    assert [str(move) for move in result.best_line] == golden["line"]
    assert (result.depth, result.nodes) == (golden["depth"], golden["nodes"])
    np.testing.assert_allclose(result.value_by_seat, golden["value"], atol=1e-5)
    deciders = []
    for move in result.best_line:
        if len(game.playable_packed()) > 1:
            deciders.append(game.to_move)
        game.push(move)
    if name.startswith("same-seat"):
        assert any(deciders[i] == deciders[i + 1] == deciders[i + 2] for i in range(len(deciders) - 2))
    if name.startswith("four"):
        assert set(deciders) == {1, 2, 3, 4}
