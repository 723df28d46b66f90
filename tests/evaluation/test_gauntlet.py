"""The gauntlet: odds, what is stated, and the verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

import pytest

from ringrift.errors import RulesError
from ringrift.evaluation import GateSettings, Hurdle, MatchResult, MatchSettings, decide, gauntlet
from ringrift.evaluation.gauntlet import elo_of_share
from ringrift.evaluation.match import SEATINGS
from ringrift.evaluation.statistics import elo, expected_score
from ringrift.selfplay import PlaySettings

CONFIG = "square8_2p"


def result(hurdle: Hurdle, counts: Sequence[int], **changes: object) -> MatchResult:
    """Openings by how many of their two games the candidate won."""
    openings = sum(counts)
    wins = counts[1] + 2 * counts[2]
    made = MatchResult(
        config=CONFIG, a="m-1", b=hurdle.opponent, wins=wins, losses=2 * openings - wins, draws=0, games=2 * openings,
        score=wins / (2 * openings) if openings else 0.5, interval=(0, 1), elo=0, elo_interval=(0, 0),
        openings=openings, duplicates=0, plies=50, simulations={}, seed=0, confidence=0.95,
        pentanomial=(counts[0], 0, counts[1], 0, counts[2]), openings_sha256=hurdle.openings_sha256,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def plan(**settings: object) -> tuple[Hurdle, ...]:
    return gauntlet(CONFIG, GateSettings(**settings), MatchSettings(), champions=["m-9", "m-8", "m-7", "m-6"])  # type: ignore[arg-type]


def test_equal_odds_for_every_number_of_seats() -> None:
    alone = [[(0,) + (1,) * others] for others in (1, 2, 3)]
    shares = {share: [round(100 * expected_score(elo_of_share(share), row)) for row in alone] for share in (0.85, 0.6)}
    assert shares == {0.85: [85, 74, 65], 0.6: [60, 43, 33]}
    assert elo_of_share(0.85) == pytest.approx(elo(0.85, SEATINGS[2]), abs=0.1)


@pytest.mark.parametrize("config", ["square8_2p", "hex8_3p", "square8_4p"])
def test_what_is_enough_in_our_matches_is_the_same_odds(config: str) -> None:
    """Where the candidate has half of the seats."""
    rows = SEATINGS[int(config[-2])]
    for hurdle in gauntlet(config, GateSettings(), MatchSettings())[:2]:
        share = GateSettings().gates[hurdle.name]
        assert elo(hurdle.least, rows) == pytest.approx(elo_of_share(share), abs=0.5)
        assert hurdle.lo < elo_of_share(share) < hurdle.hi
    assert expected_score(elo_of_share(0.85), SEATINGS[3]) == pytest.approx(0.829, abs=0.001)


def test_the_cheap_ones_come_first_and_all_is_stated() -> None:
    stated = plan()
    assert [(one.name, one.opponent) for one in stated] == [
        ("random", "random"), ("heuristic", "heuristic"), ("best", "m-9"), ("former-1", "m-8"), ("former-2", "m-7")
    ]  # fmt: skip
    assert [one.games for one in stated] == [100, 100, 400, 400, 400]
    assert [(one.lo, one.hi) for one in stated[2:]] == [(0, 50), (-50, 0), (-50, 0)]
    assert len({one.openings_sha256 for one in stated}) == len({one.seed for one in stated}) == 5
    assert plan() == stated
    mature = gauntlet(CONFIG, GateSettings(), MatchSettings(), champions=["m-9"], promotions=10)[-1]
    assert ((mature.lo, mature.hi), mature.games) == ((0, 20), 2000)
    first = gauntlet(CONFIG, GateSettings(), MatchSettings())
    assert first[-1].opponent == "initial" and decide(first, {}).over is None and decide(stated, {}).over == "m-9"
    other = gauntlet(CONFIG, GateSettings(), MatchSettings(), seed=1)
    assert other[0].openings_sha256 != first[0].openings_sha256
    later = MatchSettings(seconds=0.1, play=PlaySettings(processes=3))  # set after it was stated
    assert stated[2].settings(later) == MatchSettings(games=400, sprt=(0, 50), play=later.play)
    assert Hurdle.from_dict(json.loads(json.dumps(asdict(stated[2])))) == stated[2]


def test_the_first_match_that_is_lost_ends_it() -> None:
    stated = plan()
    random, heuristic, best, former, _ = stated
    results: dict[str, MatchResult | None] = {}
    assert decide(stated, results).next == random
    results["random"] = result(random, (0, 0, 23))
    assert decide(stated, results).next == heuristic
    lost = decide(stated, results | {"heuristic": result(heuristic, (12, 4, 4))})
    assert lost.next is None and not lost.passes and "found H0" in lost.reason and "0.300 in 40 games" in lost.reason
    results["heuristic"] = result(heuristic, (8, 22, 20))  # 0.62 of 100
    assert decide(stated, results).next == best
    results["best"] = result(best, (10, 30, 60))
    assert decide(stated, results).next == former
    worse = result(former, (70, 20, 10))
    assert not decide(stated, results | {"former-1": worse}).passes
    results |= {one.name: result(one, (51, 100, 49)) for one in stated[3:]}
    passed = decide(stated, results)
    assert passed.passes and passed.next is None and list(passed.matches) == [one.name for one in stated]
    assert "0.620 in 100 games against heuristic: the test of -5 against +145 Elo is undecided" in passed.reason


def test_an_undecided_test() -> None:
    random, heuristic, best, former, _ = stated = plan()
    even = (2, 2, 2)  # says nothing yet, though all games that were stated are over
    for hurdle, passes in ((heuristic, False), (best, False), (former, True)):
        assert hurdle.judge(result(hurdle, even), 1.0)[0] is passes
    assert heuristic.judge(result(heuristic, (1, 3, 3)), 1.0)[0]  # 0.643
    assert "asks for a decision" in best.judge(result(best, even), 1.0)[1]
    none = result(best, (0, 0, 0))  # two players that play alike leave no games
    assert not best.judge(none, 1.0)[0]
    assert decide(stated[:1], {"random": result(random, (0, 0, 30))}).passes


def test_what_cannot_be_played_or_is_void_does_not_pass() -> None:
    stated = plan(gates={})
    lost = decide(stated, {"best": None})
    assert not lost.passes and lost.next is None and "could not be played" in lost.reason
    crashes = result(stated[0], (10, 30, 60), voids=(20, 0, 3))
    assert not decide(stated, {"best": crashes}, 0.05).passes
    assert "made 20 games void" in decide(stated, {"best": crashes}, 0.05).reason
    assert decide(stated, {"best": crashes}, 0.2).next == stated[1]
    elsewhere = result(stated[0], (10, 30, 60), openings_sha256="others")
    assert decide(stated, {"best": elsewhere}).next == stated[0]


def test_wrong_settings_are_refused() -> None:
    for wrong in ({"gates": {"random": 85}}, {"games": 0}, {"early": (50, 0)}, {"margin": 0}, {"alpha": 0.5}):
        with pytest.raises(ValueError, match=r"(right|more|smaller|below|such)"):
            GateSettings(**wrong)
    with pytest.raises(RulesError, match="unknown config"):
        gauntlet("chess", GateSettings(), MatchSettings())
