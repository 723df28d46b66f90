"""Matches: fair seats, shared openings, no game twice; resumed, tested, and with players that fail."""

from __future__ import annotations

import contextlib
import json
import random
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from unreliable import Unreliable

from ringrift.errors import CorruptBlob, DataError, FormatTooNew, JobError, SettingsError
from ringrift.evaluation import MatchResult, MatchSettings, Plan, match
from ringrift.evaluation.kept import read_matches
from ringrift.evaluation.match import SEATINGS, openings
from ringrift.evaluation.ratings import read_pool
from ringrift.evaluation.statistics import elo
from ringrift.pipeline.settings import Recipe
from ringrift.players import Limit, choose
from ringrift.rules import CONFIGS, Game, config_info
from ringrift.search import GumbelSettings
from ringrift.selfplay import PlaySettings, held_for_matches, random_opening

HERE = PlaySettings(processes=1)


def test_openings_that_do_not_exist_are_counted_and_asked_for_in_vain() -> None:
    held = 0
    for move in Game("square8_2p").playable_moves():
        game = Game("square8_2p")
        game.push(move)
        held += held_for_matches(game)
    found: set[tuple[int, ...]] = set()
    with pytest.raises(SettingsError, match=f"square8_2p has {held} different openings of 1 to 1 random plies"):
        found.update(openings("square8_2p", 1, MatchSettings(opening_plies_min=1, opening_plies_max=1), None))
    with pytest.raises(SettingsError, match="gave no opening of 600 plies, the longest of them has"):
        random_opening("hex8_2p", 600, 1)


@pytest.mark.parametrize("seats", SEATINGS)
def test_seatings_are_rotations_and_mirrors(seats: int) -> None:
    rows = SEATINGS[seats]
    assert {tuple(1 - player for player in row) for row in rows} == set(rows)
    assert {row[1:] + row[:1] for row in rows} == set(rows)
    for one, other in zip(rows[::2], rows[1::2], strict=True):
        assert tuple(1 - player for player in one) == other


def test_alone_against_all_others(tmp_path: Path) -> None:
    a, b = choose("heuristic", "square8_4p"), choose("random", "square8_4p")
    settings = MatchSettings(games=10, alone=True, play=HERE)
    plan = Plan(a, b, settings, 5, None)
    assert plan.rows == ((0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 0, 1), (1, 1, 1, 0))
    result = match(a, b, settings, seed=5, save=tmp_path / "alone.jsonl")
    assert (result.games, result.openings, len(result.pentanomial)) == (12, 3, 5)
    assert result.score > 0.6, "three random seats do not share the games evenly with it"
    kept = read_matches([tmp_path / "alone.jsonl"])[0][1]
    assert {game.seats.count(0) for game in kept.values()} == {1}
    config, games = read_pool([tmp_path / "alone.jsonl"])
    assert (config, len(games)) == ("square8_4p", 12)


def test_an_even_share_alone_is_no_difference_in_elo() -> None:
    a, b = choose("random", "hex8_3p"), choose("heuristic", "hex8_3p")
    rows = Plan(a, b, MatchSettings(games=3, alone=True), 1, None).rows
    assert abs(elo(1 / 3, rows)) <= 0.1
    assert elo(0.5, rows) > 100


def test_the_loops_matches_are_not_alone() -> None:
    with pytest.raises(ValueError, match="ringrift match --alone"):
        Recipe(match=MatchSettings(alone=True))


def test_both_sides_get_the_same_openings() -> None:
    a, b = choose("heuristic", "square8_3p"), choose("random", "square8_3p")
    plan = Plan(a, b, MatchSettings(games=60), 5, None)
    first = list(plan.tasks(range(10), {}))
    assert len({task.opening for task in first}) == 10
    assert all(4 <= len(task.opening) <= 8 for task in first)
    for opening in {task.opening for task in first}:
        assert {task.seats for task in first if task.opening == opening} == set(SEATINGS[3])
    again = Plan(b, a, MatchSettings(games=60), 5, None)
    assert first == list(again.tasks(range(10), {}))
    assert again.openings_sha256 == plan.openings_sha256
    assert Plan(a, b, MatchSettings(games=60), 6, None).openings_sha256 != plan.openings_sha256


def test_heuristic_beats_random_and_the_figures_add_up(tmp_path: Path) -> None:
    a, b = choose("heuristic", "square8_2p"), choose("random", "square8_2p")
    result = match(a, b, MatchSettings(games=20, play=HERE), seed=3, save=tmp_path / "m.jsonl")
    assert (result.wins + result.losses, result.draws, result.games) == (20, 0, 20)
    assert result.openings == sum(result.pentanomial) == 10
    assert sum(points * openings for points, openings in enumerate(result.pentanomial)) == 2 * result.wins
    assert result.wins >= 15
    assert result.interval[0] < result.score <= result.interval[1]
    assert result.elo > 100
    ((_, games),) = read_matches([tmp_path / "m.jsonl"])
    assert Counter(game.opening for game in games.values()) == dict.fromkeys(range(10), 2)
    assert sum(game.point for game in games.values()) == result.wins
    decisions = sum(game.spent[0]["decisions"] for game in games.values())
    assert result.spent[0]["decisions"] == decisions > 20
    assert 0 < result.spent[0]["mean_seconds"] <= result.spent[0]["max_seconds"] < 1
    assert MatchResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result
    mirrored = match(b, a, MatchSettings(games=20, play=HERE), seed=3)
    assert mirrored.losses >= 15


