"""Training, from a window of samples and a parent's weights to a checkpoint.

The result depends on the arguments alone (on one machine kind). With `state_path`, everything that the optimiser knows
is saved from time to time, atomically: a killed run goes on from there and ends at the same checkpoint, bit for bit,
and the next round, if it starts from the checkpoint that this one made, goes on with the same optimiser.
"""

import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ringrift.encoding import ENCODING_HASH
from ringrift.errors import CorruptBlob, DataError
from ringrift.evaluators import ModelMetadata
from ringrift.fabric.files import write_atomically
from ringrift.nets import Network, fill_seats, initial_checkpoint, load_checkpoint, save_checkpoint
from ringrift.nets.pickled import read_weights_only
from ringrift.store.window import ReplayWindow
from ringrift.training import distributed
from ringrift.training.data import Batch, SampleStream
from ringrift.training.loss import losses, weights
from ringrift.training.memory import bytes_per_sample, fitting_parts, free_memory, pieces
from ringrift.training.mixture import Mixture, hold_out
from ringrift.training.optim import Average, make_optimiser
from ringrift.training.schedule import Watch, learning_rate
from ringrift.training.settings import TrainSettings
from ringrift.training.tracking import Tracker, tracked_id

JUDGED = 1024
"""Samples of the window on which the loss is measured before and after."""
HELD = 4096
"""Held-out samples on which the loss is measured."""
LOGGED = 10
"""Steps between two lines of metrics."""
RESTATED = 16
"""Batches from which evenly averaged weights, and each of several configs, get statistics of batch normalisation."""
HARDEST = 16
"""Samples with the highest losses that are named in the end."""


@dataclass(frozen=True)
class TrainProgress:
    """Where a training run stands."""

    step: int
    steps: int
    loss: float
    """The loss of the last step: the weighted sum of all parts (`TrainSettings`)."""
    policy_loss: float
    value_loss: float
    samples_per_s: float
    """Since the start or the resumption."""
    held_out: float | None = None
    """Loss on the held-out games, when it was last looked at."""


@dataclass(frozen=True)
class TrainResult:
    """A trained checkpoint and how it came about."""

    checkpoints: Mapping[str, bytes]
    """For each config; they differ in the statistics of batch normalisation alone."""
    metadata: ModelMetadata
    """What the first of the candidates says of itself."""
    curve: NDArray[np.float32]
    """[steps, 3]: loss, policy loss and value loss of each step."""
    before: float
    """Loss of the parent's weights on a fixed part of the window, in evaluation mode."""
    after: float
    """Loss of the new checkpoint's weights on the same samples."""
    held_out: float | None
    """Loss of the new checkpoint's weights on the games held out."""
    samples: int
    """Samples in the window, without held-out ones."""
    samples_per_s: float
    hardest: list[tuple[float, str, int]]
    """The highest losses met, each with the config and the sample's place in the window."""
    tracked: str
    """Its id in `tracking`."""
    set_aside: str = ""
    """Where the state of a killed run now is that was damaged, so that this one began anew."""

    @property
    def checkpoint(self) -> bytes:
        """The candidate of the first config."""
        return next(iter(self.checkpoints.values()))

    def metrics(self) -> dict[str, float]:
        """What the table of models keeps of it."""
        policy, value = (float(self.curve[-20:, i].mean()) for i in (1, 2))
        figures = {"loss_before": self.before, "loss_after": self.after, "policy_loss": policy, "value_loss": value,
                   "steps": float(len(self.curve)), "samples_per_s": self.samples_per_s}  # fmt: skip
        return figures if self.held_out is None else figures | {"held_out": self.held_out}


