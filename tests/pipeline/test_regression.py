"""The promoted model is watched, and rolled back when it turns out to be worse: over a run in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from stored import finished

from ringrift.clock import VirtualClock
from ringrift.evaluation import GateSettings, MatchResult, RegressionSettings
from ringrift.fabric import Job
from ringrift.kernel.bus import Bus
from ringrift.kernel.supervisor import tick
from ringrift.pipeline import Recipe, evaluate, models, regression, smoke
from ringrift.pipeline.events import ModelRolledBack, RegressionDetected
from ringrift.pipeline.service import Context
from ringrift.pipeline.standing import standing
from ringrift.store import GameStore, ModelStore, RunDirectory
from ringrift.store.provenance import Provenance, retract, retractions, undo_retraction
from ringrift.store.samples import export

CONFIG = "square8_2p"
RECIPE = replace(smoke(Recipe()), gate=GateSettings(gates={"heuristic": 0.6}), regression=RegressionSettings(minutes=5))


@pytest.fixture
def ctx() -> Iterator[Context]:
    clock = VirtualClock(2e9)  # after the dates that the store writes
    with RunDirectory.in_memory(clock) as run:
        lease = run.fabric.leases.acquire("loop", ttl=1e6)
        yield Context(run, Bus(run.fabric.log, "test"), lease=lease, clock=clock, recipes={CONFIG: RECIPE})


def model(ctx: Context, name: str, *parents: str) -> str:
    blob = ctx.run.fabric.blobs.put(name.encode(), ".safetensors")
    return ModelStore(ctx.run).register(CONFIG, blob, None, {}, parents)


def promoted(ctx: Context, *names: str) -> list[str]:
    """Models promoted one after the other, each trained from the one before."""
    found: list[str] = []
    for name in names:
        found.append(model(ctx, name, *found[-1:]))
        assert ModelStore(ctx.run).promote(found[-1], over=found[-2] if len(found) > 1 else None)
    return found


def checks(ctx: Context) -> list[Job]:
    """What the service puts, having looked until it has nothing to do."""
    known = {job.id for job in ctx.run.fabric.jobs.ls()}
    while tick(regression.STAGE, ctx):
        pass
    return [job for job in ctx.run.fabric.jobs.ls() if job.id not in known]


def play(ctx: Context, share: float) -> list[str]:
    """Plays the check that waits, of which the model wins that share; whom it met."""
    met = []
    while claimed := ctx.run.fabric.jobs.claim("test", {"cores": 9, "memory": 1e12}):
        pair = evaluate.MatchPair.model_validate(claimed[0].payload)
        won = round(20 * share)
        result = MatchResult(
            config=CONFIG, a=pair.a, b=pair.b, wins=2 * won, losses=40 - 2 * won, draws=0, games=40, score=share,
            interval=(0, 1), elo=0, elo_interval=(0, 0), openings=20, duplicates=0, plies=50, simulations={}, seed=0,
            confidence=0.95, pentanomial=(20 - won, 0, 0, 0, won), openings_sha256=pair.openings_sha256,
        )  # fmt: skip
        evaluate.note_match(ctx.run, pair.a, pair.name, result, ctx.clock.now(), pair.claim)
        ctx.run.fabric.jobs.finish(claimed[0], {})
        met.append(pair.b)
    return met


def test_checks_come_from_time_to_time_with_other_openings(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks(ctx) == []  # nothing is promoted
    one, two = promoted(ctx, "one", "two")
    hashes, met = set(), []
    for _ in range(6):
        (job,) = checks(ctx)
        assert checks(ctx) == [] and job.payload["a"] == two and job.payload["sprt"] is None
        hashes.add(job.payload["openings_sha256"])
        met += play(ctx, 0.7)
        assert checks(ctx) == []
        ctx.clock.sleep(300)
    assert met == [one, "heuristic"] * 3 and len(hashes) == 6
    ctx.recipes[CONFIG] = replace(RECIPE, gate=GateSettings(gates={}))  # what was claimed beforehand counts
    with monkeypatch.context() as patch:
        claims = list[float]()
        patch.setattr(regression, "assess", lambda checks, _: claims.extend(check.claim for check in checks))
        regression.finding_of(ctx, ModelStore(ctx.run).show(two))
    assert claims == pytest.approx([0.5, 0.6] * 3)
    ctx.recipes[CONFIG] = replace(RECIPE, regression=RegressionSettings(minutes=5, checks=6))
    assert checks(ctx) == []
    assert list(ctx.bus.read(RegressionDetected, CONFIG)) == []


def played(ctx: Context, *models: str) -> None:
    """A stored game of each of these models."""
    for seed, name in enumerate(models):
        GameStore(ctx.run).add(finished(seed).to_bytes(), f"game/{seed}", Provenance("elsewhere", model=name))


def test_a_much_worse_model_is_rolled_back_at_once(ctx: Context) -> None:
    one, two = promoted(ctx, "one", "two")
    child = model(ctx, "child", two)
    played(ctx, one, two, two)
    assert [job.payload["b"] for job in checks(ctx)] == [one]
    play(ctx, 0.0)
    put = checks(ctx)
    store = ModelStore(ctx.run)
    assert store.promoted(CONFIG) == one
    (found,) = [entry.event for entry in ctx.bus.read(RegressionDetected, CONFIG)]
    assert (found.grade, found.opponent, found.games) == ("critical", one, 40)
    (back,) = [entry.event for entry in ctx.bus.read(ModelRolledBack, CONFIG)]
    assert (back.model, back.to, back.automatic, back.retracted) == (two, one, True, 2)
    (marked,) = retractions(ctx.run)
    assert (marked.by, marked.games, marked.what) == ("regression", 2, {"model": two})
    evidence: Any = store.history(CONFIG)[-1].evidence
    assert evidence["rolled_back_from"] == two and evidence["regression"]["grade"] == "critical"
    assert [job.payload["a"] for job in put] == [one]  # which is watched in its turn
    now = standing(ctx, CONFIG)
    assert now.newest and now.base and (now.newest.id, now.base.id) == (child, one)
    later = model(ctx, "later", one)
    assert models.sound_model(ctx.run, store.show(later)).id == later
    assert models.sound_model(ctx.run, store.show(model(ctx, "grandchild", child))).id == one


def test_games_that_were_being_played_at_a_rollback_are_taken_back_too(ctx: Context) -> None:
    one, two = promoted(ctx, "one", "two")
    played(ctx, two)
    ModelStore(ctx.run).rollback(CONFIG, evidence={"reason": "lost", "regression": {}})
    checks(ctx)
    for seed, name in ((7, two), (8, one)):
        GameStore(ctx.run).add(finished(seed).to_bytes(), f"late/{seed}", Provenance("elsewhere", model=name))
    checks(ctx)
    first, late = retractions(ctx.run)
    assert (first.games, late.games, late.reason, late.by) == (1, 1, first.reason, "regression")
    undo_retraction(ctx.run, first.id)
    undo_retraction(ctx.run, late.id)
    checks(ctx)
    assert [found.games for found in retractions(ctx.run)] == [0, 0]  # what somebody has put back stays


def test_games_of_a_model_that_was_promoted_again_after_a_rollback_stay(ctx: Context) -> None:
    one, two = promoted(ctx, "one", "two")
    played(ctx, two)
    store = ModelStore(ctx.run)
    store.rollback(CONFIG, evidence={"reason": "lost", "regression": {}})
    checks(ctx)
    assert store.promote(two, over=one) and store.promote(model(ctx, "three", two), over=two)
    GameStore(ctx.run).add(finished(7).to_bytes(), "game/7", Provenance("elsewhere", model=two))
    checks(ctx)
    assert [found.games for found in retractions(ctx.run)] == [1]


def test_games_that_come_after_a_rollback_are_fresh(ctx: Context) -> None:
    store = GameStore(ctx.run)

    def add(*seeds: int) -> None:
        store.add_many([(finished(seed).to_bytes(), f"game/{seed}") for seed in seeds], Provenance("elsewhere"))
        store.judge([(seed, None) for seed in seeds])
        export(ctx.run, CONFIG)

    add(1, 2, 3)
    blob = ctx.run.fabric.blobs.put(b"candidate", ".safetensors")
    ModelStore(ctx.run).register(CONFIG, blob, None, {}, metrics={"games_total": 3}, window=[1, 2, 3])
    retract(ctx.run, games=[1, 2], reason="rolled back")
    assert standing(ctx, CONFIG).fresh == 0
    add(4)
    assert standing(ctx, CONFIG).fresh == 1


def test_a_loop_killed_in_a_rollback_says_it_later(ctx: Context) -> None:
    one, two = promoted(ctx, "one", "two")
    played(ctx, two)
    evidence = {"reason": "lost", "regression": {}}
    ModelStore(ctx.run).rollback(CONFIG, evidence=evidence)
    checks(ctx)
    (told,) = [entry.event for entry in ctx.bus.read(ModelRolledBack, CONFIG)]
    assert (told.model, told.to, told.reason, told.retracted) == (two, one, "lost", 1)
    ModelStore(ctx.run).promote(two, over=one)
    ModelStore(ctx.run).rollback(CONFIG)
    checks(ctx)
    by_hand = list(ctx.bus.read(ModelRolledBack, CONFIG))[-1].event
    assert not by_hand.automatic and by_hand.retracted == 0


def test_a_loop_killed_after_marking_the_games_tells_how_many(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    _, two = promoted(ctx, "one", "two")
    played(ctx, two)
    ModelStore(ctx.run).rollback(CONFIG, evidence={"reason": "lost", "regression": {}})
    with monkeypatch.context() as killed:
        killed.setattr(regression, "ModelRolledBack", None)
        (step,) = regression.plan(ctx)
        with pytest.raises(TypeError):
            step.do()
    assert len(retractions(ctx.run)) == 1
    checks(ctx)
    assert [entry.event.retracted for entry in ctx.bus.read(ModelRolledBack, CONFIG)] == [1]
    assert len(retractions(ctx.run)) == 1


def test_every_rollback_is_told_and_stands_on_the_cards(ctx: Context) -> None:
    one, two, three = promoted(ctx, "one", "two", "three")
    other, store = model(ctx, "other", one), ModelStore(ctx.run)
    child = model(ctx, "child", three)
    store.rollback(CONFIG)
    store.rollback(CONFIG)
    store.promote(other, over=one)  # all by hand, while no loop runs
    checks(ctx)
    assert [entry.event.model for entry in ctx.bus.read(ModelRolledBack, CONFIG)] == [three, two]
    assert models.sound_model(ctx.run, store.show(child)).id == other
    card = (ctx.run.path / "cards" / f"{three}.md").read_text()
    assert "was promoted." in card and f"Rolled back to {two}, revision 4: by hand." in card


def test_rollbacks_have_their_limits(ctx: Context) -> None:
    models = promoted(ctx, "one", "two", "three", "four", "five")
    ctx.recipes[CONFIG] = replace(RECIPE, regression=RegressionSettings(minutes=0, rollbacks_a_day=0))
    checks(ctx)
    play(ctx, 0.0)
    checks(ctx)
    assert ModelStore(ctx.run).promoted(CONFIG) == models[-1]
    assert [entry.event.grade for entry in ctx.bus.read(RegressionDetected, CONFIG)] == ["critical"]
    ctx.recipes[CONFIG] = replace(RECIPE, regression=RegressionSettings(minutes=0, rollback=False))
    checks(ctx)
    assert ModelStore(ctx.run).promoted(CONFIG) == models[-1]
    ctx.recipes[CONFIG] = RECIPE
    checks(ctx)
    assert ModelStore(ctx.run).promoted(CONFIG) == models[-2]


def test_the_first_model_has_nothing_to_go_back_to(ctx: Context) -> None:
    (only,) = promoted(ctx, "one")
    assert [job.payload["b"] for job in checks(ctx)] == ["heuristic"]
    play(ctx, 0.0)
    checks(ctx)
    assert ModelStore(ctx.run).promoted(CONFIG) == only
    assert [entry.event.grade for entry in ctx.bus.read(RegressionDetected, CONFIG)] == ["critical"]
