"""Model cards: a page on each model, `cards/ID.md` in its run directory, written again when more is known of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ringrift.errors import DataError
from ringrift.evaluators import read_metadata
from ringrift.fabric.files import make_directory, write_atomically
from ringrift.store import ModelInfo, ModelStore, RunDirectory

LOSSES = {"loss_before": "loss of the parent", "loss_after": "loss", "held_out": "loss on held-out games",
          "policy_loss": "policy loss, last 20 steps", "value_loss": "value loss, last 20 steps"}  # fmt: skip
DATA = {"samples_total": "samples of the run by then", "games_total": "games of the run by then",
        "window": "samples in the window", "steps": "optimiser steps", "training": "tracked as",
        "state_set_aside": "began anew: the state of the training before was damaged, and is now"}  # fmt: skip


def write_card(run: RunDirectory, model: str) -> Path:
    """Writes the card of a model, anew."""
    path = run.path / "cards" / f"{model}.md"
    make_directory(path.parent)
    write_atomically(path, card(run, model).encode())
    return path


def card(run: RunDirectory, model: str) -> str:
    """The card of a model, in Markdown. Raises: DataError for an unknown one."""
    store = ModelStore(run)
    return "\n".join(_lines(run, store.show(model), store)) + "\n"


def _lines(run: RunDirectory, model: ModelInfo, store: ModelStore) -> Iterator[str]:
    metrics: Mapping[str, Any] = model.metrics
    yield f"# {model.id}"
    yield ""
    promotions = [entry for entry in store.history(model.config) if entry.model == model.id]
    standing = "promoted" if store.promoted(model.config) == model.id else "was promoted" if promotions else model.role
    yield f"A network for {model.config}: {standing}."
    yield ""
    yield "| fact | |"
    yield "|---|---|"
    yield f"| made | {_date(model.added)} |"
    try:
        known = None if model.pruned else read_metadata(run.fabric.blobs.path(model.checkpoint))
    except DataError as error:  # a card is no reason to stop a match or a verdict
        yield f"| checkpoint | damaged: {error} |"
        known = None
    if known:
        yield f"| architecture | {known.architecture} |"
        yield f"| encoding, code | {known.encoding_hash}, {known.code_version} |"
        yield f"| steps and samples of all ancestors | {known.steps:,}, {known.samples:,} |"
        yield f"| seed | {known.seed} |"
    yield f"| weights | sha256 {model.checkpoint.partition('.')[0]}{', pruned' if model.pruned else ''} |"
    yield f"| parents | {', '.join(model.parents) or 'none'} |"
    yield from _rows(metrics, DATA)
    yield from _rows(metrics, LOSSES)
    if export := metrics.get("export"):
        found = f"policy KL {export['policy_kl']:.2g}, value error {export['value_error']:.2g}"
        yield f"| exported as | {export['precision']}: {found} |"
    matches = {name: one for name, one in metrics.items() if name.startswith("match/")}
    if matches:
        yield ""
        yield "## Matches"
        yield ""
        yield "| against | games | score | Elo |"
        yield "|---|---|---|---|"
        for one in matches.values():
            low, high = one["interval"]
            yield f"| {one['b']} | {one['games']} | {one['score']:.3f} ({low:.3f} to {high:.3f}) | {one['elo']:+.0f} |"
    if gate := metrics.get("gate"):
        yield ""
        yield f"Gate: {'passed' if gate['passes'] else 'rejected'}. {gate['reason']}"
    for entry in promotions:
        yield ""
        yield f"{_date(entry.at)}: {entry.action}, revision {entry.revision}, over {entry.previous or 'nothing'}."
    if back := metrics.get("rolled_back"):
        yield ""
        yield f"Rolled back to {back['to']}, revision {back['revision']}: {back['reason']}."
    if model.settings:
        yield ""
        yield "## Settings"
        yield ""
        yield "```"
        yield from (f"{name} = {value}" for name, value in model.settings.items())
        yield "```"


def _rows(metrics: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    for name, said in names.items():
        if name in metrics:
            shown = metrics[name]
            shown = format(shown, ".4f" if name in LOSSES else ",.0f") if not isinstance(shown, str) else shown
            yield f"| {said} | {shown} |"


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at))