@pytest.mark.parametrize("sprt", [None, pytest.param((-20.0, 500.0), marks=pytest.mark.slow)])
def test_a_resumed_match_ends_as_if_it_had_not_been_killed(tmp_path: Path, sprt: tuple[float, float] | None) -> None:
    a, b = choose("heuristic", "hex8_2p"), choose("random", "hex8_2p")
    settings = MatchSettings(games=30 if sprt else 8, sprt=sprt, play=HERE)
    save = tmp_path / "deep" / "m.jsonl"
    whole = match(a, b, settings, save=save)
    text = save.read_bytes()
    lines = text.splitlines(keepends=True)
    for kept, torn in ((1, b""), (3, b""), (6, lines[6][:40])):
        save.write_bytes(b"".join(lines[:kept]) + torn)
        assert match(a, b, settings, save=save) == whole
        assert save.read_bytes().startswith(b"".join(lines[:kept]))
        assert {line[:16] for line in lines} <= {line[:16] for line in save.read_bytes().splitlines(keepends=True)}
    save.write_bytes(text)
    assert match(a, b, settings, save=save) == whole
    assert save.read_bytes() == text
    two = replace(settings, play=PlaySettings(processes=2, concurrent=3))
    assert match(a, b, two) == whole


def test_another_match_is_not_gone_on_with(tmp_path: Path) -> None:
    a, b = choose("heuristic", "square8_2p"), choose("random", "square8_2p")
    settings, save = MatchSettings(games=2, play=HERE), tmp_path / "m.jsonl"
    match(a, b, settings, save=save)
    with pytest.raises(DataError, match=r"players was \['heuristic', 'random'\]"):
        match(b, a, settings, save=save)
    with pytest.raises(DataError, match="openings_sha256 was"):
        match(a, b, settings, seed=1, save=save)
    header, games = save.read_text().split("\n", 1)
    save.write_text(
        re.sub(r', "crc32": \d+', "", header).replace('"openings_sha256": "', '"openings_sha256": "zz') + "\n" + games
    )
    with pytest.raises(DataError, match=r"holds another match: openings_sha256 was 'zz[^;]*; give"):
        match(a, b, settings, save=save)
    save.write_text("not a match\n")
    with pytest.raises(CorruptBlob, match="line 1"):
        match(a, b, settings, save=save)
    save.write_text('{"ringrift_match": 99}\n')
    with pytest.raises(FormatTooNew, match="format 99"):
        match(a, b, settings, save=save)


def test_a_changed_bit_is_found(tmp_path: Path) -> None:
    save, rng = tmp_path / "m.jsonl", random.Random(0)
    a, b = choose("heuristic", "square8_2p"), choose("random", "square8_2p")
    match(a, b, MatchSettings(games=2, play=HERE), save=save)
    whole, before = save.read_bytes(), read_matches([save])
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        save.write_bytes(damaged)
        with contextlib.suppress(CorruptBlob, FormatTooNew):
            games = read_matches([save])[0][1]
            assert games.items() <= before[0][1].items(), "at most the last line is taken for one that was not finished"
    save.write_text(re.sub(r', "crc32": \d+', "", whole.decode()))  # as releases before the checksum wrote it
    assert read_matches([save]) == before


def test_no_game_counts_twice() -> None:
    """The same deterministic player on both sides plays both games of an opening alike."""
    search = GumbelSettings(simulations=2, considered=2, gumbel_scale=0.0)
    a = choose("gumbel", "square8_2p", search)
    result = match(a, a, MatchSettings(games=6, search=search, play=HERE))
    assert (result.games, result.openings, result.duplicates) == (0, 0, 9)
    assert (result.score, result.interval, result.elo) == (0.5, (0.0, 1.0), 0)


@pytest.mark.parametrize("config", [name for name in CONFIGS if name.startswith(("square8", "hex8"))])
def test_every_number_of_seats(config: str) -> None:
    seats = config_info(config).players
    a, b = choose("heuristic", config), choose("random", config)
    result = match(a, b, MatchSettings(games=len(SEATINGS[seats]), play=HERE))
    assert result.games == len(SEATINGS[seats])
    assert result.openings == 1


