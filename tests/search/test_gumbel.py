"""Gumbel search: exact budgets, determinism, max^n and the paper's formulas."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import trees
from numpy.typing import NDArray
from trees import random_game

from ringrift.bench import search as bench
from ringrift.encoding import encode, policy_addresses
from ringrift.errors import RulesError
from ringrift.evaluators import Evaluator, UniformEvaluator
from ringrift.rules import CONFIGS, Game
from ringrift.search import GumbelSettings, search

Maker = Callable[[str], Any]


def grow(game: Game, evaluator: Evaluator, settings: GumbelSettings, seed: int) -> tuple[Any, dict[str, NDArray[Any]]]:
    """The outcome and the tree of a search in the core."""
    return trees.grow([game], evaluator, settings, seed)[0]


# -- budgets and independence ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("simulations", [1, 2, 3, 7, 16, 33, 150])
@pytest.mark.parametrize("config", ["square8_2p", "hex8_4p"])
def test_budgets_are_exact(config: str, simulations: int, hashed: Maker) -> None:
    for seed in range(3):
        game, evaluator = random_game(config, 60, seed), hashed(config)
        settings = GumbelSettings(simulations=simulations)
        outcome, tree = grow(game, evaluator, settings, seed)
        _, moves, policy, visits, root_value, (spent, evaluations, _, _) = outcome
        assert spent == visits.sum() == simulations
        assert evaluations == sum(evaluator.batches) == 1 + (~tree["terminal"].astype(bool)[1:]).sum()
        assert (visits > 0).sum() <= min(16, len(moves), simulations)
        assert policy.sum() == pytest.approx(1, abs=1e-5)
        assert root_value.sum() == pytest.approx(1, abs=1e-5)


def test_visits_of_ends_are_counted_and_need_no_evaluation(hashed: Maker) -> None:
    game = winning_position("square8_2p")
    evaluator = hashed("square8_2p")
    outcome, tree = grow(game, evaluator, GumbelSettings(simulations=64, considered=64), 0)
    assert tree["terminal"].any()
    visits_of_ends = int(tree["visits"][tree["terminal"] == 1].sum())
    simulations, evaluations, cached, ends = outcome[5]
    assert ends == visits_of_ends
    assert evaluations - 1 + ends == simulations == 64
    assert cached == 0


@pytest.mark.parametrize("config", ["square8_2p", "hex8_3p", "square8_4p"])
def test_a_search_depends_on_its_seed_alone(config: str, hashed: Maker) -> None:
    games = [random_game(config, 10 * i, i) for i in range(7)]
    settings = GumbelSettings(simulations=24)
    together = search(games, hashed(config), settings, range(7))
    small = search(games, hashed(config), settings, range(7), max_batch=3)
    alone = [search([game], hashed(config), settings, [i])[0] for i, game in enumerate(games)]
    for a, b, c in zip(together, small, alone, strict=True):
        for other in (b, c):
            assert a.move == other.move
            assert a.policy.tobytes() == other.policy.tobytes()
            assert a.visits.tobytes() == other.visits.tobytes()
            assert a.root_value.tobytes() == other.root_value.tobytes()
    others = search(games, hashed(config), settings, range(100, 107))
    assert any((a.visits != b.visits).any() for a, b in zip(together, others, strict=True))


def test_one_batch_serves_all_games(hashed: Maker) -> None:
    evaluator = hashed("square8_2p")
    games = [random_game("square8_2p", 12, seed) for seed in range(5)]
    search(games, evaluator, GumbelSettings(simulations=10), range(5))
    # The root, then the levels of halving: 10 moves in 4 phases.
    assert evaluator.batches == [5, 50]


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_is_searched(config: str) -> None:
    games = [random_game(config, plies, plies) for plies in (0, 9, 30)]
    results = search(games, UniformEvaluator(config), GumbelSettings(simulations=8), range(3))
    for game, result in zip(games, results, strict=True):
        assert result.move in game.playable_moves()
        assert result.visits.sum() == 8
        assert len(result.policy) == len(game.playable_moves())


def test_without_a_choice_there_is_no_search(hashed: Maker) -> None:
    rng, game = np.random.default_rng(0), Game("square8_2p")
    while len(moves := game.playable_packed()) > 1:
        game.push_packed(int(moves[rng.integers(len(moves))]))
    evaluator = hashed("square8_2p")
    (result,) = search([game], evaluator, GumbelSettings(simulations=50), [1])
    assert str(result.move) == str(game.playable_moves()[0])
    assert result.policy.tolist() == [1.0]
    assert evaluator.batches == [1]
    ahead = game.copy()
    ahead.advance_forced()
    _, value = evaluator.evaluate(*encode([ahead]))
    np.testing.assert_allclose(np.roll(value[0], ahead.to_move - 1), result.root_value, rtol=1e-6)


def test_bad_input_is_refused() -> None:
    evaluator = UniformEvaluator("square8_2p")
    with pytest.raises(RulesError, match="does not belong"):
        search([Game("square8_3p")], evaluator, GumbelSettings(), [0])
    with pytest.raises(RulesError, match="seeds"):
        search([Game("square8_2p")], evaluator, GumbelSettings(), [])
    over = Game("square8_2p")
    while not over.is_over:
        over.push_packed(int(over.playable_packed()[0]))
    with pytest.raises(RulesError, match="over"):
        search([over], evaluator, GumbelSettings(), [0])
    with pytest.raises(ValueError, match="simulations is 0"):
        GumbelSettings(simulations=0)
    assert search([], evaluator, GumbelSettings(), []) == []


# -- what it finds -----------------------------------------------------------------------------------------------------


def winning_position(config: str) -> Game:
    """A position in which a few of many moves win at once."""
    rng = np.random.default_rng(5)
    for _ in range(200):
        game = Game(config)
        while not game.is_over:
            moves = game.playable_packed()
            if len(moves) >= 8 and 1 <= len(winning(game)) <= 3:
                return game
            game.push_packed(int(moves[rng.integers(len(moves))]))
    raise AssertionError("no such position")


def winning(game: Game) -> list[int]:
    """Moves after which, without a further choice, the game is over and won by the seat that makes them."""
    found = []
    for index, bits in enumerate(game.playable_packed()):
        after = game.copy()
        after.push_packed(int(bits))
        after.advance_forced()
        outcome = after.outcome()
        if outcome and outcome.winner == game.to_move:
            found.append(index)
    return found


@pytest.mark.parametrize("config", ["square8_2p", "hex8_2p", "square8_3p"])
def test_it_finds_a_win_on_the_spot(config: str) -> None:
    game = winning_position(config)
    moves = len(game.playable_packed())
    settings = GumbelSettings(simulations=3 * moves, considered=moves)
    (result,) = search([game], UniformEvaluator(config), settings, [3])
    best = winning(game)
    assert [str(move) for move in game.playable_moves()].index(str(result.move)) in best
    assert result.policy[best].sum() > 0.99
    assert result.root_value[game.to_move - 1] == result.root_value.max()


# -- the paper's formulas, written a second time -----------------------------------------------------------------------


@dataclass
class Node:
    """A node of the reference search, in double precision."""

    game: Game
    value: NDArray[np.float64]  # [P] by absolute seat
    prior: NDArray[np.float64]  # [A]
    logits: NDArray[np.float64]
    visits: NDArray[np.int64]
    sums: NDArray[np.float64]
    children: dict[int, "Node"] = field(default_factory=dict)


def reference(game: Game, evaluator: Evaluator, settings: GumbelSettings) -> tuple[Node, int, list[tuple[int, ...]]]:
    """Root, chosen move and the path of every simulation, without noise."""

    def make(game: Game) -> Node:
        seats = game.num_seats
        if outcome := game.outcome():
            return Node(game, np.eye(seats)[outcome.winner - 1], *(np.zeros(0) for _ in range(4)))  # type: ignore[arg-type]
        logits, value = evaluator.evaluate(*encode([game]))
        pairs = policy_addresses(game)
        gathered = logits[0][pairs[:, 0]] + np.where(pairs[:, 1] < 0, 0, logits[0][pairs[:, 1]])
        gathered = gathered.astype(np.float64)
        prior = np.exp(gathered - gathered.max())
        count = len(pairs)
        absolute = np.roll(value[0].astype(np.float64), game.to_move - 1)
        return Node(game, absolute, prior / prior.sum(), gathered, np.zeros(count, np.int64), np.zeros(count))

    def completed(node: Node) -> tuple[NDArray[np.float64], float]:
        tried = node.visits > 0
        q = np.divide(node.sums, node.visits, out=np.zeros(len(tried)), where=tried)
        mixed = node.value[node.game.to_move - 1]
        if tried.any():
            total, weight = node.visits.sum(), node.prior[tried]
            mixed = (mixed + total * (weight @ q[tried]) / weight.sum()) / (1 + total)
        return np.where(tried, q, mixed), (settings.c_visit + node.visits.max()) * settings.c_scale

    def inner(node: Node) -> int:
        q, scale = completed(node)
        policy = node.logits + scale * q
        policy = np.exp(policy - policy.max())
        return int(np.argmax(policy / policy.sum() - node.visits / (1 + node.visits.sum())))

    root = make(game)
    considered = min(settings.considered, len(root.visits), settings.simulations)
    order = np.argsort(-root.logits, kind="stable")[:considered]
    schedule: list[int] = []
    left, had = considered, 0
    rounds = math.ceil(math.log2(considered)) if considered > 1 else 1
    while len(schedule) < settings.simulations:
        for _ in range(max(1, settings.simulations // (rounds * left))):
            schedule += [had] * left
            had += 1
        left = max(2, left // 2) if considered > 1 else 1
    paths = []

    def best_of(candidates: NDArray[np.int64]) -> int:
        q, scale = completed(root)
        return int(candidates[np.argmax((root.logits + scale * q)[candidates])])

    def level(had: int, size: int) -> list[int]:
        """The moves of one level of halving, the best first: chosen before any of them is visited again."""
        q, scale = completed(root)
        competing = order[root.visits[order] == had]
        return list(competing[np.argsort(-(root.logits + scale * q)[competing], kind="stable")][:size])

    levels = Counter(schedule[: settings.simulations])
    for index in (index for had in sorted(levels) for index in level(had, levels[had])):
        node, path = root, []
        while True:
            path.append((node, index))
            if index not in node.children:
                after = node.game.copy()
                after.push_packed(int(after.playable_packed()[index]))
                after.advance_forced()
                node.children[index] = make(after)
                node = node.children[index]
                break
            node = node.children[index]
            if node.game.is_over:
                break
            index = inner(node)
        for above, chosen in path:
            above.visits[chosen] += 1
            above.sums[chosen] += node.value[above.game.to_move - 1]
        paths.append(tuple(chosen for _, chosen in path))
    return root, best_of(order[root.visits[order] == root.visits[order].max()]), paths


@pytest.mark.parametrize(
    ("config", "plies", "c_scale"),
    [
        ("square8_2p", 10, 1.0),
        ("square8_2p", 40, 0.1),
        ("hex8_3p", 40, 0.1),
        ("square8_4p", 25, 0.3),
        ("hexagonal_4p", 9, 0.1),
    ],
)
def test_it_is_the_search_of_the_paper(config: str, plies: int, c_scale: float, hashed: Maker) -> None:
    game, evaluator = random_game(config, plies, 11), hashed(config)
    # Distinct logits: ties could be broken either way.
    tilt = np.linspace(0, 0.01, evaluator._logits.shape[1], dtype=np.float32)
    evaluator._logits = evaluator._logits + tilt
    settings = GumbelSettings(simulations=120, considered=6, c_scale=c_scale, gumbel_scale=0.0)
    root, choice, paths = reference(game, evaluator, settings)
    outcome, tree = grow(game, evaluator, settings, 0)
    assert max(map(len, paths)) >= (2 if config.startswith("hexagonal") else 4)
    np.testing.assert_array_equal(outcome[3], root.visits)
    assert outcome[0] == choice
    # The nodes come in the order of the simulations that made them.
    moves = [
        tuple(int(bits) for bits in moves) for moves in dict.fromkeys(tuple(_moves_of(root, path)) for path in paths)
    ]
    made = []
    for node in range(1, len(tree["parent"])):
        steps, at = [], node
        while at > 0:
            steps.append(int(tree["move"][at]))
            at = tree["parent"][at]
        made.append(tuple(reversed(steps)))
    assert made == moves
    q = np.divide(root.sums, root.visits, out=np.zeros(len(root.sums)), where=root.visits > 0)
    np.testing.assert_allclose(
        outcome[4], (root.value + _root_sums(root)) / (1 + root.visits.sum()), rtol=1e-4, err_msg=str(q)
    )


def _moves_of(root: Node, path: tuple[int, ...]) -> list[int]:
    moves, node = [], root
    for index in path:
        moves.append(int(node.game.playable_packed()[index]))
        node = node.children[index]
    return moves


def _root_sums(root: Node) -> NDArray[np.float64]:
    """What all simulations together said, by seat."""

    def below(node: Node, visits: int) -> NDArray[np.float64]:
        if node.game.is_over:
            return node.value * visits
        total = node.value.copy()
        for index, child in node.children.items():
            total += below(child, int(node.visits[index]))
        return total

    return sum((below(child, int(root.visits[i])) for i, child in root.children.items()), np.zeros(len(root.value)))


def test_the_measurement_counts_and_repeats_itself() -> None:
    first, second = (list(bench.rows(["square8_2p"], GumbelSettings(8), games=4, repeats=1)) for _ in range(2))
    assert first[0]["signature"] == second[0]["signature"]
    assert first[0]["evaluations"] + first[0]["terminal_visits"] == 4 * 9
