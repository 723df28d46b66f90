"""Kinds of job: what they are told, what a job done twice leaves behind, and the canary before play."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stored import finished

from ringrift.errors import CorruptBlob, DataError, SettingsError
from ringrift.evaluation import MatchSettings
from ringrift.evaluators import UniformEvaluator
from ringrift.evaluators.canary import canary, check_canary
from ringrift.fabric import Job
from ringrift.kernel.kind import Advance, quiet
from ringrift.pipeline import Recipe, evaluate, export, ingest, models, selfplay, settings, smoke, table, train
from ringrift.pipeline.events import EVENTS
from ringrift.pipeline.kind import work_by_hand
from ringrift.rules import CONFIGS
from ringrift.store import GameStore, ModelStore, RunDirectory
from ringrift.store.provenance import Provenance, retract
from ringrift.store.samples import ExportSettings
from ringrift.store.window import WindowSettings, replay_window

CONFIG = "square8_2p"


def batch(**changes: object) -> Job:
    payload = selfplay.SelfplayBatch(number=1, games=3, engine="random")
    job = selfplay.KIND.job("000001", payload, CONFIG, parent=7)
    return replace(job, payload={**job.payload, **changes})


def test_every_kind_is_whole() -> None:
    for name, row in table.KINDS.items():
        assert row.name == name
        assert row.emits.__name__ in EVENTS
        assert row.needs.get("cores", 1) == 1
    assert len({row.priority for row in table.KINDS.values()}) == len(table.KINDS)
    assert min(table.KINDS.values(), key=lambda row: row.priority).name == selfplay.KIND.name


def test_a_payload_is_checked_when_it_is_put_and_when_it_is_run() -> None:
    with pytest.raises(SettingsError, match="takes a SelfplayBatch, not a ValidGames"):
        selfplay.KIND.job("1", export.ValidGames(), CONFIG)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="unknown kind of job 'selfpaly'; did you mean 'selfplay'"):
        table.kind_of("selfpaly")
    with RunDirectory.in_memory() as run:
        with pytest.raises(SettingsError, match=r"selfplay/square8_2p/000001 is no selfplay job: games: .*; speed: "):
            table.run_job(run, batch(games="many", speed=3), "test")
        with pytest.raises(DataError, match="no settings for square8_2p"):
            table.run_job(run, batch(), "test")


def test_a_batch_of_a_model_that_was_rolled_back_is_played_by_the_restored_one() -> None:
    with RunDirectory.in_memory() as run:
        store, blobs = ModelStore(run), run.fabric.blobs
        one, two = (
            store.register(CONFIG, blobs.put(name, ".safetensors"), blobs.put(name, ".onnx"), {})
            for name in (b"1", b"2")
        )
        assert store.promote(one, over=None) and store.promote(two, over=one)
        at, wanted = work_by_hand(run, CONFIG), selfplay.KIND.told(batch(engine="gumbel", model=two))
        assert selfplay.prepare(run, at, wanted).player == two
        store.rollback(CONFIG)
        store.annotate(two, rolled_back={"revision": 3})
        order = selfplay.prepare(run, at, wanted)
        assert (order.player, [model.model for model in order.models]) == (one, [one])


def test_a_match_is_played_under_what_was_stated() -> None:
    with RunDirectory.in_memory() as run:
        at = work_by_hand(run, CONFIG, match=smoke(Recipe()).match)
        before = evaluate.MatchPair(a="random", b="heuristic", name="match/x", games=4, seed=1, openings_sha256="0")
        stated = before.model_copy(update={"match": MatchSettings(opening_plies_max=30)})
        plies = [evaluate.prepare(run, at, pair).settings.opening_plies_max for pair in (before, stated)]
        assert plies == [at.recipe.match.opening_plies_max, 30]
        with pytest.raises(DataError, match="and 0 was stated: another release makes others"):
            next(evaluate.compute(at, evaluate.prepare(run, at, stated)))


def test_a_job_done_twice_has_been_done_once(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run") as run:
        digest = settings.keep_recipe(run.fabric.registry, CONFIG, smoke(Recipe()))
        result = table.run_job(run, batch(), "test")
        assert (result["games"], result["player"], result["settings"]) == (3, "random", digest)
        again = table.run_job(run, batch(), "test")
        assert again["games"] == 3
        assert GameStore(run).flow(CONFIG).waiting == 3
        (entry,) = run.fabric.log.read()
        assert (entry.type, entry.parent, entry.key) == ("SelfplayFinished", 7, CONFIG)
        assert entry.id == "SelfplayFinished/selfplay/square8_2p/000001"


def test_a_training_whose_games_were_taken_back_while_it_waited_learns_from_the_others(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run") as run:
        recipe = smoke(Recipe())
        settings.keep_recipe(run.fabric.registry, CONFIG, replace(recipe, loop=replace(recipe.loop, steps=2)))
        add(run, range(6))
        waiting = train.Training(parent="", up_to=1, games=6)
        retract(run, games=[2], reason="bad")
        assert GameStore(run).flow(CONFIG).exported == 0
        table.run_job(run, train.KIND.job("initial/1", waiting, CONFIG), "test")
        _, newest = ModelStore(run).newest(CONFIG, "candidate")
        assert newest and newest.window == ((1, 1), (3, 6)) and newest.metrics["games_total"] == 5


def test_samples_that_were_taken_back_do_not_count_against_new_ones(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run") as run:
        add(run, range(6))
        training = replace(smoke(Recipe()).training, passes=10.0, batch_size=8)
        first = train.train_model(run, CONFIG, training, steps=2, precision="float32")
        retract(run, games=[2, 3], reason="bad")
        add(run, range(6, 9))
        shown: list[int] = []

        def show(_: str, total: int) -> AbstractContextManager[Advance]:
            shown.append(total)
            return quiet("", total)

        second = train.train_model(run, CONFIG, training, precision="float32", show=show)
        searches = [finished(seed).search for seed in range(6, 9)]
        new = sum(len(one.ply) for one in searches if one)
        assert shown == [pytest.approx(training.steps(new), rel=0.3)]
        assert (first.metrics["games_total"], second.metrics["games_total"]) == (6, 7)


def test_what_is_exported_during_a_training_was_not_seen_by_it(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run") as run:
        add(run, range(3))

        def show(_: str, total: int) -> AbstractContextManager[Advance]:
            add(run, range(3, 5))
            return quiet("", total)

        made = train.train_model(run, CONFIG, smoke(Recipe()).training, steps=2, precision="float32", show=show)
        assert made.metrics["games_total"] == 3


def test_a_quarantined_game_leaves_its_shard(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run") as run:
        add(run, range(4))
        GameStore(run).judge([(2, "searched again it came out differently")])
        assert export.export_games(run, CONFIG, ExportSettings()).games == 3
        assert replay_window(run, CONFIG, WindowSettings()).games.tolist() == [1, 3, 4]


def add(run: RunDirectory, seeds: range) -> None:
    """Games that others have played, in shards."""
    for seed in seeds:
        GameStore(run).add(finished(seed).to_bytes(), f"game/{seed}", Provenance("elsewhere"))
    ingest.ingest_games(run)
    export.export_games(run, CONFIG, ExportSettings())


def test_settings_come_back_as_they_were() -> None:
    recipe = smoke(Recipe())
    with RunDirectory.in_memory() as run:
        digest = settings.keep_recipe(run.fabric.registry, CONFIG, recipe)
        assert settings.recipe_of(run.fabric.registry, CONFIG) == (recipe, digest)
        assert (
            settings.keep_recipe(run.fabric.registry, CONFIG, replace(recipe, loop=replace(recipe.loop, seed=2)))
            != digest
        )


@pytest.mark.parametrize("config", CONFIGS)
def test_a_canary_sings_the_same_again(config: str) -> None:
    evaluator = UniformEvaluator(config)
    kept = canary(evaluator, config)
    assert len(set(kept["positions"])) == 4
    check_canary(evaluator, kept, "m-1")
    kept["value"][0][0] += 0.1
    with pytest.raises(DataError, match=r"m-1 does not answer known positions.*differ by up to 0\.100"):
        check_canary(evaluator, kept, "m-1")
    kept["value"][0][0] = float(np.nan)
    with pytest.raises(DataError, match="m-1"):
        check_canary(evaluator, kept, "m-1")


def test_a_model_is_asked_before_it_plays(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run") as run:
        recipe = smoke(Recipe())
        settings.keep_recipe(run.fabric.registry, CONFIG, recipe)
        model = models.initial_model(run, CONFIG, recipe.training)
        job = batch(engine="gumbel", model=model.id)
        assert table.run_job(run, job, "test")["player"] == model.id
        known: dict[str, object] = {**model.metrics["canary"]}  # type: ignore[dict-item]
        ModelStore(run).annotate(model.id, canary={**known, "value": [[0.9, 0.1]] * 4})
        with pytest.raises(DataError, match=f"{model.id} does not answer known positions"):
            table.run_job(run, batch(engine="gumbel", model=model.id, number=2), "test")
        assert model.onnx is not None
        path = run.fabric.blobs.path(model.onnx)
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        with pytest.raises(CorruptBlob):
            table.run_job(run, batch(engine="gumbel", model=model.id, number=2), "test")
        assert GameStore(run).quarantined() == []