def test_a_test_stops_and_says_why() -> None:
    a, b = choose("heuristic", "square8_2p"), choose("random", "square8_2p")
    settings = MatchSettings(games=300, sprt=(0, 200), play=HERE)
    plans: list[Plan] = []
    better = match(a, b, settings, planned=plans.append)
    assert plans[0].wanted == 150
    assert "at most 300 games" in plans[0].sentence()
    assert "-2.94 to 2.94" in plans[0].sentence()
    assert better.test is not None
    assert better.test["verdict"] == "H1"
    assert better.test["llr"] >= better.test["bounds"][1]
    assert better.games < 100
    worse = match(b, a, settings)
    assert worse.test is not None
    assert worse.test["verdict"] == "H0"
    short = match(a, b, replace(settings, games=4))
    assert short.test is not None
    assert (short.games, short.test["verdict"]) == (4, "undecided")


def test_equal_time_and_equal_simulations() -> None:
    """What a player makes of its limit is tested with the players."""
    a, b = choose("gumbel", "square8_2p", GumbelSettings(simulations=7)), choose("random", "square8_2p")
    for settings, said in ((MatchSettings(seconds=0.05), "gumbel@0.05s"), (MatchSettings(), "gumbel@7")):
        plan = Plan(a, b, settings, 0, None)
        assert plan.header()["players"] == [said, "random"]
        assert [choice.limit for choice in plan.players] == [Limit(seconds=0.05) if settings.seconds else None] * 2
    result = match(a, b, MatchSettings(games=2, seconds=0.05, play=HERE))
    assert result.simulations == {}
    assert result.spent[0]["nodes"] > result.spent[0]["decisions"] > 0
    assert match(a, b, MatchSettings(games=2, play=HERE)).simulations == {"gumbel": 7}


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "processes"), [("raises", 1), ("illegal", 1), ("silent", 1), ("slow", 1), ("raises", 2)]
)
def test_a_player_that_fails_makes_its_game_void(fault: str, processes: int) -> None:
    """It fails in one game of four, always in the same ones."""
    a, b = choose("heuristic", "square8_2p"), Unreliable("bad", "square8_2p", "random", fault=fault)
    timeout = 0.2 if fault == "slow" else 60.0
    settings = MatchSettings(games=8, timeout=timeout, play=PlaySettings(processes, concurrent=2))
    result = match(a, b, settings, seed=2)
    assert result.games == 8
    assert result.voids[1] > 0
    assert (result.voids[0], result.voids[2]) == (0, 0)
    assert sum(result.reasons.values()) == sum(result.voids)
    said = {"raises": "ZeroDivisionError", "illegal": "IllegalMove", "silent": "JobError", "slow": "more than 0.2 s"}
    assert all(said[fault] in reason for reason in result.reasons)
    if processes == 1 and fault != "slow":  # nobody else's game changes
        assert result == match(a, b, replace(settings, play=PlaySettings(1, concurrent=7)), seed=2)


def test_a_player_that_always_fails_ends_the_match() -> None:
    a, b = choose("heuristic", "square8_2p"), Unreliable("bad", "square8_2p", "random", fault="raises", one_in=1)
    result = match(a, b, MatchSettings(games=6, play=HERE))
    assert result.games == 0
    assert result.voids[1] > 12


def test_a_decision_without_end_is_ended() -> None:
    a, b = choose("random", "square8_2p"), Unreliable("bad", "square8_2p", "random", fault="hangs")
    settings = MatchSettings(games=6, timeout=0.3, play=PlaySettings(2, concurrent=1))
    result = match(a, b, settings, seed=2)
    assert result.games == 6
    assert result.voids[1] > 0
    assert (result.voids[0], result.voids[2]) == (0, 0)


def test_a_process_that_is_killed_voids_its_running_games() -> None:
    a, b = choose("random", "square8_2p"), Unreliable("bad", "square8_2p", "random", fault="dies", one_in=8)
    settings = MatchSettings(games=12, play=PlaySettings(2, concurrent=2))
    result = match(a, b, settings, seed=2)
    assert result.games == 12
    assert result.voids[:2] == (0, 0)
    assert 0 < result.voids[2] <= 2 * 6
    assert set(result.reasons) == {"its process ended with status -9"}


@pytest.mark.slow
def test_patience_with_processes_that_die_has_an_end() -> None:
    a, b = choose("random", "square8_2p"), Unreliable("bad", "square8_2p", "random", fault="dies", one_in=1)
    with pytest.raises(JobError, match="ended with status -9: start again"):
        match(a, b, MatchSettings(games=40, play=PlaySettings(2, concurrent=2)))


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="1 to 1,000,000"):
        MatchSettings(games=0)
    with pytest.raises(ValueError, match="the smaller one first"):
        MatchSettings(sprt=(20, 0))
    with pytest.raises(ValueError, match="less than the timeout"):
        MatchSettings(seconds=2, timeout=1)
    with pytest.raises(ValueError, match="more than 0 and below"):
        MatchSettings(alpha=0)
    with pytest.raises(ValueError, match="range"):
        MatchSettings(opening_plies_min=9, opening_plies_max=8)
