"""Temperature schedules: within their bounds, never rising, at their ends, and pure."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringrift.selfplay.temperature import (
    KINDS,
    MIXED,
    TemperatureContext,
    TemperatureSettings,
    complexity,
    drawn,
    schedule,
    temperature,
)

SMOOTH = ("linear_decay", "exp_decay", "cosine", "adaptive", "curriculum", "elo_adaptive")


@st.composite
def settings(draw: st.DrawFn, kinds: tuple[str, ...] = tuple(KINDS)) -> TemperatureSettings:
    low, middle, high = sorted(draw(st.lists(st.floats(0.01, 4.0), min_size=3, max_size=3)))
    decay_from = draw(st.integers(0, 50))
    return TemperatureSettings(
        kind=draw(st.sampled_from(kinds)),
        start=middle,
        end=low,
        opening=high,
        exploration_decisions=draw(st.integers(0, 80)),
        decay_from=decay_from,
        decay_to=decay_from + draw(st.integers(1, 80)),
        opening_decisions=draw(st.integers(0, 12)),
    )


contexts = st.builds(
    TemperatureContext,
    complexity=st.floats(0, 1),
    progress=st.floats(0, 1),
    elo=st.floats(0, 3000),
    seed=st.integers(0, 1 << 40),
)


@given(settings(), contexts, st.integers(0, 400))
def test_bounds(s: TemperatureSettings, context: TemperatureContext, decision: int) -> None:
    found = temperature(s, decision, context)
    assert s.end <= found <= (s.opening if decision < s.opening_decisions else s.start)


@given(settings(), contexts)
def test_it_never_rises_and_is_pure(s: TemperatureSettings, context: TemperatureContext) -> None:
    whole = schedule(s, 140, context)
    assert whole.dtype == np.float32
    assert (np.diff(whole) <= 1e-6).all()
    assert (schedule(s, 140, context) == whole).all()
    np.testing.assert_allclose(whole, [temperature(s, i, context) for i in range(140)], rtol=1e-6)


@given(settings(SMOOTH))
def test_ends_are_reached(s: TemperatureSettings) -> None:
    """With the most open position, at the beginning of training: `start` before the decay, `end` after it."""
    assert temperature(s, max(s.decay_to, s.opening_decisions)) == pytest.approx(s.end)
    if s.opening_decisions <= s.decay_from:
        assert temperature(s, s.decay_from) == pytest.approx(s.start)


@given(settings(SMOOTH), contexts)
def test_no_jumps(s: TemperatureSettings, context: TemperatureContext) -> None:
    """A decaying kind falls by no more per decision than its steepest curve does, after the opening."""
    curve = {"exp_decay": np.log(s.start / s.end) * s.start, "cosine": np.pi / 2 * (s.start - s.end)}
    most = curve.get(s.kind, s.start - s.end) / (s.decay_to - s.decay_from)
    whole = schedule(s, 200, context)[s.opening_decisions :]
    assert all(a - b <= most + 1e-5 for a, b in pairwise(whole.tolist()))


def test_the_usual_schedule() -> None:
    s = TemperatureSettings("linear_decay")
    assert [round(temperature(s, i), 3) for i in (0, 10, 35, 60, 100)] == [1.0, 1.0, 0.55, 0.1, 0.1]
    step = TemperatureSettings("step", opening_decisions=2)
    assert [temperature(step, i) for i in (0, 1, 2, 29, 30)] == [1.5, 1.5, 1.0, 1.0, 0.1]
    cosine, exponential = TemperatureSettings("cosine"), TemperatureSettings("exp_decay")
    assert temperature(cosine, 35) == pytest.approx(0.55)
    assert temperature(exponential, 35) == pytest.approx(0.1**0.5)


def test_contexts_cool_down() -> None:
    def at(kind: str, **context: float) -> float:
        return temperature(TemperatureSettings(kind), 5, TemperatureContext(**context))  # type: ignore[arg-type]

    assert [at("adaptive", complexity=c) for c in (1, 0.5, 0)] == pytest.approx([1.0, 0.55, 0.1])
    assert [at("curriculum", progress=p) for p in (0, 0.5, 1)] == pytest.approx([1.0, 0.55, 0.1])
    assert [at("elo_adaptive", elo=e) for e in (1000, 1600, 2000)] == pytest.approx([1.0, 0.55, 0.1])
    games = {tuple(schedule(TemperatureSettings("mixed"), 80, TemperatureContext(seed=i))) for i in range(60)}
    assert games == {tuple(schedule(TemperatureSettings(kind), 80)) for kind in MIXED}


def test_complexity_is_the_share_of_the_highest_entropy() -> None:
    assert complexity(np.full(8, 0.125, np.float32)) == pytest.approx(1)
    assert complexity(np.array([1, 0, 0], np.float32)) == 0 == complexity(np.array([1], np.float32))
    assert complexity(np.array([0.5, 0.5, 0, 0], np.float32)) == pytest.approx(0.5)


@given(st.integers(1, 30), st.floats(0.05, 3), st.floats(0.001, 0.999), st.integers(0, 1000))
def test_a_draw_lies_in_the_policy(moves: int, heat: float, lot: float, seed: int) -> None:
    policy = np.random.default_rng(seed).dirichlet(np.ones(moves)).astype(np.float32)
    assert 0 <= drawn(policy, heat, lot) < moves
    assert drawn(policy, 0.001, lot) == policy.argmax() or np.sort(policy)[-2] > 0.9 * policy.max()


def test_draws_follow_the_policy() -> None:
    policy, lots = np.array([0.5, 0.3, 0.0, 0.2], np.float32), np.linspace(0, 1, 10_000, endpoint=False)
    for heat in (1.0, 0.5, 2.0):
        counts = np.bincount([drawn(policy, heat, float(lot)) for lot in lots], minlength=4) / len(lots)
        np.testing.assert_allclose(counts, policy ** (1 / heat) / (policy ** (1 / heat)).sum(), atol=2e-3)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kind": "liner"}, "unknown temperature schedule"),
        ({"start": 2.0}, "none above"),
        ({"end": -0.1}, "none above"),
        ({"kind": "exp_decay", "end": 0.0}, "never reaches"),
        ({"decay_from": 60}, "from below to"),
        ({"opening_decisions": -1}, "0 or more"),
        ({"elo_low": 2000.0}, "low below high"),
    ],
)
def test_bad_settings(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TemperatureSettings(**wrong)  # type: ignore[arg-type]


def test_the_docs_have_a_line_for_each_kind() -> None:
    text = (Path(__file__).parents[2] / "docs/training.md").read_text(encoding="utf-8")
    table = text.split("## How boldly moves are drawn")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == set(KINDS)
