"""Self-play: every game its own seed, and the same games on one process and on two."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from ringrift.errors import CorruptBlob, JobError
from ringrift.pipeline import selfplay
from ringrift.players import Decision, PlayerChoice, choose
from ringrift.rules import CONFIGS, Game, Record, config_info
from ringrift.search import GumbelSettings, TreeMemory
from ringrift.selfplay import (
    PlaySettings,
    SelfplaySettings,
    derive_seed,
    held_for_matches,
    play,
    random_opening,
    regretted,
    selfplay_tasks,
)
from ringrift.selfplay.play import Rules, Table, Task
from ringrift.selfplay.temperature import TemperatureSettings
from ringrift.store import GameStore, RunDirectory

SETTINGS = SelfplaySettings()


def played(choice: PlayerChoice, games: int, done: set[str] = frozenset(), **settings: int) -> dict[str, bytes]:  # type: ignore[assignment]
    tasks = selfplay_tasks(choice.config, "batch", games, SETTINGS, seed=1, done=done)
    options = PlaySettings(**{"processes": 1, **settings})
    return {game.work_id: game.record for game in play([choice], tasks, options, keep_search=True)}


def test_adaptive_temperatures_look_at_the_position() -> None:
    adaptive = TemperatureSettings("adaptive", start=1.0, end=0.0)
    rules = Rules("square8_2p", temperatures=(1.0,) * 5, adaptive=adaptive)

    def first_moves(peak: float) -> set[str]:
        found = set()
        for seed in range(40):
            table = Table(Task("one", seed, (0, 0)), rules)
            moves = table.game.playable_moves()
            policy = np.full(len(moves), (1 - peak) / (len(moves) - 1), np.float32)
            policy[7] = peak
            table.decide(Decision(moves[0], policy=policy), 0.0)
            found.add(table.game.moves[0].text)
        return found

    assert len(first_moves(1 / 192)) > 20, "an open position is drawn from"
    assert len(first_moves(0.9)) == 1, "a clear one is not, though its temperature without a look would be 1"


def test_mixed_temperatures_are_each_game_s_own_and_the_elo_cools(tmp_path: Path) -> None:
    def told(name: str, kind: str, elo: float = 0.0) -> set[tuple[float, ...]]:
        heat = TemperatureSettings(kind, exploration_decisions=3, decay_from=0, decay_to=8)
        settings = dataclasses.replace(
            SETTINGS, temperature=heat, temperature_decisions=10, memory=TreeMemory(reuse=True),
            play=PlaySettings(processes=1),
        )  # fmt: skip
        player = choose("gumbel", "square8_2p", GumbelSettings(simulations=2))
        selfplay.play_games(run, "square8_2p", name, 8, settings, player, elo=elo)
        records = [
            game.read() for game in GameStore(run).iter_waiting() if game.work_id.startswith(f"square8_2p/{name}/")
        ]
        assert len(records) == 8
        return {tuple(json.loads(str(record.meta["selfplay"]))["temperatures"]) for record in records}

    with RunDirectory.create(tmp_path / "run") as run:
        assert len(told("mixed", "mixed")) > 1
        (weak,), (strong,) = told("weak", "elo_adaptive", 1000.0), told("strong", "elo_adaptive", 2000.0)
        assert weak[0] == pytest.approx(1.0) and strong == pytest.approx((0.1,) * 10)


def test_seeds_differ_by_their_words() -> None:
    seeds = {derive_seed(seed, word, i) for seed in (0, 1) for word in ("a", "b") for i in range(100)}
    assert len(seeds) == 400
    assert derive_seed(0, "a", 1) == derive_seed(0, "a", 1)
    assert all(0 <= seed < 1 << 63 for seed in seeds)


def test_openings_do_not_end_the_game() -> None:
    lengths = {len(random_opening("square8_2p", plies, seed)) for seed in range(3) for plies in (0, 5, 8)}
    assert lengths == {0, 5, 8}


@pytest.mark.parametrize("config", ["square8_2p", "hex8_3p"])
def test_matches_and_training_start_from_other_positions(config: str) -> None:
    symmetries = 12 if config_info(config).is_hex else 8
    keys: dict[bool, set[int]] = {True: set(), False: set()}
    for of_match in keys:
        for seed in range(60):
            game = Game(config)
            for move in random_opening(config, 1 + seed % 4, seed, of_match=of_match):
                game.push(game.move(move))
            images = [game.transform(symmetry) for symmetry in range(symmetries)]
            assert {held_for_matches(image) for image in images} == {of_match}
            keys[of_match] |= {image.key for image in images}
    assert not keys[True] & keys[False]
    with pytest.raises(ValueError, match="1 random ply or more"):
        random_opening(config, 0, 1, of_match=True)
    for task in selfplay_tasks(config, "batch", 30, SETTINGS):
        game = Game(config)
        for move in task.opening:
            game.push(game.move(move))
        assert not task.opening or not held_for_matches(game)


def test_restarts_begin_where_a_search_was_most_wrong() -> None:
    uniform = choose("gumbel", "square8_2p", GumbelSettings(simulations=4))
    records = [Record.from_bytes(one) for one in played(uniform, 6).values()]
    found = []
    for record in records:
        search = record.search
        assert search is not None
        chance = np.full_like(search.root_value, 0.9)
        believed = dataclasses.replace(record, search=dataclasses.replace(search, root_value=chance.copy()))
        assert regretted(believed) == ()
        worst = len(chance) // 2
        chance[worst, record.winner - 1] = 0.1
        if restart := regretted(dataclasses.replace(record, search=dataclasses.replace(search, root_value=chance))):
            assert list(restart) == record.moves[: search.ply[worst]].tolist()
            game = Game("square8_2p")
            for move in restart:
                game.push_packed(move)
            assert not held_for_matches(game)
            found.append(restart)
    assert 0 < len(found) < 6, "about half of the positions are held for matches"

    half = dataclasses.replace(SETTINGS, restart_share=0.5)
    openings = [task.opening for task in selfplay_tasks("square8_2p", "batch", 200, half, restarts=found)]
    assert 70 <= sum(opening in found for opening in openings) <= 130
    assert not any(
        task.opening in found for task in selfplay_tasks("square8_2p", "batch", 50, SETTINGS, restarts=found)
    )


@pytest.mark.parametrize("engine", ["random", "heuristic"])
def test_a_game_depends_on_its_index_alone(engine: str) -> None:
    choice = choose(engine, "square8_2p")
    whole = played(choice, 6)
    assert list(whole) != []
    assert played(choice, 6, concurrent=2) == whole
    missing = played(choice, 6, done={"batch/000001", "batch/000004"})
    assert missing == {work: whole[work] for work in whole if work not in ("batch/000001", "batch/000004")}
    assert len(set(whole.values())) == 6


def test_two_processes_play_the_same_games() -> None:
    choice = choose("heuristic", "hex8_2p")
    assert played(choice, 4, processes=2) == played(choice, 4)


@pytest.mark.parametrize("config", [name for name in CONFIGS if name.startswith(("square8", "hex8"))])
def test_records_hold_what_was_searched(config: str) -> None:
    choice = choose("gumbel", config, GumbelSettings(simulations=2, considered=2))
    for content in played(choice, 2).values():
        record = Record.from_bytes(content)
        game, search = Game(config), record.search
        assert search is not None
        assert record.players == ("gumbel",) * config_info(config).players
        rows = {int(ply): row for row, ply in enumerate(search.ply)}
        opening = record.meta["opening_plies"]
        assert isinstance(opening, int)
        assert min(rows) >= opening
        for move in record.moves.tolist():
            playable = game.playable_moves()
            searched = game.ply in rows
            assert searched == (len(playable) > 1 and game.ply >= opening)
            if searched:
                row = rows[game.ply]
                policy = search.policy[search.offsets[row] : search.offsets[row + 1]]
                assert policy.shape == (len(playable),)
                assert policy.astype(np.float32).sum() == pytest.approx(1, abs=0.02)
            game.push(game.move(move))
        assert game.is_over
        assert np.allclose(search.root_value.astype(np.float32).sum(1), 1, atol=0.01)
        assert record.replay().canonical_hash() == record.final_hash


def test_random_moves_are_no_policy_targets() -> None:
    for engine, full in (("random", 0), ("heuristic", 1)):
        record = Record.from_bytes(next(iter(played(choose(engine, "square8_2p"), 1).values())))
        assert record.search is not None
        assert set(record.search.full.tolist()) == {full}


def test_temperature_draws_from_the_policy() -> None:
    choice = choose("gumbel", "square8_2p", GumbelSettings(simulations=2, considered=2, gumbel_scale=0.0))
    settings = dataclasses.replace(SETTINGS, opening_plies=0)
    games = {}
    for drawn in (0, 30):
        tasks = selfplay_tasks("square8_2p", "batch", 3, settings)
        finished = play([choice], tasks, PlaySettings(processes=1), temperatures=[1.0] * drawn)
        games[drawn] = [Record.from_bytes(game.record).moves.tobytes() for game in finished]
    assert len(set(games[30])) == 3


def test_what_goes_wrong_in_a_process_is_raised_here(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    choice = PlayerChoice("m-1", "square8_2p", "gumbel", network=tmp_path / "bad.onnx")
    with pytest.raises(CorruptBlob, match=r"bad\.onnx"):
        played(choice, 2, processes=2)


def test_a_process_that_dies_is_reported() -> None:
    games = play([choose("random", "square8_2p")], selfplay_tasks("square8_2p", "b", 400, SETTINGS), PlaySettings(2))
    next(games)
    (child, *_) = [
        int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split() if plays(pid)
    ]
    os.kill(child, signal.SIGKILL)
    with pytest.raises(JobError, match="ended with status -9"):
        list(games)


def plays(pid: str) -> bool:
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_settings_are_checked() -> None:
    for wrong in ({"engine": "alphago"}, {"opening_plies": -1}):
        with pytest.raises(ValueError):
            SelfplaySettings(**wrong)
    with pytest.raises(ValueError):
        PlaySettings(concurrent=-1)
