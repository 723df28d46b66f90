"""What all tree searches promise: golden trees, exact budgets, and memory that changes no result."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from trees import GOLDEN, HashEvaluator, digest, digests, grow, random_game

from ringrift.encoding import encode
from ringrift.evaluators import HeuristicEvaluator, UniformEvaluator
from ringrift.rules import CONFIGS, Game
from ringrift.search import (
    GumbelSettings,
    PuctSettings,
    Searcher,
    SearchResult,
    TreeMemory,
    TreeSettings,
    heuristic_values,
    search,
)

Maker = Callable[[str], HashEvaluator]
POSITIONS = json.loads(GOLDEN.read_text())
RULES = [GumbelSettings(40), PuctSettings(40), PuctSettings(40, leaves=5, dirichlet_alpha=10.0)]


@pytest.mark.parametrize("name", POSITIONS)
def test_golden_trees(name: str, hashed: Maker) -> None:
    position = POSITIONS[name]["position"]
    assert digests(position) == POSITIONS[name]["trees"]
    game = Game.parse(position)
    ((_, tree),) = grow([game], hashed(game.config), GumbelSettings(2500, considered=1, c_scale=0.1), 2024)
    to_move, parent = tree["to_move"], tree["parent"]
    if name.startswith("same-seat"):
        # Somewhere one seat decides three times in a row.
        assert any(
            parent[n] > 0 and to_move[n] == to_move[parent[n]] == to_move[parent[parent[n]]]
            for n in range(1, len(parent))
        )
    if name.startswith("four"):
        assert set(to_move.tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("settings", RULES)
def test_trees_depend_on_no_batch_and_no_cache(settings: TreeSettings, hashed: Maker) -> None:
    games = [random_game("square8_3p", 12 * i, i) for i in range(5)]
    expected = [digest(*one) for one in grow(games, hashed("square8_3p"), settings)]
    for rows, cache in ((1, 0), (7, 0), (64, 0), (16, 4), (64, 1)):
        evaluator = hashed("square8_3p")
        assert [digest(*one) for one in grow(games, evaluator, settings, 0, cache, rows)] == expected
    one_by_one = [grow([game], hashed("square8_3p"), settings, seed)[0] for seed, game in enumerate(games)]
    assert [digest(*one) for one in one_by_one] == expected


def test_trees_are_the_same_on_several_threads(hashed: Maker) -> None:
    games = [random_game("hex8_2p", 10 * i, i) for i in range(8)]
    settings = GumbelSettings(60)
    expected = [digest(*one) for one in grow(games, hashed("hex8_2p"), settings)]
    found: dict[int, str] = {}

    def work(share: int) -> None:
        for index in range(share, len(games), 4):
            found[index] = digest(*grow([games[index]], hashed("hex8_2p"), settings, index)[0])

    threads = [threading.Thread(target=work, args=(share,)) for share in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[index] for index in range(len(games))] == expected


@pytest.mark.parametrize("simulations", [2, 3, 7, 16, 64, 150, 1600])
@pytest.mark.parametrize("rule", [GumbelSettings, PuctSettings])
def test_budgets_are_exact(rule: Callable[..., TreeSettings], simulations: int, hashed: Maker) -> None:
    game, evaluator = random_game("square8_2p", 60, 1), UniformEvaluator("square8_2p")
    for cache in (0, 8):
        ((outcome, tree),) = grow([game], evaluator, rule(simulations=simulations), 0, cache)
        spent, evaluations, cached, ends = outcome[5]
        assert spent == outcome[3].sum() == simulations
        assert evaluations + cached + ends == simulations + 1
        assert (cached > 0) == (cache > 0 and simulations > 60) or cached == 0
        assert len(tree["parent"]) - int(tree["terminal"].sum()) == evaluations + cached


def test_the_cache_saves_evaluations_of_later_searches(hashed: Maker) -> None:
    game = random_game("square8_2p", 20, 3)
    counts = []
    for cache in (0, 8):
        evaluator = hashed("square8_2p")
        searcher = Searcher(evaluator, GumbelSettings(50), TreeMemory(cache_mib=cache))
        results = [searcher.search([game], [seed])[0] for seed in (1, 1, 2)]
        counts.append(sum(evaluator.batches))
        assert all(result.nodes + result.cached <= 51 for result in results)
        assert _same(results[0], results[1])
    assert results[1].nodes == 0
    assert counts[1] < counts[0] - 50


def _same(a: SearchResult, b: SearchResult) -> bool:
    return a.move == b.move and a.policy.tobytes() == b.policy.tobytes() and a.visits.tolist() == b.visits.tolist()


@pytest.mark.parametrize("settings", RULES)
def test_a_tree_is_taken_over_whole(settings: TreeSettings, hashed: Maker) -> None:
    game = random_game("square8_2p", 20, 3)
    searcher = Searcher(hashed("square8_2p"), settings, TreeMemory(reuse=True, cache_mib=0))
    first = searcher.search([game], [5], simulations=200)[0]
    before = searcher.tree(0)
    after = game.copy()
    after.push(first.move)
    after.advance_forced()
    # The tree below the move that was played: its node and everything under it.
    (top,) = np.flatnonzero((before["parent"] == 0) & (before["move"] == int(first.move)))
    below = {int(top)}
    for node, parent in enumerate(before["parent"].tolist()):
        if parent in below:
            below.add(node)
    assert len(below) > 10
    evaluator = searcher.evaluator
    assert isinstance(evaluator, HashEvaluator)
    spent = sum(evaluator.batches)
    second = searcher.search([after], [6])[0]
    tree = searcher.tree(0)
    assert second.simulations == 40
    assert sum(evaluator.batches) - spent == second.nodes == 40
    assert len(tree["parent"]) == len(below) + 40
    assert second.visits.sum() == len(below) - 1 + 40
    assert tree["plies"].min() == 0
    _check_sums(tree)
    _, value = evaluator.evaluate(*encode([after]))
    everything = tree["value"][1:].astype(np.float64).sum(0)
    expected = (np.roll(value[0].astype(np.float64), after.to_move - 1) + everything) / (1 + second.visits.sum())
    np.testing.assert_allclose(second.root_value, expected, rtol=1e-4)


def _check_sums(tree: dict[str, NDArray[Any]]) -> None:
    """Each edge's sum is what the evaluations below it say of the seat that chose it, whatever the depth."""
    parent, to_move, value = tree["parent"], tree["to_move"], tree["value"].astype(np.float64)
    visits, sums = np.zeros(len(parent), int), np.zeros(len(parent))
    for node in range(1, len(parent)):
        times = 1
        if tree["terminal"][node]:
            times = int(tree["visits"][node])
            assert sorted(value[node]) == [0.0] * (value.shape[1] - 1) + [1.0]
        at = node
        while at > 0:
            visits[at] += times
            sums[at] += times * value[node, to_move[parent[at]]]
            at = parent[at]
    np.testing.assert_array_equal(visits[1:], tree["visits"][1:])
    np.testing.assert_allclose(sums[1:], tree["sum"][1:], rtol=1e-4)


