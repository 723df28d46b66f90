"""Train: a candidate as soon as there are enough new games, one at a time for each config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from pydantic import TypeAdapter

from ringrift.errors import DataError
from ringrift.fabric import Parcel
from ringrift.fabric.parcel import SUFFIX
from ringrift.kernel.kind import MEGABYTE, Kind, Order, Payload, Show, quiet
from ringrift.kernel.service import Service, Step
from ringrift.pipeline.events import ModelPromoted, ModelRejected, ModelRolledBack, SamplesExported, TrainingFinished
from ringrift.pipeline.export import export_games
from ringrift.pipeline.kind import Work, work_by_hand
from ringrift.pipeline.models import (
    MadeModel,
    Playable,
    initial_model,
    make_model,
    newest_model,
    playable,
    register,
    rejected_in_a_row,
    window_positions,
)
from ringrift.pipeline.service import Context
from ringrift.pipeline.settings import LoopSettings
from ringrift.pipeline.standing import blocked, cause, putting, standing, unattended
from ringrift.selfplay import derive_seed
from ringrift.store import ModelInfo, ModelStore, RunDirectory
from ringrift.store.samples import shards
from ringrift.store.window import ReplayWindow, Seen, WindowFacts, WindowSettings, window_facts, window_of
from ringrift.training.settings import TrainSettings


def plan(ctx: Context) -> Iterator[Step]:
    """A job for each config that has enough games which its newest candidate, judged by now, has not seen."""
    # What is open is asked first: a training that ends meanwhile has its candidate in the standing.
    for now in (standing(ctx, config) for config in ctx.configs if not blocked(ctx, KIND.name, config)):
        enough = now.flow.last_shard > 0 and now.fresh >= now.wanted
        if enough and now.judged and not now.finished:
            parent = now.base.id if now.base else ""
            job = KIND.job(
                f"{parent or 'initial'}/{now.flow.last_shard}",
                Training(parent=parent, up_to=now.flow.last_shard, games=now.flow.exported), now.config,
                cause(ctx, SamplesExported, now.config),
            )  # fmt: skip
            yield Step(
                f"train candidate {now.trained + 1} of {now.config} from {parent or 'untrained weights'}",
                f"{now.fresh} games in shards are new to it, {now.wanted} are enough",
                putting(ctx, job, again=True),
            )


class Training(Payload):
    """Train a candidate."""

    parent: str
    """Whose weights to start from; empty for the untrained ones."""
    up_to: int
    """Newest shard of the window: a training that was interrupted goes on with the samples that it had."""
    games: int = 0
    """In shards up to that one; where some were taken back since, it starts again with all that are there."""


class TrainingOrder(Order):
    """Train from this checkpoint on these windows."""

    configs: tuple[str, ...]
    """Configs of the candidates: the first is the job's own."""
    parent: str
    """Id."""
    checkpoint: str
    """Blob of the parent's weights."""
    untrained: bool
    """Whether the parent is."""
    checked: Playable | None
    """The parent as a network, asked first whether it computes here what it did."""
    windows: str
    """Blob of the facts of the windows."""
    rejected: int
    """Candidates in a row before this one that the gate has rejected."""


def prepare(run: RunDirectory, at: Work, wanted: Training) -> TrainingOrder:
    """On the window as it was when the training was wanted; where games of it were taken back since, on what is there
    now."""
    initial = initial_model(run, at.config, at.recipe.training, at.recipe.loop.seed)
    up_to: int | None = wanted.up_to
    if sum(shard.games for shard in shards(run, at.config, up_to)) < wanted.games:
        # The shards that held them were dropped: the others in these may wait to be exported again.
        export_games(run, at.config, at.recipe.export, show=at.show)
        up_to = None
    parent = ModelStore(run).show(wanted.parent) if wanted.parent else initial
    checked = playable(parent) if wanted.parent and parent.has_network else None
    return _ordered(run, at, parent, (at.config,), up_to, checked)


def _ordered(
    run: RunDirectory,
    at: Work,
    parent: ModelInfo,
    configs: tuple[str, ...],
    up_to: int | None = None,
    checked: Playable | None = None,
) -> TrainingOrder:
    facts = [window_facts(run, config, at.recipe.window, up_to) for config in configs]
    if empty := [one.config for one in facts if not one.total_samples]:
        raise DataError(f"{run.path} has no samples of {', '.join(empty)}: play games and export them first")
    before = {config: _before(run, parent, config, config == at.config) for config in configs}
    about = {"facts": [asdict(one) for one in facts], "before": before, "of": at.job.id}
    blob = at.blobs.put(Parcel(about).to_bytes(), SUFFIX)
    return TrainingOrder(
        configs=configs, parent=parent.id, checkpoint=parent.checkpoint,
        untrained=parent.role in ("initial", "untrained"), checked=checked, windows=blob,
        rejected=rejected_in_a_row(run, at.config), lent=(blob,),
    )  # fmt: skip


def _before(run: RunDirectory, parent: ModelInfo, config: str, own: bool) -> dict[str, int] | None:
    """What the model had seen of a config from which this training goes on; none where it is of another config."""
    model = parent if own else ModelStore(run).newest(config, "candidate")[1]
    return asdict(Seen.by(model.metrics, model.window)) if model and model.config == config else None


