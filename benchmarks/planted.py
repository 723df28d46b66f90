"""Broken likenesses of a trained small network, and how soon the watch over the promoted model finds them."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from ringrift.evaluation import GateSettings, MatchSettings, RegressionSettings
from ringrift.kernel.bus import Bus
from ringrift.kernel.supervisor import tick
from ringrift.nets import export_onnx, load_checkpoint, random_positions, save_checkpoint
from ringrift.pipeline import Recipe, evaluate, export, ingest, models, regression, selfplay, settings, table, train
from ringrift.pipeline.events import ModelRolledBack, RegressionDetected
from ringrift.pipeline.service import Context
from ringrift.search import GumbelSettings
from ringrift.selfplay import PlaySettings, SelfplaySettings
from ringrift.store import ModelInfo, ModelStore, RunDirectory
from ringrift.store.samples import ExportSettings
from ringrift.training import fit
from ringrift.training.settings import TrainSettings

CONFIG = "square8_2p"
HERE = PlaySettings(processes=1)
LEARN = TrainSettings(architecture="nano", threads=1)
GAMES, STEPS, NOISY_STEPS = 300, 300, 100
RECIPE = Recipe(
    match=MatchSettings(search=GumbelSettings(simulations=8, considered=8, gumbel_scale=0.0), play=HERE),
    gate=GateSettings(gates={"random": 0.85}),
    regression=RegressionSettings(minutes=0),
)


def good_model(run: RunDirectory) -> ModelInfo:
    """A small network that has learned from games of the heuristic player; promoted."""
    player = models.choose_player(run, CONFIG, "heuristic")
    selfplay.play_games(run, CONFIG, "one", GAMES, SelfplaySettings(engine="heuristic", play=HERE), player)
    ingest.ingest_games(run)
    export.export_games(run, CONFIG, ExportSettings())
    model = train.train_model(run, CONFIG, LEARN, steps=STEPS, precision="float32")
    assert ModelStore(run).promote(model.id, over=None)
    return model


def stored(run: RunDirectory, checkpoint: bytes, parent: ModelInfo) -> str:
    onnx, _ = export_onnx(checkpoint, random_positions(CONFIG, 64), precision="float32")
    blobs = run.fabric.blobs
    made = blobs.put(checkpoint, ".safetensors"), blobs.put(onnx, ".onnx")
    return ModelStore(run).register(CONFIG, *made, {}, (parent.id,))


def wrong_sign(run: RunDirectory, good: ModelInfo) -> str:
    """The value head takes each seat's chances for the other's."""
    network, _ = load_checkpoint(run.fabric.blobs.path(good.checkpoint))
    with torch.no_grad():
        network.value.weight.neg_()
        network.value.bias.neg_()
    return stored(run, save_checkpoint(network, steps=1), good)


def stale_weights(run: RunDirectory, good: ModelInfo) -> str:
    """The weights are those from before the training."""
    before = ModelStore(run).show(good.parents[0])
    network, _ = load_checkpoint(run.fabric.blobs.path(before.checkpoint))
    return stored(run, save_checkpoint(network, steps=1), good)


def label_noise(run: RunDirectory, good: ModelInfo) -> str:
    """It went on learning with policies and winners at random."""
    right, rng = fit.losses, torch.Generator().manual_seed(1)

    def noisy(out: Any, batch: Any, *rest: Any) -> Any:
        order = torch.randperm(len(batch.value), generator=rng)
        policy = torch.rand(len(batch.policy), generator=rng)
        sums = torch.zeros(len(batch.value)).index_add(0, batch.row, policy)
        return right(out, batch._replace(
            policy=policy / sums[batch.row], value=batch.value[order], root_value=batch.root_value[order],
            rank=batch.rank[order], short_term=batch.short_term[order],
        ), *rest)  # fmt: skip

    with patch.object(fit, "losses", noisy):
        return train.train_model(run, CONFIG, LEARN, steps=NOISY_STEPS, parent=good, precision="float32").id


PLANTED: dict[str, Callable[[RunDirectory, ModelInfo], str]] = {
    "value head of the wrong sign": wrong_sign,
    "stale weights": stale_weights,
    "label noise": label_noise,
}


def found_after(run: RunDirectory, good: ModelInfo, bad: str, most: int) -> tuple[int, int]:
    """Games of checks until the regression was told, and until the good model was back; 0 for what did not happen."""
    store, bus = ModelStore(run), Bus(run.fabric.log, "planted")
    since = run.fabric.log.last()
    assert store.promote(bad, over=good.id)
    recipe = replace(RECIPE, loop=replace(RECIPE.loop, seed=since))  # other openings for each
    settings.keep_recipe(run.fabric.registry, CONFIG, recipe)
    history = len(store.history(CONFIG))
    with patch.object(regression, "_spared", lambda ctx, history: False):
        games = told = 0
        while games < most:
            ctx = Context(run, bus, recipes={CONFIG: recipe})
            while tick(regression.STAGE, ctx):
                pass
            told = told or (games if run.fabric.log.read(since, types=[RegressionDetected.__name__]) else 0)
            if len(store.history(CONFIG)) > history:
                assert store.promoted(CONFIG) == good.id
                assert run.fabric.log.read(since, types=[ModelRolledBack.__name__])
                return told, games
            for job in run.fabric.jobs.claim("planted", {"cores": 1, "memory": 1e12}, kinds=[evaluate.KIND.name]):
                run.fabric.jobs.finish(job, table.run_job(run, job, "planted"))
            games = sum(match.games for match in evaluate.noted_matches(store.show(bad), regression.PREFIX).values())
    return told, 0


def planted_table(most: int = 800) -> None:
    """Prints it."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as place, RunDirectory.create(Path(place) / "run") as run:
        good = good_model(run)
        print(f"a nano network of {GAMES} games and {STEPS} steps: {time.process_time() - began:.0f} s of CPU time")
        print("| planted | games until told | games until rolled back |\n|---|---|---|")
        for name, plant in PLANTED.items():
            told, back = found_after(run, good, plant(run, good), most)
            print(f"| {name} | {told or f'not in {most}'} | {back or f'not in {most}'} |", flush=True)
    print(f"{time.process_time() - began:.0f} s of CPU time in all", file=sys.stderr)
