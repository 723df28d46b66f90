"""The models of a run: which one is meant, what it takes to play with it, and how a new one becomes known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from ringrift.errors import DataError, unknown
from ringrift.evaluators import make_evaluator
from ringrift.evaluators.canary import canary, check_canary
from ringrift.fabric import Blobs
from ringrift.pipeline.cards import write_card
from ringrift.players import MIXTURE, PLAYERS, PlayerChoice, choose
from ringrift.search import GumbelSettings
from ringrift.selfplay import derive_seed
from ringrift.store import ModelInfo, ModelStore, RunDirectory
from ringrift.store.samples import read_shard
from ringrift.training.settings import TrainSettings

if TYPE_CHECKING:  # what needs no torch does not load it
    from ringrift.nets import Positions

#: Files of weights that can be imported; the last two only if they hold a network of ours.
CHECKPOINTS = (".safetensors", ".pth", ".pt")
CHECKED_POSITIONS = 256  #: on which an exported network is calibrated and compared with its checkpoint


def initial_model(run: RunDirectory, config: str, training: TrainSettings, seed: int = 0) -> ModelInfo:
    """The untrained weights that a run starts from, made where there are none yet."""
    store = ModelStore(run)
    if found := store.ls(config, "initial"):
        return found[0]
    return untrained_model(run, config, training.architecture, seed, role="initial")


def untrained_model(
    run: RunDirectory, config: str, architecture: str, seed: int = 0, role: str = "untrained"
) -> ModelInfo:
    """New weights of a row of `nets.ARCHITECTURES`."""
    from ringrift.nets import initial_checkpoint, random_positions

    checkpoint = initial_checkpoint(architecture, config, derive_seed(seed, "weights", config) & 0xFFFFFFFF)
    made = make_model(run.fabric.blobs, config, checkpoint, random_positions(config, 64), "float32", role=role)
    return ModelStore(run).show(register(run, [made])[0])


def newest_model(run: RunDirectory, config: str, training: TrainSettings, seed: int = 0) -> ModelInfo:
    """The model trained last, promoted or not: self-play and training go on from it, see `sound_model`."""
    newest = ModelStore(run).newest(config, "candidate")[1]
    return sound_model(run, newest) if newest else initial_model(run, config, training, seed)


def sound_model(run: RunDirectory, newest: ModelInfo) -> ModelInfo:
    """`newest`, or the promoted model where `newest` or what it descends from was rolled back."""
    store, one = ModelStore(run), newest
    promoted = store.promoted(newest.config)
    while promoted and one.id != promoted and one.config == newest.config:
        if "rolled_back" in one.metrics:
            return store.show(promoted)
        if not one.parents:
            break
        one = store.show(one.parents[0])
    return newest


def starting_model(run: RunDirectory, config: str, name: str, seed: int = 0) -> ModelInfo:
    """The model meant by `name`, whose weights a training of `config` is to start from: one of this or of any other
    config, a file that is imported for it, or new weights of the architecture of that name. Raises: DataError."""
    from ringrift.nets import ARCHITECTURES

    store, path = ModelStore(run), Path(name)
    if name in ARCHITECTURES:
        return untrained_model(run, config, name, seed)
    if path.suffix in CHECKPOINTS:
        return store.show(import_model(run, config, path))
    others = [model for model in store.ls() if model.config != config and name and model.id.startswith(name)]
    if len(others) == 1:
        return others[0]
    try:
        return store.resolve(config, name)
    except DataError as error:
        raise DataError(f"{error}; {unknown('architecture', name, ARCHITECTURES)}") from error


def import_model(run: RunDirectory, config: str, path: Path) -> str:
    """Registers the network in a checkpoint file, as a model of `config`; see `nets.foreign`. The id."""
    from ringrift.nets import random_positions
    from ringrift.nets.foreign import foreign_checkpoint

    checkpoint = foreign_checkpoint(path, config)
    made = make_model(run.fabric.blobs, config, checkpoint, random_positions(config), "int8", role="imported")
    return register(run, [made])[0]


def games_seen(model: ModelInfo | None) -> int:
    """How many games the run had in shards when the model was trained; 0 without one."""
    return int(str(model.metrics.get("games_total", 0))) if model else 0


def rejected_in_a_row(run: RunDirectory, config: str) -> int:
    """How many of the newest candidates, one after the other, the gate has rejected."""
    verdicts = [model.metrics.get("gate") for model in reversed(ModelStore(run).ls(config, "candidate"))]
    judged = [bool(verdict["passes"]) for verdict in verdicts if isinstance(verdict, dict)]
    return [*judged, True].index(True)


class Playable(BaseModel):
    """A model as whoever plays with it needs it: its exported network, and what that answers to known positions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    """Id."""
    onnx: str
    """Blob of the exported network."""
    canary: dict[str, Any] | None = None

    def check(self, blobs: Blobs, config: str) -> None:
        """Raises `CorruptBlob` where the network is not what was stored, `DataError` where it does not compute here
        what it did when it was made."""
        blobs.check(self.onnx)
        if self.canary:
            check_canary(make_evaluator(config, blobs.path(self.onnx)), self.canary, self.model)


