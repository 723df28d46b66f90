"""Every player, on every config: a legal decision per game, from its generator alone; limits, names and mixtures."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import player_moves
import pytest
from trees import HashEvaluator

from ringrift.errors import CorruptBlob, RulesError
from ringrift.players import (
    PLAYERS,
    Limit,
    MixedPlayer,
    Player,
    PlayerChoice,
    PolicyPlayer,
    PolicySettings,
    TreePlayer,
    choose,
    judged,
)
from ringrift.rules import CONFIGS, Game, Record, config_info
from ringrift.search import GumbelSettings, MinimaxSettings, Stop, search
from ringrift.search.positions import middle_positions
from ringrift.selfplay import PlaySettings, Task, drawn_seats, play, random_opening

SEARCH = GumbelSettings(simulations=4, considered=4)


def positions(config: str) -> list[Game]:
    games = []
    for plies in (0, 3, 10, 25):
        game = Game(config)
        for move in random_opening(config, plies, seed=plies):
            game.push(game.move(move))
        games.append(game)
    return games


def made(name: str, config: str) -> Player:
    if PLAYERS[name].evaluator == "network":
        return player_moves.golden_player(name, config)
    choice = choose(name, config, SEARCH)
    few = Limit(simulations=300) if isinstance(choice.search, MinimaxSettings) else None
    return dataclasses.replace(choice, limit=few).make()


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("name", PLAYERS)
def test_contract(name: str, config: str) -> None:
    if config_info(config).players not in PLAYERS[name].seats:
        with pytest.raises(RulesError, match="seats, not"):
            choose(name, config)
        return
    player, games = made(name, config), positions(config)
    before = [game.text() for game in games]
    decisions = player.decide(games, [np.random.default_rng(i) for i in range(len(games))])
    assert [game.text() for game in games] == before
    assert len(decisions) == len(games)
    for game, decision in zip(games, decisions, strict=True):
        playable = game.playable_moves()
        assert decision.move in playable
        if decision.policy is not None:
            assert decision.policy.shape == (len(playable),)
            assert decision.policy.sum() == pytest.approx(1, abs=1e-3)
        if decision.value_by_seat is not None:
            assert decision.value_by_seat.shape == (config_info(config).players,)
            assert decision.value_by_seat.sum() == pytest.approx(1, abs=1e-3)
    alone = [player.play(game, rng=np.random.default_rng(i)) for i, game in enumerate(games)]
    assert [one.move for one in alone] == [one.move for one in decisions]
    shared = [player.decide(games, np.random.default_rng(7)) for _ in range(2)]
    assert [one.move for one in shared[0]] == [one.move for one in shared[1]]
    limited = player.play(games[0], Limit(simulations=2), np.random.default_rng(0))
    assert limited.move in games[0].playable_moves()


def test_golden_moves() -> None:
    """Every row plays what it played, and no two rows play alike."""
    golden = json.loads(player_moves.FILE.read_text())
    found = player_moves.moves()
    assert len(golden["positions"]) == player_moves.POSITIONS
    for name in ("positions", *PLAYERS):
        assert found[name] == golden[name], f"{name}: a change of play is written by tests/player_moves.py"
    rows = [tuple(golden[name]) for name in PLAYERS]
    assert len(set(rows)) == len(rows)


# -- limits ------------------------------------------------------------------------------------------------------------


def test_a_limit_of_simulations_replaces_the_budget() -> None:
    game, rng = positions("square8_2p")[3], np.random.default_rng
    player = TreePlayer(HashEvaluator("square8_2p"), GumbelSettings(simulations=64))
    for simulations in (1, 5, 200):
        limited = player.play(game, Limit(simulations=simulations), rng(3))
        exact = TreePlayer(HashEvaluator("square8_2p"), GumbelSettings(simulations=simulations)).play(game, rng=rng(3))
        assert limited.move == exact.move
        assert limited.policy is not None
        assert exact.policy is not None
        assert limited.policy.tobytes() == exact.policy.tobytes()
    choice = dataclasses.replace(choose("gumbel", "square8_2p"), limit=Limit(simulations=7))
    limited_player = choice.make()
    assert isinstance(limited_player, TreePlayer)
    assert (limited_player.settings.simulations, choice.simulations) == (7, 7)
    assert dataclasses.replace(choice, limit=Limit(seconds=1)).simulations is None


@pytest.mark.timeout(60)
def test_a_limit_of_time_is_kept() -> None:
    games = positions("square8_2p")
    player = dataclasses.replace(choose("gumbel", "square8_2p"), limit=Limit(seconds=0.05)).make()
    player.decide(games, np.random.default_rng(0))
    wall, spent = time.perf_counter(), time.process_time()
    for _ in range(5):
        player.decide(games, np.random.default_rng(0))
    wall, spent = time.perf_counter() - wall, time.process_time() - spent
    assert spent < 5 * 4 * 0.05 * 1.5
    assert wall > 5 * 4 * 0.05 * 0.3


@pytest.mark.parametrize("name", ["gumbel", "puct", "alpha-beta"])
def test_a_search_is_stopped_from_outside_and_keeps_its_budget_otherwise(name: str) -> None:
    game, choice = positions("square8_2p")[0], choose(name, "square8_2p")

    def play(limit: Limit) -> str:
        return str(choice.make().play(game, limit, np.random.default_rng(0)))

    assert play(Limit(stop=Stop())) == play(Limit())
    assert dataclasses.replace(choice, limit=Limit(stop=Stop())).simulations == choice.simulations
    for endless in (Limit(stop=Stop(), seconds=60.0), Limit(stop=Stop(), simulations=1_000_000)):
        threading.Timer(0.1, endless.stop.set).start()  # type: ignore[union-attr]
        decision = choice.make().play(game, endless, np.random.default_rng(0))
        assert decision.nodes > 8 and decision.move in game.playable_moves()


def test_with_both_limits_the_first_counts() -> None:
    seen = HashEvaluator("square8_2p")
    player = TreePlayer(seen, GumbelSettings()).limited(Limit(simulations=3, seconds=100.0))
    player.play(Game("square8_2p"), rng=np.random.default_rng(0))
    assert sum(seen.batches) == 1 + 3


def test_a_limit_of_time_alone_lets_budgets_grow() -> None:
    game = positions("square8_2p")[0]
    for name in ("gumbel", "puct", "alpha-beta"):
        decision = choose(name, "square8_2p").make().play(game, Limit(seconds=0.3), np.random.default_rng(0))
        assert decision.nodes > 100, name


@pytest.mark.parametrize("limit", [{"simulations": 0}, {"seconds": 0.0}, {"seconds": -1.0}, {"seconds": float("inf")}])
def test_limits_that_are_none(limit: dict[str, float]) -> None:
    with pytest.raises(RulesError, match="is right"):
        Limit(**limit)  # type: ignore[arg-type]


def test_a_game_that_is_over_has_no_decision() -> None:
    game, rng = Game("square8_2p"), np.random.default_rng(0)
    while not game.is_over:
        moves = game.playable_packed()
        game.push_packed(int(rng.choice(moves)))
    with pytest.raises(RulesError, match="over"):
        choose("random", "square8_2p").make().play(game)


# -- the policy alone --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", ["square8_2p", "hex8_4p"])
def test_the_policy_is_the_prior_of_a_search(config: str) -> None:
    evaluator, games = HashEvaluator(config), positions(config)
    for game, (policy, value) in zip(games, judged(games, evaluator), strict=True):
        # One simulation without noise visits the likeliest move.
        likeliest = search([game], evaluator, GumbelSettings(simulations=1, considered=1, gumbel_scale=0), [0])[0]
        assert likeliest.visits[policy.argmax()] == 1
        assert value.sum() == pytest.approx(1, abs=1e-6)
        decision = PolicyPlayer(evaluator, PolicySettings()).play(game, rng=np.random.default_rng(1))
        assert decision.move == likeliest.move
    assert judged([], evaluator) == []
    with pytest.raises(RulesError, match="evaluator of"):
        judged([Game("square19_2p")], evaluator)


def test_the_temperature_of_the_policy() -> None:
    config, draws = "square8_2p", 3000
    game, evaluator = positions(config)[3], HashEvaluator(config)
    (policy, _), moves = judged([game], evaluator)[0], game.playable_moves()
    for temperature in (1.0, 0.5):
        player = PolicyPlayer(evaluator, PolicySettings(temperature))
        drawn = player.decide([game] * draws, np.random.default_rng(0))
        counts = np.bincount([moves.index(one.move) for one in drawn], minlength=len(moves))
        expected = policy ** (1 / temperature) / (policy ** (1 / temperature)).sum()
        assert np.abs(counts / draws - expected).max() < 4 * np.sqrt(0.25 / draws)
    with pytest.raises(ValueError, match="temperature is -1"):
        PolicySettings(-1)


# -- players made of players -------------------------------------------------------------------------------------------


def test_a_mixed_player_keeps_its_seat_for_a_game() -> None:
    config = "hex8_4p"
    names = ("random", "heuristic", "gumbel")
    choice = choose("mixed:" + ",".join(names), config, SEARCH)
    assert [part.spec for part in choice.parts] == list(names)
    tasks = [Task(str(i), 1000 + i, (0,) * 4) for i in range(12)]
    players, seated = drawn_seats(choice, tasks)
    assert {task.seats for task in seated} > {seated[0].seats}
    assert all({task.seats[i] for task in seated} == {0, 1, 2} for i in range(4))
    here = PlaySettings(processes=1)
    recorded = {g.work_id: Record.from_bytes(g.record) for g in play(players, seated[:3], here)}
    unrecorded = {g.work_id: Record.from_bytes(g.record) for g in play([choice], tasks[:3], here)}
    for task in seated[:3]:
        assert recorded[task.work_id].players == tuple(names[i] for i in task.seats)
        assert (recorded[task.work_id].moves == unrecorded[task.work_id].moves).all()
    assert drawn_seats(choose("random", config), tasks) == ([choose("random", config)], tasks)


def test_a_mixed_player_needs_a_seed() -> None:
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([1, 2])))
    with pytest.raises(RulesError, match="default_rng"):
        MixedPlayer([choose("random", "square8_2p").make()]).play(Game("square8_2p"), rng=rng)


def test_a_share_of_random_decisions() -> None:
    game = middle_positions("square8_2p", 1, seed=3)[0]
    sure = choose("heuristic", "square8_2p")
    best = {sure.make().play(game, rng=np.random.default_rng(i)).move for i in range(100)}
    for share in (0.0, 0.5, 1.0):
        player = dataclasses.replace(sure, randomness=share).make()
        drawn = player.decide([game] * 400, np.random.default_rng(1))
        expected = 1 - share * (1 - len(best) / len(game.playable_moves()))
        assert abs(np.mean([one.move in best for one in drawn]) - expected) < (0.1 if share else 1e-9)


# -- names -------------------------------------------------------------------------------------------------------------


def models(name: str) -> tuple[str, Path]:
    return f"m-{name}", Path(f"{name}.onnx")


def test_names_of_players() -> None:
    def chosen(name: str) -> PlayerChoice:
        return choose(name, "square8_2p", SEARCH, models, Limit(seconds=2))

    assert (chosen("best").name, chosen("best").spec) == ("m-best", "gumbel")
    assert (chosen("gumbel:best").name, chosen("gumbel:best").spec) == ("m-best", "gumbel")
    assert (chosen("policy:best").name, chosen("policy:best").spec) == ("policy:m-best", "policy")
    assert chosen("policy:best").search == PolicySettings()
    assert chosen("gumbel").search == SEARCH
    assert chosen("best").limit == Limit(seconds=2)
    assert [part.name for part in chosen("mixed:best,policy:best").parts] == ["m-best", "policy:m-best"]


def test_names_that_are_not_players() -> None:
    with pytest.raises(RulesError, match="unknown player 'gumbl'; did you mean 'gumbel'"):
        choose("gumbl", "square8_2p")
    with pytest.raises(RulesError, match="models are found in a run directory"):
        choose("best", "square8_2p")
    with pytest.raises(RulesError, match="unknown config"):
        choose("random", "square9_2p")
    with pytest.raises(RulesError, match="random has no network"):
        choose("random:best", "square8_2p", models=models)
    with pytest.raises(RulesError, match="as in policy:best"):
        choose("policy", "square8_2p").make()


def test_a_file_that_is_no_network(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(CorruptBlob, match=r"x\.onnx"):
        choose("best", "square8_2p", models=lambda name: ("m-1", tmp_path / "x.onnx")).make()


def test_players_need_numpy_alone() -> None:
    code = "import sys, ringrift.players; assert not {'torch', 'onnxruntime', 'rich', 'sqlite3'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
