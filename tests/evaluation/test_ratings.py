"""Ratings: against an independent implementation, against known strengths, and what must never move."""

from __future__ import annotations

import math
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ringrift.errors import DataError
from ringrift.evaluation import MatchSettings, Played, match, next_pairs, rate, read_pool
from ringrift.evaluation.ratings import ANCHORS, SCALE, add_anchor, read_anchors
from ringrift.players import choose
from ringrift.rules import CONFIGS
from ringrift.selfplay import PlaySettings

BENCHMARK = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "ratings.py"))
simulated_pool: Callable[..., Any] = BENCHMARK["simulated_pool"]
coverage: Callable[..., tuple[float, float, float]] = BENCHMARK["coverage"]


def wins(a: str, b: str, of_a: int, of_b: int) -> list[Played]:
    return [Played((a, b), (1, 2))] * of_a + [Played((a, b), (2, 1))] * of_b


def test_two_players_by_hand() -> None:
    pool = rate(wins("a", "anchor", 75, 25), {"anchor": 100.0}, prior=1e9)
    a, anchor = pool.ratings
    assert a.elo == pytest.approx(100 + 400 * math.log10(3), abs=0.1)
    assert (anchor.elo, anchor.low, anchor.high, anchor.anchor) == (100, 100, 100, True)
    assert (a.games, a.score) == (100, 0.75)
    # the deviance of a binomial: 0.6585 and 0.8274 are where 200 (KL of 0.75 to p) is 1.96 squared
    ends = [100 + 400 * math.log10(p / (1 - p)) for p in (0.6598, 0.8278)]
    assert (a.low, a.high) == pytest.approx(ends, abs=1.5)


@pytest.mark.parametrize("seats", [2, 3, 4])
@pytest.mark.parametrize("ranks", [False, True])
def test_the_same_as_an_independent_implementation(seats: int, ranks: bool) -> None:
    choix = pytest.importorskip("choix", reason="the independent implementation of these models is not installed")
    rng, names = np.random.default_rng(seats), [f"p{i}" for i in range(6)]
    true = np.concatenate([[0], rng.normal(0, 200, 5)])
    games = []
    for _ in range(300):
        who = rng.choice(6, seats, replace=False)
        order = np.argsort(-(true[who] / SCALE + rng.gumbel(size=seats)))
        games.append(Played(tuple(names[i] for i in who), tuple((np.argsort(order) + 1).tolist())))
    found = {one.player: one.elo for one in rate(games, {"p0": 0.0}, ranks=ranks, prior=1e9).ratings}
    orders = [
        [names.index(player) for _, player in sorted(zip(game.ranks, game.players, strict=True))] for game in games
    ]
    theirs = choix.ilsr_rankings(6, orders) if ranks else choix.ilsr_top1(6, [(o[0], o[1:]) for o in orders])
    for i, name in enumerate(names):
        assert found[name] == pytest.approx((theirs[i] - theirs[0]) * SCALE, abs=0.2)


def test_a_player_with_several_seats() -> None:
    """One seat against two of the same strength wins a third of the games."""
    games = [Played(("a", "b", "b"), ranks) for ranks in ((1, 2, 3), (2, 1, 3), (3, 2, 1)) for _ in range(40)]
    assert rate(games, {"b": 0.0}).ratings[0].elo == pytest.approx(0, abs=0.2)
    assert rate(games, {"b": 0.0}).cells[0].sigmas == pytest.approx(0, abs=0.01)


def test_equal_ranks_end_the_order() -> None:
    shared = [Played(("a", "b", "c"), (1, 2, 2))] * 5 + [Played(("a", "b", "c"), (2, 1, 2))] * 5
    for name in "bc":
        with_ranks, without = (
            next(one.elo for one in rate(shared, {"a": 0.0}, ranks=ranks).ratings if one.player == name)
            for ranks in (True, False)
        )
        assert with_ranks == without


def test_anchors_never_move(tmp_path: Path) -> None:
    games = wins("new", "heuristic", 30, 10) + wins("heuristic", "random", 10, 30)
    anchors = {"random": 0.0, "heuristic": 700.0, "absent": 5.0}
    found = {one.player: one for one in rate(games, anchors).ratings}
    assert (found["heuristic"].elo, found["random"].elo) == (700, 0)
    assert found["new"].elo == pytest.approx(700 + 400 * math.log10(3), abs=8)
    shipped = read_anchors()
    assert set(shipped) == set(CONFIGS)
    assert all(table["random"] == 0 for table in shipped.values())
    own = tmp_path / "anchors.toml"
    own.write_bytes(ANCHORS.read_bytes())
    add_anchor(own, "hex8_2p", "m-1@64", 812.5)
    assert read_anchors(own) == {**shipped, "hex8_2p": {**shipped["hex8_2p"], "m-1@64": 812.5}}
    with pytest.raises(DataError, match=r"m-1@64 is an anchor of hex8_2p with 812\.5 Elo"):
        add_anchor(own, "hex8_2p", "m-1@64", 900)
    own.write_text("random = 0")
    with pytest.raises(DataError, match="no table of anchors"):
        read_anchors(own)