def compute(at: Work, order: TrainingOrder) -> Iterator[Parcel]:
    """The candidates, their files stored as blobs. A killed training goes on from its last saved state in `at.place` if
    it has the same windows. The processes of a `torchrun` compute together."""
    from ringrift.training import TrainProgress, train
    from ringrift.training.distributed import once

    if order.checked:
        order.checked.check(at.blobs, at.config)
    recipe, about = at.recipe, Parcel.from_bytes(at.blobs.get(order.windows)).about
    facts = {one.config: one for one in TypeAdapter(list[WindowFacts]).validate_python(about["facts"])}
    before = {config: kept and Seen(**kept) for config, kept in about["before"].items()}
    replays = {config: window_of(one, recipe.window, at.blobs.path) for config, one in facts.items()}
    for name, replay in replays.items():
        if not replay.samples:
            raise DataError(f"of the {replay.total_samples} samples of {name} none is left: {'; '.join(replay.notes)}")
    held = sum(replay.samples for replay in replays.values())
    settings = recipe.training.sized(held)

    def fresh(name: str) -> int:
        total, last = replays[name].total_samples, before[name]
        seen = samples_left(last, replays[name], facts[name].total_games) if last else 0
        return total - seen if total > seen else round(replays[name].samples / settings.passes)

    steps = recipe.loop.steps or round(recipe.loop.epochs * held / settings.batch_size)
    steps = steps or settings.steps(sum(map(fresh, order.configs)), order.untrained)
    with at.show("training", steps) as advance:

        def tell(now: TrainProgress) -> None:
            outside = "" if now.held_out is None else f", held out {now.held_out:.3f}"
            advance(now.step, f"loss {now.loss:.3f}, policy {now.policy_loss:.3f}, value {now.value_loss:.3f}{outside}")

        result = train(
            replays,
            settings,
            steps=steps,
            seed=derive_seed(recipe.loop.seed, "training", at.config, order.parent) & 0xFFFFFFFF,
            parent=at.blobs.path(order.checkpoint),
            rejected=order.rejected,
            state_path=at.place / "training" / f"{'+'.join(order.configs)}.state",
            track=at.place,
            progress=tell,
        )

    def made(name: str) -> MadeModel:
        replay = replays[name]
        counts = {"samples_total": replay.total_samples, "games_total": facts[name].total_games}
        told = {"training": result.tracked} | ({"state_set_aside": result.set_aside} if result.set_aside else {})
        return make_model(
            at.blobs, name, result.checkpoints[name], window_positions([part.path for part in replay.parts]),
            recipe.loop.precision, role="candidate", settings=asdict(settings), parents=(order.parent,),
            metrics={**result.metrics(), **counts, **told, **replay.metrics()}, window=replay.games.tolist(),
        )  # fmt: skip

    yield Parcel({"models": once(lambda: [asdict(made(name)) for name in order.configs])})


def samples_left(seen: Seen, replay: ReplayWindow, games: int) -> int:
    """How many of the samples that the run had when a model was trained are still there, by the share of their games
    that are; `games` are in shards now."""
    if not seen.last_game:
        return seen.samples
    left = games - sum(int((part.games > seen.last_game).sum()) for part in replay.parts)
    return round(seen.samples * min(1.0, left / max(1, seen.games)))


def apply(run: RunDirectory, at: Work, parcel: Parcel) -> TrainingFinished:
    """Makes the candidates known."""
    made = [MadeModel(**one) for one in parcel.about["models"]]
    trained = ModelStore(run).show(register(run, made)[0])
    figures: Mapping[str, Any] = trained.metrics
    return TrainingFinished(
        config=at.config, job=at.job.id, model=trained.id, trained_from=trained.parents[0], steps=int(figures["steps"]),
        samples=figures["samples_total"], loss_before=figures["loss_before"], loss_after=figures["loss_after"],
    )  # fmt: skip


def train_model(
    run: RunDirectory,
    config: str,
    settings: TrainSettings,
    *,
    window: WindowSettings = WindowSettings(),
    beside: Sequence[str] = (),
    steps: int = 0,
    epochs: float = 0.0,
    parent: ModelInfo | None = None,
    precision: str = "int8",
    seed: int = 0,
    show: Show = quiet,
) -> ModelInfo:
    """The candidate trained from `parent` (default: the newest model) on the replay window.

    `steps`, or else `epochs` passes over the window, or else as many steps as the samples are worth that the parent has
    not seen. A killed training goes on from its last saved state if it has the same shards. `beside`: configs that the
    same network learns in the same training, each of which gets a candidate too. The processes of a `torchrun` train
    together.
    """
    from ringrift.training.distributed import once

    at = work_by_hand(run, config, show, training=settings, window=window)
    loop = LoopSettings(steps=steps, epochs=epochs, precision=precision, seed=seed)
    at = replace(at, recipe=replace(at.recipe, loop=loop))

    def ordered() -> TrainingOrder:
        start = parent or newest_model(run, config, settings, seed)
        return _ordered(run, at, start, (config, *beside))

    order = once(ordered)
    try:
        (made,) = compute(at, order)
    finally:
        once(lambda: [at.blobs.delete(blob) for blob in order.lent])
    return ModelStore(run).show(once(lambda: apply(run, at, made).model))


KIND = Kind(
    "train", Training, TrainingOrder, prepare, compute, apply, TrainingFinished, priority=60,
    needs={"cores": 1, "memory": 2000 * MEGABYTE}, time_limit=24 * 3600.0,
)  # fmt: skip
STAGE = Service(
    "train", plan, every=10.0, on=(SamplesExported, ModelPromoted, ModelRejected, ModelRolledBack), job=KIND,
    backlog=unattended(KIND.name, lambda now: now.fresh if now.judged and now.fresh >= now.wanted > 0 else 0),
)  # fmt: skip