def train(
    windows: Mapping[str, ReplayWindow],
    settings: TrainSettings,
    *,
    steps: int,
    seed: int,
    parent: bytes | Path | None = None,
    rejected: int = 0,
    state_path: Path | None = None,
    track: Path | None = None,
    progress: Callable[[TrainProgress], object] = lambda _: None,
) -> TrainResult:
    """`steps` optimiser steps on the samples of a window, or of one for each of several configs, from `parent` or from
    initial weights of `seed`.

    `rejected`: candidates in a row before this one that the gate has rejected. `track`: the directory in which the
    training is written down (`tracking`).

    Raises: DataError and its kinds for shards or a parent that cannot be used, and where the loss is not finite.
    """
    configs = list(windows)
    split = {config: hold_out(window, settings.held_out) for config, window in windows.items()}
    place = {"rank": distributed.rank(), "world": distributed.world()}
    streams = {config: SampleStream(window, config, seed, **place) for config, (window, _) in split.items()}
    held = {c: SampleStream(w, c, seed).fixed(HELD) for c, (_, w) in split.items()} if settings.held_out else {}
    judged = {config: stream.fixed(JUDGED) for config, stream in streams.items()}
    samples = {config: len(stream) for config, stream in streams.items()}
    settings = settings.sized(sum(samples.values()))
    size = distributed.share_of(settings.batch_size)

    start = parent.read_bytes() if isinstance(parent, Path) else parent
    start = start if start is not None else initial_checkpoint(settings.architecture, configs[0], seed)
    learner = Learner(start, configs[0], settings)
    before = learner.judge(judged, learner.network.state_dict())
    parent_hash = hashlib.sha256(start).hexdigest()
    known = json.dumps([asdict(settings), [(c, window.digest) for c, window in windows.items()], steps, seed, rejected,
                        distributed.world(), ENCODING_HASH])  # fmt: skip
    run = hashlib.sha256(f"{parent_hash} {known}".encode()).hexdigest()
    damaged = distributed.once(lambda: _set_damaged_aside(state_path))
    learner.resume(_load_state(state_path), run, parent_hash)
    first = learner.step
    about = {"configs": configs, "settings": asdict(settings), "seed": seed, "steps": steps, "samples": samples,
             "parent": parent_hash, "rejected": rejected, "processes": distributed.world(),
             "set_aside": damaged}  # fmt: skip
    leads = distributed.rank() == 0
    tracker = Tracker(track, run, about, first) if track is not None and leads else None

    def save_state(result: str = "") -> None:
        if state_path is not None and leads:
            file = io.BytesIO()
            torch.save({"run": run, "result": result, **learner.state()}, file)
            write_atomically(state_path, file.getvalue())

    began = saved = shown = time.monotonic()
    for config, batch in Mixture(streams, samples).batches(size, first, steps):
        if learner.watch.has_enough(settings):
            break
        step, drops = learner.step + 1, rejected if settings.schedule == "feedback" else learner.watch.drops
        rate = learning_rate(settings, step, steps, learner.age + 1, drops)
        total, policy, value = learner.learn(config, batch, rate, steps)
        if not np.isfinite(total):
            raise DataError(f"the loss is {total} at step {step}; a lower training.learning_rate is right")
        now = time.monotonic()
        speed = (step - first) * settings.batch_size / max(now - began, 1e-9)
        checked = bool(held) and (step % settings.check_every == 0 or step == steps)
        if checked:
            learner.look(held)
        if tracker and (checked or step % LOGGED == 0 or step == steps):
            mean = np.mean(learner.curve[-LOGGED:], axis=0)
            figures = dict(zip(("loss", "policy_loss", "value_loss"), mean.tolist(), strict=True))
            figures |= {"held_out": learner.held_out} if checked and learner.held_out is not None else {}
            tracker.log(step, figures | {"learning_rate": rate, "samples_per_s": speed})
        if now - saved >= settings.save_every_s and step < steps:
            save_state()
            saved = now
        if now - shown >= 0.2 or step == steps:
            progress(TrainProgress(step, steps, total, policy, value, speed, learner.held_out))
            shown = now

    checkpoints = distributed.once(lambda: learner.checkpoints(streams, size, parent_hash, seed))
    digests = {config: hashlib.sha256(one).hexdigest() for config, one in checkpoints.items()}
    save_state(digests[configs[0]])
    made = {config: load_checkpoint(one) for config, one in checkpoints.items()}
    each = {config: network.state_dict() for config, (network, _) in made.items()}
    after, outside = learner.judge(judged, each), learner.judge(held, each) if held else None
    rate = (learner.step - first) * settings.batch_size / max(time.monotonic() - began, 1e-9)
    curve, hardest = np.array(learner.curve, np.float32), sorted(learner.hardest, reverse=True)
    done = TrainResult(
        checkpoints,
        made[configs[0]][1],
        curve,
        before,
        after,
        outside,
        sum(samples.values()),
        rate,
        hardest,
        tracked_id(run),
        damaged,
    )
    if tracker:
        models = {config: f"m-{digest[:12]}" for config, digest in digests.items()}
        tracker.finish(models=models, result=done.metrics(), hardest=hardest)
    return done