def test_who_won_everything_stays_finite_and_who_met_nobody_is_refused() -> None:
    pool = rate(wins("best", "random", 40, 0), {"random": 0.0})
    best = pool.ratings[0]
    assert 400 < best.low < best.elo < best.high < 3000
    with pytest.raises(DataError, match=r"no games join c, d to an anchor \(anchors here: random\)"):
        rate(wins("a", "random", 5, 5) + wins("c", "d", 5, 5), {"random": 0.0})
    with pytest.raises(DataError, match="anchors here: none"):
        rate(wins("a", "b", 5, 5), {"random": 0.0})


def test_rock_paper_scissors_is_flagged() -> None:
    ring = wins("rock", "scissors", 45, 15) + wins("scissors", "paper", 45, 15) + wins("paper", "rock", 45, 15)
    pool = rate([*ring, *wins("rock", "random", 50, 10)], {"random": 0.0})
    assert {frozenset(cycle) for cycle in pool.cycles} == {frozenset(("rock", "scissors", "paper"))}
    a, b, c = pool.cycles[0]
    assert (a, b) in {("rock", "scissors"), ("scissors", "paper"), ("paper", "rock")}
    assert {frozenset((b, c)), frozenset((a, c))} <= {frozenset((cell.a, cell.b)) for cell in pool.flagged}
    true, games = simulated_pool(2, np.random.default_rng(1), 0.0)
    assert true["p0"] == 0
    calm = rate(games, {"p0": 0.0})
    assert calm.flagged == ()
    assert calm.cycles == ()


def test_openings_widen_intervals() -> None:
    """Ten games of each opening that all end alike tell as much as one."""
    alike = [Played(("a", "b"), (1, 2) if i % 3 else (2, 1), str(i)) for i in range(30) for _ in range(10)]
    apart = [Played(game.players, game.ranks) for game in alike]
    wide, narrow = (rate(games, {"b": 0.0}).ratings[0] for games in (alike, apart))
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(math.sqrt(10), rel=0.1)


def test_the_next_pairs() -> None:
    games = wins("a", "random", 30, 10) + wins("b", "random", 32, 10) + wins("b", "a", 20, 20)
    games += wins("new", "random", 3, 1)
    pairs = next_pairs(rate(games, {"random": 0.0}), 6)
    assert len(pairs) == 6
    assert pairs[0][0] == pairs[2][0] == "new"  # the widest interval, the fewest games
    assert all(one != other and one != "random" for one, other in pairs)
    assert next_pairs(rate([Played(("random", "random"), (1, 2))], {"random": 0.0}), 2) == []


def test_a_pool_of_matches(tmp_path: Path) -> None:
    a, b, c = (choose(name, "square8_2p") for name in ("heuristic", "random", "gumbel"))
    settings = MatchSettings(games=8, play=PlaySettings(processes=1))
    first = match(a, b, settings, save=tmp_path / "1")
    match(c, b, settings, save=tmp_path / "2")
    (tmp_path / "all").write_bytes((tmp_path / "1").read_bytes() + (tmp_path / "2").read_bytes())
    config, games = read_pool([tmp_path / "all"])
    assert (config, len(games)) == ("square8_2p", 16)
    assert read_pool([tmp_path / "1", tmp_path / "all", tmp_path / "2"])[1] == games
    won = sum(game.players[game.ranks.index(1)] == "heuristic" for game in games)
    assert won == first.wins
    assert {player for game in games for player in game.players} == {"heuristic", "random", "gumbel@32"}
    match(choose("heuristic", "hex8_2p"), choose("random", "hex8_2p"), settings, save=tmp_path / "3")
    with pytest.raises(DataError, match="24 games of hex8_2p, square8_2p: name files with games of one config"):
        read_pool([tmp_path / "all", tmp_path / "3"])


@pytest.mark.parametrize("seats", [2, 3, 4])
@pytest.mark.parametrize("pools", [8, pytest.param(60, marks=pytest.mark.slow)])
def test_intervals_cover_as_often_as_they_say(seats: int, pools: int) -> None:
    """Seven intervals a pool; `benchmarks/ratings.py` does the same with 200 pools."""
    held, error, width = coverage(seats, pools)
    assert held > 0.95 - 3 * math.sqrt(0.05 * 0.95 / (7 * pools))
    assert pools < 60 or held < 0.985
    assert error < width / 3