@pytest.mark.parametrize("config", ["square8_2p", "square8_3p", "hex8_4p", "square19_2p"])
@pytest.mark.parametrize("settings", RULES)
def test_every_node_maximises_for_its_own_seat(settings: TreeSettings, config: str, hashed: Maker) -> None:
    ((_, tree),) = grow([random_game(config, 30, 1)], hashed(config), replace(settings, simulations=200))
    _check_sums(tree)
    assert len(set(tree["to_move"].tolist())) > 1


def test_time_ends_a_search_with_what_it_has(hashed: Maker) -> None:
    games = [random_game("square19_2p", 30, seed) for seed in range(3)]
    for evaluator in (hashed("square19_2p"), HeuristicEvaluator("square19_2p")):
        for settings in (GumbelSettings(1_000_000), PuctSettings(1_000_000, leaves=4)):
            searcher = Searcher(evaluator, settings, TreeMemory(reuse=True))
            start = time.monotonic()
            results = searcher.search(games[:1], [1], seconds=0.15)
            assert time.monotonic() - start < 1.0
            assert 0 < results[0].simulations == results[0].visits.sum() < 1_000_000
            assert results[0].visits[list(games[0].playable_moves()).index(results[0].move)] > 0
            # What was cut off stays usable.
            after = games[0].copy()
            after.push(results[0].move)
            after.advance_forced()
            assert searcher.search([after], [1], simulations=20)[0].simulations == 20
            _check_sums(searcher.tree(0))
    (none,) = Searcher(hashed("square19_2p"), GumbelSettings(50)).search(games[:1], [1], seconds=0)
    assert none.simulations == 0
    assert none.move in games[0].playable_moves()


@pytest.mark.parametrize("config", CONFIGS)
def test_leaves_are_judged_by_the_heuristic_in_the_core(config: str) -> None:
    game = random_game(config, 30, 3)
    for settings in (GumbelSettings(12), PuctSettings(12)):
        (result,) = search([game], HeuristicEvaluator(config), settings, [0])
        assert result.visits.sum() == 12
        assert result.move in game.playable_moves()
    searcher = Searcher(HeuristicEvaluator(config), PuctSettings(12))
    searcher.search([game], [0])
    tree = searcher.tree(0)
    child = int(np.flatnonzero((tree["parent"] == 0) & (tree["terminal"] == 0))[0])
    after = game.copy()
    after.push_packed(int(tree["move"][child]))
    after.advance_forced()
    np.testing.assert_allclose(tree["value"][child], heuristic_values(after), rtol=1e-5)


def test_puct_spreads_one_round_over_several_leaves(hashed: Maker) -> None:
    game = random_game("square8_2p", 20, 3)
    for leaves in (1, 8):
        evaluator = hashed("square8_2p")
        search([game], evaluator, PuctSettings(65, leaves=leaves), [0])
        assert max(evaluator.batches) <= leaves
        assert sum(evaluator.batches) == 66
    assert np.mean(evaluator.batches) > 4


def test_noise_moves_visits_of_puct(hashed: Maker) -> None:
    game = random_game("square8_2p", 20, 3)
    settings = PuctSettings(100, dirichlet_alpha=10.0, dirichlet_share=0.5)
    quiet = [search([game], hashed("square8_2p"), PuctSettings(100), [seed])[0].visits for seed in (1, 2)]
    noisy = [search([game], hashed("square8_2p"), settings, [seed])[0].visits for seed in (1, 1, 2)]
    assert quiet[0].tolist() == quiet[1].tolist()
    assert noisy[0].tolist() == noisy[1].tolist() != noisy[2].tolist()


def test_settings_are_checked() -> None:
    for wrong in ({"simulations": 0}, {"leaves": 0}, {"c_puct": -1.0}, {"dirichlet_share": 2.0}, {"c_base": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong)).split("_")[0]):
            PuctSettings(**wrong)
    with pytest.raises(ValueError, match="cache_mib"):
        TreeMemory(cache_mib=-1)