def playable(model: ModelInfo) -> Playable:
    """What is needed to play with a model. Raises `DataError` where its network is not there."""
    kept: Any = model.metrics.get("canary")
    return Playable(model=model.id, onnx=model.network, canary=kept)


def player_over(
    config: str, name: str, search: GumbelSettings | None, models: Sequence[Playable], blobs: Blobs
) -> PlayerChoice:
    """The player of that name over these models; without a run."""
    known = {one.model: one for one in models}

    def network(name: str) -> tuple[str, Path]:
        if name not in known:
            raise DataError(f"{name} is none of the models that this job may play with: {', '.join(known) or 'none'}")
        return name, blobs.path(known[name].onnx)

    return choose(name, config, search, network)


def choose_player(
    run: RunDirectory | None, config: str, name: str, search: GumbelSettings | None = None
) -> PlayerChoice:
    """The player of that name, see `players.table`; with a run also `best`, `initial` and its model ids."""
    return chosen(run, config, name, search)[0]


def chosen(
    run: RunDirectory | None, config: str, name: str, search: GumbelSettings | None = None
) -> tuple[PlayerChoice, list[Playable]]:
    """`choose_player`, and the models that it plays with."""
    found: list[Playable] = []

    def models(name: str) -> tuple[str, Path]:
        assert run is not None
        try:
            info = ModelStore(run).resolve(config, name)
        except DataError as error:
            raise DataError(f"{error} (players without a network: {', '.join(PLAYERS)})") from error
        one = playable(info)
        run.fabric.blobs.check(one.onnx)
        found.append(one)
        return one.model, run.fabric.blobs.path(one.onnx)

    return choose(name, config, search, models if run else None), found


def engine_name(engine: str, model: str) -> str:
    """The player of self-play by that engine, over that model where it has a network."""
    if engine == "mixed":
        return "mixed:" + ",".join(engine_name(part, model) for part in MIXTURE)
    if engine in PLAYERS and PLAYERS[engine].evaluator:
        return model if engine == "gumbel" else f"{engine}:{model}"
    return engine


def window_positions(shards: Sequence[Path], count: int = CHECKED_POSITIONS) -> Positions:
    """Positions from the newest shard."""
    from ringrift.nets import Positions

    samples = read_shard(shards[-1])
    rows = np.unique(np.linspace(0, len(samples) - 1, count, dtype=np.int64))
    offsets, addresses, _ = samples.policy(rows)
    return Positions(samples.planes(rows), samples.globals[rows], offsets.astype(np.int32), addresses)


@dataclass(frozen=True)
class MadeModel:
    """A model whose files are stored, and which no run knows yet; fields as in `ModelStore.register`."""

    config: str
    checkpoint: str
    onnx: str
    settings: dict[str, Any]
    parents: tuple[str, ...]
    metrics: dict[str, Any]
    role: str
    window: tuple[int, ...]


def make_model(
    blobs: Blobs,
    config: str,
    checkpoint: bytes,
    positions: Positions,
    precision: str,
    *,
    role: str,
    settings: Mapping[str, object] | None = None,
    parents: Sequence[str] = (),
    metrics: Mapping[str, object] | None = None,
    window: Iterable[int] = (),
) -> MadeModel:
    """Exports a checkpoint and stores both, with what the network answers to known positions."""
    from ringrift.nets import export_onnx

    onnx, report = export_onnx(checkpoint, positions, precision=precision)
    stored = blobs.put(checkpoint, ".safetensors"), blobs.put(onnx, ".onnx")
    known = canary(make_evaluator(config, blobs.path(stored[1])), config)
    metrics = {**(metrics or {}), "export": report.to_dict(), "canary": known}
    return MadeModel(config, *stored, dict(settings or {}), tuple(parents), metrics, role, tuple(window))


def register(run: RunDirectory, made: Sequence[MadeModel]) -> list[str]:
    """Makes models known, all of them or none; their ids. Again is a no-op."""
    with run.database.transaction():
        models = [ModelStore(run).register(**vars(one)) for one in made]
    for model in models:
        write_card(run, model)
    return models
