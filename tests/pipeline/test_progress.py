"""What promoted models have reached is recorded once, and the end of the gain is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest

from ringrift.clock import VirtualClock
from ringrift.evaluation import GateSettings, MatchResult, MatchSettings, Rating, Slope, Velocity, gauntlet
from ringrift.kernel.bus import Bus
from ringrift.kernel.supervisor import tick
from ringrift.pipeline import Recipe, evaluate, progress
from ringrift.pipeline.events import MatchFinished, PlateauReached
from ringrift.pipeline.service import Context
from ringrift.store import ModelStore, RunDirectory

CONFIG = "hex8_2p"


@pytest.fixture
def ctx() -> Iterator[Context]:
    with RunDirectory.in_memory(VirtualClock(5.0)) as run:
        yield Context(run, Bus(run.fabric.log, "test"), clock=VirtualClock(5.0), recipes={CONFIG: Recipe()})


def model(ctx: Context, name: str, config: str, *parents: str) -> str:
    return ModelStore(ctx.run).register(
        config, ctx.run.fabric.blobs.put(name.encode(), ".safetensors"), None, {}, parents
    )


def look(ctx: Context) -> int:
    done = 0
    while steps := tick(progress.STAGE, ctx):
        done += steps
    return done


def won(ctx: Context, a: str, name: str, low: float) -> None:
    result = MatchResult(
        config=CONFIG, a=a, b=name, wins=38, losses=2, draws=0, games=40, score=0.95, interval=(low, 0.99), elo=0,
        elo_interval=(0, 0), openings=20, duplicates=0, plies=50, simulations={}, seed=0, confidence=0.95,
        pentanomial=(0, 0, 2, 0, 18),
    )  # fmt: skip
    evaluate.note_match(ctx.run, a, f"match/{name}", result, 1.0)


def test_what_is_reached_is_recorded_once(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ModelStore(ctx.run)
    other = model(ctx, "other", "square8_2p")
    first = model(ctx, "first", CONFIG, other)
    plan = gauntlet(CONFIG, GateSettings(), MatchSettings())
    store.annotate(first, gauntlet=[asdict(one) for one in plan])
    won(ctx, first, "random", 0.9)
    won(ctx, first, "heuristic", 0.55)  # not surely above 0.6
    won(ctx, first, "initial", 0.9)  # no gate
    monkeypatch.setattr(progress, "elos", lambda run, config: {first: Rating(first, 650, 580, 720, 99, 0.9)})
    assert look(ctx) == 0  # nothing is promoted
    store.promote(first, over=None)
    assert look(ctx) == 4
    found: Any = {entry.key: entry.value for entry in ctx.run.fabric.registry.ls("milestone/")}
    names = ["mastered/random", "tier/200", "tier/400", "transfer/square8_2p"]
    assert sorted(found) == [f"milestone/{CONFIG}/{name}" for name in names]
    assert found[f"milestone/{CONFIG}/mastered/random"]["why"].startswith(
        "0.950 (0.900–0.990) in 40 games, where 0.850"
    )
    assert found[f"milestone/{CONFIG}/transfer/square8_2p"]["model"] == first
    second = model(ctx, "second", CONFIG, first)
    store.promote(second, over=first)
    monkeypatch.setattr(progress, "elos", lambda run, config: {second: Rating(second, 650, 610, 720, 99, 0.9)})
    assert look(ctx) == 1  # tier 600; the others are known
    assert found == {e.key: e.value for e in ctx.run.fabric.registry.ls("milestone/") if e.key in found}


def test_a_plateau_is_told_once_until_it_is_left(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    def gains(elo: float) -> None:
        slope = Slope(elo, elo - 5, elo + 5)
        monkeypatch.setattr(progress, "gain", lambda run, config, settings: Velocity(slope, slope, 12, 8800, 5.5))

    def told() -> list[float]:
        return [entry.event.gain for entry in ctx.bus.read(PlateauReached, CONFIG)]

    for elo, wanted in ((25, []), (3, [3]), (2, [3]), (7, [3]), (15, [3]), (1, [3, 1])):
        gains(elo)
        match = MatchFinished(config=CONFIG, job=f"{elo}", a="", b="", opponent="", games=1, score=1, low=0, high=1)
        ctx.publish(match)
        look(ctx)
        assert told() == wanted
