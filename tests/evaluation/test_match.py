"""Matches: fair seats, shared openings, no game twice."""

from __future__ import annotations

from collections import Counter

import pytest

from ringrift.evaluation import GameResult, MatchSettings, match
from ringrift.evaluation.match import SEATINGS, schedule
from ringrift.players import choose
from ringrift.rules import CONFIGS, config_info
from ringrift.search import GumbelSettings
from ringrift.selfplay import PlaySettings

HERE = PlaySettings(processes=1)


@pytest.mark.parametrize("seats", SEATINGS)
def test_seatings_are_rotations_and_mirrors(seats: int) -> None:
    rows = SEATINGS[seats]
    assert {tuple(1 - player for player in row) for row in rows} == set(rows)
    assert {row[1:] + row[:1] for row in rows} == set(rows)
    for one, other in zip(rows[::2], rows[1::2], strict=True):
        assert tuple(1 - player for player in one) == other


def test_both_sides_get_the_same_openings() -> None:
    tasks = schedule("square8_3p", 5, MatchSettings(), None)
    first = [next(tasks) for _ in range(60)]
    assert len({task.opening for task in first}) == 10
    assert all(4 <= len(task.opening) <= 8 for task in first)
    for opening in {task.opening for task in first}:
        assert {task.seats for task in first if task.opening == opening} == set(SEATINGS[3])
    again = schedule("square8_3p", 5, MatchSettings(), None)
    assert first == [next(again) for _ in range(60)]


def test_heuristic_beats_random_and_the_figures_add_up() -> None:
    a, b = choose("heuristic", "square8_2p"), choose("random", "square8_2p")
    seen: dict[str, GameResult] = {}
    result = match(a, b, MatchSettings(games=20, play=HERE), seed=3, finished=seen.__setitem__)
    assert (result.wins + result.losses, result.draws, result.games) == (20, 0, 20)
    assert result.openings == 10
    assert result.wins >= 15
    assert result.interval[0] < result.score <= result.interval[1]
    assert result.elo > 100
    assert Counter(game.opening for game in seen.values()) == dict.fromkeys(range(10), 2)
    mirrored = match(b, a, MatchSettings(games=20, play=HERE), seed=3)
    assert mirrored.losses >= 15


def test_a_match_goes_on_from_the_games_it_has() -> None:
    a, b = choose("heuristic", "hex8_2p"), choose("random", "hex8_2p")
    settings = MatchSettings(games=8, play=HERE)
    seen: dict[str, GameResult] = {}
    whole = match(a, b, settings, finished=seen.__setitem__)
    some = dict(list(seen.items())[:5])
    again: dict[str, GameResult] = {}
    assert match(a, b, settings, known=some, finished=again.__setitem__) == whole
    assert set(again) == set(seen) - set(some)


def test_no_game_counts_twice() -> None:
    """The same deterministic player on both sides plays both games of an opening alike."""
    search = GumbelSettings(simulations=2, considered=2, gumbel_scale=0.0)
    a = choose("gumbel", "square8_2p", search)
    result = match(a, a, MatchSettings(games=6, search=search, play=HERE))
    assert result.games == 6
    assert result.openings == 6
    assert result.duplicates > 0


@pytest.mark.parametrize("config", [name for name in CONFIGS if name.startswith(("square8", "hex8"))])
def test_every_number_of_seats(config: str) -> None:
    seats = config_info(config).players
    a, b = choose("heuristic", config), choose("random", config)
    result = match(a, b, MatchSettings(games=len(SEATINGS[seats]), play=HERE))
    assert result.games == len(SEATINGS[seats])
    assert result.openings == 1


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        MatchSettings(games=0)
    with pytest.raises(ValueError, match="range"):
        MatchSettings(opening_plies_min=9, opening_plies_max=8)
