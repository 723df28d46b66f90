"""Training, from shards and a parent's weights to a checkpoint.

The result depends on the arguments alone (on one machine kind). With `state_path`, everything that the optimiser knows
is saved from time to time, atomically: a killed run goes on from there and ends at the same checkpoint, bit for bit,
and the next round, if it starts from the checkpoint that this one made, goes on with the same optimiser.
"""

import hashlib
import io
import json
import os
import pickle
import time
import zipfile
from collections.abc import Callable, Sequence
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
from ringrift.nets.checkpoint import initial_checkpoint, load_checkpoint, save_checkpoint
from ringrift.training.data import Batch, Window
from ringrift.training.loss import losses
from ringrift.training.settings import TrainSettings

JUDGED = 1024
"""Samples of the window on which the loss is measured before and after."""


@dataclass(frozen=True)
class TrainProgress:
    """Where a training run stands."""

    step: int
    steps: int
    loss: float
    """Of the last step: the weighted sum of all parts (`TrainSettings`)."""
    policy_loss: float
    value_loss: float
    samples_per_s: float
    """Since the start or the resumption."""


@dataclass(frozen=True)
class TrainResult:
    """A trained checkpoint and how it came about."""

    checkpoint: bytes
    metadata: ModelMetadata
    curve: NDArray[np.float32]
    """[steps, 3]: loss, policy loss and value loss of each step."""
    before: float
    """Loss of the parent's weights on a fixed part of the window, in evaluation mode."""
    after: float
    """Loss of the new checkpoint's weights on the same samples."""
    samples: int
    """Samples in the window."""
    samples_per_s: float

    def metrics(self) -> dict[str, float]:
        """For the model table."""
        policy, value = (float(self.curve[-20:, i].mean()) for i in (1, 2))
        steps = float(len(self.curve))
        return {"loss_before": self.before, "loss_after": self.after, "policy_loss": policy, "value_loss": value,
                "steps": steps, "samples_per_s": self.samples_per_s}  # fmt: skip


def train(
    shards: Sequence[Path],
    config: str,
    settings: TrainSettings,
    *,
    steps: int,
    seed: int,
    parent: bytes | Path | None = None,
    state_path: Path | None = None,
    progress: Callable[[TrainProgress], object] = lambda _: None,
) -> TrainResult:
    """`steps` optimiser steps on the samples of `shards`, from `parent` or from initial weights of `seed`.

    Raises: DataError and its kinds for shards or a parent that cannot be used, and where the loss is not finite.
    """
    torch.set_num_threads(settings.threads or os.cpu_count() or 1)
    device = settings.device if settings.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    mixed = torch.autocast(device, torch.bfloat16, enabled=_uses_bfloat16(settings.precision, device))
    window = Window(shards, config)
    start = parent.read_bytes() if isinstance(parent, Path) else parent
    start = start if start is not None else initial_checkpoint(settings.architecture, config, seed)
    network, origin = load_checkpoint(start, config)
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=settings.weight_decay, fused=True)
    judged = window.batch(np.linspace(0, len(window) - 1, min(JUDGED, len(window)), dtype=np.int64)).to(device)
    before = _judge(network, judged, settings)

    parent_hash = hashlib.sha256(start).hexdigest()
    known = json.dumps([asdict(settings), [path.name for path in shards], config, steps, seed, ENCODING_HASH])
    run = hashlib.sha256(f"{parent_hash} {known}".encode()).hexdigest()
    state = _load_state(state_path)
    resumes = state.get("run") == run
    averaged = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    first, curve = 0, []
    if resumes or (state.get("result") == parent_hash and state["weights"].keys() == averaged.keys()):
        network.load_state_dict(state["weights"])
        optimiser.load_state_dict(state["optimiser"])
        averaged = {name: tensor.to(device) for name, tensor in state["averaged"].items()}
    if resumes:
        first, curve = state["step"], state["curve"]

    def save_state(step: int, result: str = "") -> None:
        if state_path is not None:
            file = io.BytesIO()
            weights, optimised = network.state_dict(), optimiser.state_dict()
            torch.save({"run": run, "result": result, "step": step, "curve": curve, "weights": weights,
                        "averaged": averaged, "optimiser": optimised}, file)  # fmt: skip
            write_atomically(state_path, file.getvalue())

    network.train()
    began = saved = shown = time.monotonic()
    for step, batch in enumerate(window.batches(settings.batch_size, seed, first, steps), first + 1):
        batch = batch.to(device)
        age = origin.steps + step
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, age / settings.warmup_steps)
        with mixed:
            out = network(batch.planes.contiguous(memory_format=torch.channels_last), batch.globals)
        loss = losses(out, batch, settings)
        optimiser.zero_grad()
        loss.total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), settings.clip or torch.inf)
        optimiser.step()
        _average(averaged, network.state_dict(), min(settings.average, age / (age + 10)))
        total, policy, value = (part.item() for part in loss[:3])
        curve.append([total, policy, value])
        if not np.isfinite(total):
            raise DataError(f"the loss is {total} at step {step}; a lower training.learning_rate is right")
        now = time.monotonic()
        if now - shown >= 0.2 or step == steps:
            rate = (step - first) * settings.batch_size / max(now - began, 1e-9)
            progress(TrainProgress(step, steps, total, policy, value, rate))
            shown = now
        if now - saved >= settings.save_every_s and step < steps:
            save_state(step)
            saved = now

    checkpoint = save_checkpoint(
        network,
        weights=averaged,
        settings=asdict(settings),
        parents=(parent_hash,),
        steps=origin.steps + steps,
        samples=origin.samples + steps * settings.batch_size,
        seed=seed,
    )
    save_state(steps, hashlib.sha256(checkpoint).hexdigest())
    result, metadata = load_checkpoint(checkpoint)
    after = _judge(result.to(device), judged, settings)
    rate = (steps - first) * settings.batch_size / max(time.monotonic() - began, 1e-9)
    return TrainResult(checkpoint, metadata, np.array(curve, np.float32), before, after, len(window), rate)


def _average(averaged: dict[str, Tensor], weights: dict[str, Tensor], decay: float) -> None:
    """One step of the moving average; counters are copied."""
    for name, tensor in weights.items():
        if tensor.is_floating_point():
            averaged[name].lerp_(tensor, 1 - decay)
        else:
            averaged[name].copy_(tensor)


@torch.no_grad()
def _judge(network: nn.Module, batch: Batch, settings: TrainSettings) -> float:
    return losses(network.eval()(batch.planes, batch.globals), batch, settings).total.item()


def _uses_bfloat16(precision: str, device: str) -> bool:
    # bfloat16 without AMX is slower than float32 (DEPENDENCIES.md §2); with it, twice as fast (measured).
    if precision == "auto":
        return device == "cuda" or torch.cpu._is_amx_tile_supported()
    return precision == "bfloat16"


def _load_state(path: Path | None) -> dict[str, Any]:
    """The saved state, or nothing where there is none. Raises: CorruptBlob."""
    if path is None or not path.exists():
        return {}
    try:
        if not zipfile.is_zipfile(path):
            raise RuntimeError("not a zip file")
        return dict(torch.load(path, weights_only=True))
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise CorruptBlob(
            f"{path} is no training state ({error}); delete it, and this training starts again"
        ) from error
