"""Games that play themselves in the core."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from trees import HashEvaluator

from ringrift.encoding import encode, policy_addresses
from ringrift.evaluators import UniformEvaluator
from ringrift.rules import Game
from ringrift.search import FinishedGame, GumbelSettings, SearchEconomy, SelfplayPool, TreeMemory

Maker = Callable[[str], Any]
SETTINGS = GumbelSettings(simulations=6, considered=4)


def play(evaluator: Any, starts: list[Game], slots: int, **options: Any) -> list[FinishedGame]:
    pool = SelfplayPool(evaluator, SETTINGS, slots=slots, **options)
    for seed, game in enumerate(starts):
        assert pool.add(game, seed) == seed
    games = sorted(pool.play(), key=lambda game: game.index)
    assert pool.unfinished == 0
    return games


def starts(config: str, count: int) -> list[Game]:
    rng, games = np.random.default_rng(1), []
    for plies in range(count):
        game = Game(config)
        for _ in range(plies):
            moves = game.playable_packed()
            game.push_packed(int(moves[rng.integers(len(moves))]))
        games.append(game)
    return games


@pytest.mark.parametrize("config", ["square8_2p", "hex8_3p", "square8_4p"])
def test_games_replay_with_their_targets(config: str) -> None:
    begin = starts(config, 5)
    games = play(UniformEvaluator(config), begin, slots=3, temperatures=[1.0] * 4)
    assert [game.index for game in games] == list(range(5))
    for start, finished in zip(begin, games, strict=True):
        game = start.copy()
        decisions = dict(zip(finished.ply.tolist(), range(len(finished.ply)), strict=True))
        for ply, bits in enumerate(finished.moves.tolist()):
            playable = game.playable_packed()
            if (decision := decisions.get(ply)) is None:
                assert len(playable) == 1
            else:
                target = finished.policy[finished.offsets[decision] : finished.offsets[decision + 1]]
                assert len(target) == len(playable) > 1
                assert target.sum(dtype=np.float64) == pytest.approx(1, abs=0.01)
                assert target[list(playable).index(bits)] > 0
            game.push_packed(bits)
        outcome = game.outcome()
        assert outcome is not None
        assert outcome.winner == finished.winner
        assert finished.root_value.shape == (len(finished.ply), game.num_seats)
        assert finished.simulations == 6 * len(finished.ply)


def test_a_game_does_not_depend_on_the_games_beside_it(hashed: Maker) -> None:
    begin = starts("square8_2p", 6)
    games = [play(hashed("square8_2p"), begin, slots=slots, temperatures=[1.0] * 3) for slots in (1, 4, 16)]
    for others in games[1:]:
        for a, b in zip(games[0], others, strict=True):
            assert a.moves.tobytes() == b.moves.tobytes()
            assert a.policy.tobytes() == b.policy.tobytes()


def test_batches_are_full_while_games_wait(hashed: Maker) -> None:
    evaluator = hashed("square8_2p")
    play(evaluator, starts("square8_2p", 1) * 12, slots=4)
    assert evaluator.batches[: len(evaluator.batches) // 2] == [4] * (len(evaluator.batches) // 2)


def test_a_finished_game_in_the_queue_comes_straight_back() -> None:
    over = Game("square8_2p")
    while not over.is_over:
        over.push_packed(int(over.playable_packed()[0]))
    (finished,) = play(UniformEvaluator("square8_2p"), [over], slots=2)
    assert len(finished.moves) == len(finished.ply) == 0
    outcome = over.outcome()
    assert outcome is not None
    assert finished.winner == outcome.winner


def test_targets_can_be_left_out() -> None:
    (game,) = play(UniformEvaluator("square8_2p"), starts("square8_2p", 1), slots=1, keep_search=False)
    assert len(game.moves) > 20
    assert len(game.ply) == len(game.policy) == 0


def test_overlapped_games_are_the_same_games(hashed: Maker) -> None:
    begin = starts("hex8_2p", 7)
    plain = play(hashed("hex8_2p"), begin, slots=4, temperatures=[1.0] * 3)
    both = play(hashed("hex8_2p"), begin, slots=4, temperatures=[1.0] * 3, overlap=True)
    assert [game.moves.tobytes() for game in plain] == [game.moves.tobytes() for game in both]
    assert [game.policy.tobytes() for game in plain] == [game.policy.tobytes() for game in both]


def test_surprise_is_the_divergence_of_the_policy_from_the_prior(hashed: Maker) -> None:
    evaluator = hashed("square8_3p")
    (start,) = starts("square8_3p", 1)
    (done,) = play(evaluator, [start], slots=1)
    assert (done.surprise.dtype, done.surprise.shape) == (np.float16, done.ply.shape)
    game, expected = start.copy(), []
    for ply, move in enumerate(done.moves.tolist()):
        if ply in done.ply:
            first, last = done.offsets[len(expected) : len(expected) + 2]
            logits = np.append(evaluator.evaluate(*encode([game]))[0][0], 0.0)[policy_addresses(game)].sum(1)
            prior = np.exp(logits - logits.max(), dtype=np.float64)
            target = done.policy[first:last].astype(np.float64)
            kept = target > 0
            expected.append((target[kept] * np.log(target[kept] / (prior / prior.sum())[kept])).sum())
        game.push_packed(move)
    assert done.surprise == pytest.approx(np.array(expected), abs=0.02)
    assert done.surprise.max() > 0.5


def test_games_added_while_others_end_are_played_too(hashed: Maker) -> None:
    for overlap in (False, True):
        pool = SelfplayPool(hashed("square8_2p"), SETTINGS, slots=2, overlap=overlap)
        (start,) = starts("square8_2p", 1)
        pool.add(start, 0)
        done = []
        for game in pool.play():
            done.append(game.index)
            if len(done) < 5:
                pool.add(start, len(done))
        assert done == [0, 1, 2, 3, 4]


def test_an_evaluator_that_fails_is_heard(hashed: Maker) -> None:
    class Broken(HashEvaluator):
        def evaluate(self, planes: Any, globals_: Any) -> Any:
            raise ZeroDivisionError

    for overlap in (False, True):
        pool = SelfplayPool(Broken("square8_2p"), SETTINGS, slots=4, overlap=overlap)
        for seed, game in enumerate(starts("square8_2p", 4)):
            pool.add(game, seed)
        with pytest.raises(ZeroDivisionError):
            list(pool.play())


def test_cheap_searches_are_marked(hashed: Maker) -> None:
    begin = starts("square8_2p", 4)
    economy = SearchEconomy(full_share=0.25, cheap_simulations=2)
    games = play(hashed("square8_2p"), begin, slots=4, economy=economy)
    full = np.concatenate([game.full for game in games])
    assert 0.1 < full.mean() < 0.45
    assert sum(game.simulations for game in games) == 6 * full.sum() + 2 * (len(full) - full.sum())
    assert all(game.full.all() for game in play(hashed("square8_2p"), begin, slots=4))


def test_the_cache_saves_evaluations_and_changes_no_game(hashed: Maker) -> None:
    begin = starts("square8_2p", 4)
    without = play(hashed("square8_2p"), begin, slots=4, memory=TreeMemory(cache_mib=0))
    found = play(hashed("square8_2p"), begin, slots=4, memory=TreeMemory(cache_mib=8))
    assert [game.moves.tobytes() for game in without] == [game.moves.tobytes() for game in found]
    for a, b in zip(without, found, strict=True):
        assert a.cached == 0
        assert b.cached + b.evaluations == a.evaluations
        assert b.cached > a.evaluations // 20