class Learner:
    """A network that learns, with everything that has to be known to go on."""

    def __init__(self, start: bytes, config: str, settings: TrainSettings) -> None:
        torch.set_num_threads(settings.threads or os.cpu_count() or 1)
        kind = settings.device if settings.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        precision = settings.precision
        if precision == "auto":
            # bfloat16 without AMX is slower than float32 (DEPENDENCIES.md §2); with it, twice as fast (measured).
            precision = "bfloat16" if kind == "cuda" or torch.cpu._is_amx_tile_supported() else "float32"
        distributed.join()
        self.settings, self.device = settings, kind
        self._mixed = torch.autocast(kind, getattr(torch, precision), enabled=precision != "float32")
        self._scaler = torch.amp.GradScaler(kind, enabled=precision == "float16")
        self.network, self.origin = load_checkpoint(start, config)
        fill_seats(self.network)
        self._before = self.origin.steps if self.origin.config == config else 0
        self.network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        # On a CPU, a fused optimiser takes a step whose scaled gradient has overflowed (torch 2.13).
        self.optimiser = make_optimiser(self.network, settings, fused=not self._scaler.is_enabled())
        self._judge = deepcopy(self.network)
        self.average = Average(self.network, settings)
        self._model = distributed.shared(self.network)
        self.network.train()
        self.watch = Watch()
        self.held_out: float | None = None
        self.best: Mapping[str, Tensor] = {}
        self.step, self._parts = 0, settings.parts
        self.curve: list[list[float]] = []
        self.hardest: list[tuple[float, str, int]] = []

    @property
    def age(self) -> int:
        """Steps since the weights were untrained, or were trained for another config."""
        return self.step + self._before

    def learn(self, config: str, batch: Batch, rate: float, steps: int) -> tuple[float, float, float]:
        """One optimiser step of `steps`; the losses of all devices: the sum, policy, value."""
        batch = batch.to(self.device)
        self.network.turn_to(config)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        if not self._parts:
            each = bytes_per_sample(self.network, batch, self.settings)
            self._parts = fitting_parts(each, len(batch.weight), free_memory(self.device))
        while True:
            try:
                parts = self._gradient(config, batch)
                break
            except torch.OutOfMemoryError:
                if 2 * self._parts > len(batch.weight) or distributed.world() > 1:
                    raise
                self._parts *= 2
        self._scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip or torch.inf)
        self._scaler.step(self.optimiser)
        self._scaler.update()
        self.step += 1
        self.average.take(self.network, self.step, steps, self.age)
        total, policy, value = distributed.mean(parts).tolist()
        self.curve.append([total, policy, value])
        return total, policy, value

    def _gradient(self, config: str, batch: Batch) -> Tensor:
        """Computes the gradient of a batch, part by part; [3]: the losses."""
        self.optimiser.zero_grad()
        norm, sums = distributed.mean(weights(batch)), torch.zeros(3, device=batch.weight.device)
        for number, part in enumerate(pieces(batch, self._parts), 1):
            last = number == self._parts
            alone = nullcontext() if last or self._model is self.network else self._model.no_sync()  # type: ignore[operator]
            with alone:
                with self._mixed:
                    out = self._model(part.planes.contiguous(memory_format=torch.channels_last), part.globals)
                loss = losses(out, part, self.settings, norm)
                self._scaler.scale(loss.total).backward()  # type: ignore[no-untyped-call]
            sums += torch.stack(loss[:3]).detach()
            worst = loss.sample.topk(min(HARDEST, len(loss.sample)))
            met = {(config, int(part.index[i])): float(x) for x, i in zip(*map(Tensor.tolist, worst), strict=True)}
            kept = {(c, i): x for x, c, i in self.hardest} | met
            self.hardest = sorted(((x, c, i) for (c, i), x in kept.items()), reverse=True)[:HARDEST]
        return sums

    def look(self, held: Mapping[str, Batch]) -> None:
        """Measures the averaged weights on held-out games."""
        # The statistics of batch normalisation differ a little between processes; what they decide by it must not.
        self.held_out = distributed.once(lambda: self.judge(held, self.average.weights))
        if self.watch.see(self.held_out, self.settings) and self.settings.patience:
            self.best = {name: tensor.clone() for name, tensor in self.average.weights.items()}

    @torch.no_grad()
    def judge(self, batches: Mapping[str, Batch], weights_: Mapping[str, Any]) -> float:
        """The loss in evaluation mode, a mean over configs; `weights_` are of all configs, or by config."""
        self._judge.eval()
        self._judge.training_heads = self.network.training_heads
        found = []
        for config, batch in batches.items():
            self._judge.load_state_dict(weights_.get(config, weights_))
            self._judge.turn_to(config)
            on, norm = batch.to(self.device), weights(batch.to(self.device))
            parts = pieces(on, -(-len(on.weight) // JUDGED))
            found.append(
                sum(losses(self._judge(p.planes, p.globals), p, self.settings, norm).total.item() for p in parts)
            )
        return sum(found) / len(found)

    def checkpoints(self, streams: Mapping[str, SampleStream], size: int, parent: str, seed: int) -> dict[str, bytes]:
        """The result for each config."""
        made = {}
        for config, stream in streams.items():
            self._judge.turn_to(config)
            self._judge.load_state_dict(self.best or self.average.weights)
            if self.average.counted or len(streams) > 1:
                restate(self._judge, (batch.to(self.device) for batch in stream.batches(size, 0, RESTATED)))
            made[config] = save_checkpoint(
                self._judge,
                settings=asdict(self.settings),
                parents=(parent,),
                steps=self.origin.steps + self.step,
                samples=self.origin.samples + self.step * self.settings.batch_size,
                seed=seed,
            )
        return made

    def state(self) -> dict[str, Any]:
        """What a killed run has to know; tensors, numbers and texts alone."""
        return {"step": self.step, "curve": self.curve, "weights": self.network.state_dict(), "parts": self._parts,
                "average": self.average.state(), "kind": self.settings.optimiser, "best": self.best,
                "optimiser": self.optimiser.state_dict(), "scaler": self._scaler.state_dict(),
                "watch": asdict(self.watch), "held_out": self.held_out, "hardest": self.hardest}  # fmt: skip

    def resume(self, state: Mapping[str, Any], run: str, parent: str) -> None:
        """Goes on from the state of the same run; from that of the run which made the parent, with its optimiser."""
        same = state.get("run") == run
        fits = state.get("kind") == self.settings.optimiser and state["weights"].keys() == self.average.weights.keys()
        if same or (state.get("result") == parent and fits):
            self.network.load_state_dict(state["weights"])
            options = [{k: v for k, v in group.items() if k != "params"} for group in self.optimiser.param_groups]
            self.optimiser.load_state_dict(state["optimiser"])
            for group, own in zip(self.optimiser.param_groups, options, strict=True):
                group.update(own)  # the settings hold, not those of the round before
            self.average.restore(state["average"], self.device)
            self.average.counted *= same
        if same:
            self.step, self.curve, self._parts = state["step"], state["curve"], state["parts"]
            self.best, self.watch, self.held_out = state["best"], Watch(**state["watch"]), state["held_out"]
            self.hardest = state["hardest"]
            self._scaler.load_state_dict(state["scaler"])


@torch.no_grad()
def restate(network: Network, batches: Iterable[Batch]) -> None:
    """Takes the statistics of batch normalisation anew."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean
    network.train()
    for batch in batches:
        network(batch.planes, batch.globals)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
    network.eval()


def _set_damaged_aside(path: Path | None) -> str:
    """Where a saved state is put that cannot be read, so that it stops no training; empty for any other."""
    try:
        _load_state(path)
    except CorruptBlob:
        assert path is not None
        aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
        path.replace(aside)
        aside.touch()  # it is kept for a while from now on
        return str(aside)
    return ""


def _load_state(path: Path | None) -> dict[str, Any]:
    """The saved state, or nothing where there is none. Raises: CorruptBlob."""
    return dict(read_weights_only(path)) if path is not None and path.exists() else {}
